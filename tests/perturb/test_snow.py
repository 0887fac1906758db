"""Snow against the published code, and its own monotone scale."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from sensijax_kernels import random as kernels
from sklearn.datasets import load_sample_images

from sensijax.perturb.image.snow import Snow, zoomed

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "snow.npz"
CELLS = [(size, severity) for size in (224, 32) for severity in range(1, 6)]
# hendrycks/robustness, make_imagenet_c.py and make_cifar_c.py: mean, std, zoom, threshold, radius, sigma, mix.
PUBLISHED = {
    (224, 1): (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (224, 2): (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (224, 3): (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (224, 4): (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (224, 5): (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    (32, 1): (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
    (32, 2): (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
    (32, 3): (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
    (32, 4): (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
    (32, 5): (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
}
FIELDS = ("mean", "std", "zoom", "threshold", "radius", "sigma", "mix")
normal = jax.jit(kernels.normal, static_argnums=1)
run = jax.jit(lambda op, key, x: op(key, x))
fall = jax.jit(lambda op, field, angle, x: op.fall(field, angle, x))


def enlarged(field, zoom):
    """The published `clipped_zoom`, each axis by itself."""
    crops = [int(np.ceil(side / zoom)) for side in field.shape]
    starts = [(side - crop) // 2 for side, crop in zip(field.shape, crops, strict=True)]
    window = tuple(slice(start, start + crop) for start, crop in zip(starts, crops, strict=True))
    out = ndimage.zoom(field[window], (zoom, zoom), order=1)
    trims = [(n - side) // 2 for n, side in zip(out.shape, field.shape, strict=True)]
    return out[tuple(slice(trim, trim + side) for trim, side in zip(trims, field.shape, strict=True))]


def cut(field, mean, std, zoom, threshold):
    """The flakes before they fall, in bytes."""
    layer = enlarged(mean + std * field.astype(float), zoom)
    layer[layer < threshold] = 0
    return (np.clip(layer, 0, 1) * 255).astype(np.uint8)


def imagemagick(layer, radius, sigma, degrees):
    """MotionBlurImage on a grey image of bytes: sums rounded to 16 bits, then cut off to 8."""
    taps = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    weights /= weights.sum()
    height, width = layer.shape
    y, x = np.mgrid[:height, :width]
    total = 0
    for tap, weight in zip(taps, weights, strict=True):
        down, right = (int(np.ceil(tap * f(np.deg2rad(degrees)) - 0.5)) for f in (np.sin, np.cos))
        total = total + weight * layer[np.clip(y + down, 0, height - 1), np.clip(x + right, 0, width - 1)]
    return np.round(total * 257).astype(int) // 257


def blended(x, flakes, mix):
    """What the published code does with the image and the fallen flakes in bytes."""
    x, flakes = x.astype(float), (flakes / 255)[..., None]
    grey = x @ [0.299, 0.587, 0.114]
    x = mix * x + (1 - mix) * np.maximum(x, 1.5 * grey[..., None] + 0.5)
    return np.clip(x + flakes + np.rot90(flakes, k=2), 0, 1)


@pytest.mark.parametrize(("size", "severity"), CELLS)
def test_snow_is_the_published_code_fed_the_same_field(size, severity):
    constants, rng = PUBLISHED[size, severity], np.random.default_rng(severity)
    op = Snow.at(severity, size=size)
    for _ in range(2):
        field = rng.standard_normal((size, size)).astype(np.float32)
        x = (rng.integers(0, 256, (size, size, 3)) / 255).astype(np.float32) * 0.6
        degrees = rng.uniform(-135, -45)
        expected = blended(x, imagemagick(cut(field, *constants[:4]), *constants[4:6], degrees), constants[6])
        error = np.abs(fall(op, field, jnp.float32(np.deg2rad(degrees)), x) - expected)
        assert error.max() <= 1 / 255 + 1e-6
        assert (error > 2e-6).mean() < 2e-4  # a byte at the edge of its step now and then; the rest is the same


@pytest.mark.parametrize(("size", "severity"), CELLS)
def test_snow_is_imagemagicks_own(size, severity):
    with np.load(GOLDEN) as file:
        cell = (0 if size == 224 else 1), severity - 1
        field, degrees, flakes = file["field"], file["degrees"][cell], file["flakes"][cell]
    constants = PUBLISHED[size, severity]
    np.testing.assert_array_equal(imagemagick(cut(field, *constants[:4]), *constants[4:6], degrees), flakes)
    x = np.full((48, 48, 3), 0.1, np.float32)
    came = fall(Snow.at(severity, size=size), field, jnp.float32(np.deg2rad(degrees)), x)
    np.testing.assert_allclose(came, blended(x, flakes, constants[6]), atol=2e-6)


@pytest.mark.parametrize("shape", [(16, 40), (33, 8), (31, 31)], ids=str)
def test_the_zoom_is_scipys_at_every_enlargement(shape):
    field = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    zooms = np.array(
        [1, 1.25, 1.75, 2, 2.25, 2.5, 3, 4, 4.5, 1.13, 1.87, 3.6], np.float32
    )  # the last three away from ties
    came = jax.jit(jax.vmap(zoomed, in_axes=(None, 0)))(field, zooms)
    for zoom, out in zip(zooms, came, strict=True):
        np.testing.assert_allclose(out, enlarged(field.astype(float), float(zoom)), atol=2e-6, err_msg=f"{zoom}")


def test_the_field_is_normal_and_the_angle_uniform_about_the_vertical():
    op, x = Snow.at(2, size=32), jnp.zeros((24, 16, 3))
    keys = jax.random.split(jax.random.key(2), 3)
    for key in keys:
        out = run(op, key, x)
        drawn, direction = jax.random.split(key)
        degrees = -135 + 90 * float(jax.random.uniform(direction))
        field = np.asarray(normal(drawn, (24, 16)))
        constants = PUBLISHED[32, 2]
        expected = blended(np.asarray(x), imagemagick(cut(field, *constants[:4]), 10, 4, degrees), constants[6])
        np.testing.assert_allclose(out, expected, atol=1 / 255 + 1e-6)


@pytest.mark.parametrize("size", [224, 32])
def test_whole_severities_are_the_published_constants(size):
    stack = Snow.at(jnp.arange(1, 6), size=size)
    for i, field in enumerate(FIELDS):
        published = np.float32([PUBLISHED[size, severity][i] for severity in range(1, 6)])
        np.testing.assert_array_equal(getattr(stack, field), published)


@pytest.mark.parametrize("monotone", [False, True])
@pytest.mark.parametrize("size", [224, 32])
def test_snow_grows_from_nothing(size, monotone):
    x = jnp.full((64, 64, 3), 0.4)

    def change(severity):
        return np.abs(run(Snow.at(severity, size=size, monotone=monotone), jax.random.key(0), x) - x).mean()

    faint = float(change(0.01))
    assert 0 < faint < 0.01 and change(0.1) < 0.1 and change(0.0) == 0


def photographs(side):
    return jnp.asarray(
        np.stack([p[100 : 100 + side, c : c + side] for p in load_sample_images().images for c in (0, 200)]) / 255,
        jnp.float32,
    )


@pytest.mark.parametrize(("size", "side"), [(224, 64), (32, 32)])
def test_the_monotone_scale_never_falls(size, side):
    x, keys = photographs(side), jax.random.split(jax.random.key(1), 32)

    @jax.jit
    def change(severity, monotone):
        ops = [Snow.at(severity, size=size, monotone=m) for m in (False, True)]
        op = jax.tree.map(lambda a, b: jnp.where(monotone, b, a), *ops)
        return jnp.mean(jax.vmap(lambda key, i: jnp.abs(op(key, x[i]) - x[i]).mean())(keys, jnp.arange(32) % 4))

    severities = np.linspace(0, 5, 21)
    rising = np.array([change(s, True) for s in severities])
    assert (np.diff(rising) > 0).all()
    published = np.array([change(s, False) for s in severities[::2]])
    assert (np.diff(published) < 0).any()  # why there is another scale


def test_derivatives_are_zero_where_flakes_step_and_exact_by_the_mix():
    op, key = Snow.at(3, size=32), jax.random.key(4)
    x = 0.3 * jax.random.uniform(jax.random.key(5), (24, 16, 3))
    slopes = jax.jit(jax.grad(lambda op: jnp.sum(op(key, x))))(op)
    for field in ("threshold", "radius", "zoom"):
        assert getattr(slopes, field) == 0
    assert slopes.mean > 0 and slopes.sigma != 0
    step = 1e-2
    high, low = (
        np.sum(run(dataclasses.replace(op, mix=op.mix + jnp.float32(d)), key, x), dtype=float) for d in (step, -step)
    )
    np.testing.assert_allclose(slopes.mix, (high - low) / (2 * step), rtol=2e-2)


def test_a_grey_image_is_a_colour_image_of_equal_channels():
    op, key, x = Snow.at(4, size=32), jax.random.key(6), jax.random.uniform(jax.random.key(7), (24, 16, 1))
    colour = run(op, key, jnp.broadcast_to(x, (24, 16, 3)))
    np.testing.assert_allclose(run(op, key, x), colour[..., :1], atol=1e-6)
