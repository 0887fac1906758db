"""Lateness: how long tiles take here, learned as they end; and which of those in flight are overdue."""

import bisect
import heapq
import itertools
from collections import deque
from collections.abc import Hashable, Iterable

from sensijax.campaign.schedule._queues import Item

WINDOW = 255  # durations remembered


class Flight:
    """A tile in flight.

    Attributes:
      item: the tile.
      worker: where.
      since: when it was issued; later, when its worker came to it.
      compiles: whether its worker had to compile something for it.
      copied: whether it was issued again since.
      landed: whether it has ended here.
    """

    __slots__ = ("compiles", "copied", "item", "landed", "since", "worker")

    def __init__(self, item: Item, worker: Hashable, since: float, compiles: bool):
        self.item, self.worker, self.since, self.compiles = item, worker, since, compiles
        self.copied = self.landed = False


class Lateness:
    """Learns durations, and watches flights from the moment on that somebody has the time to repeat them.

    Args:
      factor: a tile is overdue after so many times what is usual for its cost.
    """

    def __init__(self, factor: float):
        self.factor = factor
        self.watching = False
        self._pace = _Median()  # seconds for a unit of cost, programs compiled
        self._first = _Median()  # seconds of a worker's first tile of a program
        self._due: list[tuple[float, int, Flight | None, float]] = []
        self._overdue: deque[tuple[Flight, float]] = deque()
        self._order = itertools.count()

    def learn(self, flight: Flight, now: float) -> None:
        """A tile was computed."""
        seconds = now - flight.since
        self._first.add(seconds) if flight.compiles else self._pace.add(seconds / flight.item.cost)

    def limit(self, item: Item, compiles: bool) -> float | None:
        """Seconds after which a tile is overdue; None while nothing was learnt."""
        warm = None if self._pace.value is None else self._pace.value * item.cost
        if warm is None or compiles:
            warm = max((s for s in (warm, self._first.value) if s is not None), default=None)
        return None if warm is None else self.factor * warm

    def watch(self, flights: Iterable[Flight]) -> None:
        """Watches flights, or those again whose turn has only come now."""
        for flight in flights:
            limit = self.limit(flight.item, flight.compiles)
            self.watching = limit is not None  # if not, all are watched as soon as something was learnt
            if limit is None:
                return
            heapq.heappush(self._due, (flight.since + limit, next(self._order), flight, flight.since))

    def remind(self, at: float) -> None:
        """Lets `alarm` name a time."""
        heapq.heappush(self._due, (at, next(self._order), None, 0.0))

    def alarm(self, now: float) -> float | None:
        """The next time at which something becomes overdue, after `now`."""
        while self._due and (self._due[0][0] <= now or _stale(*self._due[0][2:])):
            *_, flight, since = heapq.heappop(self._due)
            if flight is not None:
                self._overdue.append((flight, since))
        return self._due[0][0] if self._due else None

    def overdue(self, now: float) -> Flight | None:
        """A flight that is overdue, the one first that was so first; each once."""
        self.alarm(now)
        while self._overdue:
            flight, since = self._overdue.popleft()
            if not _stale(flight, since):
                return flight
        return None


def _stale(flight: Flight | None, since: float) -> bool:
    return flight is not None and (flight.landed or flight.copied or flight.since != since)


class _Median:
    """The median of the last `WINDOW` values."""

    def __init__(self):
        self._values: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        if len(self._values) == WINDOW:
            del self._sorted[bisect.bisect_left(self._sorted, self._values.popleft())]
        self._values.append(value)
        bisect.insort(self._sorted, value)

    @property
    def value(self) -> float | None:
        return self._sorted[len(self._sorted) // 2] if self._sorted else None
