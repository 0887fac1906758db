"""Which process this is, as schedulers say it, and the devices and cores that are its own."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from sensijax.campaign import on
from sensijax.campaign.on import _processes
from sensijax.campaign.on._devices import gpus_in_sight, portion
from sensijax.campaign.on._launch import local_processes
from sensijax.campaign.on._ranks import rank_of
from sensijax.core import ArgumentError
from tests.campaign._schedulers import ALL, ARRAY, MPI, POD, STEP, TORCHRUN, TPU


@pytest.fixture
def no_scheduler(monkeypatch):
    for name in ALL:
        monkeypatch.delenv(name, raising=False)


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


# --- several on this machine -----------------------------------------------------------------------------------------

CHILD = """
import json, os, pathlib, sys, time
said = {n: os.environ[n] for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")}
time.sleep(0.5)  # until this process is bound to its cores
pathlib.Path(sys.argv[1]).write_text(json.dumps([said, sorted(os.sched_getaffinity(0))]))
time.sleep(float(sys.argv[2]))
"""


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
