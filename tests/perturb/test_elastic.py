"""Elastic deformation against SciPy, and against the published program with the same draws."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from sensijax_kernels import random as kernels

from sensijax.perturb import image
from sensijax.perturb.image.elastic import smoothed, three_points

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "elastic.npz"
run = jax.jit(lambda op, key, x: op(key, x))
uniform = jax.jit(kernels.uniform, static_argnums=1)
first_places = jax.jit(
    lambda moves, height, width: three_points(moves, height, width).source(
        *jnp.meshgrid(jnp.arange(float(height)), jnp.arange(float(width)), indexing="ij")
    ),
    static_argnums=(1, 2),
)


def picture(side, seed=0):
    """A scene with the spectrum of a photograph and two hard edges, in bytes."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((side, side, 3))
    out = np.sum([s * ndimage.gaussian_filter(noise, (s, s, 0), mode="wrap") for s in (0.5, 1, 2, 4, 8)], axis=0)
    out = (out - out.min()) / (out.max() - out.min())
    out[side // 4 : side // 2, side // 3 :] *= 0.4
    return jnp.asarray(np.round(out * 255) / 255, jnp.float32)


@pytest.mark.parametrize(
    ("shape", "sigma", "reach"),
    [((24, 24), 170.8, 171), ((33, 20), 19.52, 20), ((32, 32), 0.96, 7), ((8, 9), 2.44, 3), ((16, 24), 0.0, 7)],
    ids=str,
)
def test_the_smoothing_is_scipys(shape, sigma, reach):
    noise = uniform(jax.random.key(1), (2, *shape)) * 2 - 1
    came = jax.jit(smoothed, static_argnums=2)(noise, jnp.float32(sigma), reach)
    for out, x in zip(came, np.asarray(noise, float), strict=True):
        expected = ndimage.gaussian_filter(x, sigma, mode="reflect", truncate=3)
        np.testing.assert_allclose(out, expected, atol=1e-6)


def test_three_points_move_where_they_should_and_back():
    for shape, seed in (((32, 32), 0), ((24, 41), 1)):
        moves = np.random.default_rng(seed).uniform(-3, 3, (3, 2)).astype(np.float32)
        plane = three_points(jnp.asarray(moves), *shape)
        s = min(shape) // 3
        points = np.array([[s, s], [s, -s], [-s, -s]], np.float32) + [shape[1] // 2, shape[0] // 2]
        rows, columns = plane.target(*jnp.asarray(points[:, ::-1].T, jnp.float32))
        np.testing.assert_allclose(np.stack([columns, rows], axis=1), points + moves, atol=1e-4)
        rows, columns = plane.source(rows, columns)
        np.testing.assert_allclose(np.stack([columns, rows], axis=1), points, atol=1e-4)


def test_three_points_on_a_line_leave_numbers_finite():
    moves = jnp.array([[0.0, 0.0], [0.0, 20.0], [0.0, 0.0]])  # the second falls on the first
    rows, columns = three_points(moves, 32, 32).source(jnp.arange(32.0), jnp.arange(32.0))
    assert np.isfinite(rows).all() and np.isfinite(columns).all()


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(32, 32), (24, 41)], ids=str)
def test_the_whole_is_two_resamplings_by_scipy(shape, severity):
    op = image.Elastic.at(severity, size=32)
    x, key = picture(41)[: shape[0], : shape[1]], jax.random.key(severity)
    first, *others = jax.random.split(key, 3)
    moves = op.affine * jax.random.uniform(first, (3, 2), jnp.float32, -1.0, 1.0)
    y, x_ = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    places = [np.asarray(p, float) for p in first_places(moves, *shape)]
    out = np.stack([ndimage.map_coordinates(x[..., c], places, order=1, mode="mirror") for c in range(3)], axis=-1)
    down, right = (
        ndimage.gaussian_filter(2 * np.asarray(uniform(k, shape), float) - 1, float(op.sigma), truncate=3)
        * float(op.alpha)
        for k in others
    )
    places = [y + down, x_ + right]
    out = np.stack([ndimage.map_coordinates(out[..., c], places, order=1, mode="reflect") for c in range(3)], axis=-1)
    np.testing.assert_allclose(run(op, key, x), out, atol=1e-4)


@pytest.mark.parametrize("size", [32, 224])
def test_it_is_the_published_program_with_the_same_draws(size):
    golden = np.load(GOLDEN)[f"outputs_{size}"] / 65535  # every seventh pixel of 224
    step = 7 if size == 224 else 1
    x = picture(size)
    for severity, expected in zip(range(1, 6), golden, strict=True):
        op = image.Elastic.at(severity, size=size)
        came = np.asarray(run(op, jax.random.key(severity), x))[::step, ::step]
        # A tenth of a level: the places of both are float32, and edges are steep.
        assert np.abs(came - expected).max() <= 0.1 / 255


@pytest.mark.parametrize("size", [32, 224])
def test_the_monotone_scale_has_the_published_settings_and_never_falls(size):
    order = {224: [3, 4, 5, 1, 2], 32: [5, 4, 3, 2, 1]}[size]
    published, sorted_ = (
        image.Elastic.at(jnp.arange(6), size=size),
        image.Elastic.at(jnp.arange(6), size, monotone=True),
    )
    for field in ("alpha", "sigma", "affine"):
        np.testing.assert_array_equal(getattr(sorted_, field)[1:], getattr(published, field)[jnp.array(order)])
    keys, x = jax.random.split(jax.random.key(0), 8 if size == 224 else 48), picture(size, seed=2)

    def change(severity, monotone):
        op = image.Elastic.at(severity, size, monotone=monotone)
        return np.mean([np.abs(run(op, key, x) - x).mean() for key in keys])

    scale = np.array([change(s, True) for s in np.linspace(0, 5, 11, dtype=np.float32)])
    assert (np.diff(scale) > 0).all()
    assert (np.diff([change(float(s), False) for s in range(6)]) < 0).any()  # the published one does
