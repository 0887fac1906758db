"""Queues: the tiles that wait, one queue for each set of programs; and which queue a worker should turn to."""

import itertools
from collections import deque
from collections.abc import Callable, Hashable
from typing import NamedTuple

SCANNED = 256  # queues looked at when a worker has to change its program
RETRIES_SCANNED = 8  # tiles looked at for one that a worker may try again


class Item(NamedTuple):
    """A tile, as far as a schedule knows it.

    Attributes:
      id: its digest.
      programs: what a worker must have compiled for it: digests or structures; few distinct tuples for many tiles.
      cost: what it takes beside the others, in any unit; > 0.
    """

    id: str
    programs: tuple[Hashable, ...] = ()
    cost: float = 1.0


class Queue:
    """The tiles that need the same programs and wait.

    Attributes:
      programs: which.
      cost: the sum over all tiles that wait.
      workers: how many are at it.
      fresh: tiles that were never in trouble.
      again: those that raised an error.
      suspects: those that were in flight when a worker died.
    """

    __slots__ = ("_among", "again", "cost", "fresh", "programs", "suspects", "workers")

    def __init__(self, programs: tuple[Hashable, ...], among: "Queues"):
        self.programs, self.cost, self.workers, self._among = programs, 0.0, 0, among
        self.fresh: deque[Item] = deque()
        self.again: deque[Item] = deque()
        self.suspects: deque[Item] = deque()

    @property
    def first(self) -> Item:
        """A tile that waits."""
        return (self.suspects or self.again or self.fresh)[0]

    def take_suspect(self) -> Item:
        """Takes the first of the suspects out."""
        return self._out(self.suspects, 0)

    def take(self, retry: int | None) -> Item:
        """Takes a tile out: the one at place `retry` of those to be tried again, or the first of the fresh ones."""
        return self._out(self.fresh, 0) if retry is None else self._out(self.again, retry)

    def retry_for(self, may: Callable[[Item], bool]) -> int | None:
        """The place of the first tile that may be tried again now; only a few are looked at."""
        first = itertools.islice(self.again, RETRIES_SCANNED)
        return next((place for place, item in enumerate(first) if may(item)), None)

    def drop(self, ended: Callable[[Item], bool]) -> None:
        """Drops what ended while it waited, as far as it stands first."""
        for line in (self.fresh, self.suspects, self.again):
            while line and ended(line[0]):
                self._out(line, 0)

    def _out(self, line: deque[Item], place: int) -> Item:
        item = line[place]
        del line[place]
        self.cost -= item.cost
        self._among.waiting -= 1
        return item

    def __bool__(self) -> bool:
        return bool(self.fresh or self.suspects or self.again)


class Queues:
    """All queues of a schedule.

    Attributes:
      waiting: how many tiles wait.
    """

    def __init__(self):
        self.waiting = 0
        self._all: dict[tuple, Queue] = {}
        self._live: dict[tuple, Queue] = {}  # where something waits; what was taken up last comes last

    def put(self, item: Item, line: str = "fresh", first: bool = False) -> None:
        """Lets a tile wait, in one of the lines of its queue: at the end, or as the first."""
        queue = self._all.get(item.programs)
        if queue is None:
            queue = self._all[item.programs] = Queue(item.programs, self)
        waiting: deque[Item] = getattr(queue, line)
        waiting.appendleft(item) if first else waiting.append(item)
        queue.cost += item.cost
        self.waiting += 1
        self._live.setdefault(item.programs, queue)

    def choose(self, compiled: set[Hashable], offers: Callable[[Queue], bool]) -> Queue | None:
        """The queue for a worker that has to change.

        Args:
          compiled: the programs that it has.
          offers: whether a queue has something for it.

        Returns:
          One that needs no program it lacks; else one that nobody is at; else the one with most work for each worker.
        """
        best, least = None, None
        for queue in list(itertools.islice(self._live.values(), SCANNED)):
            if not offers(queue):
                if not queue:
                    del self._live[queue.programs]
                continue
            missing = sum(program not in compiled for program in queue.programs)
            rank = missing > 0, queue.workers > 0, missing, -queue.cost / (queue.workers + 1)
            if least is None or rank < least:
                best, least = queue, rank
        return best

    def move(self, before: Queue | None, after: Queue | None) -> None:
        """A worker goes from one queue to another."""
        if before is after:
            return
        if before is not None:
            before.workers -= 1
        if after is not None:
            after.workers += 1
            self._live[after.programs] = self._live.pop(after.programs)  # behind those that nobody has taken up
