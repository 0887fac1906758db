"""kill -9 at random moments: what was finished stays, the end result is the same, next to nothing is computed twice."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax.campaign import verify

SCRIPT = pathlib.Path(__file__).with_name("_killed.py")
KILLS = 20


def start(folder, log, cache):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(log)], env={**os.environ, "XDG_CACHE_HOME": str(cache)}
    )


def parts(folder):
    return (
        {p.name: p.stat().st_mtime_ns for p in (folder / "parts").glob("*.parquet")}
        if (folder / "parts").exists()
        else {}
    )


def tile_rows(results):
    return {
        t["id"]: len(t["scenarios"]) * len(t["seeds"]) * (t["stop"] - t["start"]) for t in results.manifest["tiles"]
    }


@pytest.mark.slow
def test_twenty_kills(tmp_path, record_testsuite_property):
    rng = np.random.default_rng(7)
    cache, whole, killed = tmp_path / "cache", tmp_path / "whole", tmp_path / "killed"
    assert start(whole, tmp_path / "whole.log", cache).wait(timeout=300) == 0
    expected = sj.Results.open(whole)
    total = expected.completeness.tiles_total
    compiled = tmp_path / "killed.log.xla"
    compiled.symlink_to(
        tmp_path / "whole.log.xla"
    )  # the compile cache is shared: kills strike the sweep, not the compiler

    acknowledged: dict[str, int] = {}
    for k in range(KILLS):
        process = start(killed, tmp_path / "killed.log", cache)
        before, goal = (
            len(acknowledged),
            len(acknowledged) + int(rng.integers(0, 2 * (total - len(acknowledged)) // (KILLS - k + 4) + 1)),
        )
        while len(parts(killed)) < goal and process.poll() is None:
            time.sleep(0.002)
        if goal == before:  # anywhere at all: while planning, compiling, or at the first tile
            time.sleep(rng.uniform(0.5, 4.0))
        else:
            time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = parts(killed)
        assert {name: now.get(name) for name in acknowledged} == acknowledged, (
            "a finished tile was lost or written again"
        )
        acknowledged = now
        if now:
            assert not verify(killed).faults
    assert 0 < len(acknowledged) < total, "the kills struck in mid-run"
    assert start(killed, tmp_path / "killed.log", cache).wait(timeout=300) == 0

    results = sj.Results.open(killed)
    assert results.completeness.complete and not results.completeness.conflicts
    assert not list(killed.rglob(".tmp*"))
    pd.testing.assert_frame_equal(results.frame(), expected.frame())

    # Every process logs the rows it has computed; what never became a part was computed in vain.
    processes = (tmp_path / "killed.log").read_text().split("planning 0\n")[1:]
    assert len(processes) <= KILLS + 1  # a kill may strike before the first line
    computed = [max(int(line.split()[1]) for line in log.splitlines()) if log else 0 for log in processes]
    rows = results.completeness.rows
    assert sum(computed) - rows <= KILLS * max(tile_rows(results).values()), "a kill cost more than one finished tile"
    assert (sum(computed) - rows) / KILLS < 0.02 * rows
    record_testsuite_property("rows_computed_twice_over_20_kills", f"{sum(computed) / rows - 1:.4f}")


@pytest.mark.slow
def test_two_runs_on_one_folder_at_once(tmp_path):
    folder, cache = tmp_path / "run", tmp_path / "cache"
    processes = [start(folder, tmp_path / f"{k}.log", cache) for k in range(2)]
    assert [p.wait(timeout=400) for p in processes] == [0, 0]
    results = sj.Results.open(folder)
    assert results.completeness.complete and not results.completeness.conflicts
    frame = results.frame()
    assert not frame.duplicated(["scenario", "seed", "example"]).any()
    assert len(frame) == results.completeness.rows_total
    assert not verify(folder).faults
