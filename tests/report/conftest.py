"""One tiny campaign for all of the report's tests: a linear model, two kinds of stages, 60 images of 16 x 16."""

import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import drift, label
from sensijax.campaign import Campaign, Results, design, run, sweep
from sensijax.core import Dataset, Model
from sensijax.perturb import image

HOSTILE = '<script>alert("1")</script>\'&'


def digits(n, **fields):
    """`n` images of two kinds, bright above or bright below, and a linear model that tells them apart."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = rng.uniform(0.3, 0.5, (n, 16, 16, 1)).astype(np.float32)
    x[y == 0, :8] += np.float32(0.04)
    x[y == 1, 8:] += np.float32(0.04)
    w = np.repeat([[1.0, -1.0], [-1.0, 1.0]], 128, axis=0).astype(np.float32)
    return Dataset(x, fields.pop("y", y), **fields), jnp.asarray(w)


@pytest.fixture(scope="session")
def make_digits():
    return digits


def stages():
    return {
        "noise": sweep(image.GaussianNoise, severity=[0, 1, 3], size=224),
        "spread": sweep(image.GaussianNoise, std=[0.0, 0.5]),
        "calm": sweep(image.GaussianNoise, std=[0.0, 1e-6]),
    }


@pytest.fixture(scope="session")
def hostile():
    """What a name of the classification campaign ends in."""
    return HOSTILE


@pytest.fixture(scope="session")
def classification(tmp_path_factory):
    """A finished run in which every name that a user chooses freely is hostile; `calm` changes nothing."""
    n = 60
    data, w = digits(n, name=f"data {HOSTILE}", groups={"side": np.array(["left", HOSTILE])[np.arange(n) % 4 // 2]})
    model = Model(
        lambda w, x: 4 * x.reshape(len(x), -1) @ w, w, name=f"model {HOSTILE}", classes=(HOSTILE, "$\\frac{}$")
    )
    campaign = Campaign(
        model,
        data,
        stages(),
        design=design.pairs(at={"noise": 3, "spread": 0.5, "calm": 1e-6}),
        seeds=2,
        name=f"name {HOSTILE}",
    )
    return run(campaign, tmp_path_factory.mktemp("classification") / "run", micro_batch=60)


@pytest.fixture(scope="session")
def stressed(tmp_path_factory):
    """A finished run under stages of three families; its examples are of two sides."""
    data, w = digits(60, groups={"side": np.array(["left", "right"])[np.arange(60) // 30], "one": np.zeros(60, int)})
    model = Model(lambda w, x: 4 * x.reshape(len(x), -1) @ w, w, name="two-sided")
    three = {
        "noise": sweep(image.GaussianNoise, std=[0.0, 0.5]),
        "drift": sweep(drift.PriorShift, strength=[0, 1], target=(0.8, 0.2)),
        "labels": sweep(label.Symmetric, rate=[0, 0.3]),
    }
    campaign = Campaign(model, data, three, design=design.staged(), seeds=2, name="all")
    return run(campaign, tmp_path_factory.mktemp("stress") / "run", micro_batch=60)


@pytest.fixture(scope="session")
def regression(tmp_path_factory):
    """A finished run of a regression whose stage `broken` makes every output infinite, and with one bad input."""
    rng = np.random.default_rng(1)
    data, w = digits(60, y=rng.normal(size=60).astype(np.float32), name="regression")
    data.x[0, 0, 0, 0] = np.nan

    def apply(w, x):
        flat = x.reshape(len(x), -1)
        return jnp.where(flat.std(axis=1) > 0.25, jnp.inf, flat @ w[:, 0])

    y = np.asarray(apply(w, data.x)) + rng.normal(size=60).astype(np.float32) / 4
    y[0] = 0
    data = Dataset(data.x, y.astype(np.float32), name="regression")
    two = {"noise": stages()["noise"], "broken": sweep(image.GaussianNoise, std=[0.0, 2.0])}
    return run(
        Campaign(Model(apply, w, name="linear"), data, two, seeds=2),
        tmp_path_factory.mktemp("regression") / "run",
        micro_batch=60,
    )


@pytest.fixture
def copy_of(tmp_path):
    """Copies a finished run, so that a test can damage it."""

    def copy(results, spoil=lambda folder: None):
        folder = tmp_path / "copy"
        shutil.copytree(results.folder, folder)
        spoil(folder)
        return Results.open(folder)

    return copy
