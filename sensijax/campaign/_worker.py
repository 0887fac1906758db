"""A worker: computes tiles of a campaign in this process, and commits them. Every placement works through it."""

import concurrent.futures
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._engine import Answers, Engine, gathered, is_out_of_memory
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._programs import Programs
from sensijax.campaign._structure import Structure
from sensijax.campaign._tuning import Tuning
from sensijax.campaign.exhibits._exhibits import keep_exhibits
from sensijax.campaign.store._store import Coded, Store
from sensijax.core import Layout
from sensijax.measure import STATUSES

log = logging.getLogger(__name__)


class Finished(NamedTuple):
    """A tile that is in the store.

    Attributes:
      tile: its id.
      rows: how many it holds.
      seconds: from its turn on the device until its responses were there.
      scenario: its last one.
      accuracy: over the tile; None for regression.
      computed: by this run; False if another process did, beside this one.
    """

    tile: str
    rows: int
    seconds: float
    scenario: str = ""
    accuracy: float | None = None
    computed: bool = True


class Tally(NamedTuple):
    """What workers have done so far.

    Attributes:
      micro_batch: rows computed at once on each device.
      programs_compiled: by all of them together.
      compile_seconds: wall clock; of several workers the longest.
      sweep_seconds: wall clock after compilation, without waiting for tiles; of several workers the longest.
      busy_seconds: how long their devices had work, summed.
      workers: how many there were.
    """

    micro_batch: int
    programs_compiled: int
    compile_seconds: float
    sweep_seconds: float
    busy_seconds: float
    workers: int = 1

    @classmethod
    def of(cls, tallies: Iterable["Tally"]) -> "Tally":
        """Several workers' tallies as one."""
        micro_batches, compiled, compiling, sweeping, busy, workers = zip(*tallies, strict=True)
        return cls(min(micro_batches), sum(compiled), max(compiling), max(sweeping), sum(busy), sum(workers))


