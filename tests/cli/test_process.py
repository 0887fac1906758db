"""The command line as a process of its own."""

import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from sensijax import demo


def sensijax(*arguments, options=(), cwd=None, **environment):
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    return subprocess.run(
        [sys.executable, *options, "-m", "sensijax", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def test_help_imports_no_jax_and_is_at_once_there():
    done = sensijax("--help", options=["-X", "importtime"])
    assert done.returncode == 0 and "usage: sensijax" in done.stdout
    imported = {
        line.rsplit("|", 1)[1].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "sensijax" in imported and "argparse" in imported
    assert not imported & {
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "numpy",
        "pandas",
        "duckdb",
        "matplotlib",
        "rich",
        "pydantic",
    }


@pytest.mark.slow
def test_the_demonstration_runs_and_then_computes_nothing(tmp_path):
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}  # empty: the model is trained
    first = sensijax("demo", cwd=tmp_path, **environment)
    assert first.returncode == 0, first.stderr
    assert "What hurts digits-cnn on digits" in first.stdout and "inputs judged" in first.stdout
    folder = tmp_path / "sensijax-demo"
    report = (folder / "report.html").read_text()
    assert len(report.encode()) < 1_000_000
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|@import|url\(\s*["']?(https?:)?//""", report)
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "parts").iterdir()}

    models = tmp_path / "cache" / "sensijax" / "models"
    assert len(list(models.iterdir())) == 1, "that process trained the model, and kept it"
    model, data = demo.load(models), demo.data()
    assert sum(leaf.size for leaf in jax.tree.leaves(model.params)) == 33_546
    assert np.mean(np.asarray(model(data.x)).argmax(axis=1) == data.y) >= 0.97

    second = sensijax("demo", cwd=tmp_path, **environment)
    assert second.returncode == 0 and "nothing was computed" in second.stdout
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "parts").iterdir()} == before
    assert "\x1b" not in first.stdout + first.stderr
    assert sensijax("verify", "sensijax-demo", cwd=tmp_path, **environment).returncode == 0


@pytest.mark.slow
def test_what_init_writes_runs_as_it_is(tmp_path):
    assert sensijax("init", "mine", cwd=tmp_path).returncode == 0
    spec = tmp_path / "mine" / "campaign.toml"
    spec.write_text(spec.read_text().replace("# limit = 200", "limit = 50"))
    done = sensijax("run", "mine/campaign.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "runs" / "my-campaign" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a core for each process")
def test_two_processes_of_one_command_finish_one_run(tmp_path, make_spec, finished):
    """`--on processes --workers 2` starts the second itself; the first speaks for both."""
    spec = make_spec(tmp_path)
    done = sensijax("run", spec, "--on", "processes", "--workers", "2", "--no-report")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("What hurts") == 1 and "Traceback" not in done.stderr and "exit code" not in done.stderr
    shares = [
        json.loads(line)["tiles_computed"] for line in (tmp_path / "runs/tiny/runs.jsonl").read_text().splitlines()
    ]
    names = [{part.name for part in (folder / "parts").iterdir()} for folder in (tmp_path / "runs/tiny", finished[1])]
    assert names[0] == names[1], "the bytes of a run in one process"
    assert len(names[0]) <= sum(shares) <= len(names[0]) + 2


def test_options_that_do_not_belong_to_a_placement_are_refused(command, tmp_path, make_spec):
    code, _, err = command("run", make_spec(tmp_path), "--workers", "2")
    assert code == 2 and "`--workers`: got beside --on mesh; --on ray or processes" in err
    code, _, err = command("run", tmp_path / "campaign.toml", "--devices", "64")
    assert code == 2 and "`devices`: got 64" in err
    code, _, err = command("run", tmp_path / "campaign.toml", "--on", "processes")
    assert code == 2 and "RANK" in err
    assert not (tmp_path / "runs").exists()
