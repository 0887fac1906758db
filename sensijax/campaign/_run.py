"""Running a campaign: what is missing is handed to a crew, tile after tile, and what is finished is never lost."""

import dataclasses
import logging
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._environment import refuse_mixing
from sensijax.campaign._manifest import manifest_of
from sensijax.campaign._plan import BYTES_PER_ROW, Plan, make_plan
from sensijax.campaign._programs import Programs
from sensijax.campaign._worker import Finished, Tally
from sensijax.campaign.exhibits._exhibits import missing_exhibits
from sensijax.campaign.on import Placement, mesh
from sensijax.campaign.on._placement import Crew, Job
from sensijax.campaign.results._results import Results
from sensijax.campaign.store._location import open_store
from sensijax.campaign.store._store import Store
from sensijax.core import ArgumentError

log = logging.getLogger(__name__)


class Progress(NamedTuple):
    """Where a run is; handed to `progress` from time to time.

    Attributes:
      phase: what is being done: "planning", "measuring", "compiling", "running", "exhibits" (what
        the report shows beside the responses), "done".
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
    on: Placement | None = None,
    micro_batch: int | None = None,
    allow_mixed: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Results:
    """Runs a campaign, or what is missing of it, and returns its results.

    A finished tile is never computed again, a damaged one always is. A changed model, data set, stage or program has
    other tiles: the folder keeps the old ones apart.

    Args:
      campaign: what to run.
      store: the folder; made if it is not there. Or the URL of one on an object store, such as "s3://bucket/run".
      on: where tiles are computed, see `sensijax.on`; all devices of this process unless given.
      micro_batch: rows computed at once on each device; measured and remembered unless given. Perturbed inputs do not
        depend on it; the last bit of the model's outputs may.
      allow_mixed: go on in a folder whose tiles come from another environment (another JAX, another device).
      progress: called with a `Progress` as the run goes on, from this thread.

    Returns:
      The results; complete, but for tiles that failed again and again on a cluster (they are logged).

    Raises:
      StoreError: if the folder cannot be written or the disk is full (what is finished stays), or it holds tiles of
        another environment and `allow_mixed` is False.
      ArgumentError: if the model returns probabilities, `micro_batch` < 1, or the placement does not fit.

    Example:
      >>> results = run(campaign, "runs/digits")          # doctest: +SKIP
      >>> results.ranking()                               # doctest: +SKIP
    """
    if micro_batch is not None and micro_batch < 1:
        raise ArgumentError("micro_batch", micro_batch, "at least one row")
    if on is not None and not isinstance(on, Placement):
        raise ArgumentError("on", repr(on), "a placement: sensijax.on.mesh(...), .ray(...) or .processes()")
    run = _Run(campaign, open_store(store), allow_mixed, progress or (lambda _: None))
    return run.execute(mesh() if on is None else on, micro_batch)


def check_folder(location: str | os.PathLike, plan: Plan) -> None:
    """Makes a campaign's folder and finds out whether the plan's parts can be written there.

    Args:
      location: a folder, or a URL.
      plan: what is to be computed.

    Raises:
      StoreError: if it cannot be made or written, or the disk has too little room for what is missing.
    """
    _check(open_store(location), plan)


def _check(store: Store, plan: Plan) -> None:
    present = store.tiles()
    store.check_writable(sum(tile.rows for tile in plan.tiles if tile.id not in present) * BYTES_PER_ROW)


class _Run:
    def __init__(self, campaign: Campaign, store: Store, allow_mixed: bool, progress: Callable[[Progress], None]):
        self.campaign, self.store, self.allow_mixed, self.report = campaign, store, allow_mixed, progress
        self.started = time.perf_counter()
        self.latencies: list[float] = []
        self.plan = Plan((), (), 0)
        self.finished_tiles = self.finished_rows = self.computed = 0

    def execute(self, on: Placement, micro_batch: int | None) -> Results:
        self.report(Progress("planning"))
        programs = Programs(self.campaign)
        self.plan = plan = make_plan(self.campaign, programs)
        _check(self.store, plan)
        job = Job(self.campaign, plan, programs, self.store, micro_batch, self.allow_mixed, self._note)
        with on.crew(job) as crew:
            done = self.store.scan(tile.id for tile in plan.tiles)
            if not self.allow_mixed:
                refuse_mixing(self.store, crew.environment, list(done.parts.values()))
            self._open_folder(crew.environment)
            for name in done.damaged:
                log.warning("%s was damaged: moved to quarantine, will be computed again", name)
            for tile in done.conflicts:
                log.warning("tile %s exists twice with different content: the computation is not deterministic", tile)
            todo = [tile for tile in plan.tiles if tile.id not in done.parts]
            self.finished_tiles = len(plan.tiles) - len(todo)
            self.finished_rows = plan.rows - sum(tile.rows for tile in todo)
            if todo:
                tally = crew.compute(todo, self._finished)
                self._record(crew, tally, done.damaged)
            if missing_exhibits(self.campaign, plan, self.store):
                crew.exhibits()
        self.report(self._progress("done"))
        return Results.open(self.store.location)

    # --- before ------------------------------------------------------------------------------------------------------

    def _open_folder(self, environment: dict[str, Any]) -> None:
        plan = self.plan
        manifest = manifest_of(self.campaign, plan, environment)
        before = self.store.recover_json("campaign.json")
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
        self.store.write_json(f"environments/{environment['id']}.json", environment)

    def _example_columns(self) -> dict[str, np.ndarray]:
        examples = self.campaign.examples
        label = examples.y if examples.y.ndim == 1 else np.full(len(examples), np.nan, np.float32)
        return {"example": examples.ids, "label": label, **examples.groups}

    # --- meanwhile, and after ----------------------------------------------------------------------------------------

    def _note(self, phase: str) -> None:
        self.report(self._progress(phase))

    def _finished(self, found: Finished) -> None:
        if found.computed:
            self.latencies.append(found.seconds)
            self.computed += found.rows
        self.finished_tiles += 1
        self.finished_rows += found.rows
        self.report(self._progress("running", found.scenario, found.accuracy))

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

    def _record(self, crew: Crew, tally: Tally, damaged: tuple[str, ...]) -> None:
        if self.latencies:
            self.store.append_line("runs.jsonl", dataclasses.asdict(self._statistics(crew, tally, damaged)))

    def _statistics(self, crew: Crew, tally: Tally, damaged: tuple[str, ...]) -> "RunStatistics":
        p50, p99 = np.percentile(self.latencies, [50, 99])
        return RunStatistics(
            tiles_computed=len(self.latencies),
            tiles_total=len(self.plan.tiles),
            rows_computed=self.computed,
            damaged_parts=len(damaged),
            programs_planned=self.plan.programs,
            programs_compiled=tally.programs_compiled,
            micro_batch=tally.micro_batch,
            compile_seconds=tally.compile_seconds,
            sweep_seconds=tally.sweep_seconds,
            total_seconds=time.perf_counter() - self.started,
            rows_per_second=self.computed / tally.sweep_seconds,
            scenarios_per_second=self.computed / len(self.campaign.examples) / tally.sweep_seconds,
            tile_latency_p50=float(p50),
            tile_latency_p99=float(p99),
            device_share=min(1.0, tally.busy_seconds / (tally.sweep_seconds * tally.workers)),
            workers=tally.workers,
            device=crew.environment["device"],
            environment=crew.environment["id"],
            finished_at=time.time(),
        )


@dataclasses.dataclass(frozen=True)
class RunStatistics:
    """What one run did; a line of `runs.jsonl`.

    Attributes:
      tiles_computed, tiles_total, rows_computed: how much. A row is one example under one variant.
      damaged_parts: found and computed again.
      programs_planned, programs_compiled: equal, in a complete run of one worker that did not run out of memory.
      micro_batch: rows at once.
      compile_seconds, sweep_seconds, total_seconds: wall clock; the sweep is all after compilation.
      rows_per_second: perturbed examples judged per second of the sweep.
      scenarios_per_second: variants (scenario x seed over the whole data set) per second of the sweep.
      tile_latency_p50, tile_latency_p99: seconds from a tile's turn on the device until its results are there.
      device_share: fraction of the sweep's wall clock in which the devices had work.
      workers: how many computed side by side.
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
    workers: int
    device: str
    environment: str
    finished_at: float
