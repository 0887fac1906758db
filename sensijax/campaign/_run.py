"""Running a campaign: what is missing is computed, tile after tile, while the finished ones are being written."""

import concurrent.futures
import dataclasses
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._engine import Answers, Engine, gathered, is_out_of_memory
from sensijax.campaign._environment import environment, refuse_mixing
from sensijax.campaign._manifest import manifest_of
from sensijax.campaign._pictures import keep_pictures
from sensijax.campaign._plan import BYTES_PER_ROW, Plan, Tile, make_plan
from sensijax.campaign._programs import Programs
from sensijax.campaign._results import Results
from sensijax.campaign._store import Coded, Store
from sensijax.campaign._tuning import Tuning
from sensijax.core import ArgumentError, StoreError
from sensijax.measure import STATUSES

log = logging.getLogger(__name__)

MINIMUM_MICRO_BATCH = 1


class Progress(NamedTuple):
    """Where a run is; handed to `progress` from time to time.

    Attributes:
      phase: what is being done: "planning", "measuring", "compiling", "running", "done".
      tiles, tiles_total: tiles finished (those of earlier runs too), and in all.
      rows, rows_total: the same in rows.
      seconds: since the start.
      computed: rows computed by this run.
      scenario: the last one finished.
      accuracy: its accuracy in the last tile; None for regression.
    """

    phase: str
    tiles: int = 0
    tiles_total: int = 0
    rows: int = 0
    rows_total: int = 0
    seconds: float = 0.0
    computed: int = 0
    scenario: str = ""
    accuracy: float | None = None


def run(
    campaign: Campaign,
    store: str | os.PathLike,
    *,
    micro_batch: int | None = None,
    allow_mixed: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Results:
    """Runs a campaign, or what is missing of it, and returns its results.

    A finished tile is never computed again, a damaged one always is. A changed model, data set, stage or program has
    other tiles: the folder keeps the old ones apart.

    Args:
      campaign: what to run.
      store: the folder; made if it is not there.
      micro_batch: rows computed at once; measured and remembered unless given. Perturbed inputs do not depend on it;
        the last bit of the model's outputs may.
      allow_mixed: go on in a folder whose tiles come from another environment (another JAX, another device).
      progress: called with a `Progress` as the run goes on, from this thread.

    Returns:
      The results, complete.

    Raises:
      StoreError: if the folder cannot be written or the disk is full (what is finished stays), or it holds tiles of
        another environment and `allow_mixed` is False.
      ArgumentError: if the model returns probabilities, or `micro_batch` < 1.

    Example:
      >>> results = run(campaign, "runs/digits")          # doctest: +SKIP
      >>> results.ranking()                               # doctest: +SKIP
    """
    if micro_batch is not None and micro_batch < 1:
        raise ArgumentError("micro_batch", micro_batch, "at least one row")
    return _Run(campaign, Store(store), micro_batch, allow_mixed, progress or (lambda _: None)).execute()


def check_folder(folder: str | os.PathLike, plan: Plan) -> None:
    """Makes a campaign's folder and finds out whether the plan's parts can be written there.

    Raises:
      StoreError: if it cannot be made or written, or the disk has too little room for what is missing.
    """
    store = Store(folder)
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=store.folder):
            pass
    except OSError as error:
        raise StoreError(f"cannot write to the folder {store.folder}: {error}") from error
    present = store.tiles()
    missing = sum(tile.rows for tile in plan.tiles if tile.id not in present) * BYTES_PER_ROW
    free = shutil.disk_usage(store.folder).free
    if free < missing:
        raise StoreError(
            f"{store.folder} has {free:,} bytes free; what is missing of the campaign needs about {missing:,}"
        )


