"""Costs: what the tiles of a campaign take on a device, measured there, in a file that a plan elsewhere can use."""

import dataclasses
import json
import logging
import os
import pathlib
import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._environment import environment
from sensijax.campaign._paths import Paths
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._programs import Programs
from sensijax.campaign._structure import Structure
from sensijax.campaign._worker import Finished, Worker
from sensijax.campaign.store._location import open_store
from sensijax.core import ArgumentError, Layout, cache_folder, digest

log = logging.getLogger(__name__)

FORMAT = 1
SAMPLES = 3  # tiles of each group
MOST_GROUPS = 64  # of stages that act together, timed; the others are reckoned from their members
ROUNDS = 3  # of them all, while there is time
SECONDS = 60.0  # of sampling, beyond one micro-batch of each group


@dataclasses.dataclass(frozen=True)
class Group:
    """What one row takes that goes through certain stages.

    Attributes:
      seconds: for a row of a full micro-batch, model and judgement included; mean over the tiles timed.
      spread: standard deviation of the logarithm of a tile's seconds for a row.
      tiles: how many were timed.
    """

    seconds: float
    spread: float
    tiles: int


@dataclasses.dataclass(frozen=True)
class Costs:
    """A record of measured costs.

    Attributes:
      kind: the device's, as JAX names it.
      devices: how many computed together.
      cores: of the machine, that the process might use.
      cores_busy: cores that one worker kept busy, on average; workers on one machine share them.
      micro_batch: rows at once on each device.
      model, data: digests of what was run.
      groups: costs by `group_name` of the stages that a tile goes through.
      overhead: seconds for a tile beyond its turn on the device.
      compile_fixed: seconds to compile what every tile needs.
      compile_program: seconds for each further program, compiled side by side.
      start: seconds until a new worker can compile: planning.
      bytes_per_row: of the parts that were written.
      versions: of jax, jaxlib, sensijax' environment.
      measured_at: seconds since 1970.
    """

    kind: str
    devices: int
    cores: int
    cores_busy: float
    micro_batch: int
    model: str
    data: str
    groups: Mapping[str, Group]
    overhead: float
    compile_fixed: float
    compile_program: float
    start: float
    bytes_per_row: float
    versions: Mapping[str, str]
    measured_at: float

    def write(self, file: str | os.PathLike) -> None:
        """Writes the record as JSON, whole or not at all."""
        path = pathlib.Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".tmp-", delete=False) as temporary:
            json.dump({"format": FORMAT, **dataclasses.asdict(self)}, temporary, indent=1)
        os.replace(temporary.name, path)

    @classmethod
    def read(cls, file: str | os.PathLike) -> "Costs":
        """Reads a record.

        Raises:
          ArgumentError: if there is none, or the file is something else.
        """
        try:
            found = json.loads(pathlib.Path(file).read_text())
            if found.pop("format") != FORMAT:
                raise ValueError("another format")
            return cls(**{**found, "groups": {name: Group(**group) for name, group in found["groups"].items()}})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArgumentError(
                "costs", f"{file} ({error})", "a file that `sensijax plan SPEC --measure FILE` wrote"
            ) from error

    def remember(self) -> pathlib.Path:
        """Keeps the record in this user's cache; returns where."""
        name = f"{digest(self.kind, self.devices, self.model, self.data, sorted(self.groups))}.json"
        path = cache_folder() / "costs" / name
        self.write(path)
        return path


_PLACE = re.compile(r" at 0x[0-9a-f]+")


def group_name(structures: Sequence[Structure]) -> str:
    """A name for the stages that a tile goes through, the same on every kind of device."""
    # Of a function, such as a loss, its text has the place in this process's memory.
    return digest([(_PLACE.sub("", str(s.tree)), str(s.leaves)) for s in structures]) if structures else "clean"


