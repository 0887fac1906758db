"""True accuracy from noisy labels: exact where it is exact, coverage, where the assumption fails, refusals."""

import numpy as np
import pytest

from sensijax import label
from sensijax.core import ArgumentError

T = np.array([[0.8, 0.2, 0.0], [0.1, 0.7, 0.2], [0.05, 0.15, 0.8]])


def sample(rng, n, transition, accuracy=0.85):
    """True classes, predictions and labels that err independently of each other."""
    k = len(transition)
    y = rng.choice(k, n, p=[0.5, 0.3, 0.2])
    prediction = np.where(rng.random(n) < accuracy, y, (y + rng.integers(1, k, n)) % k)
    observed = (rng.random(n)[:, None] > np.cumsum(transition, axis=1)[y]).sum(axis=1)
    return y, prediction, np.minimum(observed, k - 1)


def test_without_noise_it_is_the_accuracy():
    y, prediction, _ = sample(np.random.default_rng(0), 500, T)
    found = label.corrected_accuracy(prediction, y, np.eye(3))
    assert found.value == found.measured == (prediction == y).mean() and found.condition == 1


def test_the_interval_covers_the_true_accuracy():
    # 1,000 samples of 400 with accuracy 0.85 in the population: 950 expected, 99.9 % binomial band 926..971.
    rng = np.random.default_rng(1)
    found = [label.corrected_accuracy(*sample(rng, 400, T)[1:], T) for _ in range(1000)]
    assert 926 <= sum(f.low <= 0.85 <= f.high for f in found) <= 971
    values = np.array([f.value for f in found])
    # Unbiased to 4 standard errors, while what is measured is far off.
    assert abs(values.mean() - 0.85) < 4 * values.std() / np.sqrt(1000)
    assert np.mean([f.measured for f in found]) < 0.72


def test_symmetric_noise_has_a_closed_form():
    rate, k = 0.3, 3
    symmetric = np.full((k, k), rate / (k - 1)) + (1 - rate - rate / (k - 1)) * np.eye(k)
    _, prediction, observed = sample(np.random.default_rng(2), 300, symmetric)
    found = label.corrected_accuracy(prediction, observed, symmetric)
    assert abs(found.value - label.symmetric_accuracy(found.measured, rate, k)) < 1e-12


def test_noise_on_the_examples_that_the_model_gets_wrong_is_not_corrected():
    # All label errors are copies of the model's own: the assumption fails, and the estimate is too high, by far.
    y, prediction, _ = sample(np.random.default_rng(3), 20_000, T, accuracy=0.7)
    observed = prediction
    joint = np.zeros((3, 3))
    np.add.at(joint, (y, observed), 1)
    found = label.corrected_accuracy(prediction, observed, joint / joint.sum(axis=1, keepdims=True))
    assert found.low > 1.0 > (prediction == y).mean() + 0.25


@pytest.mark.parametrize(
    "transition, right",
    [
        ([[0.5, 0.5], [0.5, 0.5]], "condition number"),
        ([[0.501, 0.499], [0.499, 0.501]], "condition number"),
        ([[0.9, 0.2], [0.2, 0.8]], "sum to one"),
        ([[1.2, -0.2], [0.2, 0.8]], "probabilities"),
        ([[0.9, 0.1]], "square"),
        ([[np.nan, 0.1], [0.1, 0.9]], "probabilities"),
    ],
)
def test_matrices_that_allow_no_correction(transition, right):
    with pytest.raises(ArgumentError, match=right) as caught:
        label.corrected_accuracy([0, 1, 1], [0, 1, 0], transition)
    assert caught.value.argument == "transition"


def test_input_that_is_none():
    good = [[0.9, 0.1], [0.1, 0.9]]
    for argument, call in {
        "prediction": lambda: label.corrected_accuracy([0, 2], [0, 1], good),
        "observed": lambda: label.corrected_accuracy([0, 1], [0, 1, 1], good),
        "confidence": lambda: label.corrected_accuracy([0, 1], [0, 1], good, confidence=1.0),
        "rate": lambda: label.symmetric_accuracy(0.5, 0.5, 2),
        "classes": lambda: label.symmetric_accuracy(0.5, 0.1, 1),
    }.items():
        with pytest.raises(ArgumentError) as caught:
            call()
        assert caught.value.argument == argument
