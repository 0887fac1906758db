"""A run without the work: the real schedule, event by event, over workers that only take the time tiles would take."""

import dataclasses
import heapq
import itertools
import random
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

from sensijax.campaign.schedule._schedule import Item, Schedule


@dataclasses.dataclass(frozen=True)
class Faults:
    """What goes wrong in a simulated run.

    Attributes:
      lifetime: mean seconds after which a worker dies, of nothing; exponential. None: never.
      replaced: seconds until another one takes its place.
      slow: chance of a tile to take `slower` times as long.
      slower: how much longer.
      kills: ids of tiles that kill their worker.
      raises: ids of tiles that raise.
    """

    lifetime: float | None = None
    replaced: float = 30.0
    slow: float = 0.0
    slower: float = 20.0
    kills: Collection[str] = ()
    raises: Collection[str] = ()


@dataclasses.dataclass(frozen=True)
class Simulated:
    """What came of it.

    Attributes:
      seconds: from the start of the first worker until every tile had ended.
      computing, compiling: worker-seconds spent so, repeated and lost work included.
      events: how many there were.
      schedule: as it was left: its counters and what it gave up.
    """

    seconds: float
    computing: float
    compiling: float
    events: int
    schedule: Any


def simulate(
    items: Sequence[Item],
    workers: int,
    *,
    compiling: Callable[[Hashable], float] = lambda program: 0.0,
    starting: float = 0.0,
    spread: float = 0.0,
    pace: Callable[[Item], float] = lambda item: 1.0,
    faults: Faults | None = None,
    seed: int = 0,
    depth: int = 3,
    dealt_by: Callable[[Sequence[Item]], Any] | None = None,
) -> Simulated:
    """Runs a schedule over simulated workers.

    Args:
      items: the tiles; a cost is the seconds that one is expected to take.
      workers: how many.
      compiling: seconds that a worker compiles a program.
      starting: seconds until a new worker is ready.
      spread: standard deviation of the logarithm of a tile's seconds; their mean is the cost.
      pace: a factor on a tile's seconds.
      faults: what goes wrong.
      seed: of all draws.
      depth: as in `Schedule`.
      dealt_by: makes the schedule; `Schedule` unless given.

    Returns:
      What came of it.
    """
    faults = faults or Faults()
    schedule = dealt_by(items) if dealt_by is not None else Schedule(items, depth=depth)
    rng, order, names = random.Random(seed), itertools.count(), itertools.count()
    events: list[tuple[float, int, str, int]] = []
    hands: dict[int, list[Item]] = {}
    compiled: dict[int, set[Hashable]] = {}
    working: set[int] = set()
    idle: dict[int, None] = {}
    spent = {"computing": 0.0, "compiling": 0.0}

    def happens(at: float, what: str, worker: int) -> None:
        heapq.heappush(events, (at, next(order), what, worker))

    def begin(worker: int, now: float) -> None:
        if worker in working or not hands[worker]:
            return
        working.add(worker)
        item = hands[worker][0]
        missing = [program for program in item.programs if program not in compiled[worker]]
        compiled[worker].update(missing)
        first = sum(compiling(program) for program in missing)
        seconds = item.cost * pace(item) * (rng.lognormvariate(-spread * spread / 2, spread) if spread else 1.0)
        if faults.slow and rng.random() < faults.slow:
            seconds *= faults.slower
        spent["computing"] += seconds
        spent["compiling"] += first
        happens(now + first + seconds, "kill" if item.id in faults.kills else "end", worker)

    def deal(worker: int, now: float) -> None:
        idle.pop(worker, None)
        while (item := schedule.next(worker, now)) is not None:
            hands[worker].append(item)
            begin(worker, now)
        if not hands[worker]:
            idle[worker] = None

    for _ in range(workers):
        happens(starting, "start", next(names))
    now, count = 0.0, 0
    while not schedule.done:
        alarm = schedule.alarm(now)
        if alarm is not None and (not events or alarm < events[0][0]) and idle:
            now = alarm
            for worker in list(idle):
                deal(worker, now)
            continue
        now, _, what, worker = heapq.heappop(events)
        if what == "start":
            schedule.hire(worker)
            hands[worker], compiled[worker] = [], set()
            if faults.lifetime is not None:
                happens(now + rng.expovariate(1 / faults.lifetime), "die", worker)
            idle[worker] = None
            if events and events[0][0] == now and events[0][2] == "start":
                continue  # all that come at once are there before the first of them is dealt to
            for waiting in list(idle):
                deal(waiting, now)
            continue
        elif worker not in hands:
            continue
        elif what == "end":
            working.discard(worker)
            item = hands[worker].pop(0)
            if item.id in faults.raises:
                schedule.failed(worker, item, "simulated", now)
            else:
                schedule.finished(worker, item, now)
            begin(worker, now)
        else:
            schedule.lost(worker, now)
            del hands[worker], compiled[worker]
            working.discard(worker)
            idle.pop(worker, None)
            happens(now + faults.replaced + starting, "start", next(names))
        count += 1
        if worker in hands:
            deal(worker, now)
        for waiting in list(idle):
            deal(waiting, now)
    return Simulated(now, spent["computing"], spent["compiling"], count, schedule)
