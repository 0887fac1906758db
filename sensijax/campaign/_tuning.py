"""The micro-batch: chosen by measuring and remembered, so that the same work has the same shapes, and bits, again."""

import contextlib
import dataclasses
import functools
import json
import logging
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._engine import Engine, is_out_of_memory
from sensijax.campaign._environment import environment
from sensijax.campaign._paths import Paths
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._programs import Programs
from sensijax.campaign._scenario import Scenario
from sensijax.campaign._store import Store
from sensijax.core import cache_folder, digest

log = logging.getLogger(__name__)

CANDIDATES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
NEAR = 0.97  # the smallest micro-batch within 3 % of the best: less memory
ROUNDS = 5  # candidates take turns, so that a busy moment hits none alone
ROUND_SECONDS = 0.1
MEMORY_SHARE = 0.25  # of the device's memory: two tiles are in flight, and XLA under-reports on CPUs


class Tuning:
    """Remembers micro-batches: in the campaign's folder, and for this user across folders.

    Each has a file of its own, `tuning/ADDRESS.json`, in both places.

    Args:
      campaign: whose clean tile is timed.
      plan: its plan; a micro-batch that does not divide its tiles well computes padding.
      programs: its programs.
      environment: the id of the environment; another machine measures for itself.
      store: the campaign's folder, if there is one.
    """

    def __init__(self, campaign: Campaign, plan: Plan, programs: Programs, environment: str, store: Store | None):
        self.campaign, self.plan, self.programs, self.store = campaign, plan, programs, store
        unmoved = next(tile for tile in plan.tiles if not tile.structures)
        self.clean = dataclasses.replace(unmoved, scenarios=(Scenario(),), seeds=unmoved.seeds[:1])
        self.tile_rows = sorted(Paths(campaign, tile).rows for tile in plan.tiles)  # those that the model sees
        self.address = digest(environment, programs.digest("forward"), campaign.model.digest, self.tile_rows)

    def micro_batch(self) -> int:
        """The micro-batch: the folder's, else the user's, else measured now and remembered in both."""
        return self._keep(self._known() or self._measure())["micro_batch"]

    def halve(self, micro_batch: int) -> int:
        """Half of a micro-batch that did not fit into memory, remembered for the next run."""
        entry = {"micro_batch": micro_batch // 2}
        for file in self._files:
            _write_whole(file, entry)
        return entry["micro_batch"]

    @property
    def _files(self) -> list[pathlib.Path]:
        folders = ([self.store.folder] if self.store is not None else []) + [cache_folder()]
        return [folder / "tuning" / f"{self.address}.json" for folder in folders]

    def _known(self) -> dict[str, int] | None:
        for file in self._files:
            with contextlib.suppress(OSError, ValueError):  # a cache: nothing is lost without it
                return json.loads(file.read_text())
        return None

    def _keep(self, entry: dict[str, int]) -> dict[str, int]:
        # Two runs that start at once must agree, or their tiles would differ in the last bit: the first to write
        # decides.
        for file in reversed(self._files):
            entry = _write_first(file, entry)
        return entry

    def _measure(self) -> dict[str, int]:
        candidates = self._candidates()
        best = dict.fromkeys(candidates, float("inf"))
        for _ in range(ROUNDS):
            for width, call in candidates.items():
                best[width] = min(best[width], _best_time(call) / self._padded(self.clean.rows, width))
        rates = {width: self._filled(width) / seconds for width, seconds in best.items()}
        chosen = min(width for width, rate in rates.items() if rate >= NEAR * max(rates.values()))
        log.info("micro-batch %d; rows/s by width: %s", chosen, {w: round(r) for w, r in rates.items()})
        return {"micro_batch": chosen}

    def _candidates(self) -> dict[int, Callable[[], Any]]:
        """Widths worth timing, and the clean tile through the engine at each: up to where memory, or sense, ends."""
        budget = _device_memory() * MEMORY_SHARE
        found: dict[int, Callable[[], Any]] = {}
        rates: list[float] = []
        for width in CANDIDATES:
            engine = Engine(self.campaign, self.plan, self.programs, width)
            engine.compile(())
            if found and (engine.footprint > budget or width >= 2 * self.tile_rows[-1]):
                break
            call = functools.partial(engine.dispatch, self.clean)
            try:
                rates.append(self._padded(self.clean.rows, width) / _best_time(call))
            except jax.errors.JaxRuntimeError as error:
                if found and is_out_of_memory(error):
                    break
                raise
            found[width] = call
            if rates[-1] < 0.6 * max(rates):
                break
        return found

    @staticmethod
    def _padded(rows: int, width: int) -> int:
        return -(-rows // width) * width

    def _filled(self, width: int) -> float:
        """The fraction of the rows of full micro-batches that are no padding."""
        return sum(self.tile_rows) / sum(self._padded(rows, width) for rows in self.tile_rows)


def estimate_seconds(campaign: Campaign, plan: Plan) -> float:
    """About how long the sweep of a campaign takes on this device: a sample of its tiles is timed.

    Args:
      campaign: the campaign.
      plan: its plan.

    Returns:
      Seconds, without compilation: one micro-batch of each kind of tile is run, and scaled up. Attacks are not run:
      they count with the passes through the model that they take at most.
    """
    programs = Programs(campaign)
    width = Tuning(campaign, plan, programs, environment()["id"], None).micro_batch()
    engine = Engine(campaign, plan, programs, width)
    rows: dict[tuple, int] = {}
    sample: dict[tuple, Tile] = {}
    for tile in plan.tiles:
        rows[tile.structures] = rows.get(tile.structures, 0) + Paths(campaign, tile).rows
        sample.setdefault(tile.structures, tile)
    timed = {s: tile for s, tile in sample.items() if len(s) <= 1 and not any(one.passes for one in s)}
    engine.compile(tuple(dict.fromkeys(structure for structures in timed for structure in structures)))
    # A pair costs what its members cost, once the model is taken off: only single stages are timed.
    seconds = {s: _best_time(lambda tile=tile: engine.row(tile, 0)) / width for s, tile in timed.items()}
    base = seconds.get((), 0.0)
    return sum(
        n * (base + sum(base * one.passes + seconds.get((one,), base) - base for one in structures))
        for structures, n in rows.items()
    )


def _write_first(file: pathlib.Path, entry: dict[str, int]) -> dict[str, int]:
    """Writes a file unless it is there already; returns what it holds in the end."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".tmp-") as temporary:
            json.dump(entry, temporary)
            temporary.flush()
            os.fsync(temporary.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(temporary.name, file)
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        log.warning("cannot remember the micro-batch in %s: %s", file, error)
        return entry


def _write_whole(file: pathlib.Path, entry: dict[str, int]) -> None:
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    _write_first(file, entry)


def _best_time(call: Callable[[], Any]) -> float:
    jax.block_until_ready(call())
    best, until = float("inf"), time.perf_counter() + ROUND_SECONDS
    while True:
        started = time.perf_counter()
        jax.block_until_ready(call())
        finished = time.perf_counter()
        best = min(best, finished - started)
        if finished >= until:
            return best


def _device_memory() -> float:
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
