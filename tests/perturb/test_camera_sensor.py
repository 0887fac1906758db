"""The sensor: its noise, its mosaic, its rows and its levels.

Every test of a distribution holds for one fixed seed and fails by chance for one seed in about 10,000.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import ndimage, stats

from sensijax.perturb import image
from sensijax.perturb.image.sensor import demosaic

KEYS = jax.random.split(jax.random.key(0), 400)
X = jax.random.uniform(jax.random.key(1), (12, 9, 3))
mosaic = jax.jit(demosaic)
run = jax.jit(lambda op, key, x: op(key, x))
many = jax.jit(jax.vmap(lambda op, key, x: op(key, x), in_axes=(None, 0, None)))


def decode(value):
    """IEC 61966-2-1, in float64."""
    value = np.asarray(value, float)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def encode(light):
    light = np.clip(np.asarray(light, float), 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(("iso", "level", "read"), [(800, 0.2, 2.5), (3200, 0.6, 8.0), (12800, 0.5, 2.5)])
def test_iso_noise_is_poisson_electrons_read_with_noise(iso, level, read):
    op = image.ISONoise(iso=jnp.float32(iso), full_well=jnp.float32(6000), read_noise=jnp.float32(read))
    out = many(op, KEYS[:4], jnp.full((32, 32, 3), level))
    came = decode(out).ravel() * 6000 * 100 / iso
    mean = float(decode(level)) * 6000 * 100 / iso
    counts = np.arange(int(mean + 12 * mean**0.5) + 20)
    weights = stats.poisson.pmf(counts, mean)

    def cdf(v):
        return np.sum(weights * stats.norm.cdf((v[:, None] - counts) / read), axis=1)

    black = cdf(np.zeros(1))[0]  # what is read as less than nothing is clipped
    assert stats.kstest(came[came > 0], lambda v: (cdf(v) - black) / (1 - black)).pvalue > 1e-4
    assert abs((came <= 0).sum() - len(came) * black) < 4 * (len(came) * black + 1) ** 0.5
    if black < 1e-5:
        assert came.mean() == pytest.approx(mean, abs=4 * ((mean + read**2) / len(came)) ** 0.5)
        assert came.var() == pytest.approx(mean + read**2, rel=4 * (2.1 / len(came)) ** 0.5)
    for a, b in ((out[:, 1:], out[:, :-1]), (out[..., 1], out[..., 0]), (out[1:], out[:-1])):
        assert abs(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]) < 4 / np.size(a) ** 0.5


def test_iso_noise_has_the_derivative_of_its_gaussian_limit():
    light, iso = float(decode(0.5)), 100.0
    op = image.ISONoise(iso=jnp.float32(iso), full_well=jnp.float32(1e5), read_noise=jnp.float32(0.0))
    x = jnp.full((8, 8, 1), 0.5)
    deviation = decode(run(op, KEYS[0], x)) - light
    slope = (encode(light + 1e-6) - encode(light - 1e-6)) / 2e-6
    by_iso = jax.jit(jax.jacfwd(lambda i: image.ISONoise(i, op.full_well, op.read_noise)(KEYS[0], x)))(op.iso)
    # The spread is as the root of the speed: deviation / (2 iso), in linear light.
    np.testing.assert_allclose(by_iso, slope * deviation / (2 * iso), rtol=0.03, atol=1e-6)


def bilinear(linear, row, column):
    """The published kernels, over the mosaic with zeros where a colour is missing."""
    y, x = np.mgrid[: linear.shape[0], : linear.shape[1]]
    red, blue = (y % 2 == row) & (x % 2 == column), (y % 2 != row) & (x % 2 != column)
    cross, corners = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4, np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    planes = ((red, corners), (~(red | blue), cross), (blue, corners))
    return np.stack(
        [ndimage.convolve(np.where(m, linear[..., c], 0), k, mode="mirror") for c, (m, k) in enumerate(planes)], axis=-1
    )


@pytest.mark.parametrize("shape", [(12, 9, 3), (11, 16, 3)], ids=str)
@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("column", [0, 1])
def test_demosaicing_is_the_published_kernels(shape, row, column):
    x = jax.random.uniform(KEYS[0], shape)
    came = mosaic(x, jnp.array([row == 0, column == 0]))
    np.testing.assert_allclose(came, bilinear(np.asarray(x, float), row, column), atol=1e-6)


def test_demosaicing_mixes_in_linear_light_at_any_of_four_positions():
    out = np.asarray(many(image.Demosaic(amount=jnp.float32(0.7)), KEYS, X))
    linear = decode(X)
    found = []
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        expected = encode(linear + 0.7 * (bilinear(linear, row, column) - linear))
        found.append(np.abs(out - expected).max(axis=(1, 2, 3)) < 5e-6)
    assert (np.sum(found, axis=0) == 1).all()
    assert stats.chisquare(np.sum(found, axis=1)).pvalue > 1e-4


def lit(op, keys, height):
    """By what a flat grey's light is multiplied in each row: `[key, row]`."""
    grey = jnp.full((height, 8, 3), 0.5)
    out = decode(many(op, keys, grey))
    assert np.ptp(out, axis=(2, 3)).max() < 1e-6  # all pixels of a row alike
    return out[:, :, 0, 0] / float(decode(0.5))


