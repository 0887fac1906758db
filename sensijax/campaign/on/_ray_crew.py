"""A crew of Ray actors: the driver's side. It deals tiles, hears reports, and replaces who dies."""

import logging
import queue
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from sensijax.campaign._plan import Tile
from sensijax.campaign._worker import Finished, Tally
from sensijax.campaign.on._placement import Crew, Job
from sensijax.campaign.on._ray_actor import Failed, Passport, Refused, Report, Said, plan_digest, versions
from sensijax.campaign.on._ray_node import Node
from sensijax.campaign.on._turns import HELD
from sensijax.campaign.schedule._queues import Item
from sensijax.campaign.schedule._schedule import Schedule
from sensijax.core import ArgumentError, StoreError

log = logging.getLogger(__name__)

START_SECONDS = 300.0  # for the first worker to come
LATE_SECONDS = 60.0  # for the others, once one is there: who comes later joins in
DEATHS = 10  # in a row beyond two for each worker, with no tile finished between: something else is wrong


class Member:
    """An actor, as the driver knows it.

    Attributes:
      name: its number.
      actor: Ray's handle.
      passport: what it said of itself, once it did.
      ready: whether it computes.
      busy: whether a call is pending.
      stopped: whether it was told to make the exhibits, and takes no more tiles.
      tally: its last one.
    """

    def __init__(self, name: str, actor: Any):
        self.name, self.actor = name, actor
        self.passport: Passport | None = None
        self.ready = self.busy = self.stopped = False
        self.tally: Tally | None = None

    @property
    def where(self) -> str:
        return f"worker {self.name}" + (f" on {self.passport.node}" if self.passport else "")


