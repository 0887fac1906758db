"""Micro-batch and loop style: found by short searches, remembered, so that the same work has the same bits again."""

import dataclasses
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from sensijax.attack import Attack, Loop
from sensijax.campaign._attacking import AttackStructure
from sensijax.campaign._campaign import Campaign
from sensijax.campaign._engine import Engine, is_out_of_memory
from sensijax.campaign._environment import environment
from sensijax.campaign._paths import Paths
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._programs import Programs, structure_of
from sensijax.campaign._scenario import Scenario
from sensijax.campaign._structure import Structure
from sensijax.campaign.store._store import Store
from sensijax.core import Layout, StoreError, cache_folder, digest

log = logging.getLogger(__name__)

CANDIDATES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)  # or what lies near them and leaves less padding
STEP = 8  # their multiples fill the vectors of CPUs and the tiles of tensor cores
NEAR = 0.97  # the smallest micro-batch within 3 % of the best: less memory; another loop style only if so much faster
ROUNDS = 5  # candidates take turns, so that a busy moment hits none alone
ROUND_SECONDS = 0.1
PROBE_ROWS = 512  # of a clean tile that is timed, or one micro-batch if that is more
MEMORY_SHARE = 0.25  # of the device's memory: two tiles are in flight, and XLA under-reports on CPUs
LEAST_SECONDS, RUN_SHARE = 2.0, 0.02  # a search takes no more than the larger: of so much, or of the whole run


