"""Lens and sharpening against independent computations in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage
from sklearn.datasets import load_sample_image

from sensijax.core import ArgumentError
from sensijax.perturb import image
from sensijax.perturb.image.aperture import polygon

KEYS = jax.random.split(jax.random.key(0), 8)
X = np.random.default_rng(0).uniform(size=(24, 33, 3))
run = jax.jit(lambda op, key, x: op(key, x))
stacks = jax.jit(jax.vmap(jax.vmap(lambda op, key, x: op(key, x), (None, 0, None)), (0, None, None)))
areas = jax.jit(polygon, static_argnums=(2, 3))
OPS = (image.ApertureBlur, image.ChromaticAberration, image.Sharpening, image.Resize, image.WEBP)
OPS += (image.Patches, image.CheckerboardCutout)


def photo(side):
    """A natural image, cut from a photograph and shrunk: float32 `[side, side, 3]`."""
    cut = Image.fromarray(load_sample_image("china.jpg")).crop((100, 0, 527, 427))
    return jnp.asarray(np.asarray(cut.resize((side, side), Image.Resampling.LANCZOS)), jnp.float32) / 255


def hexagons(radius, turn, blades, reach, fine=40):
    """The share of each pixel inside a polygon, by counting `fine` x `fine` points in it."""
    places = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    y, x = places[:, None], places[None, :]
    angle = (np.arctan2(y, x) - turn + np.pi / blades) % (2 * np.pi / blades) - np.pi / blades
    inside = np.hypot(y, x) * np.cos(angle) <= radius * np.cos(np.pi / blades)
    side = 2 * reach + 1
    return inside.reshape(side, fine, side, fine).mean(axis=(1, 3))


@pytest.mark.parametrize("blades", [5, 6, 8])
@pytest.mark.parametrize(("radius", "turn"), [(2.0, 0.0), (4.5, 0.4), (8.0, 1.0)])
def test_an_apertures_weights_are_the_areas_of_a_polygon(blades, radius, turn):
    exact = hexagons(radius, turn, blades, 9)
    came = np.asarray(areas(jnp.float32(radius), jnp.float32(turn), blades, 9))
    np.testing.assert_allclose(came.sum(), 1, atol=1e-6)
    # Soft sides are exact along a grid's lines; across it, and at corners, they are off by a small share of a pixel.
    area = blades / 2 * radius**2 * np.sin(2 * np.pi / blades)
    assert np.abs(came * area - exact).max() < 0.3
    assert np.abs(came * area - exact).sum() < 0.07 * area + 0.6


def polygon_in_double_precision(radius, turn, blades, reach):
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(float)
    apothem = radius * np.cos(np.pi / blades)
    sides = [apothem - y * np.sin(a) - x * np.cos(a) for a in turn + 2 * np.pi * np.arange(blades) / blades]
    weights = np.clip(np.min(sides, axis=0) + 0.5, 0, 1)
    return weights / weights.sum()


@pytest.mark.parametrize(("severity", "size"), [(1, 32), (5, 32), (3, 224), (5, 224)])
def test_aperture_blur_is_scipys_correlation(severity, size):
    op = image.ApertureBlur.at(severity, size=size)
    for key in KEYS[:2]:
        turn = float(jax.random.uniform(key)) * 2 * np.pi / 6
        kernel = polygon_in_double_precision(float(op.radius), turn, 6, op.reach)
        expected = ndimage.correlate(X, kernel[..., None], mode="nearest")
        np.testing.assert_allclose(run(op, key, jnp.asarray(X, jnp.float32)), expected, atol=3e-6)


@pytest.mark.parametrize("blades", [5, 6, 9])
def test_an_aperture_moves_pixels_from_where_its_severity_scale_starts(blades):
    still = image.ApertureBlur.at(0.0, blades=blades).radius
    turns = jnp.linspace(0, 2 * np.pi / blades, 101)
    middle = jax.jit(jax.vmap(lambda r, t: polygon(r, t, blades, 2)[2, 2], (None, 0)))
    np.testing.assert_allclose(middle(still, turns), 1.0, atol=1e-6)
    assert middle(still + 0.02, turns).min() < 0.999


def test_chromatic_aberration_is_scipys():
    op = image.ChromaticAberration(red=jnp.float32(0.05), blue=jnp.float32(-0.08))
    out = np.asarray(run(op, KEYS[0], jnp.asarray(X, jnp.float32)))
    y, x = np.mgrid[:24, :33]
    for channel, shift in ((0, 0.05), (1, 0.0), (2, -0.08)):
        places = [(y - 11.5) / (1 + shift) + 11.5, (x - 16) / (1 + shift) + 16]
        expected = ndimage.map_coordinates(X[..., channel], places, order=1, mode="nearest")
        np.testing.assert_allclose(out[..., channel], expected, atol=1e-5)


def test_a_grey_image_has_no_chromatic_aberration():
    with pytest.raises(ArgumentError, match="no colours to separate"):
        image.ChromaticAberration.at(1)(KEYS[0], jnp.zeros((8, 8, 1)))


@pytest.mark.parametrize("size", [224, 32])
def test_sharpening_is_unsharp_masking_by_scipys_gaussian(size):
    for severity, amount in enumerate((0.5, 1, 1.5, 2.5, 4), 1):
        op = image.Sharpening.at(severity, size=size)
        sigma = float(op.sigma)
        expected = X + amount * (X - ndimage.gaussian_filter(X, (sigma, sigma, 0), mode="nearest", truncate=4))
        came = run(op, KEYS[0], jnp.asarray(X, jnp.float32))
        np.testing.assert_allclose(came, np.clip(expected, 0, 1), atol=5e-6)


def test_sharpening_is_nearly_pillows():
    pixels = np.asarray(255 * photo(64)).round().astype(np.uint8)
    # Pillow's Gaussian is three box filters; its bytes are rounded on the way.
    expected = np.asarray(Image.fromarray(pixels).filter(ImageFilter.UnsharpMask(2, percent=150, threshold=0)))
    op = image.Sharpening(amount=jnp.float32(1.5), sigma=jnp.float32(2.0))
    came = 255 * np.asarray(run(op, KEYS[0], jnp.asarray(pixels / 255, jnp.float32)))
    assert np.abs(came - expected).mean() < 1.5 < 5 < np.abs(came - pixels).mean()


def test_sharpening_puts_halos_along_an_edge_as_wide_as_its_gaussian():
    edge = jnp.full((8, 64, 1), 0.4).at[:, 32:].set(0.6)
    for sigma in (3.0, 5.0):
        op = image.Sharpening(amount=jnp.float32(1.0), sigma=jnp.float32(sigma), reach=20)
        halo = np.asarray(run(op, KEYS[0], edge))[4, 32:, 0] - 0.6
        from_centre = np.arange(32) + 0.5
        np.testing.assert_allclose((halo * from_centre).sum() / halo.sum(), sigma * np.sqrt(np.pi / 8), rtol=0.02)