class _Run:
    def __init__(
        self, campaign: Campaign, store: Store, micro_batch: int | None, allow_mixed: bool, progress: Callable
    ):
        self.campaign, self.store, self.micro_batch, self.allow_mixed, self.report = (
            campaign,
            store,
            micro_batch,
            allow_mixed,
            progress,
        )
        self.started = time.perf_counter()
        self.environment = environment()
        self.latencies: list[float] = []
        self.busy = self.sweep_seconds = 0.0
        self.ready_at = 0.0
        self.computed = 0

    def execute(self) -> Results:
        self.report(Progress("planning"))
        programs = Programs(self.campaign)
        plan = make_plan(self.campaign, programs)
        self.plan = plan
        self._open_folder(plan)
        done = self.store.scan(tile.id for tile in plan.tiles)
        for name in done.damaged:
            log.warning("%s was damaged: moved to quarantine, will be computed again", name)
        for tile in done.conflicts:
            log.warning("tile %s exists twice with different content: the computation is not deterministic", tile)
        todo = [tile for tile in plan.tiles if tile.id not in done.parts]
        self.finished_tiles = len(plan.tiles) - len(todo)
        self.finished_rows = plan.rows - sum(tile.rows for tile in todo)
        if todo:
            self._compute(programs, todo)
        self._finish(len(todo), done.damaged)
        return Results.open(self.store.folder)

    # --- before ------------------------------------------------------------------------------------------------------

    def _open_folder(self, plan: Plan) -> None:
        check_folder(self.store.folder, plan)
        manifest = manifest_of(self.campaign, plan, self.environment)
        before = self.store.read_json("campaign.json")
        if not self.allow_mixed and self.store.tiles() & {tile.id for tile in plan.tiles}:
            refuse_mixing(self.store, self.environment)
        self.store.clear_strays()
        if before is not None and before["id"] != manifest["id"]:
            self.store.write_json(f"history/{before['id']}.json", before)
            kept = len(self.store.tiles() - {tile.id for tile in plan.tiles})
            log.warning(
                "the folder held another campaign (model, data, stages or code differ): "
                "its %d other tiles are kept apart",
                kept,
            )
        examples = self.store.write_examples(self._example_columns())
        manifest["examples"] = examples.name
        if before != manifest:
            self.store.write_json("campaign.json", manifest)
        self.store.write_json(f"environments/{self.environment['id']}.json", self.environment)

    def _example_columns(self) -> dict[str, np.ndarray]:
        examples = self.campaign.examples
        label = examples.y if examples.y.ndim == 1 else np.full(len(examples), np.nan, np.float32)
        return {"example": examples.ids, "label": label, **examples.groups}

    # --- the sweep ---------------------------------------------------------------------------------------------------

    def _compute(self, programs: Programs, todo: list[Tile]) -> None:
        self.report(self._progress("measuring"))
        tuning = Tuning(self.campaign, self.plan, programs, self.environment["id"], self.store)
        width = self.micro_batch or tuning.micro_batch()
        while True:
            self.report(self._progress("compiling"))
            self.engine = Engine(self.campaign, self.plan, programs, width)
            try:
                self._sweep(todo)
                keep_pictures(self.campaign, self.plan, self.engine, self.store)
                return
            except jax.errors.JaxRuntimeError as error:
                if not is_out_of_memory(error) or width <= MINIMUM_MICRO_BATCH:
                    raise
                width = tuning.halve(width)
                log.warning("the device ran out of memory: going on with micro-batches of %d", width)
                present = self.store.tiles()
                todo = [tile for tile in todo if tile.id not in present]

    def _sweep(self, todo: list[Tile]) -> None:
        self.engine.compile(tuple(dict.fromkeys(s for tile in todo for s in tile.structures)))
        sweep_started = time.perf_counter()
        writer = _Writer(self._commit)
        try:
            in_flight: tuple[Tile, Any, float] | None = None
            for tile in todo:
                if in_flight is not None and any(structure.synchronous for structure in tile.structures):
                    self._collect(writer, *in_flight)  # what is finished goes to disk before the host is busy
                    in_flight = None
                at = time.perf_counter()
                dispatched = tile, self.engine.dispatch(tile), at
                if in_flight is not None:  # the next tile is queued on the device before the host looks at this one
                    self._collect(writer, *in_flight)
                in_flight = dispatched
            if in_flight is not None:
                self._collect(writer, *in_flight)
            writer.wait()
        finally:
            writer.close()
            self.sweep_seconds += time.perf_counter() - sweep_started

    def _collect(self, writer: "_Writer", tile: Tile, found: list[Answers], dispatched: float) -> None:
        jax.block_until_ready([answers.columns for answers in found])
        now = time.perf_counter()
        self.latencies.append(now - max(dispatched, self.ready_at))
        self.busy += self.latencies[-1]
        self.ready_at = now
        columns = gathered(tile, found)
        writer.put(tile, columns)
        self.computed += tile.rows
        self.finished_tiles += 1
        self.finished_rows += tile.rows
        accuracy = float(columns["correct"].mean()) if "correct" in columns else None
        self.report(self._progress("running", tile.scenarios[-1].name, accuracy))

    def _commit(self, tile: Tile, columns: dict[str, np.ndarray]) -> None:
        scenario, seed, example = np.unravel_index(np.arange(tile.rows), tile.shape)
        examples = self.campaign.examples

        address = {
            "scenario": Coded([s.name for s in tile.scenarios], scenario),
            "stages": Coded(["+".join(s.stages) or "clean" for s in tile.scenarios], scenario),
            "severity": np.array([np.nan if s.severity is None else s.severity for s in tile.scenarios], np.float64)[
                scenario
            ],
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
            "micro_batch": self.engine.micro_batch,
        }
        self.store.commit(tile.id, {**address, **columns, "status": status, "stages_digest": stages_digest}, constants)

    # --- after -------------------------------------------------------------------------------------------------------

    def _progress(self, phase: str, scenario: str = "", accuracy: float | None = None) -> Progress:
        return Progress(
            phase,
            self.finished_tiles,
            len(self.plan.tiles),
            self.finished_rows,
            self.plan.rows,
            time.perf_counter() - self.started,
            self.computed,
            scenario,
            accuracy,
        )

    def _finish(self, computed_tiles: int, damaged: tuple[str, ...]) -> None:
        if computed_tiles:
            self.store.append_line("runs.jsonl", dataclasses.asdict(self._statistics(computed_tiles, damaged)))
        self.report(self._progress("done"))

    def _statistics(self, computed_tiles: int, damaged: tuple[str, ...]) -> "RunStatistics":
        p50, p99 = np.percentile(self.latencies, [50, 99])
        return RunStatistics(
            tiles_computed=computed_tiles,
            tiles_total=len(self.plan.tiles),
            rows_computed=self.computed,
            damaged_parts=len(damaged),
            programs_planned=self.plan.programs,
            programs_compiled=self.engine.compiled,
            micro_batch=self.engine.micro_batch,
            compile_seconds=self.engine.compile_seconds,
            sweep_seconds=self.sweep_seconds,
            total_seconds=time.perf_counter() - self.started,
            rows_per_second=self.computed / self.sweep_seconds,
            scenarios_per_second=self.computed / len(self.campaign.examples) / self.sweep_seconds,
            tile_latency_p50=float(p50),
            tile_latency_p99=float(p99),
            device_share=min(1.0, self.busy / self.sweep_seconds),
            device=self.environment["device"],
            environment=self.environment["id"],
            finished_at=time.time(),
        )


