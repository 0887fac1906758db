"""Exposure, vignetting, low light and the colour of light, against float64 and against programs that people trust.

Every test of a distribution holds for one fixed seed and fails by chance for one seed in about 10,000.
"""

import colorsys
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_image

from sensijax.perturb import image
from sensijax.perturb.image import _srgb
from sensijax.perturb.image.white_balance import planckian

KEYS = jax.random.split(jax.random.key(0), 400)
X = jax.random.uniform(jax.random.key(1), (12, 9, 3)).at[0, :3, 0].set(jnp.array([0.0, 1 / 255, 1.0]))
GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "white_balance.npz")
run = jax.jit(lambda op, key, x: op(key, x))
many = jax.jit(jax.vmap(lambda op, key, x: op(key, x), in_axes=(None, 0, None)))


def decode(value):
    """IEC 61966-2-1, in float64."""
    value = np.asarray(value, float)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def encode(light):
    light = np.clip(np.asarray(light, float), 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def electrons(value, electron):
    """The electrons that a value of a noisy image stands for."""
    return decode(value).ravel() / electron


def electrons_cdf(mean, read_noise):
    """The distribution function of `Poisson(mean) + read_noise * normal`."""
    counts = np.arange(int(mean + 12 * mean**0.5) + 20)
    weights = stats.poisson.pmf(counts, mean)
    return lambda v: np.sum(weights * stats.norm.cdf((v[:, None] - counts) / read_noise), axis=1)


def test_the_srgb_curve_is_the_standards_and_its_inverse():
    grid = jnp.linspace(0, 1, 50_001)
    np.testing.assert_allclose(jax.jit(_srgb.to_linear)(grid), decode(grid), rtol=1e-6, atol=0)
    np.testing.assert_allclose(jax.jit(_srgb.to_srgb)(grid), encode(grid), rtol=1e-6, atol=0)
    there_and_back = jax.jit(lambda v: _srgb.to_srgb(_srgb.to_linear(v)))(grid)
    np.testing.assert_allclose(there_and_back, grid, rtol=1e-6, atol=0)
    np.testing.assert_allclose(_srgb.to_linear(jnp.array([0.0, 1.0])), [0, 1], atol=1e-7)


@pytest.mark.parametrize(("curve", "exact"), [(_srgb.to_linear, decode), (_srgb.to_srgb, encode)])
def test_the_srgb_curves_derivative_is_its_own_and_finite_at_black(curve, exact):
    places = np.array([1e-3, 2e-3, 0.01, 0.06, 0.5, 0.9])
    expected = (exact(places + 1e-6) - exact(places - 1e-6)) / 2e-6
    slope = jax.jit(jax.vmap(jax.grad(curve)))
    np.testing.assert_allclose(slope(jnp.asarray(places, jnp.float32)), expected, rtol=2e-3)
    np.testing.assert_allclose(slope(jnp.zeros(1)), [exact(1e-9) / 1e-9], rtol=1e-5)


def two_ways(op, one, other, tolerance):
    """Every key's result is one of the two, with equal odds."""
    out = np.asarray(many(op, KEYS, X))
    is_one = np.abs(out - one).max(axis=(1, 2, 3)) < tolerance
    assert (is_one ^ (np.abs(out - other).max(axis=(1, 2, 3)) < tolerance)).all()
    assert stats.binomtest(int(is_one.sum()), len(KEYS)).pvalue > 1e-4


@pytest.mark.parametrize("stops", [0.3, 2.0])
def test_exposure_multiplies_the_light_either_way(stops):
    over, under = (encode(decode(X) * 2**s) for s in (stops, -stops))
    two_ways(image.Exposure(stops=jnp.float32(stops)), over, under, 2e-6)


@pytest.mark.parametrize("exponent", [1.2, 2.8])
def test_gamma_is_a_power_either_way(exponent):
    values = np.asarray(X, float)  # none between 0 and 1 / 1024
    two_ways(image.Gamma(exponent=jnp.float32(exponent)), values**exponent, values ** (1 / exponent), 2e-6)


@pytest.mark.parametrize("shape", [(9, 13, 1), (16, 8, 3)])
def test_vignetting_is_the_cosine_fourth_law_of_the_field_angle(shape):
    height, width, _ = shape
    corner = np.arccos(2 ** (-1.5 / 4))  # cos(a) ** 4 is 1.5 stops
    y, x = np.mgrid[:height, :width]
    away = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) / np.hypot((height - 1) / 2, (width - 1) / 2)
    natural = np.cos(np.arctan(away * np.tan(corner))) ** 4
    zero, white = jnp.float32(0.0), jnp.ones(shape)
    out = run(image.Vignette(natural=jnp.float32(1.5), mechanical=zero), KEYS[0], white)
    np.testing.assert_allclose(out, np.broadcast_to(encode(natural)[..., None], shape), atol=2e-6)
    mechanical = decode(run(image.Vignette(natural=zero, mechanical=jnp.float32(0.7)), KEYS[0], white))
    expected = np.where(away > 0.5, 2 ** (-0.7 * (2 * away - 1) ** 2), 1)
    np.testing.assert_allclose(mechanical, np.broadcast_to(expected[..., None], shape), atol=3e-6)
    both = decode(run(image.Vignette(natural=jnp.float32(1.5), mechanical=jnp.float32(0.7)), KEYS[0], white))
    np.testing.assert_allclose(-np.log2(both[0, 0]), 2.2, atol=1e-5)  # in stops they add up
    np.testing.assert_allclose(both, np.broadcast_to((natural * expected)[..., None], shape), atol=3e-6)


