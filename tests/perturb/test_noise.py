"""The distributions of the noises.

Every test holds for one fixed seed; the bands are those of tests that fail by chance for one seed in about 10,000.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sensijax_kernels.random import uniform

from sensijax.perturb import image
from sensijax.perturb.image._pointwise import pointwise
from sensijax.perturb.image._poisson import poisson_quantile

KEYS = jax.random.split(jax.random.key(0), 60)
SHAPE = (32, 32, 3)
VALUES = 60 * 32 * 32 * 3
many = jax.jit(jax.vmap(lambda op, key, x: op(key, x), in_axes=(None, 0, None)))


@pytest.mark.parametrize("shape", [(9, 11, 3), (8, 8, 3), (9, 11, 1)], ids=str)
def test_pointwise_is_the_function_itself(shape):
    x = jax.random.uniform(KEYS[0], shape)
    np.testing.assert_array_equal(pointwise(lambda a, b: a + b, x, 2 * x), x + 2 * x)


@pytest.mark.parametrize(("op", "factor"), [(image.GaussianNoise, 1.0), (image.SpeckleNoise, 0.5)])
def test_gaussian_and_speckle_noise_are_normal(op, factor):
    std = 0.1
    noise = np.asarray(many(op(std=jnp.float32(std)), KEYS, jnp.full(SHAPE, 0.5))) - 0.5
    assert stats.kstest(noise.ravel() / (std * factor), "norm").pvalue > 1e-4
    # Every value draws for itself: neighbours, channels and examples are uncorrelated.
    for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[..., 1], noise[..., 0]), (noise[1:], noise[:-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / a.size**0.5


@pytest.mark.parametrize("rate", [0.03, 0.27])
def test_impulses_hit_at_their_rate_half_salt_half_pepper(rate):
    out = np.asarray(many(image.ImpulseNoise(rate=jnp.float32(rate)), KEYS, jnp.full(SHAPE, 0.5)))
    for value in (0.0, 1.0):
        count = (out == value).sum()
        assert abs(count - VALUES * rate / 2) < 4 * (VALUES * rate / 2 * (1 - rate / 2)) ** 0.5
    assert np.isin(out, [0.0, 0.5, 1.0]).all()


def test_impulses_at_a_low_rate_are_among_those_at_a_higher_one():
    low, high = (np.asarray(image.ImpulseNoise.at(s)(KEYS[0], jnp.full(SHAPE, 0.5))) for s in (1, 4))
    np.testing.assert_array_equal(high[low != 0.5], low[low != 0.5])


PHOTONS = (3, 5, 12, 25, 50, 60, 75, 100, 250, 500)  # every published number for white
quantiles = jax.jit(poisson_quantile)
drawn = jax.random.uniform(jax.random.key(6), (VALUES,))


# Of each published number a dim and a middling value, and white.
@pytest.mark.parametrize("mean", sorted({n * value for n in PHOTONS for value in (0.05, 0.5, 1.0)}))
def test_the_poisson_quantile_of_uniforms_is_poisson(mean):
    counts = np.asarray(quantiles(drawn, jnp.float32(mean))).astype(int)
    low, high = (int(stats.poisson.ppf(q, mean)) for q in (1e-3, 1 - 1e-3))  # beyond, the tails are one cell each
    expected = np.diff(stats.poisson.cdf(np.arange(low, high + 1), mean), prepend=0, append=1)
    seen = np.bincount(np.clip(counts, low, high + 1) - low, minlength=high + 2 - low)
    assert stats.chisquare(seen, expected * VALUES).pvalue > 1e-4
    assert abs(counts.mean() - mean) < 4 * (mean / VALUES) ** 0.5
    assert counts.var() == pytest.approx(mean, rel=4 * ((2 + 1 / mean) / VALUES) ** 0.5)


def test_shot_noise_counts_photons():
    x = jax.random.uniform(jax.random.key(7), SHAPE)
    for size, severity, photons in ((224, 1, 60), (224, 5, 3), (32, 1, 500)):
        out = np.asarray(many(image.ShotNoise.at(severity, size=size), KEYS[:1], x))[0]
        count = quantiles(uniform(KEYS[0], SHAPE), x * np.float32(photons))
        close = np.abs(out - np.clip(np.asarray(count) / photons, 0, 1)) < 1e-6
        assert close.mean() > 0.999  # 1 / (1 / 60) is not 60: the last bit of a mean moves a count now and then


@pytest.mark.parametrize("mean", [0.0, 1e-6, 0.1, 1.0, 7.3, 15.9, 16.0, 16.1, 33.3, 60.0, 250.0, 500.0])
def test_the_poisson_quantile_is_exact_up_to_the_grain_of_float32(mean):
    """Where the quantile steps from k - 1 to k, u is P(N <= k - 1): so the steps show the distribution function."""
    grid = np.arange(2**17) / 2**17 + 2.0**-18
    came = np.asarray(jax.jit(poisson_quantile)(jnp.asarray(grid, jnp.float32), jnp.float32(mean)))
    exact = stats.poisson.ppf(grid, mean)
    assert np.all(np.diff(came) >= 0)
    wrong = came != exact
    assert wrong.mean() < 5e-5  # six of the 131,072
    np.testing.assert_allclose(came[wrong], exact[wrong], atol=1)


def test_the_poisson_quantile_at_the_ends_of_its_arguments():
    ends = jnp.array([0.0, 1 - 2.0**-23])
    for mean in (0.0, 0.5, 15.0, 17.0, 1e4, 1e8):
        came = np.asarray(poisson_quantile(ends, jnp.full(2, mean)))
        assert np.isfinite(came).all() and (came >= 0).all() and came[0] <= mean + 1 and came[1] >= mean * 0.99


def test_the_derivative_of_shot_noise_is_that_of_its_gaussian_limit():
    x = jnp.full(SHAPE, 0.5)
    photons = 1e5  # many: the limit is near
    by_gain = jax.grad(lambda g: jnp.sum(image.ShotNoise(gain=g)(KEYS[0], x)[0, 0, 0]))(jnp.float32(1 / photons))
    deviation = float(image.ShotNoise(gain=jnp.float32(1 / photons))(KEYS[0], x)[0, 0, 0]) - 0.5
    assert float(by_gain) == pytest.approx(deviation * photons / 2, rel=1e-2)