def find_costs(
    campaign: Campaign, plan: Plan, *, kind: str | None = None, file: str | os.PathLike | None = None
) -> Costs:
    """The record for a campaign on a kind of device.

    Args:
      campaign: which.
      plan: its plan.
      kind: part of the device's name, such as "h100" for "NVIDIA H100 80GB HBM3"; this process's device unless given.
      file: a record; the newest that fits in this user's cache unless given.

    Raises:
      ArgumentError: if there is none: with the command that makes it.
    """
    where = f"on a machine with {kind!r}" if kind else "here"
    command = f"`sensijax plan SPEC --measure FILE` {where}, then `sensijax plan SPEC --costs FILE`"
    if file is not None:
        found = [Costs.read(file)]
    else:
        found = []
        for path in (cache_folder() / "costs").glob("*.json"):
            try:
                found.append(Costs.read(path))
            except ArgumentError as error:  # a cache: nothing is lost without it
                log.info("%s", error)
    wanted = kind if kind is not None else jax.devices()[0].device_kind if file is None else ""
    alike = [costs for costs in found if _plain(wanted) in _plain(costs.kind)]
    if found and file is not None and not alike:
        raise ArgumentError("kind", kind, f"that of the record: {found[0].kind!r}; or {command}")
    fitting = [costs for costs in alike if not _absent(campaign, plan, costs)]
    if not fitting:
        came = f"no measured costs of this campaign on {wanted!r}"
        if alike:
            came += f" (there are some, but {_absent(campaign, plan, alike[-1])})"
        raise ArgumentError("costs", came, f"run {command}")
    return max(fitting, key=lambda costs: costs.measured_at)


def _plain(kind: str) -> str:
    return "".join(c for c in kind.lower() if c.isalnum())


def _absent(campaign: Campaign, plan: Plan, costs: Costs) -> str:
    """What a record lacks for a campaign; empty if it fits."""
    if costs.model != campaign.model.digest:
        return "of another model"
    if "clean" not in costs.groups:
        return "without the model alone"
    for structures in dict.fromkeys(tile.structures for tile in plan.tiles):
        if group_name(structures) not in costs.groups:
            lacking = [one for one in structures if group_name((one,)) not in costs.groups]
            if lacking:
                return f"without {type(lacking[0]).__name__} {lacking[0].tree}"[:200]
    return ""


