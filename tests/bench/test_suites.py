"""Every suite does its job and answers its query on a small linear model, and finds what the library finds."""

import importlib

import numpy as np
import pytest

from bench.suites import SUITES, perturb, sensitivity, stress, sweep
from bench.suites.task import SIZES, Subject, points_lost, share
from sensijax.core import Dataset, Model
from sensijax.perturb import image

IMAGES = 16


@pytest.fixture(scope="module")
def subject():
    """Two classes, bright and dark images of 32 x 32 pixels; the model compares the mean with a half."""
    rng = np.random.default_rng(0)
    y = np.arange(IMAGES) % 2
    means = 0.5 + np.where(y == 1, 1, -1) * np.linspace(0.01, 0.1, IMAGES)
    x = means[:, None, None, None] + rng.uniform(-0.1, 0.1, (IMAGES, 32, 32, 1))
    weights = np.stack([-np.ones(1024), np.ones(1024)], axis=1) / 1024

    def apply(params, x):
        return 40 * (x.reshape(len(x), -1) - np.float32(0.5)) @ params

    model = Model(apply, weights.astype(np.float32), name="brightness")
    return Subject(model, Dataset(x.astype(np.float32), y.astype(np.int32)), "true", SIZES["tiny"])


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(sweep, "STAGES", {"fog": image.Brightness})
    monkeypatch.setattr(perturb, "OPS", (image.Brightness, image.GaussianNoise))
    monkeypatch.setattr(sensitivity, "STAGES", {"light": image.Brightness, "contrast": image.Contrast})
    for suite in (sweep, sensitivity, stress):
        monkeypatch.setattr(suite, "ASKED", image.Brightness)


SLOW = ("sweep", "sensitivity", "stress")  # these compile more than the others


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in SUITES])
def test_a_suite(name, subject):
    task = importlib.import_module(f"bench.suites.{name}").prepare(subject)
    seconds = task.job()
    assert seconds is None or seconds > 0
    for i in (0, 1, IMAGES):
        assert task.query(i) is not None
    found = task.robustness()
    assert task.units > 0 and task.unit and task.about and task.asked
    if name == "sensitivity":
        low, high = found["ST_of_the_loss"]["contrast"][1:]
        assert low <= high and set(found["S1_of_the_loss"]) == {"light", "contrast"}
        return
    assert found["clean_accuracy"][0] == 1.0
    if name != "model":
        clean, stressed, lost = (found[k][0] for k in ("clean_accuracy", "stressed_accuracy", "points_lost"))
        assert lost == pytest.approx(100 * (clean - stressed), abs=1e-3)
    if name == "sweep":  # the curves of all images together are what the campaign judged
        correct = np.stack([task.query(i)["correct"] for i in range(IMAGES)])
        assert correct.shape == (IMAGES, 5) and 0 < correct.mean() < 1
        assert found["points_lost_by_stage"]["fog"][0] == pytest.approx(100 * (1 - correct.mean()), abs=1e-3)
    if name == "attack":
        # A step of 8/255 in every pixel moves the mean by as much: those nearer to a half are broken, no others.
        margin = np.abs(subject.data.x.mean(axis=(1, 2, 3)) - 0.5)
        assert found["stressed_accuracy"][0] == (margin > 8 / 255).mean()
        assert 0 < found["stressed_accuracy"][0] < 1
        assert task.forwards() >= 10 * IMAGES


def test_shares_and_losses_have_the_library_intervals():
    assert share(np.array([1.0] * 8 + [0.0] * 2)) == [0.8, 0.490162, 0.943318]
    clean, stressed = np.ones(100, bool), np.arange(100) >= 20
    points, low, high = points_lost(clean, stressed)
    assert points == 20 and 10 < low < 20 < high < 32
