"""Geometry, occlusion, motion and weather: what can be said of them exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats
from sensijax_kernels.random import uniform

from sensijax.perturb import image
from sensijax.perturb.image import plasma

KEYS = jax.random.split(jax.random.key(0), 400)
SHAPE = (16, 20, 3)
X = jax.random.uniform(jax.random.key(1), SHAPE)
run = jax.jit(lambda op, key, x: op(key, x))
many = jax.jit(jax.vmap(lambda op, key, x: op(key, x), in_axes=(None, 0, None)))


def sampled(x, rows, columns):
    """Bilinear, the border continued: SciPy's."""
    read = (ndimage.map_coordinates(x[..., c], [rows, columns], order=1, mode="nearest") for c in range(3))
    return np.stack(list(read), axis=-1)


def test_rotations_are_scipys_to_either_side_with_equal_odds():
    out = np.asarray(many(image.Rotation(degrees=jnp.float32(20.0)), KEYS, X))
    y, x = np.mgrid[:16, :20]
    y, x = y - 7.5, x - 9.5
    left, right = (
        sampled(np.asarray(X, float), np.cos(a) * y - np.sin(a) * x + 7.5, np.sin(a) * y + np.cos(a) * x + 9.5)
        for a in np.deg2rad([20, -20])
    )
    is_left = np.abs(out - left).max(axis=(1, 2, 3)) < 1e-5
    is_right = np.abs(out - right).max(axis=(1, 2, 3)) < 1e-5
    assert (is_left ^ is_right).all()
    assert stats.binomtest(int(is_left.sum()), 400).pvalue > 1e-4


def test_scales_are_scipys_up_or_down_with_equal_odds():
    out = np.asarray(many(image.Scale(ratio=jnp.float32(1.3)), KEYS, X))
    y, x = np.mgrid[:16, :20]
    down, up = (sampled(np.asarray(X, float), (y - 7.5) * s + 7.5, (x - 9.5) * s + 9.5) for s in (1.3, 1 / 1.3))
    is_up = np.abs(out - up).max(axis=(1, 2, 3)) < 1e-5
    assert (is_up ^ (np.abs(out - down).max(axis=(1, 2, 3)) < 1e-5)).all()
    assert stats.binomtest(int(is_up.sum()), 400).pvalue > 1e-4


