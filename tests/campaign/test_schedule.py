"""The schedule's laws under seeded random events: workers that come, die, fail and stall; tiles that raise and kill."""

import heapq
import itertools
import random
import tracemalloc
from collections import Counter

import pytest

from sensijax.campaign.schedule._schedule import Item, Schedule
from sensijax.campaign.schedule._simulation import Faults, simulate
from sensijax.core import ArgumentError


def items(n, programs=1):
    """`n` tiles, the program of each block of equal size another."""
    return [Item(f"t{i:04d}", (f"p{i * programs // n}",)) for i in range(n)]


class Cluster:
    """Workers that compute in order, simulated event by event; everything that a schedule promises is checked at each.

    A tile in `raises` raises; one in `kills` kills its worker when it has its turn; `stall` is the chance that a worker
    stops for good, `die` that it dies of nothing. Dead workers are replaced. On the first `broken` ones, all raise.
    """

    def __init__(
        self, schedule, tiles, workers, seed, *, raises=(), kills=(), die=0.0, stall=0.0, compiling=3.0, broken=0
    ):
        self.schedule, self.tiles, self.raises, self.kills = schedule, tiles, set(raises), set(kills)
        self.rng, self.die, self.stall, self.compiling = random.Random(seed), die, stall, compiling
        self.now, self.events, self.order, self.names = 0.0, [], itertools.count(), itertools.count()
        self.hands, self.compiled, self.stalled, self.busy = {}, {}, set(), set()
        self.broken = {f"w{k}" for k in range(broken)}
        self.counted, self.tried, self.alone, self.spare = Counter(), Counter(), Counter(), workers
        for _ in range(workers):
            self.hire()

    def hire(self):
        name = f"w{next(self.names)}"
        self.schedule.hire(name)
        self.hands[name], self.compiled[name] = [], set()

    def run(self):
        for _ in range(200 * len(self.tiles) + 1000):
            self.deal()
            if self.schedule.done:
                return self
            alarm = self.schedule.alarm(self.now)
            assert alarm is None or alarm > self.now
            if alarm is not None and (not self.events or alarm < self.events[0][0]):
                self.now = alarm
                continue
            assert self.events, "nothing is in flight, nothing is due, and the tiles have not ended"
            self.now, _, name, what = heapq.heappop(self.events)
            if name in self.hands:
                self.happen(name, what)
        raise AssertionError("no end")

    def deal(self):
        for name in list(self.hands):
            while (item := self.schedule.next(name, self.now)) is not None:
                hand = self.hands[name]
                assert item not in hand
                hand.append(item)
                assert len(hand) <= self.schedule.depth
                assert self.schedule.in_flight(name) == tuple(hand)
                self.begin(name)
            self.begin(name)

    def begin(self, name):
        if name in self.busy or name in self.stalled or not self.hands[name]:
            return
        self.busy.add(name)
        item = self.hands[name][0]
        seconds = item.cost * self.rng.lognormvariate(0.0, 0.5)
        seconds += self.compiling * len(set(item.programs) - self.compiled[name])
        self.compiled[name].update(item.programs)
        what = "kill" if item.id in self.kills else "raise" if item.id in self.raises else "finish"
        if name in self.broken:
            what, seconds = "raise", 0.001  # it cannot even read its data
        if self.rng.random() < self.die:
            what = "die"
        if self.rng.random() < self.stall and len(self.stalled) < self.spare - 1:
            self.stalled.add(name)
        else:
            heapq.heappush(self.events, (self.now + seconds, next(self.order), name, what))

    def happen(self, name, what):
        self.busy.discard(name)
        hand = self.hands[name]
        if what in ("kill", "die"):
            self.alone[hand[0].id] += len(hand) == 1
            self.schedule.lost(name, self.now)
            del self.hands[name]
            self.hire()
            return
        item = hand.pop(0)
        if what == "raise":
            self.tried[item.id] += 1
            self.schedule.failed(name, item, "it raised", self.now)
        else:
            self.counted[item.id] += self.schedule.finished(name, item, self.now)


@pytest.mark.parametrize("seed", range(40))
def test_every_tile_ends_once_and_no_innocent_is_given_up(seed):
    rng = random.Random(seed)
    tiles = items(rng.randint(1, 120), programs=rng.randint(1, 9))
    guilty = rng.sample([t.id for t in tiles], min(len(tiles), rng.randint(0, 6)))
    kills, raises = guilty[::2], guilty[1::2]
    tries = rng.randint(1, 4)
    schedule = Schedule(tiles, depth=rng.randint(1, 4), tries=tries)
    cluster = Cluster(
        schedule, tiles, rng.randint(1, 12), seed, raises=raises, kills=kills, stall=rng.choice([0.0, 0.02])
    ).run()
    assert {poison.item.id for poison in schedule.poisoned} == set(guilty)
    assert cluster.counted == {tile.id: 1 for tile in tiles if tile.id not in guilty}
    assert all(len(poison.errors) == tries for poison in schedule.poisoned)
    assert schedule.outstanding == 0


