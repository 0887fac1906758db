"""The examples run as a reader would run them, and say what they promise."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROMISED = {
    "derivative_predicts_curve": (
        r"error over change: \d\.\d% at a distance of 0\.1",
        r"slope to the right",
        r"steepest",
    ),
    "digits_cnn": (r"clean accuracy 0\.9\d", r"rotation", r"interaction", r"report: .*report\.html"),
    "ishigami": (r"x2 +0\.44\d+ .* 0\.4424", r"ST at most", r"exact 0\.2437", r"the beam", r"section"),
    "own_perturbation": (r"stroke", r"derivative: [\d.]+ \(finite difference: [\d.]+", r"from its store"),
    "regression_tabular": (r"least-squares: clean R\^2 0\.9\d", r"ridge: clean R\^2 0\.9\d", r"p_holm"),
    "stress_tabular": (r"clean accuracy 0\.9\d", r"sensor x adversary x labels", r"labels@0\.15", r"dot_general"),
    "tabular_sensitivity": (r"x4 +0\.350 ", r"calls +40,960", r"x1 with x2", r"drives? the damage"),
}


def test_every_example_is_tested():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(PROMISED)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROMISED)
def test_example_runs(name, tmp_path):
    done = subprocess.run(
        [sys.executable, f"examples/{name}.py", "--out", str(tmp_path / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for pattern in PROMISED[name]:
        assert re.search(pattern, done.stdout), f"{pattern} is not in what {name} prints:\n{done.stdout}"
    assert [path for kind in ("*.parquet", "*.png") for path in (tmp_path / "run").rglob(kind)]