def test_translations_go_their_distance_in_every_direction():
    ramp = jnp.stack(
        jnp.broadcast_arrays(jnp.arange(32.0)[:, None] / 64, jnp.arange(32.0)[None, :] / 64, jnp.zeros((1, 1))), axis=-1
    )
    out = np.asarray(many(image.Translation(fraction=jnp.float32(0.1)), KEYS, ramp))
    moved = (np.asarray(ramp) - out)[:, 16, 16, :2] * 64  # far from the border the ramp shows the shift
    np.testing.assert_allclose(np.hypot(*moved.T), 3.2, atol=1e-4)
    turns = np.arctan2(moved[:, 0], moved[:, 1]) / (2 * np.pi) + 0.5
    assert stats.kstest(turns, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("fraction", [0.1, 0.33, 0.5, 1.0])
def test_an_occlusion_covers_its_square_exactly_and_stays_in_the_frame(fraction):
    black = jnp.zeros(SHAPE)
    covered = np.asarray(many(image.Occlusion(fraction=jnp.float32(fraction)), KEYS, black)) / 0.5
    side = fraction * 16
    np.testing.assert_allclose(covered.sum(axis=(1, 2))[:, 0], side**2, rtol=1e-4)
    np.testing.assert_array_equal(covered[..., 0], covered[..., 2])
    assert (covered.max(axis=(1, 2)) <= 1).all()
    centre = (covered[..., 0].sum(axis=1) * (np.arange(20) + 0.5)).sum(axis=1) / side**2
    place = (centre - side / 2) / (20 - side)
    assert stats.kstest(place, "uniform").pvalue > 1e-4


def imagemagick(x, radius, sigma, angle):
    """MotionBlurImage, as written: one-sided Gaussian taps, offsets rounded to pixels, the border continued."""
    width = 2 * int(np.ceil(radius)) + 1
    weights = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    height, length, _ = x.shape
    y, column = np.mgrid[:height, :length]
    out = 0
    for i, weight in enumerate(weights):
        down, right = np.ceil(i * np.sin(angle) - 0.5), np.ceil(i * np.cos(angle) - 0.5)
        rows = np.clip(y + down, 0, height - 1).astype(int)
        out = out + weight * x[rows, np.clip(column + right, 0, length - 1).astype(int)]
    return out


@pytest.mark.parametrize(("severity", "size"), [(1, 32), (5, 32), (3, 224)])
def test_motion_blur_is_imagemagicks(severity, size):
    op = image.MotionBlur.at(severity, size=size)
    for key in KEYS[:4]:
        angle = (float(jax.random.uniform(key)) - 0.5) * np.pi / 2
        expected = imagemagick(np.asarray(X, float), float(op.radius), float(op.sigma), angle)
        np.testing.assert_allclose(run(op, key, X), expected, atol=1e-5)


PUBLISHED_ZOOMS = {
    224: ((1, 1.11, 0.01), (1, 1.16, 0.01), (1, 1.21, 0.02), (1, 1.26, 0.02), (1, 1.31, 0.03)),
    32: ((1, 1.06, 0.01), (1, 1.11, 0.01), (1, 1.16, 0.01), (1, 1.21, 0.01), (1, 1.26, 0.01)),
}


def clipped_zoom(x, zoom):
    """The published enlargement, with SciPy's; for sides that differ, of each by itself."""
    kept = [int(np.ceil(side / zoom)) for side in x.shape[:2]]
    top, left = ((side - k) // 2 for side, k in zip(x.shape[:2], kept, strict=True))
    out = ndimage.zoom(x[top : top + kept[0], left : left + kept[1]], (zoom, zoom, 1), order=1)
    top, left = ((o - side) // 2 for side, o in zip(x.shape[:2], out.shape[:2], strict=True))
    return out[top : top + x.shape[0], left : left + x.shape[1]]


@pytest.mark.parametrize(
    "side", [(32, 32), (33, 47), (8, 8), pytest.param((224, 224), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize("size", [224, 32])
def test_zoom_blur_is_the_published_code(side, size):
    x = np.random.default_rng(0).uniform(size=(*side, 3))
    blur = jax.jit(lambda severity, x: image.ZoomBlur.at(severity, size=size)(KEYS[0], x))
    for severity, factors in enumerate(PUBLISHED_ZOOMS[size], 1):
        zooms = np.arange(*factors)
        expected = (x + sum(clipped_zoom(x, zoom) for zoom in zooms)) / (len(zooms) + 1)
        came = blur(float(severity), jnp.asarray(x, jnp.float32))
        np.testing.assert_allclose(came, expected, atol=3e-6, err_msg=f"severity {severity}")


def test_zoom_blur_about_the_centre_is_scipys():
    y, x = np.mgrid[:16, :20]
    total = np.asarray(X, float)
    for zoom in np.linspace(1, 1.2, 16):
        total = total + sampled(np.asarray(X, float), (y - 7.5) / zoom + 7.5, (x - 9.5) / zoom + 9.5)
    op = image.ZoomBlur.at(3.0, monotone=True)
    np.testing.assert_allclose(run(op, KEYS[0], X), total / 17, atol=1e-5)


@pytest.mark.parametrize("size", [224, 32])
def test_zoom_blur_has_no_jumps_between_severities(size):
    blur = jax.jit(jax.vmap(lambda severity: image.ZoomBlur.at(severity, size=size)(KEYS[0], X)))
    coarse, fine = (np.asarray(blur(np.linspace(0, 5, n, dtype=np.float32))) for n in (251, 2501))
    # Ten times the steps, a tenth of the largest change: were there a jump, it would not shrink.
    largest = [np.abs(np.diff(out, axis=0)).max() for out in (coarse, fine)]
    assert largest[1] < 0.15 * largest[0]


def diamond_square(noise, decay, levels):
    """The published loop over steps, fed the same noise."""
    side = 2**levels
    grid, step, spread = np.zeros((side, side)), side, 1.0
    for level in range(levels):
        count = 2**level
        drawn = spread * noise[count**2 - 1 : 4 * count**2 - 1].reshape(3, count, count)
        half = step // 2
        corner = grid[0:side:step, 0:side:step]
        squares = corner + np.roll(corner, -1, axis=0)
        squares = squares + np.roll(squares, -1, axis=1)
        grid[half:side:step, half:side:step] = squares / 4 + drawn[0]
        centre, corner = grid[half:side:step, half:side:step], grid[0:side:step, 0:side:step]
        across = centre + np.roll(centre, 1, axis=0) + corner + np.roll(corner, -1, axis=1)
        down = centre + np.roll(centre, 1, axis=1) + corner + np.roll(corner, -1, axis=0)
        grid[0:side:step, half:side:step] = across / 4 + drawn[1]
        grid[half:side:step, 0:side:step] = down / 4 + drawn[2]
        step, spread = half, spread / decay**2
    return (grid - grid.min()) / (grid.max() - grid.min())


def test_the_plasma_is_the_published_diamond_square():
    noise = 2 * np.asarray(uniform(KEYS[0], (4**5 - 1,))) - 1
    came = jax.jit(plasma, static_argnums=2)(KEYS[0], jnp.float32(1.75), 5)
    np.testing.assert_allclose(came, diamond_square(noise, 1.75, 5), atol=1e-5)


def test_fog_mixes_the_plasma_in():
    op = image.Fog.at(3, size=32)
    haze = np.asarray(plasma(KEYS[0], op.decay, 5))[:16, :20, None]
    brightest = float(X.max())
    expected = (np.asarray(X) + 0.75 * haze) * brightest / (brightest + 0.75)
    np.testing.assert_allclose(run(op, KEYS[0], X), expected, atol=1e-5)


def test_fog_leaves_black_black():
    np.testing.assert_array_equal(run(image.Fog.at(5), KEYS[0], jnp.zeros(SHAPE)), jnp.zeros(SHAPE))