class Worker:
    """Computes tiles and commits them: one tile on its way to the device, one on it, one on its way to the store.

    Args:
      campaign: what is computed.
      plan: its plan.
      programs: its programs.
      store: where finished tiles go.
      environment: what every row says it was computed with.
      micro_batch: rows at once on each device; measured and remembered unless given.
      layout: the devices that rows are dealt out to; one device unless given.
      note: called with the phase that begins: "measuring", "compiling", "running", "exhibits".
    """

    def __init__(
        self,
        campaign: Campaign,
        plan: Plan,
        programs: Programs,
        store: Store,
        environment: dict[str, Any],
        micro_batch: int | None = None,
        layout: Layout | None = None,
        note: Callable[[str], None] = lambda phase: None,
    ):
        self.campaign, self.plan, self.programs, self.store = campaign, plan, programs, store
        self.environment, self.note = environment, note
        self._layout = layout or Layout()
        self._tuning = Tuning(campaign, plan, programs, environment["id"], store, self._layout)
        self._autopilot = micro_batch is None
        if micro_batch is None:
            note("measuring")
            micro_batch = self._tuning.micro_batch()
        self._taken: list[Tile] = []
        self._compiled, self._compile_seconds = 0, 0.0  # by engines of wider micro-batches, which ran out of memory
        self._sweep_seconds = self._busy_seconds = self._ready_at = 0.0
        self._engine = self._with(micro_batch)

    @property
    def tally(self) -> Tally:
        engine = self._engine
        return Tally(
            self._micro_batch,
            self._compiled + engine.compiled,
            self._compile_seconds + engine.compile_seconds,
            self._sweep_seconds,
            self._busy_seconds,
        )

    def compute(
        self,
        tiles: Iterable[Tile | None],
        finished: Callable[[Finished], None],
        ahead: tuple[Structure, ...] = (),
    ) -> None:
        """Computes tiles, one after the other, and commits them.

        Out of memory, it goes on with half of the micro-batch.

        Args:
          tiles: what to compute, in order. They are taken when their turn comes; None says that nothing more is known
            for now: all that was taken is finished before the next is asked for.
          finished: called with each tile that is in the store, from this thread.
          ahead: structures of stages to compile at once, before the first tile is taken.

        Raises:
          StoreError: if a part cannot be written.
          ArgumentError: if the model returns probabilities, or a stage refuses what it is shown.
        """
        pending: Iterator[Tile | None] = iter(tiles)
        self._taken = []  # what an earlier call left behind is no concern of this one
        while True:
            try:
                self.note("compiling")
                if self._autopilot:
                    self._tuning.loops(self._micro_batch, ahead)
                self._engine.compile(ahead)
                self.note("running")
                self._sweep(pending, finished)
                return
            except jax.errors.JaxRuntimeError as error:
                if not is_out_of_memory(error) or self._micro_batch == 1:
                    raise
                pending, self._taken = itertools.chain(self._taken, pending), []
                self._compiled += self._engine.compiled
                self._compile_seconds += self._engine.compile_seconds
                self._engine = self._with(self._tuning.halve(self._micro_batch))
                log.warning("the device ran out of memory: going on with micro-batches of %d", self._micro_batch)

    def exhibits(self) -> None:
        """Keeps what the report shows beside the responses, as far as it is not there yet."""
        keep_exhibits(self.campaign, self.plan, self._engine, self.store, self.note)

    # --- how ---------------------------------------------------------------------------------------------------------

    def _with(self, micro_batch: int) -> Engine:
        self._micro_batch = micro_batch
        return Engine(self.campaign, self.plan, self.programs, micro_batch * self._layout.shares, self._layout)

    def _sweep(self, tiles: Iterable[Tile | None], finished: Callable[[Finished], None]) -> None:
        started, waited, idle = time.perf_counter(), 0.0, None

        def done(found: Finished) -> None:
            self._taken = [tile for tile in self._taken if tile.id != found.tile]
            finished(found)

        writer = _Writer(self._commit, done)
        in_flight: tuple[Tile, list[Answers], float] | None = None
        try:
            for tile in tiles:
                if idle is not None:
                    waited, idle = waited + time.perf_counter() - idle, None
                if tile is None:
                    if in_flight is not None:
                        self._collect(writer, *in_flight)
                        in_flight = None
                    writer.wait()
                    idle = time.perf_counter()
                    continue
                self._taken.append(tile)
                if in_flight is not None and any(structure.synchronous for structure in tile.structures):
                    self._collect(writer, *in_flight)  # what is finished goes to disk before the host is busy
                    in_flight = None
                at = time.perf_counter()
                dispatched = tile, self._engine.dispatch(tile), at
                if in_flight is not None:  # the next tile is queued on the device before the host looks at this one
                    self._collect(writer, *in_flight)
                in_flight = dispatched
            if in_flight is not None:
                self._collect(writer, *in_flight)
            writer.wait()
        finally:
            writer.close()
            now = time.perf_counter()
            self._sweep_seconds += now - started - waited - (0.0 if idle is None else now - idle)

    def _collect(self, writer: "_Writer", tile: Tile, found: list[Answers], dispatched: float) -> None:
        jax.block_until_ready([answers.columns for answers in found])
        now = time.perf_counter()
        seconds = now - max(dispatched, self._ready_at)
        self._busy_seconds += seconds
        self._ready_at = now
        columns = gathered(tile, found)
        accuracy = float(columns["correct"].mean()) if "correct" in columns else None
        writer.put(tile, columns, Finished(tile.id, tile.rows, seconds, tile.scenarios[-1].name, accuracy))

    def _commit(self, tile: Tile, columns: dict[str, np.ndarray]) -> None:
        scenario, seed, example = np.unravel_index(np.arange(tile.rows), tile.shape)
        examples = self.campaign.examples
        severities = [np.nan if s.severity is None else s.severity for s in tile.scenarios]
        address = {
            "scenario": Coded([s.name for s in tile.scenarios], scenario),
            "stages": Coded(["+".join(s.stages) or "clean" for s in tile.scenarios], scenario),
            "severity": np.array(severities, np.float64)[scenario],
            "seed": np.array(tile.seeds, np.uint64)[seed],
            "example": examples.ids[tile.start + example],
        }
        standing = self.campaign.standings.rows(tile)
        if examples.y.ndim == 1:
            address["label"] = examples.y[tile.start + example]
        if examples.is_classification:
            address["target"] = address["label"] if standing is None else standing.target
            address["observed"] = address["label"] if standing is None else standing.observed
        address["weight"] = np.ones(tile.rows, np.float32) if standing is None else standing.weight
        status = Coded(STATUSES, columns.pop("status"))
        stages_digest = Coded([self.campaign.settings_digest(s) for s in tile.scenarios], scenario)
        constants = {
            "tile": tile.id,
            "model": self.campaign.model.digest,
            "data": self.campaign.data.digest,
            "program": tile.program,
            "environment": self.environment["id"],
            "micro_batch": self._engine.width,
        }
        self.store.commit(tile.id, {**address, **columns, "status": status, "stages_digest": stages_digest}, constants)


class _Writer:
    """Writes finished tiles in a thread of its own, while the device goes on; never more than one is on its way.

    So a kill loses the tile in hand and at most one that was computed and not yet written.
    """

    def __init__(self, commit: Callable[[Tile, dict[str, np.ndarray]], None], finished: Callable[[Finished], None]):
        self._commit, self._finished = commit, finished
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="sensijax-writer")
        self._writing: tuple[concurrent.futures.Future, Finished] | None = None

    def put(self, tile: Tile, columns: dict[str, np.ndarray], found: Finished) -> None:
        """Starts to write a tile once the one before it is there; raises what went wrong with that one."""
        self.wait()
        self._writing = self._thread.submit(self._commit, tile, columns), found

    def wait(self) -> None:
        """Waits until everything is there, and says so; raises what went wrong."""
        if self._writing is not None:
            (writing, found), self._writing = self._writing, None
            writing.result()
            self._finished(found)

    def close(self) -> None:
        """Waits for what is on its way, and says so if it arrived, whatever became of the rest."""
        self._thread.shutdown(wait=True)
        if self._writing is not None and self._writing[0].exception() is None:
            self.wait()
