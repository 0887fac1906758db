"""Proper scores: numbers by hand, and the identity of the parts with the whole."""

import math

import numpy as np
import pytest

from sensijax.core import ArgumentError
from sensijax.measure import brier
from sensijax.measure.proper_scores import brier_decomposition, nll


def test_nll_by_hand():
    assert nll([[0.5, 0.5], [0.25, 0.75]], [0, 0]) == pytest.approx(1.5 * math.log(2))
    assert nll([[0.5, 0.5], [0.25, 0.75]], [0, 0], [3, 1]) == pytest.approx(1.25 * math.log(2))
    assert nll([[0.0, 1.0], [0.5, 0.5]], [0, 0]) == math.inf
    assert nll([[0.0, 1.0], [0.5, 0.5]], [0, 0], [0, 1]) == pytest.approx(math.log(2))
    with pytest.raises(ArgumentError, match="sum"):
        nll([[0.5, 0.4]], [0])


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_the_parts_sum_to_the_score(bins):
    rng = np.random.default_rng(0)
    p, labels = rng.dirichlet(np.ones(4), 200), rng.integers(4, size=200)
    d = brier_decomposition(p, labels, bins)
    whole = d.reliability - d.resolution + d.uncertainty + d.within_variance - d.within_covariance
    assert whole == pytest.approx(brier(p, labels), abs=1e-12)


def test_parts_by_hand():
    d = brier_decomposition([[0.9, 0.1], [0.2, 0.8]], [0, 1], 2)
    assert d.reliability == pytest.approx(0.05) and d.resolution == pytest.approx(0.5)
    assert d.uncertainty == pytest.approx(0.5) and d.within_variance == d.within_covariance == 0
    d = brier_decomposition([[0.9, 0.1], [0.7, 0.3]], [0, 1], 1)
    assert d.within_variance == pytest.approx(0.02) and d.within_covariance == pytest.approx(0.2)
