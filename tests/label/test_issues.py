"""Label issues: the golden example, cleanlab's lists and matrices, anchors, and probabilities that are none."""

import dataclasses
import functools
import json
import pathlib

import numpy as np
import pytest

from sensijax import label
from sensijax.core import ArgumentError
from sensijax.label.issues.filters import _to_prune

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
CLEANLAB = np.load(GOLDEN / "cleanlab.npz")
DATA = ("two", "four", "ten", "weak", "missing", "rare")
RULES = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given")
SCORES = ("normalized_margin", "self_confidence", "confidence_weighted_entropy")


def given(name):
    return CLEANLAB[f"{name}.labels"], CLEANLAB[f"{name}.probs"]


def test_the_golden_example():
    golden = json.loads((GOLDEN / "statistics.json").read_text())["confident_joint"]
    found = label.confident_joint(golden["labels"], golden["probs"])
    np.testing.assert_allclose(found.thresholds, golden["thresholds"], rtol=0, atol=1e-12)
    assert found.counts.tolist() == golden["joint_counts"]
    assert np.flatnonzero(label.find_issues(golden["labels"], golden["probs"]).mask).tolist() == golden["label_issues"]


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("rule", RULES)
def test_lists_are_those_of_cleanlab(name, rule):
    found = label.find_issues(*given(name), rule=getattr(label, rule))
    assert found.indices.tolist() == CLEANLAB[f"{name}.{rule}"].tolist()
    assert np.flatnonzero(found.mask).tolist() == sorted(found.indices.tolist())


@pytest.mark.parametrize("name", DATA)
def test_rankings_and_options_are_those_of_cleanlab(name):
    y, p = given(name)
    for score in SCORES:
        np.testing.assert_allclose(getattr(label, score)(y, p), CLEANLAB[f"{name}.score.{score}"], rtol=0, atol=1e-12)
    for score in SCORES[1:]:
        ranked = label.find_issues(y, p, score=getattr(label, score)).indices.tolist()
        assert ranked == CLEANLAB[f"{name}.ranked.{score}"].tolist()
    half = label.find_issues(y, p, rule=functools.partial(label.prune_by_noise_rate, fraction=0.5))
    assert half.indices.tolist() == CLEANLAB[f"{name}.half.prune_by_noise_rate"].tolist()
    kept = label.find_issues(y, p, rule=functools.partial(label.prune_by_class, keep=20))
    assert kept.indices.tolist() == CLEANLAB[f"{name}.keep.prune_by_class"].tolist()


@pytest.mark.parametrize("name", DATA)
def test_matrices_are_those_of_cleanlab(name):
    y, p = given(name)
    found = label.confident_joint(y, p)
    assert found.counts.tolist() == CLEANLAB[f"{name}.counts"].tolist()
    assert found.calibrated.tolist() == CLEANLAB[f"{name}.calibrated"].tolist()
    assert found.calibrated.sum() == len(y)
    present = np.bincount(y, minlength=p.shape[1]) > 0
    # cleanlab has the threshold 2 for a class that is not there, and a floor of 1e-6 under its prior.
    np.testing.assert_allclose(found.thresholds[present], CLEANLAB[f"{name}.thresholds"][present], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.prior, CLEANLAB[f"{name}.prior"], rtol=0, atol=1e-5)
    for ours, theirs in ((found.noise, "noise"), (found.inverse_noise, "inverse")):
        defined = ~np.isnan(ours)
        assert defined[present].all() or name == "missing"
        np.testing.assert_allclose(ours[defined], CLEANLAB[f"{name}.{theirs}"][defined], rtol=0, atol=1e-9)
    assert round(label.noise_rate(y, p) * len(y)) == int(CLEANLAB[f"{name}.issues"])


def planted(rng, n, transition):
    """Labels under known noise, and the exact posterior of the true class given x alone, out of logits."""
    k = len(transition)
    y = rng.integers(0, k, n)
    z = rng.normal(size=(n, k)) + 5 * np.eye(k)[y]
    p = np.exp(5 * z)
    p /= p.sum(axis=1, keepdims=True)
    return y, np.array([rng.choice(k, p=transition[c]) for c in y]), p