def test_a_flickering_lamp_is_a_sinusoid_over_the_rows():
    height, depth = 64, 0.3
    zero = jnp.float32(0.0)
    gains = lit(image.Banding(flicker=jnp.float32(depth), row_noise=zero, carry=zero), KEYS, height)
    frequencies = np.linspace(1, 5, 1601)
    y = np.arange(height) / height
    left, found, amplitude = np.full(len(KEYS), np.inf), np.zeros(len(KEYS)), np.zeros(len(KEYS))
    for frequency in frequencies:
        waves = np.stack([np.sin(2 * np.pi * frequency * y), np.cos(2 * np.pi * frequency * y)], axis=1)
        fit = np.linalg.lstsq(waves, (gains - 1).T, rcond=None)[0]
        rest = np.square((gains - 1).T - waves @ fit).sum(axis=0)
        better = rest < left
        left, found = np.where(better, rest, left), np.where(better, frequency, found)
        amplitude = np.where(better, np.hypot(*fit), amplitude)
    np.testing.assert_allclose(np.sqrt(left / height), 0, atol=1e-3)  # a sinusoid, but for the grid of frequencies
    np.testing.assert_allclose(amplitude, depth, rtol=1e-2)
    assert stats.kstest((found - 1) / 4, "uniform").pvalue > 1e-4
    assert found.min() < 1.1 and found.max() > 4.9  # of 400; by chance not once in 10,000


def test_the_phase_of_the_flicker_is_uniform():
    zero = jnp.float32(0.0)
    gains = lit(image.Banding(flicker=jnp.float32(0.3), row_noise=zero, carry=zero), KEYS, 8)
    # In the first row the sine of the phase itself.
    assert stats.kstest((gains[:, 0] - 1) / 0.3, stats.arcsine(loc=-1, scale=2).cdf).pvalue > 1e-4


def test_row_noise_is_normal_and_carried_over_to_the_next_row():
    std, carry = 0.01, 0.5
    op = image.Banding(flicker=jnp.float32(0.0), row_noise=jnp.float32(std), carry=jnp.float32(carry))
    offsets = (lit(op, KEYS, 30) - 1) * float(decode(0.5))
    assert stats.kstest(offsets[:, ::3].ravel() / std, "norm").pvalue > 1e-4
    for lag, expected in ((1, carry / (1 + carry**2)), (2, 0.0), (3, 0.0)):
        products = (offsets[:, lag:] * offsets[:, :-lag]).mean(axis=1) / std**2  # one a key: independent
        assert abs(products.mean() - expected) < 4 * products.std() / len(products) ** 0.5


@pytest.mark.parametrize("bits", range(1, 8))
def test_posterized_bytes_are_pillows_bit_for_bit(bits):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 17, 3), dtype=np.uint8)
    pixels[0, :, 0], pixels[1, :, 0] = 0, 255
    expected = np.asarray(ImageOps.posterize(Image.fromarray(pixels), bits))
    op = image.Posterize(levels=jnp.float32(2**bits))
    came = np.asarray(run(op, KEYS[0], jnp.asarray(pixels / 255, jnp.float32))) * 255
    np.testing.assert_allclose(came, np.round(came), atol=2e-5)
    np.testing.assert_array_equal(np.round(came).astype(np.uint8), expected)


def test_posterizing_passes_derivatives_straight_through():
    x, levels = jnp.linspace(0.05, 0.95, 64).reshape(8, 8, 1), jnp.float32(5.0)
    _, by_image = jax.jit(lambda v: jax.jvp(lambda v: image.Posterize(levels)(KEYS[0], v), (v,), (jnp.ones_like(v),)))(
        x
    )
    np.testing.assert_allclose(by_image, 1, rtol=1e-5)
    out, by_levels = jax.jit(lambda n: jax.jvp(lambda n: image.Posterize(n)(KEYS[0], x), (n,), (jnp.ones_like(n),)))(
        levels
    )
    # The error is a part of the step, 256 / levels.
    np.testing.assert_allclose(by_levels, (np.round(x * 255) / 255 - out) / levels, atol=1e-5)