class RayCrew(Crew):
    """See `Crew`.

    Args:
      job: what is to be done.
      engaged: makes an actor.
      enlisted: calls its `enlist`, with a token that it leaves in the folder.
      workers: how many.
      accelerated: the resource that they were promised, if any: their JAX has to see it.
      let_go: called in the end.
    """

    def __init__(
        self,
        job: Job,
        engaged: Callable[[], Any],
        enlisted: Callable[[Any, str], Any],
        workers: int,
        accelerated: str | None,
        let_go: Callable[[], None],
    ):
        self._job, self._engaged, self._enlisted = job, engaged, enlisted
        self._accelerated, self._let_go = accelerated, let_go
        self._workers, self._count = workers, 0
        self._plan = plan_digest(job.plan)
        self._events: queue.SimpleQueue[tuple[Member, Callable[[Member, Any], None], Any] | None] = queue.SimpleQueue()
        self._members: dict[str, Member] = {}
        self._micro_batches: dict[str, int | None] = {}  # by environment: the first one there measures for all
        self._schedule: Schedule | None = None
        self._tiles: dict[str, tuple[Tile, Item]] = {}
        self._issued: dict[tuple[str, str], float] = {}
        self._tallies: list[Tally] = []
        self._deaths_in_a_row = 0
        self._given_up: set[str] = set()  # recorded; a late copy may still come through
        self._finished: Callable[[Finished], None] = lambda found: None
        self.environment: dict[str, Any] = {}
        self._node = Node(died=lambda: self._events.put(None))
        try:
            for _ in range(workers):
                self._engage()
            self._await_members()
        except BaseException:
            self.close()
            raise

    # --- a crew's part -----------------------------------------------------------------------------------------------

    def compute(self, tiles: Sequence[Tile], finished: Callable[[Finished], None]) -> Tally:
        items = [Item(t.id, t.structures, t.rows * (1 + sum(s.passes for s in t.structures))) for t in tiles]
        self._tiles = {tile.id: (tile, item) for tile, item in zip(tiles, items, strict=True)}
        self._schedule = schedule = Schedule(items, depth=HELD)
        self._finished = finished
        self._begin_all()
        while not schedule.done:
            alarm = schedule.alarm(time.monotonic())
            self._hear(60.0 if alarm is None else min(60.0, max(0.01, alarm - time.monotonic())))
            self._deal()
        tallies = self._tallies + [member.tally for member in self._members.values() if member.tally is not None]
        width = next((width for width in self._micro_batches.values() if width), 0)
        return Tally.of(tallies or [Tally(width, 0, 0.0, 1e-9, 0.0)])

    def exhibits(self) -> None:
        self._begin_all()
        done: list[Refused | None] = []
        while self._members and not done:
            idle = [member for member in self._members.values() if member.ready and not member.busy]
            asked = any(member.stopped for member in self._members.values())
            if idle and not asked:
                idle[0].stopped = True
                self._call(idle[0], idle[0].actor.exhibits.remote(), lambda _, refused: done.append(refused))
            self._hear(60.0)
        if not done:
            log.warning("no worker was left to make the report's exhibits: the next run makes them")
        elif done[0] is not None:
            raise done[0].raised()

    def close(self) -> None:
        import ray

        self._node.leave()
        if self._node.is_dead:  # to disconnect from a dead node would end this process before it can say so
            return
        for member in self._members.values():
            ray.kill(member.actor)
        self._members.clear()
        self._let_go()

    # --- getting them together ---------------------------------------------------------------------------------------

    def _engage(self) -> None:
        member = Member(str(self._count), self._engaged())
        self._count += 1
        self._members[member.name] = member
        token = uuid.uuid4().hex
        self._call(member, self._enlisted(member.actor, token), lambda m, came: self._introduced(m, came, token))

    def _await_members(self) -> None:
        started = first = time.monotonic()
        while any(member.passport is None for member in self._members.values()):
            known = any(member.passport is not None for member in self._members.values())
            first = first if known else time.monotonic()
            if time.monotonic() - started > START_SECONDS and not known:
                raise ArgumentError(
                    "workers",
                    f"none came within {START_SECONDS:.0f} s",
                    "free resources on the cluster: see `ray status`",
                )
            if known and time.monotonic() - first > LATE_SECONDS:
                break
            self._hear(1.0)

    def _introduced(self, member: Member, came: Passport | Refused, token: str) -> None:
        store = self._job.store
        try:
            if isinstance(came, Refused):
                raise came.raised()
            member.passport = came
            if not store.has_probe(token):
                raise StoreError(
                    f"{store.location} is not the same folder on {came.node} ({came.address}) as here: what is written "
                    "there does not come here; use a folder that all nodes share, or a bucket"
                )
            store.remove_probe(token)
            self._examine(came)
        except (ArgumentError, StoreError) as error:
            if self._schedule is None:
                raise
            log.warning("%s is not hired: %s", member.where, error)
            self._dismiss(member)
            return
        if not self.environment:
            self.environment = came.environment
        if self._schedule is not None:
            self._begin(member)

    def _examine(self, came: Passport) -> None:
        """Refuses who cannot compute what was asked, or would compute something else."""
        if came.plan != self._plan:
            here = versions()
            differing = {k: (v, here[k]) for k, v in came.versions.items() if here[k] != v}
            said = ", ".join(f"{name} {there} there, {ours} here" for name, (there, ours) in differing.items())
            raise ArgumentError(
                "workers",
                f"{came.node} ({came.address}) plans other tiles than this process ({said or 'the code differs'})",
                "the same versions, and the same code, on every node",
            )
        if self._accelerated and came.environment["platform"] == "cpu":
            raise ArgumentError(
                "accelerators",
                f"JAX on {came.node} ({came.address}) sees no accelerator, though Ray gave it a {self._accelerated}",
                "a JAX for it on that node: pip install 'jax[cuda12]', or 'jax[tpu]'",
            )
        others = [m.passport for m in self._members.values() if m.passport and m.passport is not came]
        reference = next((p for p in others if p.environment["id"] != came.environment["id"]), None)
        if reference is not None and not self._job.allow_mixed:
            there, before = came.environment, reference.environment
            differing = {k: v for k, v in there.items() if k != "id" and before.get(k) != v}
            raise ArgumentError(
                "workers",
                f"{came.node} ({came.address}) has "
                + ", ".join(
                    f"{k} {v!r} where {reference.node} ({reference.address}) has {before.get(k)!r}"
                    for k, v in differing.items()
                ),
                "one environment on all nodes, or allow mixing (--allow-mixed): results may differ in the last bits",
            )

    def _begin_all(self) -> None:
        for member in list(self._members.values()):
            self._begin(member)

    def _begin(self, member: Member) -> None:
        if member.passport is None or member.ready or member.busy:
            return
        kind = member.passport.environment["id"]
        if kind not in self._micro_batches:
            self._micro_batches[kind] = self._job.micro_batch
            if self._job.micro_batch is None:
                self._job.note("measuring")
        elif self._micro_batches[kind] is None:
            return  # another one measures
        begun = member.actor.begin.remote(self._micro_batches[kind])
        self._call(member, begun, self._begun)

    def _begun(self, member: Member, came: int | Refused) -> None:
        if isinstance(came, Refused):
            raise came.raised()
        assert member.passport is not None
        member.ready = True
        kind = member.passport.environment["id"]
        if self._micro_batches[kind] is None:
            self._micro_batches[kind] = came
            self._begin_all()
        if self._schedule is not None:
            self._job.note("running")
            self._schedule.hire(member.name)

    # --- dealing and hearing -----------------------------------------------------------------------------------------

    def _call(self, member: Member, reference: Any, then: Callable[[Member, Any], None]) -> None:
        member.busy = True
        reference.future().add_done_callback(lambda future: self._events.put((member, then, future)))

    def _hear(self, seconds: float) -> None:
        """Waits for something to happen, and sees to all that did."""
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            return
        while True:
            if event is None:
                self._strand()
            member, then, future = event
            if member.name in self._members:
                member.busy = False
                error = future.exception()
                if error is not None:
                    self._bury(member, error)
                else:
                    then(member, future.result())
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return

    def _deal(self) -> None:
        schedule, now = self._schedule, time.monotonic()
        assert schedule is not None
        for member in self._members.values():
            if not member.ready or member.busy:
                continue
            tiles = []
            while (item := schedule.next(member.name, now)) is not None:
                tiles.append(item.id)
                self._issued[member.name, item.id] = now
            if tiles or schedule.in_flight(member.name):
                self._call(member, member.actor.exchange.remote(tiles), self._reported)

    def _reported(self, member: Member, came: tuple[list[Report], Tally]) -> None:
        reports, member.tally = came
        now = time.monotonic()
        for report in reports:
            match report:
                case Finished():
                    self._deaths_in_a_row = 0
                    self._ended(member.name, report, now)
                case Failed(tile, error):
                    self._failed(member, tile, error, now)
                case Said(level, text):
                    log.log(level, "%s: %s", member.where, text)
                case Refused():
                    raise report.raised()

    def _ended(self, name: str, report: Finished, now: float) -> None:
        assert self._schedule is not None
        self._issued.pop((name, report.tile), None)
        if self._schedule.finished(name, self._tiles[report.tile][1], now):
            self._finished(report)

    def _failed(self, member: Member, tile: str, error: str, now: float) -> None:
        assert self._schedule is not None
        self._issued.pop((member.name, tile), None)
        log.warning("tile %s failed on %s: %s", tile, member.where, error)
        self._schedule.failed(member.name, self._tiles[tile][1], f"{member.where}: {error}", now)
        self._record_given_up()

    def _record_given_up(self) -> None:
        assert self._schedule is not None
        for poison in [poison for poison in self._schedule.poisoned if poison.item.id not in self._given_up]:
            self._given_up.add(poison.item.id)
            tile = self._tiles[poison.item.id][0]
            names = [scenario.name for scenario in tile.scenarios]
            address = {"tile": tile.id, "seeds": list(tile.seeds), "start": tile.start, "stop": tile.stop}
            line = {**address, "scenarios": names, "errors": poison.errors, "at": time.time()}
            self._job.store.append_line("failures.jsonl", line)
            log.error(
                "tile %s (%s) was given up after %d tries, and is missing from the results: %s",
                tile.id,
                ", ".join(names[:3]) + (", ..." if len(names) > 3 else ""),
                len(poison.errors),
                poison.errors[-1],
            )

    # --- deaths ------------------------------------------------------------------------------------------------------

    def _bury(self, member: Member, error: BaseException) -> None:
        """A worker has died: its tiles are dealt again, and another one is engaged in its place."""
        reason = _reason(error)
        # Before anything is asked of the node: a request to a dead one ends this process, and nobody learns why.
        if "owner has died" in str(error) or self._node.ask():
            self._strand()
        self._deaths_in_a_row += 1
        orphans = self._dismiss(member)
        log.warning("%s died (%s): %d tiles are dealt again", member.where, reason, len(orphans))
        if self._deaths_in_a_row > DEATHS + 2 * self._workers:
            raise StoreError(
                f"{self._deaths_in_a_row} workers died one after the other and no tile was finished between, the last "
                f"one because: {reason}; every finished tile is kept"
            )
        if self._schedule is None or not self._schedule.done:
            self._engage()

    def _strand(self) -> NoReturn:
        self._node.is_dead = True
        raise StoreError(
            "the Ray node that this process is connected to has died, and all workers with it; every finished tile "
            "is kept: run again"
        )

    def _dismiss(self, member: Member) -> tuple[Item, ...]:
        import ray

        del self._members[member.name]
        ray.kill(member.actor)
        if member.tally is not None:
            self._tallies.append(member.tally)
        if (
            member.passport
            and self._micro_batches.get(member.passport.environment["id"], 0) is None
            and not member.ready
        ):
            del self._micro_batches[member.passport.environment["id"]]  # it was to measure: the next one does
        if self._schedule is None or not member.ready:
            return ()
        now = time.monotonic()
        in_store = self._job.store.tiles() if self._schedule.in_flight(member.name) else set()
        for item in self._schedule.in_flight(member.name):
            issued = self._issued.pop((member.name, item.id), now)
            if item.id in in_store:  # it died between writing and saying so
                tile = self._tiles[item.id][0]
                self._ended(member.name, Finished(tile.id, tile.rows, now - issued, tile.scenarios[-1].name), now)
        orphans = self._schedule.lost(member.name, now)
        self._record_given_up()
        return orphans


def _reason(error: BaseException) -> str:
    """What Ray says of a death, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "dead because" in line or "exit" in line.lower() or "Error" in line]
    return (told[-1] if told else lines[-1] if lines else type(error).__name__)[:300]