def test_planted_noise_is_estimated():
    transition = np.array([[0.8, 0.2, 0.0], [0.1, 0.7, 0.2], [0.0, 0.1, 0.9]])
    y, observed, p = planted(np.random.default_rng(0), 3000, transition)
    # The standard error of an entry is at most sqrt(0.25 / 1000) = 0.016.
    assert np.abs(label.estimate_transition(observed, p) - transition).max() < 0.06
    assert np.abs(label.anchor_transition(p @ transition) - transition).max() < 0.01
    assert abs(label.noise_rate(observed, p) - (observed != y).mean()) < 0.02
    found = label.find_issues(observed, p)
    assert (observed != y)[found.mask].mean() > 0.95 and found.mask[observed != y].mean() > 0.95


def test_a_model_without_doubt_finds_no_issue():
    y = np.arange(30) % 3
    found = label.find_issues(y, np.eye(3)[y])
    assert not found.mask.any() and found.joint.noise_rate == 0


def test_a_threshold_of_zero_counts_nobody():
    found = label.confident_joint([0, 0, 2], [[0.9, 0.1, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert found.suggested.tolist() == [0, -1, 0] and found.thresholds[2] == 2e-6


def test_what_is_kept_of_a_label_by_hand():
    joint = label.confident_joint([0, 1, 2], np.eye(3))
    joint = dataclasses.replace(joint, calibrated=np.array([[1, 3, 1], [0, 1, 0], [0, 0, 1]]))
    y, p = np.array([0] * 5 + [1, 2]), np.full((7, 3), 1 / 3)
    assert not label.prune_by_noise_rate(y, p, joint, keep=5).any()  # there are no more of it
    assert _to_prune(np.array([[1, 3, 3], [0, 7, 0], [0, 0, 7]]), 1.0, 3)[0].tolist() == [3, 2, 2]
    assert _to_prune(np.array([[1, 3, 3], [0, 7, 0], [0, 0, 7]]), 0.5, 3)[0].tolist() == [5, 1, 1]


def test_a_label_that_is_as_probable_as_any_is_no_issue():
    found = label.find_issues([1, 1], [[0.5, 0.5], [0.6, 0.4]], rule=lambda y, p, joint: np.ones(2, bool))
    assert found.mask.tolist() == [False, True]


def test_certain_of_another_class_has_a_score_that_is_a_number():
    assert label.confidence_weighted_entropy([0], [[0.0, 0.5, 0.5]])[0] == pytest.approx(0, abs=1e-4)


def test_anchors_by_hand():
    probs = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    np.testing.assert_allclose(label.anchor_transition(probs, quantile=0.5), [[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(label.anchor_transition(probs * 1.0008).sum(axis=1), 1, rtol=0, atol=1e-15)


def test_labels_of_one_class_only():
    p = np.full((20, 3), 1 / 3)
    found = label.confident_joint(np.zeros(20, int), p)
    assert np.isinf(found.thresholds[1:]).all() and np.isnan(found.noise[1:]).all()
    assert not label.find_issues(np.zeros(20, int), p).mask.any()
    with pytest.raises(ArgumentError, match="every class"):
        label.estimate_transition(np.zeros(20, int), p)


@pytest.mark.parametrize(
    "labels, probs, argument",
    [
        ([0, 1], [[0.5, 0.4], [0.5, 0.5]], "probs"),
        ([0, 1], [[1.5, -0.5], [0.5, 0.5]], "probs"),
        ([0, 1], [[np.nan, 0.5], [0.5, 0.5]], "probs"),
        ([0, 1], [[1.0], [1.0]], "probs"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "labels"),
        ([0.0, 1.0], [[0.5, 0.5], [0.5, 0.5]], "labels"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], "labels"),
    ],
)
def test_input_that_is_none(labels, probs, argument):
    with pytest.raises(ArgumentError) as caught:
        label.find_issues(labels, probs)
    assert caught.value.argument == argument


def test_options_that_are_none():
    y, p = given("two")
    with pytest.raises(ArgumentError, match="fraction"):
        label.find_issues(y, p, rule=functools.partial(label.both, fraction=1.5))
    with pytest.raises(ArgumentError, match="quantile"):
        label.anchor_transition(p, quantile=0.0)
    with pytest.raises(ArgumentError, match="thresholds"):
        label.confident_joint(y, p, thresholds=[0.5])
