"""Poisson counts: the quantile function over a grid of all words, and draws against the law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sensijax_kernels import random
from sensijax_kernels.random import reference
from sensijax_kernels.random.specs import RATES

ALPHA = 1e-4  # as in the tests of the other draws


@pytest.fixture(scope="module")
def quantile():
    """Counts at 2**22 evenly spaced words, for a rate."""
    words = (jnp.arange(1 << 22, dtype=jnp.uint32) << jnp.uint32(10)) + jnp.uint32(512)
    compiled = jax.jit(lambda words, rate: reference.to_poisson(words, jnp.broadcast_to(rate, words.shape)))
    return lambda rate: np.asarray(compiled(words, jnp.float32(rate)))


@pytest.mark.parametrize("rate", RATES)
def test_the_distribution_is_poisson_over_all_words(quantile, rate):
    counts = quantile(rate)
    steps = np.diff(counts)
    assert counts.min() >= 0
    # A quantile increases; a last place of the normal quantile beneath it may undo a step by one, and hardly ever does.
    assert steps.min() >= -1 and (steps < 0).mean() < 1e-5
    support = np.arange(counts.max() + 50)
    came = np.bincount(counts, minlength=len(support)) / len(counts)
    law = stats.poisson.pmf(support, np.float32(rate))
    # 1e-4 is what the docstring states; each of the counts that occur adds up to one step of the grid of words.
    grid = 2.0**-22 * (counts.max() - counts.min() + 1)
    method = 1e-6 if rate < reference.SMALL_RATE else 1e-4 * (rate / 12) ** -1.5
    assert abs(came - law).sum() / 2 < method + grid
    assert abs(counts.mean() - rate) < 1e-4 * max(rate, 0.1) ** 0.5 + 20 * grid
    assert abs(counts.var() - rate) < 1e-3 * max(rate, 0.1)


@pytest.mark.parametrize("rate", (0.2, 5.0))
def test_rare_counts_are_as_rare_as_they_should_be(rate):
    # The last 2**16 words, each one: counts of probability down to 1e-9, where sums in single precision could go wrong.
    words = jnp.arange(2**32 - 2**16, 2**32, dtype=jnp.uint32)
    counts = np.asarray(jax.jit(reference.to_poisson)(words, jnp.full(words.shape, rate, jnp.float32)))
    exceeding = (2.0**32 - 0.5 - np.asarray(words)) / 2.0**32
    np.testing.assert_array_less(stats.poisson.sf(counts, np.float32(rate)), exceeding * (1 + 1e-5))
    np.testing.assert_array_less(exceeding * (1 - 1e-5), stats.poisson.sf(counts - 1, np.float32(rate)))


def test_draws_follow_the_law():
    rates = np.array([0.01, 1.0, 11.99, 12.01, 100.0, 1000.0], np.float32)
    keys = jax.random.split(jax.random.key(17), 64)
    many = jnp.broadcast_to(jnp.asarray(rates)[:, None], (6, 4096))
    counts = np.asarray(jax.jit(jax.vmap(lambda key: random.poisson(key, many)))(keys))
    for i, rate in enumerate(rates):
        count = counts[:, i].ravel()
        n = count.size
        accept(6 * 2 * stats.norm.sf(abs(count.mean() - rate) / np.sqrt(rate / n)))
        spread = np.sqrt((rate + 2 * rate**2) / n)  # standard error of the variance about a known mean
        accept(6 * 2 * stats.norm.sf(abs(((count - rate) ** 2).mean() - rate) / spread))
        # cells of at least 10 expected counts, what lies below and above them pooled
        support = np.arange(int(rate + 10 * rate**0.5 + 10))
        law = stats.poisson.pmf(support, rate)
        low, high = support[law * n >= 10][[0, -1]]
        observed = np.bincount(np.clip(count, low, high) - low, minlength=high - low + 1)
        expected = law[low : high + 1].copy()
        expected[0], expected[-1] = stats.poisson.cdf(low, rate), stats.poisson.sf(high - 1, rate)
        accept(6 * stats.chisquare(observed, expected * n).pvalue)


def test_counts_increase_with_the_rate():
    # One key, a sweep of rates over both methods: the curve of each pixel is monotone.
    rates = jnp.linspace(0.0, 60.0, 241)
    counts = jax.jit(jax.vmap(lambda rate: random.poisson(jax.random.key(4), jnp.broadcast_to(rate, (8192,)))))(rates)
    assert (np.diff(np.asarray(counts), axis=0) >= 0).all()


def test_rates_at_and_beyond_the_edge():
    rate = jnp.array([0.0, -0.0, -1e-3, jnp.nan, jnp.inf, 1e-30])
    assert random.poisson(jax.random.key(0), rate).tolist() == [0, 0, -1, -1, -1, 0]


def test_any_floating_rate_will_do():
    counts = random.poisson(jax.random.key(0), jnp.full((3,), 16.0, jnp.bfloat16))
    assert counts.dtype == jnp.int32
    assert counts.tolist() == random.poisson(jax.random.key(0), jnp.full((3,), 16.0)).tolist()


def accept(p):
    assert p > ALPHA, f"p = {p:.2g}"
