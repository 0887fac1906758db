"""Tallies: any split of the rows merges to the same thing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError
from sensijax.measure import AVERAGED, Tally, classification_responses, ece

M, K = 500, 4
COUNTS = (
    "n",
    "n_nonfinite_input",
    "n_nonfinite_output",
    "correct",
    "flipped",
    "n_kl",
    "bin_counts",
    "bin_correct",
    "confusion",
    "unpredicted",
)


@pytest.fixture(scope="module")
def columns():
    """Rows as a model makes them, with some of every status."""
    rng = np.random.default_rng(0)
    clean, label = rng.normal(size=(M, K)).astype(np.float32), rng.integers(K, size=M)
    outputs = clean + rng.normal(size=(M, K)).astype(np.float32)
    outputs[rng.random(M) < 0.1, 0] = np.nan
    clean[rng.random(M) < 0.02, 0] = np.inf
    sound = rng.random(M) > 0.1
    rows = jax.jit(classification_responses)(*map(jnp.asarray, (outputs, label.astype(np.int32), clean, sound)))
    return {name: np.asarray(column) for name, column in rows.items()} | {"label": label}


def part(columns, index):
    return {name: column[index] for name, column in columns.items()}


def assert_same(one, other):
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in AVERAGED:
        np.testing.assert_allclose(one.sums[name], other.sums[name], rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(one.bin_confidence, other.bin_confidence, rtol=1e-12, atol=1e-12)
    assert one.ece == pytest.approx(other.ece, abs=1e-12)


def test_counts_and_means_against_the_rows(columns):
    tally = Tally.of(columns, K)
    status = columns["status"]
    sound, ok = status != 1, status == 0
    assert tally.n == sound.sum() and tally.n_nonfinite_input == (status == 1).sum()
    assert tally.n_nonfinite_output == (status == 2).sum() > 0
    assert tally.accuracy == columns["correct"][sound].mean() and tally.flip_rate == columns["flipped"][sound].mean()
    for name in AVERAGED:
        assert tally.means[name] == pytest.approx(np.nanmean(columns[name][ok].astype(np.float64)), rel=1e-12), name
    assert (tally.nll, tally.brier) == (tally.means["loss"], tally.means["brier"])
    assert tally.n_kl < ok.sum()  # some clean outputs were not finite
    assert tally.ece == pytest.approx(ece(columns["confidence"][ok], columns["correct"][ok]), abs=1e-12)
    confusion = np.zeros((K, K), int)
    for label, prediction in zip(columns["label"][ok], columns["prediction"][ok], strict=True):
        confusion[label, prediction] += 1
    np.testing.assert_array_equal(tally.confusion, confusion)
    assert np.trace(tally.confusion) == tally.correct
    assert tally.confusion.sum() + tally.unpredicted.sum() == tally.n
    np.testing.assert_allclose(tally.prediction_distribution, confusion.sum(axis=0) / ok.sum())


def test_any_split_merges_to_the_whole(columns):
    whole, rng = Tally.of(columns, K), np.random.default_rng(1)
    for parts in (1, 2, 3, 17):
        place = rng.integers(parts, size=M)  # some parts may be empty
        tallies = [Tally.of(part(columns, place == i), K) for i in range(parts)]
        merged = tallies[0]
        for tally in tallies[1:]:
            merged = merged + tally
        assert_same(merged, whole)


def test_merging_is_associative_and_commutative_and_has_a_zero(columns):
    a, b, c = (Tally.of(part(columns, slice(i, None, 3)), K) for i in range(3))
    zero = Tally.of(part(columns, slice(0)), K)
    assert_same((a + b) + c, a + (b + c))
    assert_same(a + b, b + a)
    assert_same(a + zero, a)
    assert np.isnan(zero.accuracy) and np.isnan(zero.ece) and np.isnan(zero.prediction_distribution).all()


def test_numbers_by_hand():
    rows = {name: np.array([1.0, 2.0, np.nan, np.nan]) for name in AVERAGED} | {
        "confidence": np.array([0.9, 0.6, np.nan, np.nan]),
        "label": np.array([0, 1, 1, 0]),
        "prediction": np.array([0, 0, -1, -1]),
        "correct": np.array([True, False, True, True]),  # no output: wrong and flipped, whatever it says
        "flipped": np.array([False, True, False, False]),
        "status": np.array([0, 0, 2, 1], np.int8),
    }
    tally = Tally.of(rows, 2, bins=10)
    assert (tally.n, tally.n_nonfinite_input, tally.n_nonfinite_output) == (3, 1, 1)
    assert (tally.accuracy, tally.flip_rate, tally.nll) == (1 / 3, 2 / 3, 1.5)
    assert tally.ece == pytest.approx((0.1 + 0.6) / 2)
    assert tally.confusion.tolist() == [[1, 0], [1, 0]] and tally.unpredicted.tolist() == [0, 1]
    assert tally.prediction_distribution.tolist() == [1, 0]
    # The store's NULLs come back as masked entries.
    masked = {name: np.ma.masked_invalid(column) if name in AVERAGED else column for name, column in rows.items()}
    assert_same(Tally.of(masked, 2, bins=10), tally)


def test_a_tally_is_frozen_and_merges_only_its_like(columns):
    tally = Tally.of(columns, K)
    with pytest.raises(dataclasses.FrozenInstanceError):
        tally.n = 0
    for other in (Tally.of(columns, K + 1), Tally.of(columns, K, bins=5)):
        with pytest.raises(ArgumentError, match="other"):
            tally + other
    with pytest.raises(TypeError):
        tally + 1


@pytest.mark.parametrize(
    "change, argument",
    [
        ({"label": None}, "columns"),
        ({"label": np.full(M, K)}, "label"),
        ({"prediction": np.full(M, -1)}, "prediction"),
        ({"prediction": np.full(M, K)}, "prediction"),
        ({"status": np.full(M, 3)}, "status"),
        ({"correct": np.full(M, 0.5)}, "correct"),
        ({"loss": np.full(M, np.nan)}, "loss"),
        ({"confidence": np.full(M, 1.5)}, "confidence"),
        ({"entropy": np.zeros(M - 1)}, "columns['entropy']"),
    ],
)
def test_refuses(columns, change, argument):
    changed = {name: column for name, column in (columns | change).items() if column is not None}
    with pytest.raises(ArgumentError) as error:
        Tally.of(changed, K)
    assert error.value.argument == argument
