"""kill -9 at random moments: what was finished stays, the end result is the same, next to nothing is computed twice."""

import dataclasses
import multiprocessing
import pathlib
import runpy
import time

import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax.campaign import verify

SCRIPT = pathlib.Path(__file__).with_name("_killed.py")
KILLS = 20


@dataclasses.dataclass(frozen=True)
class Runs:
    """Starts runs as processes of their own, which share their compiled programs: kills strike runs, not a compiler."""

    home: pathlib.Path

    def start(self, folder, log):
        # Forked from a server that has imported what takes long, and has done nothing else.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["sensijax.campaign", "sensijax.perturb.image"])
        arguments = {"ARGUMENTS": (folder, log, self.home / "xla")}
        process = context.Process(target=runpy.run_path, args=(str(SCRIPT), arguments, "__main__"), daemon=True)
        process.start()
        return process

    def finish(self, folder, log):
        process = self.start(folder, log)
        process.join(300)
        assert process.exitcode == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def expected(runs):
    """What a run that nobody kills finds."""
    runs.finish(runs.home / "whole", runs.home / "whole.log")
    return sj.Results.open(runs.home / "whole")


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
def test_twenty_kills(runs, expected, tmp_path, record_testsuite_property):
    rng = np.random.default_rng(7)
    killed, log = tmp_path / "killed", tmp_path / "killed.log"
    total = expected.completeness.tiles_total

    acknowledged: dict[str, int] = {}
    for k in range(KILLS):
        process = runs.start(killed, log)
        before, goal = (
            len(acknowledged),
            len(acknowledged) + int(rng.integers(0, 2 * (total - len(acknowledged)) // (KILLS - k + 4) + 1)),
        )
        while len(parts(killed)) < goal and process.is_alive():
            time.sleep(0.002)
        if goal == before:  # anywhere at all: while planning, compiling, or at the first tile
            time.sleep(rng.uniform(0.1, 2.0))
        else:
            time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.join()
        now = parts(killed)
        assert {name: now.get(name) for name in acknowledged} == acknowledged, (
            "a finished tile was lost or written again"
        )
        acknowledged = now
        if now:
            assert not verify(killed).faults
    assert 0 < len(acknowledged) < total, "the kills struck in mid-run"
    runs.finish(killed, log)

    results = sj.Results.open(killed)
    assert results.completeness.complete and not results.completeness.conflicts
    assert not list(killed.rglob(".tmp*"))
    pd.testing.assert_frame_equal(results.frame(), expected.frame())

    # Every process logs the rows it has computed; what never became a part was computed in vain.
    processes = log.read_text().split("planning 0\n")[1:]
    assert len(processes) <= KILLS + 1  # a kill may strike before the first line
    computed = [max((int(line.split()[1]) for line in lines.splitlines()), default=0) for lines in processes]
    rows = results.completeness.rows
    assert sum(computed) - rows <= KILLS * max(tile_rows(results).values()), "a kill cost more than one finished tile"
    assert (sum(computed) - rows) / KILLS < 0.02 * rows
    record_testsuite_property("rows_computed_twice_over_20_kills", f"{sum(computed) / rows - 1:.4f}")


@pytest.mark.slow
def test_two_runs_on_one_folder_at_once(runs, expected, tmp_path):
    folder = tmp_path / "run"
    processes = [runs.start(folder, tmp_path / f"{k}.log") for k in range(2)]
    for process in processes:
        process.join(400)
    assert [process.exitcode for process in processes] == [0, 0]
    results = sj.Results.open(folder)
    assert results.completeness.complete and not results.completeness.conflicts
    frame = results.frame()
    assert not frame.duplicated(["scenario", "seed", "example"]).any()
    assert len(frame) == results.completeness.rows_total
    pd.testing.assert_frame_equal(frame, expected.frame())
    assert not verify(folder).faults
