"""Calibration: goldens, edges, and what must not depend on the order of rows."""

import json
import pathlib

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from sensijax.core import ArgumentError
from sensijax.measure import aurc, brier, ece, reliability

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/statistics.json").read_text())


def test_golden_ece():
    golden = GOLDEN["ece"]
    assert ece(golden["confidence"], golden["correct"], golden["bins"]) == pytest.approx(golden["value"], abs=1e-12)


def test_golden_aurc_and_brier():
    golden = GOLDEN["aurc"]
    assert aurc(golden["confidence"], 1 - np.array(golden["error"])) == pytest.approx(golden["value"], abs=1e-6)
    assert brier(GOLDEN["brier"]["p"], GOLDEN["brier"]["labels"]) == pytest.approx(GOLDEN["brier"]["value"], abs=1e-12)


@pytest.mark.parametrize("bins", [3, 10, 15])
def test_every_edge_belongs_to_the_bin_on_its_left(bins):
    edges = np.array([k / bins for k in range(bins + 1)])
    counts = reliability(edges, np.ones(bins + 1), bins).counts
    assert counts.tolist() == [2] + [1] * (bins - 1)  # 0 and the first edge share the first bin
    beyond = reliability(np.nextafter(edges[:-1], 2), np.ones(bins), bins).counts
    assert beyond.tolist() == [1] * bins


def test_reliability_by_hand():
    diagram = reliability([0.1, 0.2, 0.9, 1.0], [True, False, True, True], bins=4)
    assert diagram.edges.tolist() == [0, 0.25, 0.5, 0.75, 1] and diagram.counts.tolist() == [2, 0, 0, 2]
    np.testing.assert_allclose(diagram.confidence, [0.15, np.nan, np.nan, 0.95])
    np.testing.assert_allclose(diagram.accuracy, [0.5, np.nan, np.nan, 1.0])
    assert diagram.ece == pytest.approx((2 * 0.35 + 2 * 0.05) / 4)


def test_ece_of_a_calibrated_model_is_small_and_of_a_boaster_is_the_gap():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 100_000)
    assert ece(confidence, rng.random(100_000) < confidence) < 0.01
    assert ece(np.ones(1000), np.arange(1000) < 600) == pytest.approx(0.4)


def test_brier_is_twice_the_one_sided_score():
    rng = np.random.default_rng(0)
    p, labels = rng.random(200), rng.integers(2, size=200)
    assert brier(np.stack([1 - p, p], axis=1), labels) == pytest.approx(2 * brier_score_loss(labels, p), abs=1e-12)


def test_aurc_does_not_depend_on_the_order_of_rows_and_averages_over_ties():
    rng = np.random.default_rng(0)
    confidence, correct = rng.integers(5, size=60) / 5, rng.random(60) < 0.7
    order = rng.permutation(60)
    assert aurc(confidence[order], correct[order]) == pytest.approx(aurc(confidence, correct), abs=1e-12)
    jitter = [aurc(confidence + 1e-6 * rng.random(60), correct) for _ in range(3000)]
    # 3,000 random orders: their mean is within 4 standard errors of the expectation but for 1 run in 10,000.
    assert abs(np.mean(jitter) - aurc(confidence, correct)) < 4 * np.std(jitter) / np.sqrt(3000)
    assert aurc(np.ones(10), np.arange(10) < 7) == pytest.approx(0.3)


def test_weights_are_repeated_rows_and_their_scale_does_not_count():
    rng = np.random.default_rng(1)
    p, labels, times = rng.dirichlet(np.ones(3), 60), rng.integers(3, size=60), rng.integers(4, size=60)
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == labels
    assert brier(p, labels, times / 7) == pytest.approx(brier(p.repeat(times, 0), labels.repeat(times)), abs=1e-12)
    assert ece(confidence, correct, weights=times / 7) == pytest.approx(
        ece(confidence.repeat(times), correct.repeat(times)), abs=1e-12
    )
    plain, weighted = reliability(confidence, correct), reliability(confidence, correct, weights=np.ones(60))
    assert plain.counts.dtype.kind == "i" and weighted.counts.tolist() == plain.counts.tolist()
    assert aurc(confidence, correct, np.full(60, 0.3)) == pytest.approx(aurc(confidence, correct), abs=1e-12)
    kept = times > 0
    assert aurc(confidence, correct, kept) == pytest.approx(aurc(confidence[kept], correct[kept]), abs=1e-12)
    twice = aurc(np.tile(confidence, 50), np.tile(correct, 50), np.tile(times, 50))  # in the limit, repeated rows
    assert twice == pytest.approx(aurc(confidence.repeat(50 * times), correct.repeat(50 * times)), abs=2e-3)


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: ece([0.5, 1.1], [1, 1]), "confidence"),
        (lambda: ece([0.5, np.nan], [1, 1]), "confidence"),
        (lambda: ece([0.5], [2]), "correct"),
        (lambda: ece([0.5], [1, 0]), "correct"),
        (lambda: ece([], []), "confidence"),
        (lambda: ece([0.5], [1], bins=0), "bins"),
        (lambda: ece([0.5], [1], bins=2.5), "bins"),
        (lambda: aurc([np.nan], [1]), "confidence"),
        (lambda: aurc([], []), "confidence"),
        (lambda: ece([0.5], [1], weights=[0]), "weights"),
        (lambda: ece([0.5], [1], weights=[1, 1]), "weights"),
        (lambda: aurc([0.5], [1], [-1]), "weights"),
        (lambda: brier([[0.5, 0.5]], [0], [np.nan]), "weights"),
        (lambda: brier([[0.5, 0.4]], [0]), "p"),
        (lambda: brier([[0.5, 0.5]], [2]), "labels"),
        (lambda: brier([[0.5, 0.5]], [0, 1]), "labels"),
    ],
)
def test_refuses(call, argument):
    with pytest.raises(ArgumentError) as error:
        call()
    assert error.value.argument == argument
