"""A tiny campaign on disk, run once through the command line, for the tests that read what a run left behind."""

import pytest

from sensijax import cli

MODEL = """
import jax.numpy as jnp
import numpy as np

import sensijax as sj


def load(scale=1.0):
    w = np.random.default_rng(0).normal(size=(144, 3)).astype(np.float32)
    return sj.Model(
        lambda w, x: x.reshape(len(x), -1) @ w, jnp.asarray(scale * w), name="linear[v2]", classes=("a", "b", "c"))


def data():
    rng = np.random.default_rng(1)
    return sj.Dataset(rng.random((40, 12, 12, 1), np.float32), rng.integers(0, 3, 40), name="squares",
                      ids=10 * np.arange(40), groups={"half": np.arange(40) // 20})
"""
SPEC = """schema = 1
[campaign]
name = "tiny"
seeds = 2
[model]
load = "model:load"
[data]
load = "model:data"
limit = 12
[design]
kind = "pairs"
at = 2
[run]
micro_batch = 16
[[stage]]
name = "noise"
kind = "gaussian_noise"
severity = [0, 2]
[[stage]]
name = "bright"
kind = "brightness"
severity = [0, 2, 5]
"""


@pytest.fixture(scope="package")
def make_spec():
    """Writes model.py and campaign.toml into a folder, with pieces of the spec replaced; returns the spec's path."""

    def make(folder, *replacements):
        (folder / "model.py").write_text(MODEL)
        text = SPEC
        for old, new in replacements:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / "campaign.toml").write_text(text)
        return folder / "campaign.toml"

    return make


@pytest.fixture(scope="package")
def finished(tmp_path_factory, make_spec):
    """A spec that was run once: (spec, folder of the run)."""
    spec = make_spec(tmp_path_factory.mktemp("tiny run"))
    assert cli.main(["run", str(spec), "--no-report"]) == cli.OK
    return spec, spec.parent / "runs" / "tiny"


@pytest.fixture
def command(capsys):
    """Runs a command line in this process: (exit code, stdout, stderr)."""

    def call(*arguments):
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call
