"""What hides parts of an image, pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sensijax_kernels import random as kernels

from sensijax.perturb import image

KEYS = jax.random.split(jax.random.key(3), 400)
uniform = jax.jit(kernels.uniform, static_argnums=1)
many = jax.jit(jax.vmap(lambda op, key, x: op(key, x), in_axes=(None, 0, None)))


def covered(start, side, count):
    return np.clip(np.minimum(np.arange(count) + 1, start + side) - np.maximum(np.arange(count), start), 0, 1)


@pytest.mark.parametrize("count", [1.0, 3.0, 4.25])
def test_patches_hide_squares_one_after_the_other(count):
    x = np.random.default_rng(0).uniform(size=(20, 31, 3))
    op = image.Patches(count=jnp.float32(count), fraction=jnp.float32(0.23), level=0.25, most=5)
    out = np.asarray(many(op, KEYS[:20], jnp.asarray(x, jnp.float32)))
    side = 0.23 * 20
    for key, came in zip(KEYS[:20], out, strict=True):
        expected = x
        for i in range(5):
            down, across = np.asarray(jax.random.uniform(jax.random.fold_in(key, i), (2,)), float)
            rows, columns = covered(down * (20 - side), side, 20), covered(across * (31 - side), side, 31)
            hidden = np.clip(count - i, 0, 1) * rows[:, None, None] * columns[:, None]
            expected = expected + hidden * (0.25 - expected)
        np.testing.assert_allclose(came, expected, atol=1e-5)


def test_a_patch_lies_anywhere_in_the_frame_alike():
    op = image.Patches(count=jnp.float32(1.0), fraction=jnp.float32(0.25), most=16)
    out = np.asarray(many(op, KEYS, jnp.zeros((16, 24, 1))))[..., 0] / 0.5
    np.testing.assert_allclose(out.sum(axis=(1, 2)), 16, rtol=1e-4)
    for axis, side in ((1, 16), (2, 24)):
        profile = out.sum(axis=3 - axis) * (np.arange(side) + 0.5)
        place = (profile.sum(axis=1) / 16 - 2) / (side - 4)
        assert stats.kstest(place, "uniform").pvalue > 1e-4


def test_more_patches_leave_the_first_where_they_were():
    def hidden(count, most):
        op = image.Patches(count=jnp.float32(count), fraction=jnp.float32(0.2), most=most)
        return np.asarray(many(op, KEYS[:20], jnp.zeros((32, 32, 1))))

    few, more = hidden(3, 3), hidden(9, 16)
    assert (more >= few - 1e-6).all() and (more.mean() > 1.8 * few.mean())


def board(key, fraction, height, width):
    """The published loop over pixels, with a phase: which of them are hidden, and how near each is to a border."""
    place, cells = jax.random.split(key)
    turn, length, down, across = np.asarray(jax.random.uniform(place, (4,)), float)
    angle, side = 2 * np.pi * turn, (0.1 + 0.15 * length) * min(height, width)
    grid = np.asarray(uniform(cells, (64, 64))) < np.float32(fraction)
    out, margin = np.zeros((height, width), bool), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            nx = (np.cos(angle) * y + np.sin(angle) * x) / side + 2 * down
            ny = (-np.sin(angle) * y + np.cos(angle) * x) / side + 2 * across
            shown = int(nx % 2) != int(ny % 2) or not grid[int(nx // 1) % 64, int(ny // 1) % 64]
            out[y, x] = not shown
            margin[y, x] = min(abs(nx - round(nx)), abs(ny - round(ny)))
    return out, margin


@pytest.mark.parametrize(("severity", "size"), [(1, 224), (5, 224), (3, 32)])
def test_checkerboard_cutout_is_the_published_loop(severity, size):
    x = np.random.default_rng(1).uniform(size=(24, 37, 3)).astype(np.float32)
    op = image.CheckerboardCutout.at(severity, size=size)
    out = np.asarray(many(op, KEYS[:10], x))
    for key, came in zip(KEYS[:10], out, strict=True):
        hidden, margin = board(key, float(op.fraction), 24, 37)
        expected = np.where(hidden[..., None], np.float32(128 / 255), x)
        sure = margin > 1e-4
        assert sure.mean() > 0.99
        np.testing.assert_array_equal(came[sure], expected[sure])


@pytest.mark.parametrize("fraction", [0.2, 1.0])
def test_checkerboard_cutout_hides_half_its_fraction_of_every_pixel(fraction):
    out = np.asarray(many(image.CheckerboardCutout(fraction=jnp.float32(fraction)), KEYS, jnp.zeros((16, 16, 1))))
    hidden = (out > 0).reshape(400, 256)
    share = fraction / 2
    # Pixels hide together: one image counts for little more than a few fields.
    assert abs(hidden.mean() - share) < 5 * hidden.mean(axis=1).std() / np.sqrt(400)
    assert np.abs(hidden.mean(axis=0) - share).max() < 5.5 * np.sqrt(share * (1 - share) / 400)


def test_fields_hidden_at_one_fraction_are_hidden_at_every_higher_one():
    low, high = (
        np.asarray(many(image.CheckerboardCutout(fraction=jnp.float32(f)), KEYS[:50], jnp.zeros((32, 32, 1))))
        for f in (0.3, 0.6)
    )
    assert (high >= low).all() and high.mean() > 1.5 * low.mean()
