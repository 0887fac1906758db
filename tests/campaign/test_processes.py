"""Processes dealt by rank, really run: one alone, several at once, kills and latecomers lose nothing."""

import json
import os
import subprocess
import sys
import threading
import time

import jax
import pandas as pd
import pytest

import sensijax as sj
from sensijax.campaign import make_plan, on
from sensijax.campaign._environment import agree_on_environment, environment
from sensijax.campaign.on._turns import HELD
from sensijax.campaign.store._location import open_store
from sensijax.core import StoreError
from tests.campaign._schedulers import ALL, STEP


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
    return {name: value for name, value in os.environ.items() if name not in ALL}
