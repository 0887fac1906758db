"""Blue, plasma and gradient noise, and sparkles.

Every test of a distribution holds for one fixed seed and fails by chance for one seed in about 10,000.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sensijax_kernels import random as kernels

from sensijax.perturb import image
from sensijax.perturb.image import fields, plasma

KEYS = jax.random.split(jax.random.key(0), 400)
X = jax.random.uniform(jax.random.key(1), (16, 20, 3))
run = jax.jit(lambda op, key, x: op(key, x))
normal = jax.jit(kernels.normal, static_argnums=1)
uniform = jax.jit(kernels.uniform, static_argnums=1)
gradient_noise = jax.jit(jax.vmap(fields.gradient_noise, in_axes=(0, None, None, None)), static_argnums=(1, 2, 3))
many = jax.jit(jax.vmap(lambda op, key, x: op(key, x), in_axes=(None, 0, None)))


@pytest.fixture(scope="module")
def blue_noise():
    """Blue noise of standard deviation one, unclipped: `[key, 32, 40, 3]`."""
    return (np.asarray(many(image.BlueNoise(std=jnp.float32(0.02)), KEYS, jnp.full((32, 40, 3), 0.5))) - 0.5) / 0.02


def test_blue_noises_amplitude_is_proportional_to_the_frequency(blue_noise):
    power = np.square(np.abs(np.fft.fft2(blue_noise, axes=(1, 2)))).mean(axis=(0, 3)) / (32 * 40)
    y, x = np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(40), indexing="ij")
    frequency = np.hypot(y, x)
    edges = np.geomspace(1 / 32, 0.5, 9)
    rings = [(frequency >= low) & (frequency < high) for low, high in zip(edges, edges[1:], strict=False)]
    amplitude = np.array([power[ring].mean() ** 0.5 for ring in rings])
    centre = np.array([frequency[ring].mean() for ring in rings])
    assert (np.diff(amplitude) > 0).all()
    slope = np.polyfit(np.log(centre), np.log(amplitude), 1)[0]
    assert 0.85 < slope < 1.15  # white noise: 0
    assert power[0, 0] < 1e-6


def test_blue_noise_is_normal_at_its_spread(blue_noise):
    sample = blue_noise[:, 5, 7].ravel()  # one place: every key and channel for itself
    assert stats.kstest(sample, "norm").pvalue > 1e-4
    variances = np.square(blue_noise).mean(axis=(1, 2, 3))
    assert abs(variances.mean() - 1) < 4 * variances.std() / len(variances) ** 0.5
    for a, b in ((blue_noise[..., 0], blue_noise[..., 2]), (blue_noise[1:], blue_noise[:-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 * 1.5 / a.size**0.5  # neighbours are correlated


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 33, 3), (32, 20, 3)], ids=str)
def test_the_blue_filter_has_unit_gain_at_every_size(shape):
    """In the frequency domain, from the binomial blurs' own transfer functions."""
    white = np.asarray(normal(KEYS[0], shape), float)
    y, x = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), indexing="ij")
    blurs = [np.ones_like(y)]
    for band in range(4):
        one = [0.5 + 0.5 * np.cos(2 * np.pi * 2**band * f) for f in (y, x)]
        blurs.append(blurs[-1] * one[0] * one[1])
    gain = sum(w * (blurs[k] - blurs[k + 1]) for k, w in enumerate((1, 1 / 4, 1 / 8, 1 / 16)))
    gain /= np.sqrt(np.mean(gain**2))
    expected = np.fft.ifft2(np.fft.fft2(white, axes=(0, 1)) * gain[..., None], axes=(0, 1)).real
    np.testing.assert_allclose(jax.jit(fields.blue)(jnp.asarray(white, jnp.float32)), expected, atol=2e-5)


def test_plasma_noise_blends_a_fractal_for_every_channel():
    op = image.PlasmaNoise.at(4)
    out = run(op, KEYS[0], X)
    one = jax.jit(plasma, static_argnums=2)
    fractal = [np.asarray(one(k, op.decay, 5))[:16, :20] for k in jax.random.split(KEYS[0], 3)]
    share = 9.25 * 64 / 10 / 255
    expected = (1 - share) * np.asarray(X) + share * (2 * np.stack(fractal, axis=-1) - 1)
    np.testing.assert_allclose(out, np.clip(expected, 0, 1), atol=1e-5)


def classic(directions, cell, height, width):
    """Perlin's noise as he wrote it, a pixel at a time."""
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            (row, v), (column, u) = divmod(y / cell, 1), divmod(x / cell, 1)
            fade = [6 * t**5 - 15 * t**4 + 10 * t**3 for t in (v, u)]
            corners = np.array([[
                np.cos(directions[int(row) + i, int(column) + j]) * (u - j)
                + np.sin(directions[int(row) + i, int(column) + j]) * (v - i)
                for j in (0, 1)] for i in (0, 1)])  # fmt: skip
            rows = corners[0] + fade[0] * (corners[1] - corners[0])
            out[y, x] = rows[0] + fade[1] * (rows[1] - rows[0])
    return out * 2**0.5


