"""One process of many, each of which runs the same campaign: tiles are dealt by rank, and nobody talks to anybody."""

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from sensijax.campaign._environment import agree_on_environment, environment
from sensijax.campaign._mesh import devices_layout
from sensijax.campaign._paths import Paths
from sensijax.campaign._plan import Tile
from sensijax.campaign._worker import Finished, Tally, Worker
from sensijax.campaign.on._devices import gpus_in_sight, portion
from sensijax.campaign.on._placement import Crew, Job, Placement
from sensijax.campaign.on._ranks import Rank, rank_of
from sensijax.campaign.on._turns import Looks, Turns, dealt
from sensijax.core import ArgumentError

log = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds: for so long may NFS hide new names, unless told otherwise (acdirmax)
SLOWEST = 20.0  # times the slowest tile of this process: another's may be as much slower
COMPILING = 2.0  # times what this process compiled for: another may have begun later


@dataclasses.dataclass(frozen=True)
class OnProcesses(Placement):
    """See `processes`."""

    place: Rank
    patience: float | None = None

    @property
    def leads(self) -> bool:  # type: ignore[override]
        return self.place.rank == 0

    def narrow(self) -> None:
        """Keeps JAX to this process's GPUs, where several processes share a machine. Before JAX is first used.

        Otherwise each of them takes three quarters of the memory of every GPU that it sees. It changes nothing where
        the scheduler has given every process GPUs of its own.
        """
        local, size = self.place.local_rank, self.place.local_size
        seen = gpus_in_sight(os.environ)
        if local is None or size == 1 or seen < 2:
            return
        mine = ",".join(map(str, portion(range(seen), local, size)))
        jax.config.update("jax_cuda_visible_devices", mine)
        log.info("process %d of %d takes GPU %s of this machine", self.place.rank, self.place.size, mine)

    def crew(self, job: Job) -> Crew:
        return _One(job, self.place, self.patience)


def processes(rank: int | None = None, size: int | None = None, patience: float | None = None) -> OnProcesses:
    """One process of many that a scheduler started: Slurm, torchrun, MPI, Kubernetes, a TPU pod, or a loop over ssh.

    Each of them runs the same campaign into the same folder and begins with its share of the tiles. They talk to each
    other through the folder alone: what is finished lies there. Whoever is through with his share helps the others;
    what seems given up is taken over. So a process may die, start late, start again or never come: as long as one is
    left, the campaign is finished, and every process that reaches the end returns complete results.

    Args:
      rank: which this is, 0..size - 1; from the environment unless given, as is `size`: RANK and WORLD_SIZE, Slurm's
        step or array, Open MPI, PMI, JOB_COMPLETION_INDEX with JOB_COMPLETIONS, or TPU_WORKER_ID.
      size: how many there are.
      patience: seconds without a move after which tiles that another has in hand are taken over; unless given, 60, or
        20 times the slowest tile of this process, or twice what it compiled for, whichever is most. Seconds of this
        process's own monotonic clock. Too small a number costs work done twice, never a result.

    Returns:
      What `run(..., on=)` takes.

    Raises:
      ArgumentError: if no rank is found, or several that disagree, or it is no rank of that size.

    Example:
      >>> processes(rank=1, size=4).leads
      False
    """
    if patience is not None and not 0 < patience < float("inf"):
        raise ArgumentError("patience", patience, "seconds, more than 0")
    if (rank is None) != (size is None):
        given, absent = ("size", "rank") if rank is None else ("rank", "size")
        raise ArgumentError(absent, f"nothing beside {given}", "both, or neither: then the environment says it")
    if rank is None or size is None:
        return OnProcesses(rank_of(os.environ), patience)
    if size < 1 or not 0 <= rank < size:
        raise ArgumentError("rank", f"{rank} of {size}", "0..size - 1, of at least one process")
    return OnProcesses(Rank(rank, size, source="rank"), patience)


