"""Calibration errors: numbers by hand, and what must not depend on the order of rows."""

import pathlib

import numpy as np
import pytest

from sensijax.core import ArgumentError
from sensijax.measure.calibration import ece, reliability
from sensijax.measure.calibration_errors import (
    classwise_ece,
    debiased_ece,
    equal_mass_ece,
    mce,
    reliability_intervals,
    smooth_ece,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "calibration.npz")
PROBS, LABELS = GOLDEN["probs"].astype(np.float64), GOLDEN["labels"].astype(np.int64)
CONFIDENCE, CORRECT = PROBS.max(axis=1), PROBS.argmax(axis=1) == LABELS


@pytest.mark.parametrize("bins", [10, 15])
def test_errors_are_those_of_netcal(bins):
    close = {"abs": 1e-12}
    assert ece(CONFIDENCE, CORRECT, bins) == pytest.approx(GOLDEN[f"ece {bins}"].item(), **close)
    assert mce(CONFIDENCE, CORRECT, bins) == pytest.approx(GOLDEN[f"mce {bins}"].item(), **close)
    assert classwise_ece(PROBS, LABELS, bins) == pytest.approx(GOLDEN[f"classes {bins}"].item(), **close)
    mass = equal_mass_ece(CONFIDENCE, CORRECT, bins)  # no two confidences are equal
    assert mass == pytest.approx(GOLDEN[f"mass {bins}"].item(), **close)
    assert mass == pytest.approx(GOLDEN[f"kumar mass {bins}"].item(), **close)
    # What netcal calls ACE has bins of equal width that count alike, however few rows they hold.
    diagram = reliability(CONFIDENCE, CORRECT, bins)
    alike = np.nanmean(np.abs(diagram.accuracy - diagram.confidence))
    assert alike == pytest.approx(GOLDEN[f"ace {bins}"].item(), **close) and abs(alike - mass) > 0.005


def test_the_debiased_error_is_that_of_its_authors():
    ten, fifteen = (reliability(CONFIDENCE, CORRECT, bins).counts for bins in (10, 15))
    assert not (ten == 1).any() and (fifteen == 1).sum() == 1
    assert debiased_ece(CONFIDENCE, CORRECT, 10) == pytest.approx(GOLDEN["debiased 10"].item(), abs=1e-12)
    # Theirs drops the bin with a single row, and still divides by all rows.
    kept = ~np.isin(np.ceil(CONFIDENCE * 15) - 1, np.flatnonzero(fifteen == 1))
    without = debiased_ece(CONFIDENCE[kept], CORRECT[kept], 15) * kept.mean()
    assert without == pytest.approx(GOLDEN["debiased 15"].item(), abs=1e-12)
    assert debiased_ece(CONFIDENCE, CORRECT, 15) == pytest.approx(GOLDEN["debiased 15"].item(), abs=2e-4)


def test_the_smooth_error_is_that_of_its_authors():
    """Theirs finds the width to 1/1024 and integrates over 200 points or more."""
    found = smooth_ece(CONFIDENCE, CORRECT)
    assert found == pytest.approx(GOLDEN["smooth"].item(), abs=3e-4)
    assert GOLDEN["smooth width"] - 1 / 1024 <= found <= GOLDEN["smooth width"] + 1 / 1024


def test_equal_mass_by_hand_and_ties_stay_together():
    assert equal_mass_ece([0.6, 0.7, 0.8, 0.9], [0, 1, 1, 1], 2) == pytest.approx((0.3 + 0.3) / 4)
    # The level 0.5 holds 3 of 4 rows and its middle lies at 3/8, in the first of two bins.
    assert equal_mass_ece([0.5, 0.5, 0.5, 0.9], [1, 0, 0, 0], 2) == pytest.approx((0.5 + 0.9) / 4)


def test_order_of_rows_and_scale_of_weights_do_not_count():
    rng = np.random.default_rng(0)
    confidence, correct = rng.integers(1, 9, 90) / 9, rng.random(90) < 0.6
    weights, order = rng.random(90), rng.permutation(90)
    value = equal_mass_ece(confidence, correct, 7, weights)
    assert equal_mass_ece(confidence[order], correct[order], 7, weights[order]) == value
    assert equal_mass_ece(confidence, correct, 7, 4 * weights) == pytest.approx(value, abs=1e-12)
    assert smooth_ece(confidence[order], correct[order]) == pytest.approx(smooth_ece(confidence, correct), abs=1e-9)


def test_classwise_and_mce_by_hand():
    assert classwise_ece([[0.8, 0.2], [0.6, 0.4]], [0, 1], 2) == pytest.approx(0.2)
    assert mce([0.2, 0.9, 0.9], [0, 1, 0], 2) == pytest.approx(0.4)


def test_debiased_by_hand_and_a_single_row_joins_its_neighbour():
    assert debiased_ece([0.9] * 4, [1, 1, 0, 0]) == pytest.approx(0.16 - 0.25 / 3)
    joined = debiased_ece([0.1, 0.9, 0.9], [0, 1, 0], 2)
    assert joined == pytest.approx((1.9 / 3 - 1 / 3) ** 2 - (2 / 9) / 2)
    with pytest.raises(ArgumentError, match="two"):
        debiased_ece([0.5], [1])


def test_debiased_has_mean_zero_on_calibrated_data():
    rng = np.random.default_rng(3)
    values = []
    for _ in range(1000):
        confidence = rng.integers(1, 10, 300) / 10  # one value a bin, where the estimator has no bias at all
        values.append(debiased_ece(confidence, rng.random(300) < confidence, 10))
    # Within 4 standard errors of 0 but for 1 run in 10,000.
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(1000)
    assert min(values) < 0


def test_smooth_ece_of_a_constant_gap_and_of_perfect_predictions():
    confidence = np.full(100, 0.5)
    assert smooth_ece(confidence, np.arange(100) < 80) == pytest.approx(0.3, abs=1e-4)
    assert smooth_ece([0.0, 1.0], [0, 1]) == pytest.approx(0, abs=1e-9)


def test_wilson_by_hand():
    low, high = reliability_intervals([0.7] * 10, [1] * 7 + [0] * 3, 2, 0.95)
    np.testing.assert_allclose([low[1], high[1]], [0.39677, 0.89221], atol=1e-4)
    assert np.isnan(low[0]) and np.isnan(high[0])
