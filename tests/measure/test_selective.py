"""Selective prediction: hand-computed curves, ties, and the guarantee of a risk."""

import numpy as np
import pytest

from sensijax.core import ArgumentError
from sensijax.measure import (
    abstention,
    excess_aurc,
    risk_coverage,
    selective_accuracy,
    threshold_for_cost,
    threshold_for_risk,
)

CONFIDENCE, CORRECT = np.array([0.9, 0.8, 0.8, 0.5]), np.array([1, 0, 1, 0])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_by_hand_in_any_order(order):
    c, y = CONFIDENCE[order], CORRECT[order]
    curve = risk_coverage(c, y)
    np.testing.assert_allclose(curve.coverage, [0.25, 0.75, 1])
    np.testing.assert_allclose(curve.risk, [0, 1 / 3, 1 / 2])
    np.testing.assert_allclose(curve.threshold, [0.9, 0.8, 0.5])
    np.testing.assert_allclose(selective_accuracy(c, y, 0.5), 0.75)
    # By place, the tied rows at their expectation: (0 + 1/4 + 1/3 + 1/2) / 4; a perfect ordering of distinct scores
    # has (0 + 0 + 1/3 + 1/2) / 4.
    np.testing.assert_allclose(excess_aurc(c, y), 1 / 16)


def test_weights_are_repetitions():
    a, b = risk_coverage(CONFIDENCE, CORRECT, [2, 1, 0, 1]), risk_coverage([0.9, 0.9, 0.8, 0.5], [1, 1, 0, 0])
    np.testing.assert_allclose(a.risk, b.risk)


def test_abstention_holds_wilsons_interval_and_says_where_nothing_is_accepted():
    table = abstention(CONFIDENCE, CORRECT, [0.5, 0.95])
    np.testing.assert_allclose([table.low[0], table.high[0]], [0.150036, 0.849964], atol=1e-5)
    assert table.accepted.tolist() == [4, 0] and np.isnan(table.risk[1]) and np.isnan(table.low[1])
    assert table.status == ("ok", "nothing accepted")


def test_cost():
    # Accepting 1, 3 or 4 rows costs 0.3, 0.35 and 0.5 a row; accepting none 0.4.
    assert threshold_for_cost(CONFIDENCE, CORRECT, 1.0, 0.4).threshold == 0.9
    assert threshold_for_cost([0.9], [0], 1.0, 0.4).status == "nothing accepted"


def test_the_true_risk_exceeds_the_bound_in_at_most_delta_of_the_samples():
    # Confidence U uniform, wrong with probability (1 - U) / 2: the true risk above t is (1 - t) / 4.
    rng = np.random.default_rng(7)
    failed = 0
    for _ in range(300):
        u = rng.uniform(size=400)
        found = threshold_for_risk(u, rng.uniform(size=400) > (1 - u) / 2, 0.15, 0.1, 5)
        failed += np.isfinite(found.threshold) and (1 - found.threshold) / 4 > 0.15
    assert failed <= 46  # exceeded with probability < 0.001 if the rate were 0.1


def test_nan_is_refused():
    with pytest.raises(ArgumentError):
        risk_coverage([np.nan], [1])
    for cost in (np.nan, "1", np.ones(2), 0.0):
        with pytest.raises(ArgumentError, match="`cost_error`"):
            threshold_for_cost([0.5], [1], cost, 1.0)


def test_a_threshold_for_a_risk_by_hand():
    sure = np.arange(41)
    assert threshold_for_risk(sure[:40], np.ones(40), 0.1, 0.05, 4).status == "nothing accepted"  # 0.9^40 > 0.05 / 4
    assert threshold_for_risk(sure[:40], np.ones(40), 0.1, 0.06, 4).threshold == -np.inf
    # One error among 60: P(X <= 1) = 0.0138, of no error 0.0018.
    assert threshold_for_risk(np.arange(60), np.arange(60) > 0, 0.1, 0.01, 1).status == "nothing accepted"
    assert threshold_for_risk(np.arange(60), np.arange(60) > 0, 0.1, 0.014, 1).status == "ok"
    # The first of two ranks is place 21 of 41, and the 20 rows above it are accepted.
    found = threshold_for_risk(sure, sure > 19, 0.3, 0.05, 2)
    assert found.coverage == 20 / 41 and 20 < found.threshold < 21 and found.risk == 0


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_the_threshold_accepts_is_what_was_tested(kind):
    confidence = np.repeat(np.linspace(0.1, 0.9, 5), 20).astype(kind)
    found = threshold_for_risk(confidence, confidence > 0.4, 0.3, 0.05, 5)
    assert found.coverage == (confidence >= kind(found.threshold)).mean() == 0.6


def test_costs_of_abstaining_and_ties_of_cost():
    # Accepting 1, 3 or 4 rows costs 0.675, 0.475 and 0.5 a row.
    assert threshold_for_cost(CONFIDENCE, CORRECT, 1.0, 0.9).threshold == 0.8
    assert threshold_for_cost([0.9], [0], 1.0, 1.0).threshold == 0.9  # as dear as to accept nothing