class Tuning:
    """Finds micro-batches and loop styles, and remembers them: in the campaign's folder, and for this user.

    Each has a file of its own, `tuning/ADDRESS.json`, in both places. In one folder a device's micro-batch is the same
    on however many devices: then tiles do not depend on them.

    A search stops where going on would cost more than 2 seconds or 2 % of the run, as far as it is known by then; what
    comes first, one compilation and two calls at the smallest width, is run all the same.

    Args:
      campaign: whose clean examples are timed.
      plan: its plan; a micro-batch that does not divide its tiles well computes padding.
      programs: its programs.
      environment: the id of the environment; another machine measures for itself.
      store: the campaign's folder, if there is one.
      layout: the devices that rows are dealt out to; a micro-batch is the rows of one of them.
      clock: seconds.
    """

    def __init__(
        self,
        campaign: Campaign,
        plan: Plan,
        programs: Programs,
        environment: str,
        store: Store | None,
        layout: Layout | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.campaign, self.plan, self.programs, self.store = campaign, plan, programs, store
        self.layout, self.clock = layout or Layout(), clock
        unmoved = next(tile for tile in plan.tiles if not tile.structures)
        self.clean = dataclasses.replace(unmoved, scenarios=(Scenario(),), seeds=unmoved.seeds[:1])
        rows = [(Paths(campaign, tile).rows, tile) for tile in plan.tiles]  # those that the model sees
        self.tile_rows = sorted(n for n, _ in rows)
        self.passes = sum(n * (1 + sum(s.passes for s in tile.structures)) for n, tile in rows)  # of the whole run
        self.environment = environment
        self.address = digest(environment, programs.digest("forward"), campaign.model.digest, self.tile_rows)

    # --- the micro-batch ---------------------------------------------------------------------------------------------

    def micro_batch(self) -> int:
        """The rows of one device at once: the folder's, else the user's, else measured now and remembered in both."""
        return self._keep(self.address, self._known(self.address) or self._measure())["micro_batch"]

    def halve(self, micro_batch: int) -> int:
        """Half of a micro-batch that did not fit into memory, remembered for the next run."""
        entry = {"micro_batch": max(1, micro_batch // 2)}
        for store, name in self._places(self.address):
            _remember(store.write_json, store, name, entry)
        return entry["micro_batch"]

    def candidates(self) -> list[int]:
        """The widths that are tried: powers of two, each moved to where the plan's tiles take the least padding.

        1,797 rows in micro-batches of 256 come to 2,048 rows, in those of 200 to 1,800. Of the widths that are within
        half a percent of the least, the nearest to the power of two is taken.
        """
        if self.tile_rows[-1] <= CANDIDATES[0] * self.layout.shares:
            return list(CANDIDATES)
        rows, counts = np.unique(self.tile_rows, return_counts=True)
        found = []
        for power in CANDIDATES:
            near = np.arange(3 * power // 4, 3 * power // 2, STEP)
            whole = near[:, None] * self.layout.shares
            padded = (-(-rows // whole) * whole * counts).sum(axis=1)
            least = near[padded <= 1.005 * padded.min()]
            found.append(int(least[np.abs(least - power).argmin()]))
        return found

    def _measure(self) -> dict[str, Any]:
        started, found = self.clock(), {}
        best: dict[int, float] = {}  # seconds a row, padding counted as rows
        widths = self.candidates()
        while widths:
            width, began = widths.pop(0), self.clock()
            try:
                call = self._probe(width, bool(found))
                if call is None:
                    break
                best[width] = self.best_time(call) / self._padded(self._probed(width), width)
            except jax.errors.JaxRuntimeError as error:
                if not is_out_of_memory(error) or (not found and width == 1):
                    raise
                widths = [] if found else [width // 2]  # below the smallest, one that fits is all there is to find
                continue
            found[width] = call
            cost = self.clock() - began
            too_dear = self.clock() - started + cost > self._limit(min(best.values()))  # the next costs no less
            if best[width] > min(best.values()) / 0.6 or too_dear:
                break
        for _ in range(ROUNDS if len(found) > 1 else 0):
            calls = (best[width] * self._padded(self._probed(width), width) for width in found)
            a_round = sum(2 * call + ROUND_SECONDS for call in calls)
            if self.clock() - started + a_round > self._limit(min(best.values())):
                break
            for width, call in found.items():
                best[width] = min(best[width], self.best_time(call) / self._padded(self._probed(width), width))
        rates = {width: self._filled(width) / seconds for width, seconds in best.items()}
        chosen = min(width for width, rate in rates.items() if rate >= NEAR * max(rates.values()))
        log.info("micro-batch %d; rows/s by width: %s", chosen, {w: round(r) for w, r in rates.items()})
        return {"micro_batch": chosen, "seconds_per_row": best[chosen]}

    def _probe(self, width: int, can_do_without: bool) -> Callable[[], Any] | None:
        """Some clean examples through the engine at a width; None where the width makes no sense, or may not fit."""
        rows = self._probed(width)
        plan = dataclasses.replace(self.plan, block=rows)
        engine = Engine(self.campaign, plan, self.programs, width * self.layout.shares, self.layout)
        engine.compile(())
        large = engine.footprint > _device_memory() * MEMORY_SHARE
        if can_do_without and (large or width * self.layout.shares >= 2 * self.tile_rows[-1]):
            return None
        tile = dataclasses.replace(self.clean, stop=self.clean.start + rows)
        return functools.partial(engine.dispatch, tile)

    def _probed(self, width: int) -> int:
        return min(self.clean.rows, max(PROBE_ROWS, width * self.layout.shares))

    def _padded(self, rows: int, width: int) -> int:
        whole = width * self.layout.shares
        return -(-rows // whole) * whole

    def _filled(self, width: int) -> float:
        """The fraction of the rows of full micro-batches that are no padding."""
        return sum(self.tile_rows) / sum(self._padded(rows, width) for rows in self.tile_rows)

    # --- loop styles -------------------------------------------------------------------------------------------------

    def loops(self, micro_batch: int, structures: Sequence[Structure]) -> None:
        """Finds the loop style of those of these stages that are attacks, and tells the programs.

        The backend's style is measured against the other, which is taken only if it is faster and every bit that the
        first steps leave is the same: so no verdict depends on it, nor anything else. Where compiling the other would
        cost more than the search may, or the whole run takes less than a search, the backend's style stays.

        Args:
          micro_batch: the rows of one device.
          structures: of stages.
        """
        per_row = (self._known(self.address) or {}).get("seconds_per_row", 0.0)
        run, left = self.passes * per_row, self._limit(per_row)
        for structure in structures:
            if isinstance(structure, AttackStructure) and structure not in self.programs.fused:
                program = self.programs.digest(structure)
                address = digest("loop", self.environment, self.campaign.model.digest, program, micro_batch)
                entry = self._known(address)
                worth = run > LEAST_SECONDS  # a short run had better compile its attacks side by side
                if entry is None and worth and (found := self._compare(structure, micro_batch, left)) is not None:
                    fused, spent = found
                    entry, left = self._keep(address, {"fused": fused}), left - spent
                if entry is not None:
                    self.programs.fused[structure] = entry["fused"]

    def _compare(self, structure: AttackStructure, micro_batch: int, left: float) -> tuple[bool, float] | None:
        """Whether an attack's steps had better be fused, and the seconds it took; None where it was not worth them."""
        ours = Loop.here().fused
        looks = {fused: self._first_look(structure, micro_batch, fused) for fused in (ours, not ours)}
        began = self.clock()
        try:
            states = looks[ours]()  # compiles what the run needs anyway
            if self.clock() - began > left:  # the other takes about as long
                return None
            began = self.clock()
            others = looks[not ours]()
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None  # the run goes on with a narrower one
        same = jax.tree.map(lambda a, b: np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), states, others)
        if not all(jax.tree.leaves(same)):
            return ours, self.clock() - began
        best = dict.fromkeys(looks, float("inf"))
        for _ in range(ROUNDS):
            if self.clock() - began > left:
                break
            for fused, look in looks.items():
                best[fused] = min(best[fused], self._seconds(look))
        log.info("%s: steps one by one %.3g s, as one program %.3g s", structure, best[False], best[True])
        return (not ours if best[not ours] < NEAR * best[ours] else ours), self.clock() - began

    def _first_look(self, structure: AttackStructure, micro_batch: int, fused: bool) -> Callable[[], Any]:
        settings = (setting for scenario in self.campaign.scenarios for setting in scenario.settings)
        values = (self.campaign.perturbation(*setting) for setting in settings)
        attack = next(v for v in values if isinstance(v, Attack) and structure_of(v) == structure)
        width = micro_batch * self.layout.shares
        return functools.partial(structure.first_look, self.programs, width, self.layout, attack, fused)

    # --- how ---------------------------------------------------------------------------------------------------------

    def _limit(self, seconds_per_row: float) -> float:
        """What a search may cost, by what is known of a row's cost."""
        return max(LEAST_SECONDS, RUN_SHARE * self.passes * seconds_per_row)

    def best_time(self, call: Callable[[], Any]) -> float:
        """Seconds of the fastest call in a tenth of a second; one at least, after one that does not count."""
        jax.block_until_ready(call())
        best, until = float("inf"), self.clock() + ROUND_SECONDS
        while True:
            best = min(best, self._seconds(call))
            if self.clock() >= until:
                return best

    def _seconds(self, call: Callable[[], Any]) -> float:
        started = self.clock()
        jax.block_until_ready(call())
        return self.clock() - started

    def _keep(self, address: str, entry: dict[str, Any]) -> dict[str, Any]:
        # Two runs that start at once must agree, or their tiles would differ in the last bit: the first to write
        # decides.
        for store, name in reversed(list(self._places(address))):
            entry = _remember(store.write_first, store, name, entry)
        return entry

    def _known(self, address: str) -> dict[str, Any] | None:
        for store, name in self._places(address):
            try:
                if (entry := store.read_json(name)) is not None:
                    return entry
            except StoreError as error:  # a cache: nothing is lost without it
                log.warning("%s", error)
        return None

    def _places(self, address: str) -> Iterator[tuple[Store, str]]:
        if self.store is not None:
            yield self.store, f"tuning/{address}.json"
        devices = "" if self.layout.shares == 1 else f"-{self.layout.shares}"
        yield Store(cache_folder()), f"tuning/{address}{devices}.json"


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
    tuning = Tuning(campaign, plan, programs, environment()["id"], None)
    width = tuning.micro_batch()
    engine = Engine(campaign, plan, programs, width)
    rows: dict[tuple, int] = {}
    sample: dict[tuple, Tile] = {}
    for tile in plan.tiles:
        rows[tile.structures] = rows.get(tile.structures, 0) + Paths(campaign, tile).rows
        sample.setdefault(tile.structures, tile)
    timed = {s: tile for s, tile in sample.items() if len(s) <= 1 and not any(one.passes for one in s)}
    engine.compile(tuple(dict.fromkeys(structure for structures in timed for structure in structures)))
    # A pair costs what its members cost, once the model is taken off: only single stages are timed.
    seconds = {s: tuning.best_time(lambda tile=tile: engine.row(tile, 0)) / width for s, tile in timed.items()}
    base = seconds.get((), 0.0)
    return sum(
        n * (base + sum(base * one.passes + seconds.get((one,), base) - base for one in structures))
        for structures, n in rows.items()
    )


def _remember(write: Callable[[str, Any], Any], store: Store, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Writes an entry; returns what is there in the end."""
    try:
        return write(name, entry) or entry
    except (OSError, StoreError) as error:
        log.warning("cannot remember %s in %s/%s: %s", entry, store.location, name, error)
        return entry


def _device_memory() -> float:
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