class _One(Crew):
    """The worker of this process, and its turns among those of the others."""

    def __init__(self, job: Job, place: Rank, patience: float | None):
        self._job, self._place, self._patience = job, place, patience
        self.environment: dict[str, Any] = environment(job.campaign.model.params)
        if not job.allow_mixed:
            agree_on_environment(job.store, (tile.id for tile in job.plan.tiles), self.environment)
        seen, mine = jax.local_devices(), None
        if len(seen) > 1 and place.local_rank is not None and place.local_size != 1:
            mine = portion(seen, place.local_rank, place.local_size)
        self._layout = devices_layout(mine, params=job.campaign.model.params)
        self._worker: Worker | None = None
        self._took_over: set[int] = set()
        self._planned = {tile.id for tile in job.plan.tiles}
        self._strange: tuple[int, int] | None = None  # tiles of other campaigns in the folder: now, and at first

    def compute(self, tiles: Sequence[Tile], finished: Callable[[Finished], None]) -> Tally:
        plan, missing = self._job.plan.tiles, {tile.id for tile in tiles}
        groups, costs = [tile.structures for tile in plan], [self._cost(tile) for tile in plan]
        shares = [[plan[i].id for i in share] for share in dealt(groups, costs, self._place.size)]
        turns = Turns(shares, self._place.rank, missing)
        slowest = 0.0

        def done(found: Finished) -> None:
            nonlocal slowest
            slowest = max(slowest, found.seconds)
            turns.finished(found.tile)
            finished(found)

        self._worker = worker = self._hired()
        mine = set(shares[self._place.rank])
        structures = dict.fromkeys(s for tile in tiles if tile.id in mine for s in tile.structures)
        worker.compute(
            self._turns(turns, {tile.id: tile for tile in tiles}, finished, lambda: self._patience_at(slowest, worker)),
            done,
            tuple(structures),
        )
        if turns.helped or turns.took_over:
            log.info("helped others with %d tiles, took over %d", turns.helped, turns.took_over)
        return worker.tally

    def exhibits(self) -> None:
        if self._place.rank == 0 or 0 in self._took_over:
            (self._worker or self._hired()).exhibits()

    # --- how ---------------------------------------------------------------------------------------------------------

    def _hired(self) -> Worker:
        job = self._job
        return Worker(
            job.campaign, job.plan, job.programs, job.store, self.environment, job.micro_batch, self._layout, job.note
        )

    def _cost(self, tile: Tile) -> float:
        passes = sum(structure.passes for structure in tile.structures)
        return Paths(self._job.campaign, tile).rows * (1.0 + passes)

    def _patience_at(self, slowest: float, worker: Worker) -> float:
        if self._patience is not None:
            return self._patience
        return max(PATIENCE, SLOWEST * slowest, COMPILING * worker.tally.compile_seconds)

    def _turns(
        self,
        turns: Turns,
        tiles: dict[str, Tile],
        finished: Callable[[Finished], None],
        patience: Callable[[], float],
    ) -> Iterator[Tile | None]:
        """The tiles of this process, as it learns what they are. None: what is in hand first, then wait and see."""
        looks = Looks()
        while not turns.done:
            if looks.wait(time.monotonic(), turns.working) == 0.0:
                started = time.monotonic()
                present = self._job.store.tiles()
                seen = turns.seen(present)
                looks.looked(started, time.monotonic(), bool(seen))
                strange = len(present - self._planned)
                self._strange = strange, strange if self._strange is None else self._strange[1]
                for one in seen:
                    tile = tiles[one]
                    finished(Finished(tile.id, tile.rows, 0.0, tile.scenarios[-1].name, computed=False))
            before = turns.took_over
            one = turns.next(time.monotonic(), patience())
            if one is None:
                busy = turns.busy
                yield None
                if not busy:
                    time.sleep(looks.wait(time.monotonic(), False))
                continue
            if turns.took_over > before:
                self._say(turns.owner(one), patience())
            yield tiles[one]

    def _say(self, owner: int, patience: float) -> None:
        if owner not in self._took_over:
            self._took_over.add(owner)
            log.warning(
                "process %d of %d has finished nothing for %.0f s: taking over what it seems to have in hand",
                owner,
                self._place.size,
                patience,
            )
            now, first = self._strange or (0, 0)
            if now > first:
                log.warning(
                    "%d tiles of another campaign have come meanwhile: "
                    "do all processes load the very same model, data and code?",
                    now - first,
                )
