"""Performance without labels: NannyML's numbers, honest intervals, and where it must be wrong."""

import pathlib

import jax
import numpy as np
import pytest

from sensijax import drift
from sensijax.core import ArgumentError
from sensijax.drift.performance import _auroc

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "nannyml.npz")
KEY = jax.random.key(0)


def judged(scores, y):
    """Accuracy, precision, recall and F1 by labels, at 1/2."""
    hit = scores >= 0.5
    true, false, missed = (hit & (y == 1)).sum(), (hit & (y == 0)).sum(), (~hit & (y == 1)).sum()
    f1 = 2 * true / (2 * true + false + missed)
    return {"accuracy": (hit == y).mean(), "precision": true / hit.sum(), "recall": true / y.sum(), "f1": f1}


def overconfident(seed, n=1500):
    rng = np.random.default_rng(seed)
    p = rng.uniform(size=n)
    return 1 / (1 + ((1 - p) / p) ** 2), (rng.uniform(size=n) < p).astype(int)


def test_estimates_are_nannyml_s():
    q, y = GOLDEN["scores"], GOLDEN["labels"]
    found = drift.cbpe(q[600:], reference=q[:600], labels=y[:600], key=KEY, calibration="isotonic", resamples=100)
    for name in ("accuracy", "precision", "recall", "f1"):
        assert found.estimate[name][0] == pytest.approx(float(GOLDEN[name]), abs=1e-6)
    # NannyML pairs each example with itself, and so counts n more pairs, in which neither wins.
    c = GOLDEN["calibrated"].astype(np.float64)
    assert _auroc(q[600:], c, 0.5, False) == pytest.approx(float(GOLDEN["auroc"]), abs=1e-6)
    assert found.estimate["auroc"][0] == pytest.approx(float(GOLDEN["auroc"]), abs=1 / 300)
    assert found.estimate["auroc"][0] > float(GOLDEN["auroc"])


def test_the_auroc_counts_pairs():
    scores, y = np.array([0.1, 0.4, 0.4, 0.8]), np.array([0.0, 0.0, 1.0, 1.0])
    assert _auroc(scores, y, 0.5, False) == (3 + 0.5) / 4
    chances = np.array([0.2, 0.5, 0.5, 0.9])
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    above = {1: 1.0, 0: 0.5, -1: 0.0}
    weight = [chances[i] * (1 - chances[j]) for i, j in pairs]
    wins = [w * above[int(np.sign(scores[i] - scores[j]))] for w, (i, j) in zip(weight, pairs, strict=True)]
    assert _auroc(scores, chances, 0.5, True) == pytest.approx(sum(wins) / sum(weight))


def test_intervals_hold_what_labels_show():
    """30 runs at level 0.9, four metrics that hang together: fewer than 22 of 30 has a chance of 0.2 % for each."""
    inside: dict[str, int] = dict.fromkeys(("accuracy", "precision", "recall", "f1"), 0)
    for seed in range(30):
        q, y = overconfident(seed)
        found = drift.cbpe(
            q[1000:], reference=q[:1000], labels=y[:1000], key=jax.random.key(seed), level=0.9, resamples=100
        )
        for name, value in judged(q[1000:], y[1000:]).items():
            inside[name] += found.lower[name][0] <= value <= found.upper[name][0]
    assert all(22 <= n for n in inside.values()) and sum(inside.values()) < 120


@pytest.mark.parametrize("calibration", ["beta", "isotonic", "temperature", "none"])
def test_overconfidence_is_taken_back(calibration):
    q, y = overconfident(1)
    found = drift.cbpe(q[1000:], reference=q[:1000], labels=y[:1000], key=KEY, calibration=calibration, resamples=100)
    assert found.reference["accuracy"] == pytest.approx(judged(q[:1000], y[:1000])["accuracy"])
    off = found.estimate["accuracy"][0] - 0.75  # E max(p, 1 - p)
    assert off > 0.09 if calibration == "none" else abs(off) < 0.04