@pytest.mark.parametrize("level", [0.25, 0.5, 0.9])
def test_low_light_is_poisson_electrons_read_with_noise(level):
    op = image.LowLight.at(5)
    out = many(op, KEYS[:4], jnp.full((32, 32, 3), level))
    assert float(out.min()) > 0 or level < 0.5  # the darkest is clipped at black
    came = electrons(out, 2**3.25 / 6000)
    mean = float(decode(level)) * 2**-6 * 6000
    cdf = electrons_cdf(mean, 2.5)
    assert stats.kstest(came[came > 0], lambda v: (cdf(v) - cdf(np.zeros(1))) / (1 - cdf(np.zeros(1)))).pvalue > 1e-4
    assert abs((came <= 0).sum() - len(came) * cdf(np.zeros(1))[0]) < 4 * (len(came) * cdf(np.zeros(1))[0] + 1) ** 0.5
    for a, b in ((out[:, 1:], out[:, :-1]), (out[..., 1], out[..., 0]), (out[1:], out[:-1])):
        assert abs(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]) < 4 / np.size(a) ** 0.5


def test_low_light_without_electrons_is_an_underexposure():
    op = image.LowLight(stops=jnp.float32(2), gain=jnp.float32(0.5), electron=jnp.float32(0), read_noise=jnp.float32(3))
    np.testing.assert_allclose(run(op, KEYS[0], X), encode(decode(X) * 2**-1.5), atol=2e-6)


def test_the_planckian_locus_is_that_of_plancks_law():
    x, y = jax.jit(jax.vmap(planckian))(jnp.asarray(GOLDEN["mired"], jnp.float32))
    error = np.abs(np.stack([x, y], axis=-1) - GOLDEN["xy"]).max(axis=1)
    assert error.max() < 6e-4 and error[GOLDEN["mired"] <= 300].max() < 2e-4


def test_white_balance_is_colour_sciences():
    x = jnp.asarray(np.tile(GOLDEN["rgb"].reshape(3, 8, 3), (3, 1, 1)))
    casts = dict(zip(GOLDEN["error"], GOLDEN["cast"], strict=True))
    for mired in (15, 50, 100):
        out = np.asarray(many(image.WhiteBalance(mired=jnp.float32(mired)), KEYS, x))[:, :3].reshape(-1, 24, 3)
        warm, cool = (np.abs(out - casts[sign * mired]).max(axis=(1, 2)) < 5e-4 for sign in (1, -1))
        assert (warm ^ cool).all()
        assert stats.binomtest(int(warm.sum()), len(KEYS)).pvalue > 1e-4


def test_a_warm_cast_lets_the_luminance_of_grey_alone():
    out = decode(many(image.WhiteBalance.at(3), KEYS[:20], jnp.full((8, 8, 3), 0.3)))
    np.testing.assert_allclose(out @ [0.2126, 0.7152, 0.0722], float(decode(0.3)), rtol=1e-3)
    assert (out[..., 0] != out[..., 2]).all()


def turned(pixel, degrees):
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    return colorsys.hsv_to_rgb((hue + degrees / 360) % 1, saturation, value)


@pytest.mark.parametrize("degrees", [10.0, 90.0, 175.0])
def test_hues_turn_as_in_colorsys(degrees):
    edges = jnp.array([[0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.7, 0.7, 0.2]])
    x = X.at[1, :7].set(edges)
    pixels = np.asarray(x, float).reshape(-1, 3)
    left, right = (np.reshape([turned(p, d) for p in pixels], x.shape) for d in (degrees, -degrees))
    out = np.asarray(many(image.Hue(degrees=jnp.float32(degrees)), KEYS, x))
    is_left = np.abs(out - left).max(axis=(1, 2, 3)) < 2e-6
    assert (is_left ^ (np.abs(out - right).max(axis=(1, 2, 3)) < 2e-6)).all()
    assert stats.binomtest(int(is_left.sum()), len(KEYS)).pvalue > 1e-4


def photograph(side):
    """A photograph that scikit-learn carries, made smaller: bytes as float32."""
    pixels = Image.fromarray(load_sample_image("china.jpg")).resize((side, side), Image.Resampling.BOX)
    return jnp.asarray(np.asarray(pixels) / 255, jnp.float32)


LIGHT = (image.Exposure, image.Gamma, image.Vignette, image.LowLight, image.WhiteBalance, image.Hue)
SENSOR = (image.ISONoise, image.Demosaic, image.Banding, image.Posterize)
FIELDS = (image.BlueNoise, image.PlasmaNoise, image.PerlinNoise, image.Sparkles)