@dataclasses.dataclass(frozen=True)
class RunStatistics:
    """What one run did; a line of `runs.jsonl`.

    Attributes:
      tiles_computed, tiles_total, rows_computed: how much. A row is one example under one variant.
      damaged_parts: found and computed again.
      programs_planned, programs_compiled: equal, in a complete run that did not run out of memory.
      micro_batch: rows at once.
      compile_seconds, sweep_seconds, total_seconds: wall clock; the sweep is all after compilation.
      rows_per_second: perturbed examples judged per second of the sweep.
      scenarios_per_second: variants (scenario x seed over the whole data set) per second of the sweep.
      tile_latency_p50, tile_latency_p99: seconds from a tile's turn on the device until its results are there.
      device_share: fraction of the sweep's wall clock in which the device had work.
      device, environment: where.
      finished_at: seconds since 1970.
    """

    tiles_computed: int
    tiles_total: int
    rows_computed: int
    damaged_parts: int
    programs_planned: int
    programs_compiled: int
    micro_batch: int
    compile_seconds: float
    sweep_seconds: float
    total_seconds: float
    rows_per_second: float
    scenarios_per_second: float
    tile_latency_p50: float
    tile_latency_p99: float
    device_share: float
    device: str
    environment: str
    finished_at: float


class _Writer:
    """Writes finished tiles in a thread of its own, while the device goes on; never more than one is on its way to
    disk.

    So a kill loses the tile in hand and at most one that was computed and not yet written.
    """

    def __init__(self, commit: Callable[[Tile, dict[str, np.ndarray]], None]):
        self._commit = commit
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="sensijax-writer")
        self._writing: concurrent.futures.Future | None = None

    def put(self, tile: Tile, columns: dict[str, np.ndarray]) -> None:
        """Starts to write a tile once the one before it is on disk; raises what went wrong with that one."""
        self.wait()
        self._writing = self._thread.submit(self._commit, tile, columns)

    def wait(self) -> None:
        """Waits until everything is on disk; raises what went wrong."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        self._thread.shutdown(wait=True)