def test_a_tile_is_given_up_after_exactly_as_many_tries():
    tiles = items(50, programs=3)
    schedule = Schedule(tiles, tries=3)
    cluster = Cluster(schedule, tiles, 4, 0, raises=["t0007", "t0049"], kills=["t0020"]).run()
    assert cluster.tried == {"t0007": 3, "t0049": 3}
    assert cluster.alone["t0020"] == 3
    assert schedule.deaths in (3, 4)  # one more where it had company


@pytest.mark.parametrize("seed", range(20))
def test_workers_that_die_of_nothing_cost_no_tile(seed):
    tiles = items(100, programs=4)
    schedule = Schedule(tiles, tries=6)
    cluster = Cluster(schedule, tiles, 6, seed, die=0.05).run()
    assert not schedule.poisoned
    assert cluster.counted == {tile.id: 1 for tile in tiles}


@pytest.mark.parametrize("seed", range(20))
def test_a_broken_machine_costs_no_tile(seed):
    """Eight workers of sixteen raise whatever they are given, and at once: the black hole of a cluster."""
    tiles = items(200, programs=6)
    schedule = Schedule(tiles, tries=3)
    cluster = Cluster(schedule, tiles, 16, seed, raises=["t0100"], broken=8).run()
    assert [poison.item.id for poison in schedule.poisoned] == ["t0100"]
    assert cluster.counted == {tile.id: 1 for tile in tiles if tile.id != "t0100"}
    assert schedule.failures < 200  # and they do not run through all of the tiles


def test_where_everything_fails_everything_is_given_up():
    tiles = items(60, programs=3)
    schedule = Schedule(tiles, tries=3)
    Cluster(schedule, tiles, 5, 0, raises=[tile.id for tile in tiles]).run()
    assert len(schedule.poisoned) == 60 and schedule.failures == 180


def test_a_simulated_cluster_with_everything_that_goes_wrong():
    """1,000 tiles by 32 workers that die, with slow tiles, one that raises and one that kills; memory and calls."""
    tiles = items(1000, programs=12)
    faults = Faults(lifetime=200.0, replaced=5.0, slow=0.01, kills=["t0500"], raises=["t0100"])
    found = simulate(tiles, 32, compiling=lambda program: 3.0, spread=0.5, faults=faults, seed=1)
    schedule = found.schedule
    assert {poison.item.id for poison in schedule.poisoned} == {"t0100", "t0500"}
    assert schedule.done and schedule.deaths > 5
    assert schedule.issued < 1.1 * len(tiles)
    assert schedule.compilations <= 12 + 3 * (32 + schedule.deaths)  # a worker compiles few programs
    assert found.seconds > 1000 / 32


def test_workers_share_out_the_work():
    alone = simulate(items(400, programs=4), 1).seconds
    assert alone == pytest.approx(400.0)
    assert simulate(items(400, programs=4), 8).seconds == pytest.approx(50.0, rel=0.1)


def test_a_worker_keeps_to_its_programs():
    """As many workers as programs of one size: each compiles one, and hardly any another."""
    schedule = simulate(items(320, programs=8), 8, compiling=lambda program: 0.1, spread=0.1).schedule
    assert schedule.compilations <= 8 + 4


def test_memory_is_a_few_words_for_a_tile():
    def made(count):
        tiles = items(count, programs=10)
        tracemalloc.start()
        schedule = Schedule(tiles)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert schedule.outstanding == count
        return size

    assert (made(20_000) - made(2_000)) / 18_000 < 128  # bytes


def test_late_results_and_lost_workers_are_told_apart():
    first, second = items(2)
    schedule = Schedule([first, second], depth=1)
    schedule.hire("a")
    assert (schedule.next("a", 0.0), schedule.next("a", 0.0)) == (first, None)
    assert schedule.lost("a", 1.0) == (first,)
    assert schedule.lost("a", 1.0) == ()
    schedule.hire("b")
    assert schedule.next("b", 2.0) == first
    assert schedule.finished("a", first, 3.0)  # it had got through after all
    assert not schedule.finished("b", first, 4.0)
    assert schedule.duplicates == 1


def test_a_worker_that_was_let_go_makes_no_suspects():
    tiles = items(4)
    schedule = Schedule(tiles, depth=2)
    schedule.hire("a")
    held = [schedule.next("a", 0.0), schedule.next("a", 0.0)]
    assert schedule.lost("a", 1.0, blame=False) == tuple(held)
    schedule.hire("b")
    assert [schedule.next("b", 2.0), schedule.next("b", 2.0)] == held  # two at once: nobody is watched
    assert schedule.deaths == 0


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda: Schedule([Item("a"), Item("a")]), "twice"),
        (lambda: Schedule([Item("a", cost=0.0)]), "cost"),
        (lambda: Schedule([], depth=0), "depth"),
        (lambda: Schedule([]).next("nobody", 0.0), "worker"),
    ],
)
def test_what_makes_no_sense_is_refused(bad, said):
    with pytest.raises(ArgumentError, match=said):
        bad()