def measure_costs(
    campaign: Campaign,
    plan: Plan,
    *,
    micro_batch: int | None = None,
    layout: Layout | None = None,
    seconds: float = SECONDS,
) -> Costs:
    """Times a sample of a campaign's tiles on this device: computed and committed as in a run, attacks too.

    Args:
      campaign: which.
      plan: its plan.
      micro_batch: rows at once on each device; the run's own choice unless given.
      layout: the devices that rows are dealt out to; one device unless given.
      seconds: of sampling, about; one micro-batch of every group is run in any case.

    Returns:
      The record. Nothing is compiled from the cache for it, so compilation counts in full.
    """
    planning = time.perf_counter()
    programs = Programs(campaign)
    for structure in plan.structures:
        programs.digest(structure)
    planning = time.perf_counter() - planning
    groups: dict[tuple[Structure, ...], list[Tile]] = {(): []}
    for tile in plan.tiles:
        groups.setdefault(tile.structures, []).append(tile)
    singles = [group for group in groups if len(group) <= 1]
    several = [group for group in groups if len(group) > 1]
    alone = {one for group in singles for one in group}
    needed = [group for group in several if not alone.issuperset(group)]
    chosen = [*singles, *dict.fromkeys([*needed, *several[:: -(-len(several) // MOST_GROUPS) or 1]])]
    here = environment()
    with tempfile.TemporaryDirectory(prefix="sensijax-costs-") as folder, _without_cache():
        store = open_store(folder)
        worker = Worker(campaign, plan, programs, store, here, micro_batch, layout)
        worker.compute((), _nothing)
        fixed = worker.tally.compile_seconds
        structures = tuple(dict.fromkeys(one for group in chosen for one in group))
        worker.compute((), _nothing, ahead=structures)
        compiling = worker.tally.compile_seconds - fixed
        width = worker.tally.micro_batch * (1 if layout is None else layout.shares)
        first = {group: _cut(groups[group][0], width) for group in chosen if groups[group]}
        _timed(worker, first.values())  # the first call of a program is none to count
        look = _timed(worker, first.values())
        sample = _sample(campaign, {group: groups[group] for group in first}, look, width, seconds)
        cpu, wall = time.process_time(), time.perf_counter()
        tiles = [tile for some in sample.values() for tile in some]
        rounds = [_timed(worker, tiles)]
        while len(rounds) < ROUNDS and (time.perf_counter() - wall) * (1 + 1 / len(rounds)) < seconds:
            rounds.append(_timed(worker, tiles))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        written = sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*.parquet"))
    rows = sum(tile.rows for tile in {tile.id: tile for tile in [*first.values(), *tiles]}.values())
    found = {group_name(group): _group(campaign, some, rounds, width) for group, some in sample.items()}
    return Costs(
        kind=here["device"],
        devices=1 if layout is None or layout.mesh is None else layout.mesh.size,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        cores_busy=cpu / wall,
        micro_batch=worker.tally.micro_batch,
        model=campaign.model.digest,
        data=campaign.data.digest,
        groups=found,
        overhead=max(0.0, wall - sum(sum(timed.values()) for timed in rounds)) / (len(tiles) * len(rounds)),
        compile_fixed=fixed,
        compile_program=compiling / max(1, sum(one.compilations for one in structures)),
        start=planning,
        bytes_per_row=written / rows,
        versions={name: str(here[name]) for name in ("jax", "jaxlib", "python", "platform")},
        measured_at=time.time(),
    )


def padded_rows(campaign: Campaign, tile: Tile, width: int) -> int:
    """Rows that a tile computes in micro-batches of `width`, padding included."""
    return -(-Paths(campaign, tile).rows // width) * width


def _nothing(found: Finished) -> None:
    pass


def _timed(worker: Worker, tiles: Iterable[Tile]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    worker.compute(tiles, lambda found: seconds.__setitem__(found.tile, found.seconds))
    return seconds


def _cut(tile: Tile, rows: int) -> Tile:
    """A tile of the same scenarios with fewer examples: about so many rows; under a name of its own."""
    scenarios, seeds, examples = tile.shape
    kept = max(1, min(examples, rows // (scenarios * seeds)))
    few = scenarios if kept > 1 or scenarios * seeds <= rows else max(1, rows // seeds)
    return dataclasses.replace(
        tile, id=digest(tile.id, kept, few), stop=tile.start + kept, scenarios=tile.scenarios[:few]
    )


def _sample(
    campaign: Campaign,
    groups: Mapping[tuple[Structure, ...], list[Tile]],
    look: Mapping[str, float],
    width: int,
    seconds: float,
) -> dict[tuple[Structure, ...], list[Tile]]:
    share = seconds / len(groups)
    sample = {}
    for group, tiles in groups.items():
        cut = _cut(tiles[0], width)
        rate = look[cut.id] / padded_rows(campaign, cut, width)
        places = np.linspace(0, len(tiles) - 1, min(SAMPLES, len(tiles))).round().astype(int)
        few = [tiles[place] for place in places]
        full = [rate * padded_rows(campaign, tile, width) for tile in few]
        rows = max(width, int(share / len(few) / rate))
        sample[group] = few if sum(full) <= share else [_cut(tile, rows) for tile in few]
    return sample


def _group(campaign: Campaign, tiles: Sequence[Tile], rounds: Sequence[Mapping[str, float]], width: int) -> Group:
    each = np.array([[timed[tile.id] / padded_rows(campaign, tile, width) for timed in rounds] for tile in tiles])
    spread = float(np.std(np.log(each), ddof=1)) if each.size > 1 else 0.0
    return Group(float(each.mean()), spread, len(tiles))


class _without_cache:  # noqa: N801 - used as a function
    """Compilation counts as on a machine that has never seen the programs."""

    def __enter__(self) -> None:
        self._before: Any = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
        jax.config.update("jax_enable_compilation_cache", False)

    def __exit__(self, *_: object) -> None:
        jax.config.update("jax_enable_compilation_cache", self._before)