def test_a_covariate_shift_is_followed_and_concept_drift_is_not_seen():
    q, y = overconfident(2)
    sure = (q[1000:] < 0.05) | (q[1000:] > 0.95)  # easy examples only: P(y | score) as before
    easy = drift.cbpe(q[1000:][sure], reference=q[:1000], labels=y[:1000], key=KEY, resamples=100)
    assert easy.changed("accuracy")[0] and easy.estimate["accuracy"][0] > 0.85
    assert easy.lower["accuracy"][0] <= judged(q[1000:][sure], y[1000:][sure])["accuracy"] <= easy.upper["accuracy"][0]
    swapped = 1 - y[1000:]  # the classes have changed their names: no score knows
    found = drift.cbpe(q[1000:], reference=q[:1000], labels=y[:1000], key=KEY, resamples=100)
    assert not found.changed("accuracy")[0]
    assert judged(q[1000:], swapped)["accuracy"] < 0.35 < 0.65 < found.lower["accuracy"][0]


def test_several_classes_have_an_accuracy():
    rng = np.random.default_rng(4)
    p = rng.dirichlet([1.0, 1.0, 1.0], size=2000)
    y = (rng.uniform(size=2000)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    found = drift.cbpe(p[1000:], reference=p[:1000], labels=y[:1000], key=KEY, chunk=400, resamples=100)
    assert list(found.estimate) == ["accuracy"] and found.size.tolist() == [400, 400, 200]
    right = p[1000:].argmax(1) == y[1000:]
    realised = np.array([right[:400].mean(), right[400:800].mean(), right[800:].mean()])
    assert (np.abs(found.estimate["accuracy"] - realised) < 0.1).all()
    widths = found.upper["accuracy"] - found.lower["accuracy"]
    assert widths[2] > widths[:2].max()  # a smaller chunk says less


def test_what_cannot_be_had_is_said():
    q, y = overconfident(5)
    low = q[1000:][q[1000:] < 0.4]
    found = drift.cbpe(low, reference=q[:1000], labels=y[:1000], key=KEY, resamples=100)
    assert np.isnan(found.estimate["precision"][0]) and np.isnan(found.upper["precision"][0])  # nothing called a 1
    assert found.estimate["recall"][0] == 0
    beyond = drift.cbpe(np.array([0.0, 0.5]), reference=q[:1000], labels=y[:1000], key=KEY, resamples=100)
    assert beyond.beyond[0] == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probabilities": np.array([0.2, np.nan])}, "`probabilities`: got nan"),
        ({"probabilities": np.array([1.2])}, "1.2"),
        ({"probabilities": np.full((3, 2), 0.4)}, "sums to 0.8"),
        ({"probabilities": np.full((3, 2), 0.5)}, "`reference`"),
        ({"probabilities": np.zeros(0)}, "N >= 1"),
        ({"labels": np.zeros(40, int)}, "one class"),
        ({"labels": np.full(40, 2)}, "a class in 0..1"),
        ({"labels": np.zeros(39, int)}, "one for each"),
        ({"reference": np.full(29, 0.5)}, "N >= 30"),
        ({"calibration": "platt"}, "beta, isotonic"),
        ({"chunk": 0}, "`chunk`"),
        ({"threshold": 1.0}, "`threshold`"),
        ({"resamples": 10}, "`resamples`"),
        ({"level": 1.0}, "level"),
    ],
    ids=range(14),
)
def test_what_is_no_probability_or_label_is_refused(change, words):
    given = {"probabilities": np.array([0.5]), "reference": np.linspace(0, 1, 40), "labels": np.arange(40) % 2}
    given |= {"key": KEY} | change
    with pytest.raises(ArgumentError, match=words):
        drift.cbpe(given.pop("probabilities"), **given)


def test_a_metric_that_is_not_there_is_named():
    q, y = overconfident(6)
    found = drift.cbpe(q[:10], reference=q, labels=y, key=KEY, resamples=100)
    with pytest.raises(ArgumentError, match="accuracy, precision, recall, f1, auroc"):
        found.changed("mcc")
