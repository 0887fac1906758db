"""The schedule: which worker computes which tile next. Pure: it starts nothing, and is told what happened and when.

Tiles are safe to compute twice and belong to the store, so a schedule holds no leases and may be thrown away at any
time. What it adds is order: a worker keeps to the programs that it has compiled; never has more than `depth` tiles in
flight; a tile that raises is tried elsewhere; and one that takes its worker down is found out without blaming those
that were in flight beside it. Every event costs O(log n) at most, whatever the number of tiles.
"""

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from sensijax.campaign.schedule._lateness import Flight, Lateness
from sensijax.campaign.schedule._queues import Item, Queue, Queues
from sensijax.core import ArgumentError

Worker = Hashable


class Poison(NamedTuple):
    """A tile that was given up.

    Attributes:
      item: the tile.
      errors: what each try ended with.
    """

    item: Item
    errors: tuple[str, ...]


class Schedule:
    """Deals tiles to workers, driven by events. Times are seconds of any one clock that does not run backwards.

    The order of choice for a worker: the queue that it is at; a queue that needs no program it lacks; one that nobody
    is at; the one with most work for each worker there. When nothing waits, the tile in flight that is longest overdue
    is issued again to a worker that is idle; once more only if that copy is overdue too.

    A worker that dies makes suspects of the tiles in flight on it. A suspect is issued alone: its worker has nothing
    else in flight, so if that one dies too, it is clear by what. Only such deaths, and errors that the tile raised,
    count as tries. So a tile that kills every worker costs `tries` workers, and one more if it had company the first
    time; a tile beside it is never given up for it.

    A worker on which everything fails is told from a tile that fails everywhere: while its last tile failed it gets one
    at a time and none that is being tried again, and after `tries` failures in a row none of the queues that it failed
    at, unless all workers fail.

    Args:
      items: the tiles, each once, in the order of the plan.
      depth: tiles in flight on a worker, at most. Three keep a `Worker` busy: one on its way to the device, one on it,
        one on its way to the store.
      tries: failures of a tile after which it is given up.
      reissue: a tile is overdue after so many times the median duration for its cost.

    Attributes:
      issued: how often a tile was handed out.
      reissued: how often as a copy of one that was overdue.
      duplicates: results that came for a tile that had ended already.
      failures: errors that tiles raised.
      deaths: workers that were lost to something unknown.
      compilations: programs that workers had to compile, counted for each worker.

    Raises:
      ArgumentError: if an id comes twice, a cost is no positive number, or `depth`, `tries` or `reissue` is too small.

    Example:
      >>> schedule = Schedule([Item("a", ("fog",)), Item("b", ("fog",)), Item("c", ("noise",))], depth=1)
      >>> schedule.hire("w0")
      >>> first = schedule.next("w0", now=0.0)
      >>> first.id, schedule.next("w0", now=0.0)
      ('a', None)
      >>> schedule.finished("w0", first, now=1.0)
      True
      >>> schedule.next("w0", now=1.0).id, schedule.outstanding, schedule.done
      ('b', 2, False)
    """

    def __init__(self, items: Iterable[Item], *, depth: int = 3, tries: int = 3, reissue: float = 4.0):
        for name, value, least in (("depth", depth, 1), ("tries", tries, 1), ("reissue", reissue, 1.0)):
            if not value >= least:
                raise ArgumentError(name, value, f"at least {least}")
        self.depth, self.tries = depth, tries
        self.issued = self.reissued = self.duplicates = self.failures = self.deaths = self.compilations = 0
        self._open: set[str] = set()
        self._queues = Queues()
        for item in items:
            if item.id in self._open:
                raise ArgumentError("items", f"{item.id!r} twice", "each tile once")
            if not 0 < item.cost < float("inf"):
                raise ArgumentError("items", f"a cost of {item.cost} for {item.id!r}", "a positive number")
            self._open.add(item.id)
            self._queues.put(item)
        self._workers: dict[Worker, _Worker] = {}
        self._reserving: dict[Worker, tuple[_Worker, Item]] = {}  # and the suspect each gets once it has nothing else
        self._aloft: dict[str, tuple[Flight, ...]] = {}  # of tiles that have not ended
        self._troubles: dict[str, _Trouble] = {}
        self._came_through = self._reminded = float("-inf")
        self._shaky = 0  # workers whose last tile failed
        self._poisoned: dict[str, Poison] = {}
        self._lateness = Lateness(reissue)

    # --- what is asked -----------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether every tile has ended: computed, or given up."""
        return not self._open

    @property
    def outstanding(self) -> int:
        """How many tiles have not ended."""
        return len(self._open)

    @property
    def poisoned(self) -> tuple[Poison, ...]:
        """The tiles that were given up, with their errors."""
        return tuple(self._poisoned.values())

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def in_flight(self, worker: Worker) -> tuple[Item, ...]:
        """What a worker has in hand, oldest first."""
        return tuple(flight.item for flight in self._at(worker).flights.values())

    def alarm(self, now: float) -> float | None:
        """When idle workers are worth asking for again though nothing happens until then; None: never."""
        return self._lateness.alarm(now)

    def next(self, worker: Worker, now: float) -> Item | None:
        """The next tile for a worker; it counts as in flight from now on.

        Args:
          worker: a hired one.
          now: the time.

        Returns:
          A tile; None if there is none for it now. Ask again after any event, and at the time of `alarm`.
        """
        at = self._at(worker)
        held, workers = len(at.flights), len(self._workers)
        if at.alone or held >= self.depth or held and at.streak:
            return None
        if workers > 1 and self._queues.waiting < held * workers:  # nobody hoards what others could begin with
            return None
        if worker in self._reserving:
            if at.flights:
                return None
            item = self._release(at)
            if item.id in self._open:
                return self._issue(at, item, now, alone=True)
        queue = at.queue
        if queue is None or not self._offers(queue, at, now):
            queue = self._queues.choose(at.compiled, lambda queue: self._offers(queue, at, now))
        if queue is None:
            return None if at.flights else self._repeat(at, now)
        self._queues.move(at.queue, queue)
        at.queue = queue
        return self._take(at, queue, now)

    # --- what happened -----------------------------------------------------------------------------------------------

    def hire(self, worker: Worker) -> None:
        """A worker has come, with nothing compiled.

        Raises:
          ArgumentError: if it is there already.
        """
        if worker in self._workers:
            raise ArgumentError("worker", worker, "one that is not there already")
        self._workers[worker] = _Worker(worker)

    def finished(self, worker: Worker, item: Item, now: float) -> bool:
        """A tile's result is in the store; from a worker that was thought lost, too.

        Returns:
          Whether it is the first for this tile; a later one is a duplicate.
        """
        flight = self._land(worker, item, now)
        if flight is not None:
            self._lateness.learn(flight, now)
            self._came_through = now
            self._proved(self._workers[worker])
        if self._poisoned.pop(item.id, None) is not None:  # a copy of it came through in the end
            return True
        if item.id not in self._open:
            self.duplicates += 1
            return False
        self._end(item)
        return True

    def failed(self, worker: Worker, item: Item, error: str, now: float) -> bool:
        """A tile raised an error; its worker lives. It is tried again, elsewhere if there is an elsewhere.

        Returns:
          Whether the tile is now given up.
        """
        if self._land(worker, item, now) is None or item.id not in self._open:
            return False
        self.failures += 1
        at = self._workers[worker]
        self._shaky += at.failed is None
        at.streak, at.since, at.failed = at.streak + 1, now, item
        at.shuns.add(item.programs)
        trouble = self._troubles.setdefault(item.id, _Trouble())
        trouble.errors.append(error)
        trouble.failed_on.add(worker)
        trouble.suspect = False
        return self._retry(item, trouble, now)

    def lost(self, worker: Worker, now: float, *, blame: bool = True) -> tuple[Item, ...]:
        """A worker is gone, with whatever it had in flight. To lose it a second time changes nothing.

        Args:
          worker: which.
          now: the time.
          blame: False if it is known that no tile did it, such as a machine taken back or a worker let go.

        Returns:
          The tiles that were in flight on it and have not ended.
        """
        gone = self._workers.pop(worker, None)
        if gone is None:
            return ()
        self._queues.move(gone.queue, None)
        self._proved(gone)
        if worker in self._reserving:
            self._queues.put(self._release(gone), "suspects", first=True)
        self.deaths += blame
        for flight in (flights := tuple(gone.flights.values())):
            self._descend(flight)
        orphans = tuple(flight.item for flight in flights if flight.item.id in self._open)
        for item in reversed(orphans):  # what waits goes to the front: the first comes first again
            if not blame:
                self._requeue(item)
                continue
            trouble = self._troubles.setdefault(item.id, _Trouble())
            trouble.suspect = True
            if len(flights) == 1:
                trouble.errors.append(f"worker {worker} died with nothing else in flight")
            self._retry(item, trouble, now)
        return orphans

    # --- tiles -------------------------------------------------------------------------------------------------------

    def _at(self, worker: Worker) -> "_Worker":
        try:
            return self._workers[worker]
        except KeyError:
            raise ArgumentError("worker", worker, "one that was hired and not lost") from None

    def _proved(self, at: "_Worker") -> None:
        self._shaky -= at.failed is not None
        at.streak, at.failed = 0, None
        at.shuns.clear()

    def _end(self, item: Item) -> None:
        self._open.discard(item.id)
        self._aloft.pop(item.id, None)
        self._troubles.pop(item.id, None)

    def _retry(self, item: Item, trouble: "_Trouble", now: float) -> bool:
        if len(trouble.errors) >= self.tries:
            self._poisoned[item.id] = Poison(item, tuple(trouble.errors))
            self._end(item)
            return True
        trouble.since = now
        self._requeue(item)
        return False

    def _requeue(self, item: Item) -> None:
        if item.id in self._aloft:  # its other copy is the next try
            return
        trouble = self._troubles.get(item.id)
        line = "fresh" if trouble is None else "suspects" if trouble.suspect else "again"
        self._queues.put(item, line, first=trouble is None)

    def _issue(self, at: "_Worker", item: Item, now: float, alone: bool) -> Item:
        missing = [program for program in item.programs if program not in at.compiled]
        at.compiled.update(missing)
        at.alone = alone
        self.compilations += len(missing)
        self.issued += 1
        flight = at.flights[item.id] = Flight(item, at.name, now, bool(missing))
        aloft = self._aloft[item.id] = (*self._aloft.get(item.id, ()), flight)
        for one in aloft[:-1]:  # only the last one is watched: should that be late as well, there will be another
            one.copied = True
        if self._lateness.watching:
            self._lateness.watch((flight,))
        return item

    def _land(self, worker: Worker, item: Item, now: float) -> Flight | None:
        at = self._workers.get(worker)
        flight = at.flights.pop(item.id, None) if at is not None else None
        if at is None or flight is None:
            return None
        at.alone = False
        self._descend(flight)
        if at.flights:  # a worker computes in order: only now does the next one have its turn
            behind = next(iter(at.flights.values()))
            behind.since = now
            if self._lateness.watching:
                self._lateness.watch((behind,))
        return flight

    def _descend(self, flight: Flight) -> None:
        flight.landed = True
        others = tuple(one for one in self._aloft.pop(flight.item.id, ()) if one is not flight)
        if others:
            self._aloft[flight.item.id] = others
            others[-1].copied = False
            if self._lateness.watching:
                self._lateness.watch(others[-1:])

    # --- queues ------------------------------------------------------------------------------------------------------

    def _offers(self, queue: Queue, at: "_Worker", now: float) -> bool:
        """Whether a queue has something for a worker."""
        queue.drop(lambda item: item.id not in self._open)
        if not queue or at.streak >= self.tries and queue.programs in at.shuns and not self._trusted(at, now):
            return False
        may_retry = queue.retry_for(lambda item: self._may_retry(item, at, now))
        return bool(queue.fresh or queue.suspects) or may_retry is not None

    def _trusted(self, at: "_Worker", now: float) -> bool:
        """Whether a worker may have what others could do better."""
        return at.failed is None or self._shaky == len(self._workers) or self._waited(at, at.failed, now)

    def _may_retry(self, item: Item, at: "_Worker", now: float) -> bool:
        trouble = self._troubles.get(item.id)
        if trouble is None:  # it has ended
            return False
        elsewhere = len(self._workers) > sum(worker in self._workers for worker in trouble.failed_on)
        if (at.name not in trouble.failed_on or not elsewhere) and self._trusted(at, now):
            return True
        return self._waited(trouble, item, now)

    def _waited(self, what: "_Worker | _Trouble", item: Item, now: float) -> bool:
        """Whether nothing has come through anywhere for several times as long as a tile takes: nobody better will."""
        limit = self._lateness.limit(item, compiles=True)
        if limit is None:
            return False
        until = max(what.since, self._came_through) + limit
        if until > self._reminded:
            self._reminded = until
            self._lateness.remind(until)
        return now >= until

    def _take(self, at: "_Worker", queue: Queue, now: float) -> Item | None:
        if queue.suspects:
            item = queue.take_suspect()
            if at.flights:  # it has to be alone: the worker finishes what it has, and gets nothing until then
                self._reserving[at.name] = at, item
                return None
            return self._issue(at, item, now, alone=True)
        retry = queue.retry_for(lambda item: self._may_retry(item, at, now))
        return self._issue(at, queue.take(retry), now, alone=False)

    def _release(self, at: "_Worker") -> Item:
        return self._reserving.pop(at.name)[1]

    def _repeat(self, at: "_Worker", now: float) -> Item | None:
        """For a worker that is idle while nothing waits: what another one keeps waiting, or is late with."""
        while self._reserving:
            item = self._release(next(iter(self._reserving.values()))[0])
            if item.id in self._open:
                return self._issue(at, item, now, alone=True)
        if not self._trusted(at, now):
            return None
        if not self._lateness.watching:
            self._lateness.watch(f for worker in self._workers.values() for f in worker.flights.values())
        while (flight := self._lateness.overdue(now)) is not None:
            if flight.item.id in self._open:
                self.reissued += 1
                return self._issue(at, flight.item, now, alone=flight.item.id in self._troubles)
        return None


class _Worker:
    __slots__ = ("alone", "compiled", "failed", "flights", "name", "queue", "shuns", "since", "streak")

    def __init__(self, name: Worker):
        self.name, self.alone = name, False
        self.compiled: set[Hashable] = set()
        self.flights: dict[str, Flight] = {}
        self.queue: Queue | None = None
        self.streak = 0  # tiles in a row that failed here
        self.shuns: set[tuple] = set()  # the queues that they came from
        self.failed: Item | None = None  # the last of them
        self.since = 0.0  # when it failed


class _Trouble:
    __slots__ = ("errors", "failed_on", "since", "suspect")

    def __init__(self):
        self.errors: list[str] = []
        self.failed_on: set[Worker] = set()
        self.suspect, self.since = False, 0.0  # when it last failed
