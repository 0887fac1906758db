"""Processes dealt by rank: which rank, which tiles, when others are helped; kills and latecomers lose nothing."""

import heapq
import json
import os
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax.campaign import make_plan, on
from sensijax.campaign._environment import agree_on_environment, environment
from sensijax.campaign.on import _processes
from sensijax.campaign.on._devices import gpus_in_sight, portion
from sensijax.campaign.on._launch import local_processes
from sensijax.campaign.on._ranks import rank_of
from sensijax.campaign.on._turns import HELD, Looks, Turns, dealt
from sensijax.campaign.store._location import open_store
from sensijax.core import ArgumentError, StoreError

# --- which process this is -------------------------------------------------------------------------------------------

STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8"}
ARRAY = {
    "SLURM_JOB_ID": "9",
    "SLURM_PROCID": "0",  # of the batch script
    "SLURM_NTASKS": "1",
    "SLURM_ARRAY_TASK_ID": "30",
    "SLURM_ARRAY_TASK_COUNT": "4",
    "SLURM_ARRAY_TASK_MIN": "10",
    "SLURM_ARRAY_TASK_MAX": "40",
    "SLURM_ARRAY_TASK_STEP": "10",
}
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "16",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "8",
}
POD = {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "6"}
TPU = {"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "t-0, t-1,t-2,t-3"}


@pytest.mark.parametrize(
    ("said", "rank"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2"}, (0, 2, None, None)),
        (TORCHRUN, (5, 16, 1, 4)),
        (
            STEP
            | {"SLURM_PROCID": "6", "SLURM_LOCALID": "2", "SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"},
            (6, 8, 2, 4),
        ),
        (
            STEP | {"SLURM_PROCID": "7", "SLURM_LOCALID": "2", "SLURM_NODEID": "2", "SLURM_TASKS_PER_NODE": "2,3(x2)"},
            (7, 8, 2, 3),
        ),
        (ARRAY, (2, 4, None, None)),
        (ARRAY | STEP | {"SLURM_PROCID": "3", "SLURM_LOCALID": "3"}, (2 * 8 + 3, 4 * 8, 3, None)),
        (MPI, (5, 16, 1, 8)),
        (
            {"PMI_RANK": "5", "PMI_SIZE": "6", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"},
            (5, 6, 1, 2),
        ),
        (POD, (2, 6, None, None)),
        (TPU, (1, 4, None, None)),
        (TPU | {"JOB_COMPLETION_INDEX": "1"}, (1, 4, None, None)),
        # Every pod a TPU host by itself: the job counts. A step of one task that starts torchrun: torchrun counts.
        ({"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "localhost"} | POD, (2, 6, None, None)),
        (TORCHRUN | STEP | {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, (5, 16, 1, 4)),
        # A batch script of 16 tasks that runs mpirun: Slurm has started one process, mpirun all of them.
        (MPI | {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "16", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, (5, 16, 1, 8)),
        # Both say the same.
        (STEP | {"SLURM_PROCID": "3", "PMI_RANK": "3", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1"}, (3, 8, 1, None)),
    ],
)
def test_who_says_which_process_this_is(said, rank):
    found = rank_of(said)
    assert (found.rank, found.size, found.local_rank, found.local_size) == rank


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "no rank and no size in the environment.*srun.*RANK and WORLD_SIZE"),
        ({"RANK": "1"}, "RANK=1 without WORLD_SIZE; set WORLD_SIZE too"),
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE=4 without RANK; set RANK too"),
        ({"RANK": "4", "WORLD_SIZE": "4"}, "RANK=4 and WORLD_SIZE=4; RANK of 0..WORLD_SIZE - 1"),
        ({"RANK": "-1", "WORLD_SIZE": "4"}, "RANK=-1 and WORLD_SIZE=4"),
        ({"RANK": "one", "WORLD_SIZE": "4"}, "RANK='one'; a whole number"),
        (TORCHRUN | {"LOCAL_RANK": ""}, "LOCAL_RANK=''; a whole number"),
        (
            {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"},
            "a Slurm job of 8 tasks, but no step.*put srun in front",
        ),
        (
            {"JOB_COMPLETION_INDEX": "3"},
            "JOB_COMPLETION_INDEX without JOB_COMPLETIONS; add JOB_COMPLETIONS.*spec.completions",
        ),
        (ARRAY | {"SLURM_ARRAY_TASK_MAX": "70"}, "Slurm array of 4 from 10 to 70 by 10; an array without gaps"),
        (ARRAY | {"SLURM_ARRAY_TASK_ID": "35"}, "task 35 of a Slurm array"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, "without SLURM_ARRAY_TASK_MIN and SLURM_ARRAY_TASK_MAX"),
        (MPI | STEP | {"SLURM_PROCID": "1"}, "OMPI_COMM_WORLD_RANK says process 5 of 16; Slurm.* says process 1 of 8"),
    ],
)
def test_what_no_rank_can_be_read_from_is_said_in_words(said, words):
    with pytest.raises(ArgumentError, match=words):
        rank_of(said)


@pytest.mark.parametrize("arguments", [{"rank": 1}, {"size": 2}, {"rank": 2, "size": 2}, {"rank": 0, "size": 0}])
def test_half_a_rank_and_a_rank_outside_are_refused(arguments):
    with pytest.raises(ArgumentError, match="rank|size"):
        on.processes(**arguments)


@pytest.mark.parametrize("patience", [0, -1.0, float("nan"), float("inf")])
def test_patience_is_a_time(patience):
    with pytest.raises(ArgumentError, match="patience"):
        on.processes(0, 2, patience=patience)


def test_the_environment_is_read_unless_a_rank_is_given(no_scheduler, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert not on.processes().leads and on.processes().place.size == 3
    assert on.processes(0, 2).leads and on.processes(0, 2).place.size == 2


@pytest.mark.parametrize(("devices", "size"), [(8, 1), (8, 2), (8, 3), (8, 8), (4, 8), (1, 4), (2, None)])
def test_the_processes_of_a_machine_share_its_devices(devices, size):
    portions = [portion(range(devices), rank, size) for rank in range(size or devices)]
    used = [device for one in portions for device in one]
    assert min(map(len, portions)) == max(map(len, portions)) == max(1, devices // (size or devices))
    counts = np.bincount(used, minlength=devices)
    assert counts.max() <= -(-max(size or devices, devices) // devices)  # nobody shares who need not


def test_gpus_are_counted_without_waking_them(tmp_path):
    for name in ("0000:01:00.0", "0000:41:00.0"):
        (tmp_path / name).mkdir()
    assert gpus_in_sight({}, tmp_path) == 2
    assert gpus_in_sight({"CUDA_VISIBLE_DEVICES": "3,5,6"}, tmp_path) == 3
    assert gpus_in_sight({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == 0
    assert gpus_in_sight({}, tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("local", "visible", "narrowed"),
    [((1, 2), "0,1,2,3", "2,3"), ((1, None), "0,1", "1"), ((1, 2), "5", None), ((0, 1), "0,1", None)],
)
def test_a_process_keeps_to_its_own_gpus(monkeypatch, local, visible, narrowed):
    set_to = {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(jax.config, "update", set_to.__setitem__)
    place = _processes.Rank(1, 2, *local)
    _processes.OnProcesses(place).narrow()
    assert set_to.get("jax_cuda_visible_devices") == narrowed


# --- dealing ---------------------------------------------------------------------------------------------------------


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


# --- several on this machine -----------------------------------------------------------------------------------------

CHILD = """
import json, os, pathlib, sys, time
said = {n: os.environ[n] for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")}
time.sleep(0.5)  # until this process is bound to its cores
pathlib.Path(sys.argv[1]).write_text(json.dumps([said, sorted(os.sched_getaffinity(0))]))
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def no_scheduler(monkeypatch):
    for name in {**STEP, **ARRAY, **TORCHRUN, **MPI, **POD, **TPU}:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system binds no process to a core")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_local_processes_know_their_ranks_and_have_cores_of_their_own(no_scheduler, tmp_path):
    before = os.sched_getaffinity(0)
    with local_processes(2, [sys.executable, "-c", CHILD, str(tmp_path / "child"), "0"]) as place:
        mine = os.sched_getaffinity(0)
        assert place.leads and (place.place.size, place.place.local_size) == (2, 2)
    said, theirs = json.loads((tmp_path / "child").read_text())
    assert said == {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert mine | set(theirs) == before == os.sched_getaffinity(0) and not mine & set(theirs)


def test_local_processes_end_with_the_one_that_fails(no_scheduler, tmp_path):
    started = []
    with pytest.raises(RuntimeError), pytest.MonkeyPatch.context() as patch:
        popen = subprocess.Popen
        patch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
        with local_processes(2, [sys.executable, "-c", CHILD, str(tmp_path / "child"), "600"]):
            raise RuntimeError
    assert [process.poll() for process in started] == [-15]


def test_workers_are_counted_and_not_wanted_twice(no_scheduler, monkeypatch):
    with pytest.raises(ArgumentError, match="workers.*0; 1 to"), local_processes(0, []):
        pass
    with pytest.raises(ArgumentError, match="workers.*100000; 1 to"), local_processes(100_000, []):
        pass
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ArgumentError, match="RANK says process 0 of 4; leave it out"), local_processes(2, []):
        pass


# --- real runs -------------------------------------------------------------------------------------------------------


def same_rows(results, expected):
    pd.testing.assert_frame_equal(results.frame(), expected.frame())


def test_one_process_of_three_does_what_two_never_do(make_campaign, finished, tmp_path):
    seen = []
    results = sj.run(
        make_campaign(), tmp_path / "run", on=on.processes(1, 3, patience=0.2), micro_batch=64, progress=seen.append
    )
    assert results.completeness.complete and not results.completeness.conflicts
    same_rows(results, finished)
    (line,) = results.statistics()
    assert line["rows_computed"] == results.completeness.rows_total == seen[-1].computed


def test_two_at_once_share_the_work_and_both_return_everything(make_campaign, finished, tmp_path):
    """Two threads stand for two processes: they share nothing but the folder."""
    found, progress = {}, {0: [], 1: []}

    def compute(rank):
        found[rank] = sj.run(
            make_campaign(),
            tmp_path / "run",
            on=on.processes(rank, 2, patience=100.0),
            micro_batch=64,
            progress=progress[rank].append,
        )

    threads = [threading.Thread(target=compute, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    for rank in range(2):
        assert found[rank].completeness.complete and not found[rank].completeness.conflicts
        same_rows(found[rank], finished)
        last = progress[rank][-1]
        assert last.tiles == last.tiles_total and last.rows == last.rows_total  # others' tiles count as finished ...
        assert 0 < last.computed < last.rows_total  # ... not as computed
    lines = found[0].statistics()
    assert len(lines) == 2
    assert sum(line["rows_computed"] for line in lines) >= found[0].completeness.rows_total


def test_processes_that_load_different_models_are_told(make_campaign, tmp_path, caplog):
    """Each finds its own tiles missing, and waits for others that never come."""

    def another(progress):
        if progress.computed:
            (tmp_path / "run" / "parts" / f"{'a' * 32}-{'b' * 32}.parquet").touch()

    sj.run(make_campaign(), tmp_path / "run", on=on.processes(0, 2, patience=0.5), micro_batch=64, progress=another)
    assert "1 tiles of another campaign have come meanwhile: do all processes load" in caplog.text


def test_a_process_that_finds_everything_done_computes_nothing(make_campaign, run_folder, finished):
    before = len(finished.statistics())
    results = sj.run(make_campaign(), run_folder, on=on.processes(1, 2), micro_batch=64)
    assert results.completeness.complete and len(results.statistics()) == before


def test_the_first_environment_decides_for_those_that_start_at_once(make_campaign, tmp_path):
    """No tile is there yet, so the tiles cannot tell: the second process is refused all the same."""
    campaign = make_campaign()
    here, tiles = environment(), [tile.id for tile in make_plan(campaign).tiles]
    other = {**here, "id": "0" * 32, "jax": "0.9.9"}
    store = open_store(tmp_path / "run")
    agree_on_environment(store, tiles, other)
    agree_on_environment(store, tiles, other)  # a third, alike
    with pytest.raises(StoreError, match=f"jax: '0.9.9' then, '{jax.__version__}' now.*allow-mixed"):
        sj.run(campaign, tmp_path / "run", on=on.processes(1, 2), micro_batch=64)
    assert store.environments() == []  # the refused one leaves no trace for which others would be refused
    agree_on_environment(store, ["another plan"], here)
    done = sj.run(campaign, tmp_path / "run", on=on.processes(0, 1), micro_batch=64, allow_mixed=True)
    assert done.completeness.complete


RANK = """
import json, runpy, sys
import sensijax as sj
campaign = runpy.run_path(sys.argv[1])["campaign"]()
def say(p):
    print(p.phase, p.tiles, p.computed, flush=True)
results = sj.run(campaign, sys.argv[2], on=sj.on.processes(patience=2.0), progress=say)
print(json.dumps({"complete": results.completeness.complete}), flush=True)
"""


@pytest.mark.slow
def test_two_tasks_of_slurm_one_of_which_is_killed(tmp_path):
    """Real processes, told by Slurm's variables who they are; kill -9 in mid-sweep."""
    script = str(__file__).replace("test_processes.py", "_killed.py")

    def task(rank):
        variables = STEP | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_PROCID": str(rank)}
        command = [sys.executable, "-c", RANK, script, str(tmp_path / "run")]
        log = open(tmp_path / f"{rank}.log", "w")  # noqa: SIM115 - the child's
        return subprocess.Popen(command, env={**_without_ranks(), **variables}, stdout=log, stderr=subprocess.STDOUT)

    tasks = [task(0), task(1)]
    try:
        until = time.monotonic() + 300
        while _computed(tmp_path / "1.log") < 3 and time.monotonic() < until:
            time.sleep(0.01)
        tasks[1].kill()
        assert tasks[1].wait() == -9
        assert tasks[0].wait(300) == 0, (tmp_path / "0.log").read_text()
    finally:
        for process in tasks:
            process.kill()
            process.wait()
    lines = (tmp_path / "0.log").read_text().splitlines()
    assert json.loads(lines[-1]) == {"complete": True}
    results = sj.Results.open(tmp_path / "run")
    total = results.completeness.tiles_total
    assert results.completeness.complete and not results.completeness.conflicts
    assert not sj.campaign.verify(tmp_path / "run").faults
    assert len(set(results.frame().micro_batch)) == 1  # each had measured; the first to write decided
    killed = _computed(tmp_path / "1.log")
    assert 0 < killed < total / 2  # it was struck in mid-sweep
    (line,) = results.statistics()  # the survivor's alone
    assert line["tiles_computed"] <= total - killed + HELD  # what the dead one had finished was not done again


def _computed(log):
    """How many tiles a process had computed when it last said so: all tiles are of one size."""
    lines = (
        [line.split() for line in log.read_text().splitlines() if line.startswith("running ")] if log.exists() else []
    )
    rows = [int(line[2]) for line in lines]
    return len(set(rows) - {0})


def _without_ranks():
    names = {**STEP, **ARRAY, **TORCHRUN, **MPI, **POD, **TPU}
    return {name: value for name, value in os.environ.items() if name not in names}
