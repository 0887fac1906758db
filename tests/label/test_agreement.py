"""Agreement: the packages krippendorff and statsmodels, laws, coverage, and votes that cannot agree."""

import pathlib

import numpy as np
import pytest

from sensijax import label
from sensijax.core import ArgumentError

GOLDEN = np.load(pathlib.Path(__file__).parent.parent / "golden" / "agreement.npz")
METRICS = {
    "nominal": label.nominal_distance,
    "ordinal": label.ordinal_distance,
    "interval": label.interval_distance,
}


@pytest.mark.parametrize("name", METRICS)
def test_alpha_is_that_of_the_package_krippendorff(name):
    found = label.krippendorff_alpha(GOLDEN["holes"], 4, metric=METRICS[name], values=GOLDEN["values"], resamples=50)
    assert abs(found.value - float(GOLDEN[f"alpha.{name}"])) < 1e-12
    assert found.low < found.value < found.high


def test_kappa_is_that_of_statsmodels():
    found = label.fleiss_kappa(GOLDEN["full"], 4, resamples=50)
    assert abs(found.value - float(GOLDEN["kappa"])) < 1e-12
    assert found.low < found.value < found.high and found.items == 80 and found.votes == 400


def test_perfect_and_chance_agreement():
    y = np.arange(400) % 4
    assert label.krippendorff_alpha(np.stack([y, y], 1), 4, resamples=1).value == 1
    assert label.fleiss_kappa(np.stack([y, y], 1), 4, resamples=1).value == 1
    votes = np.random.default_rng(0).integers(0, 4, (4000, 3))
    # The standard error of kappa under chance is sqrt(1 / (4000 * 3 * 3)) = 0.0053: 4 of them.
    assert abs(label.fleiss_kappa(votes, 4, resamples=1).value) < 0.021
    assert abs(label.krippendorff_alpha(votes, 4, resamples=1).value) < 0.021


def test_the_interval_covers():
    # 200 crowds of 60 items: the truth is the coefficient of 100,000 items; a 95 % interval misses at most 24 times
    # with probability 0.999 (binomial, with the percentile bootstrap's own loss of about 1 % at n = 60).
    def crowd(rng, n):
        y = rng.integers(0, 3, n)
        return np.where(rng.random((n, 3)) < 0.6, y[:, None], rng.integers(0, 3, (n, 3)))

    truth = label.fleiss_kappa(crowd(np.random.default_rng(99), 100_000), 3, resamples=1).value
    rng = np.random.default_rng(5)
    found = [label.fleiss_kappa(crowd(rng, 60), 3, resamples=200) for _ in range(200)]
    missed = sum(not f.low <= truth <= f.high for f in found)
    assert 1 <= missed <= 24


def test_the_same_seed_is_the_same_interval():
    runs = [label.krippendorff_alpha(GOLDEN["holes"], 4, resamples=20, seed=s) for s in (0, 0, 1)]
    assert runs[0].low == runs[1].low != runs[2].low


def test_resamples_of_one_class_are_counted():
    found = label.krippendorff_alpha([[0, 0]] * 3 + [[0, 1]], 2, resamples=100)
    assert found.undefined == np.isnan(found.resamples).sum() > 0 and np.isfinite(found.low)


@pytest.mark.parametrize(
    "votes, right",
    [([[0, -1], [-1, 1]], "two annotators"), ([[1, 1], [1, 1]], "undefined")],
)
def test_votes_that_cannot_agree(votes, right):
    with pytest.raises(ArgumentError, match=right):
        label.krippendorff_alpha(votes, 2)


def test_kappa_wants_as_many_votes_on_each_item():
    with pytest.raises(ArgumentError, match="krippendorff_alpha"):
        label.fleiss_kappa([[0, 1, 1], [0, 1, -1]], 2)
    with pytest.raises(ArgumentError, match="undefined"):
        label.fleiss_kappa([[1, 1], [1, 1]], 2)
