"""Blur, colour, JPEG and pixelation against the programs that people trust."""

import colorsys
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from sensijax.perturb import image
from sensijax.perturb.image import _dct

KEY = jax.random.key(0)
SHAPES = [(32, 32, 3), (32, 32, 1), (33, 47, 3), (34, 50, 3), (8, 8, 3)]


def scene(shape, seed=0):
    """A natural-looking image of bytes: noise with a falling spectrum, edges and all 256 levels."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(shape)
    out = sum(s * ndimage.gaussian_filter(noise, (s, s, 0), mode="wrap") for s in (0.7, 2, 5))
    out = (out - out.min()) / (out.max() - out.min()) * 255
    out[shape[0] // 2 :, : shape[1] // 3] = 255 - out[shape[0] // 2 :, : shape[1] // 3]
    return np.round(out).astype(np.uint8)


def unit(pixels):
    return jnp.asarray(pixels / 255.0, jnp.float32)


def pillow(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


jpeg = jax.jit(lambda quality, x: image.JPEG(quality=quality)(KEY, x))
run = jax.jit(lambda op, key, x: op(key, x))
pixelate = jax.jit(lambda fraction, x: image.Pixelate(fraction=fraction)(KEY, x))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_jpeg_is_pillows_bit_for_bit(shape):
    pixels = scene(shape)
    for quality in (100, 95, 80, 65, 58, 50, 49, 40, 25, 18, 15, 10, 7, 1):
        file = io.BytesIO()
        pillow(pixels).save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file)).reshape(shape)
        came = np.asarray(jpeg(jnp.float32(quality), unit(pixels))) * 255
        # libjpeg-turbo's; another libjpeg may enlarge the chroma otherwise: then still on average half a byte.
        assert np.abs(came - expected).mean() <= 0.5
        np.testing.assert_array_equal(np.round(came).astype(np.uint8), expected, err_msg=f"quality {quality}")


def test_jpeg_at_whole_severities_is_the_published_quality():
    pixels = scene((32, 32, 3), seed=1)
    for severity, quality in zip(range(1, 6), (80, 65, 58, 50, 40), strict=True):
        came = jpeg(image.JPEG.at(severity, size=32).quality, unit(pixels))
        np.testing.assert_array_equal(came, jpeg(jnp.float32(quality), unit(pixels)))


def test_the_cosine_transforms_are_each_others_inverse_and_orthonormal():
    samples = jnp.asarray(np.random.default_rng(0).integers(-128, 128, (8, 8, 50)), jnp.float32)
    u, n = np.mgrid[:8, :8]
    matrix = np.where(u == 0, 8**-0.5, 0.5) * np.cos((2 * n + 1) * u * np.pi / 16)
    exact = np.einsum("ur,vc,rcn->uvn", matrix, matrix, samples)
    np.testing.assert_allclose(_dct.dct(samples) / 8, exact, atol=0.2)
    np.testing.assert_allclose(_dct.inverse_dct(jnp.round(exact)), samples, atol=2)
    _, tangent = jax.jvp(_dct.dct, (samples,), (samples,))
    np.testing.assert_allclose(tangent / 8, exact, atol=0.05)  # its constants have 13 bits
    _, tangent = jax.jvp(_dct.inverse_dct, (samples,), (jnp.asarray(exact, jnp.float32),))
    np.testing.assert_allclose(tangent, samples, atol=0.05)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pixelate_is_pillows_bit_for_bit(shape):
    pixels = scene(shape)
    height, width, _ = shape
    for fraction in (0.95, 0.9, 0.85, 0.75, 0.65, 0.6, 0.5, 0.4, 0.3, 0.25, 0.13):  # the last has boxes beyond 5 px
        small = pillow(pixels).resize((int(width * fraction), int(height * fraction)), Image.Resampling.BOX)
        expected = np.asarray(small.resize((width, height), Image.Resampling.BOX)).reshape(shape)
        came = np.asarray(pixelate(jnp.float32(fraction), unit(pixels))) * 255
        np.testing.assert_array_equal(np.round(came).astype(np.uint8), expected, err_msg=f"fraction {fraction}")


@pytest.mark.parametrize(
    ("shape", "sigma"), [((32, 32, 3), 0.4), ((32, 32, 3), 1.0), ((33, 47, 1), 6.0), ((8, 8, 3), 4.0)]
)
def test_gaussian_blur_is_scipys(shape, sigma):
    x = scene(shape) / 255
    expected = ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest", truncate=4)
    came = jax.jit(lambda s, v: image.GaussianBlur(sigma=s)(KEY, v))(jnp.float32(sigma), unit(scene(shape)))
    np.testing.assert_allclose(came, expected, atol=2e-6)


def test_a_longer_reach_does_not_change_the_blur():
    x = unit(scene((32, 32, 3)))
    short, long = (jax.jit(image.GaussianBlur(sigma=jnp.float32(1.0), radius=r))(KEY, x) for r in (4, 24))
    np.testing.assert_allclose(short, long, atol=3e-7)


def published_disk(radius, alias_blur):
    """The published kernel: the rim is smoothed within an array that ends 8 px from the centre, or at the radius."""
    side = np.arange(-max(8, int(radius)), max(8, int(radius)) + 1)
    disk = (side[:, None] ** 2 + side**2 <= radius**2).astype(float)
    disk /= disk.sum()
    taps = np.arange(-2, 3) if radius > 8 else np.arange(-1, 2)
    weights = np.exp(-(taps**2) / (2 * alias_blur**2))
    weights /= weights.sum()
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, weights, axis, mode="mirror")
    return disk


@pytest.mark.parametrize(("severity", "size"), [(s, 224) for s in range(1, 6)] + [(s, 32) for s in range(1, 6)])
def test_defocus_blur_is_the_published_kernel(severity, size):
    x = scene((33, 47, 3)) / 255
    op = image.DefocusBlur.at(severity, size=size)
    kernel = published_disk(float(op.radius), float(op.alias_blur))[..., None]
    expected = ndimage.correlate(x, kernel, mode="mirror")
    # Where the array cuts the rim, what lies there is smoothed once more than published: 4e-4 of a byte's noise.
    atol = 4e-4 if float(op.radius) >= 8 else 3e-6
    np.testing.assert_allclose(run(op, KEY, unit(scene((33, 47, 3)))), np.clip(expected, 0, 1), atol=atol)


def by_colorsys(x, change):
    out = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in x.reshape(-1, 3).tolist()]
    return np.array(out).reshape(x.shape)


@pytest.mark.parametrize("severity", range(1, 6))
def test_brightness_and_saturation_are_colorsys(severity):
    x = scene((16, 16, 3)) / 255
    x[0, :4] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0]]
    shift = (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]
    expected = by_colorsys(x, lambda h, s, v: (h, s, min(v + shift, 1)))
    np.testing.assert_allclose(image.Brightness.at(severity)(KEY, jnp.asarray(x, jnp.float32)), expected, atol=1e-6)
    factor, shift = ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))[severity - 1]
    expected = by_colorsys(x, lambda h, s, v: (h, min(factor * s + shift, 1), v))
    np.testing.assert_allclose(image.Saturate.at(severity)(KEY, jnp.asarray(x, jnp.float32)), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 16, 3), (33, 47, 1)], ids=str)
def test_contrast_is_numpys(shape):
    x = scene(shape) / 255
    for severity, factor in zip(range(1, 6), (0.4, 0.3, 0.2, 0.1, 0.05), strict=True):
        mean = x.mean(axis=(0, 1), keepdims=True)
        came = image.Contrast.at(severity)(KEY, unit(scene(shape)))
        np.testing.assert_allclose(came, np.clip((x - mean) * factor + mean, 0, 1), atol=1e-6)