@pytest.mark.parametrize(("cell", "height", "width"), [(4, 13, 18), (8, 16, 16), (2, 9, 8)])
def test_gradient_noise_is_perlins(cell, height, width):
    came = np.asarray(gradient_noise(KEYS[:1], cell, height, width))[0]
    lattice = (-(-height // cell) + 1, -(-width // cell) + 1)
    expected = classic(2 * np.pi * np.asarray(uniform(KEYS[0], lattice), float), cell, height, width)
    np.testing.assert_allclose(came, expected, atol=2e-6)
    np.testing.assert_array_equal(came[::cell, ::cell], 0)


def test_gradient_noise_has_mean_zero_and_is_bounded():
    noise = np.asarray(gradient_noise(KEYS, 8, 16, 16))
    assert np.abs(noise).max() <= 1 and np.abs(noise).max() > 0.5
    z = noise.mean(axis=0) / np.maximum(noise.std(axis=0), 1e-9) * len(KEYS) ** 0.5
    assert np.abs(z).max() < stats.norm.isf(1e-4 / 2 / z.size)  # at every pixel
    middle = noise[:, 4, 4]  # four independent gradients, each half a cell away
    np.testing.assert_allclose(middle.var(), 4 * 0.25**2 * 0.5 * 0.5 * 2, rtol=4 * (2 / len(KEYS)) ** 0.5)


def test_perlin_noise_is_grey_and_its_octaves_halve():
    half = jnp.full((16, 20, 3), 0.5)
    one = np.asarray(many(image.PerlinNoise(amplitude=jnp.float32(0.3), octaves=1), KEYS, half)) - 0.5
    np.testing.assert_array_equal(one[..., 0], one[..., 1])
    np.testing.assert_array_equal(one[..., 0], one[..., 2])
    # Cells of 4 px: every fourth row and column has the lattice's zeros, at any of 16 places.
    zeros = np.abs(one[..., 0]).reshape(len(KEYS), 4, 4, 5, 4).max(axis=(1, 3)) < 1e-7
    assert (zeros.sum(axis=(1, 2)) == 1).all()
    assert stats.chisquare(zeros.sum(axis=0).ravel()).pvalue > 1e-4
    two = np.asarray(many(image.PerlinNoise(amplitude=jnp.float32(0.3), octaves=2), KEYS, half)) - 0.5
    fine = 1.5 * two[..., 0] - one[..., 0]  # half as strong, in cells of 2 px
    assert np.abs(fine).max() <= 0.15 + 1e-6 and np.abs(two).max() <= 0.3
    assert ((np.abs(fine.reshape(len(KEYS), 8, 2, 10, 2)).max(axis=(1, 3)) < 1e-6).sum(axis=(1, 2)) == 1).all()


def sparkle(value, centre, lengths):
    """One sparkle as published, a pixel at a time."""
    out = value.copy()
    for y in range(value.shape[0]):
        for x in range(value.shape[1]):
            away = np.array([y, x]) - centre
            turn = (np.arctan2(away[1], away[0]) + np.pi) / (2 * np.pi) * len(lengths)
            i, part = int(turn), turn % 1
            length = lengths[i % len(lengths)] * (1 - part) + part * lengths[(i + 1) % len(lengths)]
            light = (1 - (part - 0.5) ** 2) * length**2 / (away @ away + 1e-4)
            out[y, x] += np.clip(light, 0, 1) * (1 - out[y, x])
    return out


@pytest.mark.parametrize(("severity", "size"), [(1, 32), (5, 32), (3, 224)])
def test_sparkles_are_the_published_ones(severity, size):
    op = image.Sparkles.at(severity, size=size)
    expected = np.asarray(X, float)
    for key in jax.random.split(KEYS[0], 5):
        centre, rays, lengths = jax.random.split(key, 3)
        place = np.asarray(jax.random.uniform(centre, (2,)), float) * [16, 20]
        count = int(jax.random.randint(rays, (), 50, 200))
        radius = float(op.radius) * 16
        drawn = radius * (1 + 0.25 * np.asarray(normal(lengths, (200,)), float)[:count])
        assert 5 * radius >= 1 or severity == 1
        expected = sparkle(expected, place, np.maximum(drawn, min(1.0, 5 * radius)))
    np.testing.assert_allclose(run(op, KEYS[0], X), expected, atol=2e-4)


def test_sparkles_lie_anywhere_and_their_number_counts_them():
    black = jnp.zeros((16, 20, 1))

    def some(number):
        return image.Sparkles(radius=jnp.float32(0.02), number=jnp.float32(number))

    one = np.asarray(many(some(1), KEYS, black))[..., 0].reshape(len(KEYS), -1)
    row, column = np.divmod(one.argmax(axis=1), 20)
    inside = (row < 15) & (column < 19)  # the last row and column get half a pixel more
    counts = np.histogram2d(row[inside], column[inside], bins=(5, 4), range=((0.5, 14.5), (0.5, 18.5)))[0]
    assert stats.chisquare(counts.ravel(), np.full(20, counts.sum() / 20) * 1.0).pvalue > 1e-4
    half, whole, two, five = (np.asarray(many(some(n), KEYS[:50], black)) for n in (0.5, 1, 2, 5))
    assert half.mean() < whole.mean() < two.mean() < five.mean()
    np.testing.assert_allclose(half, whole / 2, atol=1e-6)
