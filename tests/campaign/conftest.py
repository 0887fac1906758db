"""A campaign that runs in a second: 60 images of 12 x 12, a linear model, three stages; compiled once a session."""

import numpy as np
import pytest

import sensijax as sj
from sensijax.perturb import image

EXAMPLES, SIDE, CLASSES = 60, 12, 3


def tiny_data(examples=EXAMPLES, **groups):
    rng = np.random.default_rng(0)
    y = np.arange(examples) % CLASSES
    x = rng.uniform(0, 0.4, (examples, SIDE, SIDE, 1)).astype(np.float32)
    for k in range(CLASSES):  # a bright band tells the class
        x[y == k, 4 * k : 4 * k + 4] += 0.5
    return sj.Dataset(x, y, name="bands", groups=groups)


def tiny_model(scale=1.0):
    weight = np.zeros((SIDE, SIDE, 1, CLASSES), np.float32)
    for k in range(CLASSES):
        weight[4 * k : 4 * k + 4, ..., k] = 0.1 * scale
    return sj.Model(lambda w, x: x.reshape(len(x), -1) @ w.reshape(-1, CLASSES), weight, name="bands-model")


def tiny_stages():
    return {
        "noise": sj.sweep(image.GaussianNoise, severity=[0, 1, 3, 5]),
        "dim": sj.sweep(image.Contrast, severity=[0, 1, 3]),
        "impulse": sj.sweep(image.ImpulseNoise, severity=[0, 2.5, 3]),
    }


def tiny_campaign(**changes):
    parts = {
        "model": tiny_model(),
        "data": tiny_data(),
        "stages": tiny_stages(),
        "design": sj.design.pairs(at=3),
        "seeds": 2,
        "name": "tiny",
    }
    return sj.Campaign(**{**parts, **changes})


@pytest.fixture(scope="package", autouse=True)
def own_cache(tmp_path_factory):
    """Micro-batches are remembered for these tests, not from an earlier run of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def make_campaign():
    return tiny_campaign


@pytest.fixture(scope="session")
def make_data():
    return tiny_data


@pytest.fixture(scope="session")
def make_model():
    return tiny_model


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run of the tiny campaign; read it, do not change it."""
    return sj.run(tiny_campaign(), tmp_path_factory.mktemp("finished") / "run", micro_batch=64)


@pytest.fixture
def run_folder(finished, tmp_path):
    """A copy of the finished run, to damage."""
    import shutil

    return shutil.copytree(finished.folder, tmp_path / "run")
