"""Tiles dealt by rank, and turns: whose tiles a process computes, and when it helps others."""

import heapq

import numpy as np
import pytest

from sensijax.campaign.on._turns import HELD, Looks, Turns, dealt


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_every_tile_is_dealt_once_evenly_and_with_few_programs(size):
    rng = np.random.default_rng(size)
    groups = [f"g{k}" for _ in range(5) for k in range(20) for _ in range(10)]  # five blocks of examples
    costs = rng.uniform(1, 3, len(groups))
    shares = dealt(groups, costs, size)
    assert sorted(i for share in shares for i in share) == list(range(len(groups)))
    assert all(list(share) == sorted(share) for share in shares)  # in the order of the plan
    each = [sum(costs[i] for i in share) for share in shares]
    assert max(each) <= sum(costs) / size + costs.max()
    # A line of 20 groups cut into pieces: a process meets its part of them and one more. Round robin: all 20.
    assert max(len({groups[i] for i in share}) for share in shares) <= -(-20 // size) + 1


def test_there_may_be_more_processes_than_tiles():
    shares = dealt(["a", "b"], [1, 1], 5)
    assert sorted(map(len, shares)) == [0, 0, 0, 1, 1]


# --- turns -----------------------------------------------------------------------------------------------------------


def named(*counts):
    """Shares of so many tiles, named rank.place."""
    return [[f"{rank}.{i}" for i in range(n)] for rank, n in enumerate(counts)]


def everything(shares):
    return [tile for share in shares for tile in share]


def test_a_process_begins_with_its_own_share_in_order():
    shares = named(3, 3)
    turns = Turns(shares, 1, everything(shares))
    assert [turns.next(0.0, 60) for _ in range(3)] == ["1.0", "1.1", "1.2"]
    assert turns.next(0.0, 60) is None  # what others have in hand is not touched


def test_what_lies_in_the_store_is_not_computed_again():
    shares = named(4, 2)
    turns = Turns(shares, 0, set(everything(shares)) - {"0.0"})
    assert turns.seen({"0.0", "0.2", "1.1"}) == ["0.2", "1.1"]
    assert turns.seen({"0.0", "0.2", "1.1"}) == []
    assert [turns.next(0.0, 60), turns.next(0.0, 60)] == ["0.1", "0.3"]


def test_whoever_is_through_helps_from_the_far_end_one_tile_at_a_time():
    shares = named(1, 8)
    turns = Turns(shares, 0, everything(shares))
    assert turns.next(0.0, 60) == "0.0" and turns.next(0.0, 60) is None
    turns.finished("0.0")
    taken = []
    for _ in range(8 - HELD):
        taken.append(turns.next(0.0, 60))
        assert turns.next(0.0, 60) is None
        turns.finished(taken[-1])
    assert taken == [f"1.{i}" for i in range(7, HELD - 1, -1)]
    assert turns.next(0.0, 60) is None  # the rest is in its owner's hands


def test_helpers_of_one_owner_take_different_tiles():
    shares = named(0, 0, 0, 40)
    first = [Turns(shares, rank, everything(shares)).next(0.0, 60) for rank in range(3)]
    assert len(set(first)) == 3
    shares = named(0, 0, 0, 0, 5)
    first = [Turns(shares, rank, everything(shares)).next(0.0, 60) for rank in range(4)]
    assert set(first) <= {None, "4.3", "4.4"}  # three are in the owner's hands, however many helpers there are
    shares = named(0, 0, 40, 40)
    first = [Turns(shares, rank, everything(shares)).next(0.0, 60) for rank in range(2)]
    assert {tile[0] for tile in first} == {"2", "3"}


def test_what_seems_given_up_is_taken_over_after_patience_and_not_before():
    shares = named(0, 2)
    turns = Turns(shares, 0, everything(shares))
    assert turns.next(100.0, 60) is None and turns.next(159.9, 60) is None
    assert turns.seen({"1.0"}) == ["1.0"]  # its owner lives
    assert turns.next(161.0, 60) is None and turns.next(220.9, 60) is None
    assert turns.next(221.0, 60) == "1.1" and turns.took_over == 1


def test_that_this_process_took_something_over_is_no_sign_of_life():
    shares = named(0, 3)
    turns = Turns(shares, 0, everything(shares))
    assert turns.next(0.0, 60) is None
    for tile in shares[1]:
        assert turns.next(60.0, 60) == tile  # all three, without waiting anew
        turns.finished(tile)
    assert turns.done


def test_of_many_survivors_only_as_many_come_as_there_are_tiles():
    shares = named(*[0] * 7, 2)
    survivors = [Turns(shares, rank, everything(shares)) for rank in range(7)]
    assert [turns.next(0.0, 60) for turns in survivors] == [None] * 7
    first = [turns.next(60.0, 60) for turns in survivors]
    assert first == ["7.0", "7.1", None, None, None, None, None]
    later = [turns.next(120.0, 60) for turns in survivors[2:]]
    assert later == ["7.0", "7.1", None, None, None]  # had the first ones died of it


def simulated(costs, groups, speeds, *, starts=None, deaths=None, patience=60.0):
    """Processes with a pipeline two tiles deep, on a clock that is made up.

    Returns:
      How often each tile was computed; when the last living process was done; what was taken over.
    """
    n = len(speeds)
    starts, deaths = starts or [0.0] * n, deaths or [float("inf")] * n
    tiles = [f"t{i}" for i in range(len(costs))]
    cost = dict(zip(tiles, costs, strict=True))
    shares = [[tiles[i] for i in share] for share in dealt(groups, [1.0] * len(costs), n)]
    computed = dict.fromkeys(tiles, 0)
    store, ends, events, number = set(), {}, [], 0
    at = {rank: (Turns(shares, rank, tiles), Looks()) for rank in range(n)}
    queues, free = {rank: [] for rank in range(n)}, list(starts)

    def put(when, rank, tile=None):
        nonlocal number
        number += 1
        if when < deaths[rank]:
            heapq.heappush(events, (when, number, rank, tile))

    def fill(rank, now):
        turns, looks = at[rank]
        while len(queues[rank]) < 2:
            if looks.wait(now, turns.working) == 0.0:
                looks.looked(now - 0.01, now, bool(turns.seen(set(store))))
            tile = turns.next(now, patience)
            if tile is None:
                if turns.done:
                    ends[rank] = now
                elif not queues[rank]:
                    put(now + max(looks.wait(now, False), 0.01), rank)
                return
            free[rank] = max(free[rank], now) + cost[tile] / speeds[rank]
            queues[rank].append(tile)
            put(free[rank], rank, tile)

    for rank in range(n):
        put(starts[rank], rank)
    while events:
        now, _, rank, tile = heapq.heappop(events)
        if tile is not None:
            store.add(tile)
            computed[tile] += 1
            queues[rank].remove(tile)
            at[rank][0].finished(tile)
        if rank not in ends:
            fill(rank, now)
    return computed, max(ends.values()), sum(turns.took_over for turns, _ in at.values())


@pytest.mark.parametrize("size", [2, 4, 8])
def test_equal_tiles_are_finished_together_and_nothing_twice(size):
    costs = [2.0] * 200
    computed, end, _ = simulated(costs, [i // 10 for i in range(200)], [1.0] * size)
    assert set(computed.values()) == {1}
    assert end <= 1.05 * sum(costs) / size


@pytest.mark.parametrize("size", [2, 4, 8])
def test_costs_that_nobody_knew_and_slow_machines_are_made_up_for(size):
    rng = np.random.default_rng(size)
    costs = rng.uniform(1, 3, 50 * size) * np.where(np.arange(50 * size) < 25 * size, 1, 3)
    speeds = [2.0] * (size // 2) + [1.0] * (size // 2)  # those with the costly half are slow, too
    computed, end, took_over = simulated(list(costs), [i // 10 for i in range(50 * size)], speeds)
    alone = max(
        sum(costs[i] for i in share) / speed
        for share, speed in zip(dealt([0] * len(costs), [1.0] * len(costs), size), speeds, strict=True)
    )
    assert min(computed.values()) == 1 and took_over == 0
    assert end <= 1.25 * sum(costs) / sum(speeds) < alone  # `alone`: if nobody helped
    assert sum(computed.values()) <= 1.06 * len(costs)


def test_deaths_cost_patience_once_and_lose_nothing():
    inf = float("inf")
    computed, end, took_over = simulated([2.0] * 200, [0] * 200, [1.0] * 4, deaths=[31.0, inf, 55.0, inf])
    assert min(computed.values()) == 1
    assert 0 < took_over <= 3 * 2 * HELD
    work = 400 - 31 - 55
    assert end <= work / 2 + 2 * 60 + 20


def test_one_that_is_alone_does_everything():
    inf = float("inf")
    computed, end, _ = simulated([2.0] * 100, [0] * 100, [1.0] * 8, deaths=[inf] + [0.0] * 7)
    assert set(computed.values()) == {1}
    assert end == pytest.approx(200, abs=5)  # nothing of the others had moved since the start: no more waiting


def test_who_comes_late_finds_its_share_shared():
    computed, end, _ = simulated([1.0] * 120, [0] * 120, [1.0] * 3, starts=[0.0, 0.0, 45.0])
    assert min(computed.values()) == 1 and sum(computed.values()) <= 126
    assert end <= 1.15 * (120 + 45) / 3


def test_looking_costs_no_more_than_a_twentieth_and_is_given_up_slowly():
    looks = Looks()
    assert looks.wait(5.0, working=True) == 0.0
    looks.looked(5.0, 7.0, news=True)  # a list that takes two seconds
    assert looks.wait(7.0, working=False) == pytest.approx(40) and looks.wait(7.0, working=True) == pytest.approx(200)
    now, waits = 100.0, []
    for _ in range(10):
        looks.looked(now, now, news=False)
        waits.append(looks.wait(now, working=False))
        now += waits[-1]
    assert waits == sorted(waits) and waits[0] < 1 and waits[-1] == 10
    looks.looked(now, now, news=True)
    assert looks.wait(now, working=False) == pytest.approx(0.2)
