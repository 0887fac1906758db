"""Distances between images: scikit-image's numbers, the same bits in every batch, derivatives that are finite."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError
from sensijax.perturb import image
from sensijax.perturb.image.perceptual import GAUSSIAN, Window

with np.load(pathlib.Path(__file__).parent.parent / "golden" / "perceptual.npz") as _file:
    GOLDEN = dict(_file)
PAIRS = sorted({name.split("/")[0] for name in GOLDEN})
DISTANCES = {
    "psnr": image.psnr,
    "ssim": image.ssim,
    "ms_ssim": lambda x, y: image.ms_ssim(x, y, scales=2),
    "l2": image.l2_distance,
    "linf": image.linf_distance,
}
SHAPE = (24, 22, 3)
single = {name: jax.jit(f) for name, f in DISTANCES.items()}
batch = {name: jax.jit(jax.vmap(f)) for name, f in DISTANCES.items()}
ssim = jax.jit(image.ssim, static_argnames="window")
ms_ssim = jax.jit(image.ms_ssim, static_argnames="scales")


def pair(name):
    x, y = GOLDEN[f"{name}/x"], GOLDEN[f"{name}/y"]
    return tuple(jnp.asarray(v / np.float32(255) if v.dtype == np.uint8 else v, jnp.float32) for v in (x, y))


def pairs(rows, shape, seed=0):
    """Images and noisy copies, some of them equal, black, white or opposites."""
    rng = np.random.default_rng(seed)
    x = rng.random((rows, *shape), np.float32) * rng.random((rows, 1, 1, 1), np.float32)
    y = np.clip(x + 0.3 * rng.random((rows, 1, 1, 1), np.float32) * rng.standard_normal(x.shape, np.float32), 0, 1)
    x[1:2], y[2:3], x[3:4], y[3:4] = 0, 1, 0.5, 0.5
    y[4:5], y[5:6] = x[4:5], 1 - x[5:6]
    return jnp.asarray(x), jnp.asarray(y)


@pytest.mark.parametrize("name", PAIRS)
def test_scikit_image_says_the_same(name):
    x, y = pair(name)
    # Measured: within 2e-6 dB, and within 3e-7.
    np.testing.assert_allclose(single["psnr"](x, y), GOLDEN[f"{name}/psnr"], rtol=0, atol=1e-5)
    for window, key in ((GAUSSIAN, "ssim"), (Window.uniform(), "ssim 7x7")):
        np.testing.assert_allclose(ssim(x, y, window=window), GOLDEN[f"{name}/{key}"], rtol=0, atol=1e-6)
    assert ssim(x, y) == ssim(x, y, window=Window.gaussian(1.5, 11)) == ssim(y, x)


@pytest.mark.parametrize("key", [key for key in GOLDEN if "/ms_ssim" in key])
def test_multi_scale_similarity_is_that_of_the_paper(key):
    name, scales = key.split("/ms_ssim ")
    came = ms_ssim(*pair(name), scales=int(scales))
    np.testing.assert_allclose(came, GOLDEN[key], rtol=0, atol=1e-6)


def test_the_published_weights_are_the_default():
    np.testing.assert_array_equal(ms_ssim(*pair("large")), ms_ssim(*pair("large"), scales=5))


def test_norms_are_numpys():
    x, y = pair("colour noise")
    difference = np.asarray(x, np.float64) - np.asarray(y, np.float64)
    np.testing.assert_allclose(image.l2_distance(x, y), np.linalg.norm(difference.ravel()), rtol=1e-6)
    np.testing.assert_allclose(image.linf_distance(x, y), np.abs(difference).max(), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_images_are_as_close_as_can_be(value):
    for x in (jnp.full(SHAPE, value), jax.random.uniform(jax.random.key(0), SHAPE) * value):
        assert {name: float(f(x, x)) for name, f in single.items()} == {
            "psnr": np.inf, "ssim": 1.0, "ms_ssim": 1.0, "l2": 0.0, "linf": 0.0
        }  # fmt: skip


@pytest.mark.parametrize("name", DISTANCES)
def test_neither_place_nor_batch_size_changes_a_bit(name):
    x, y = pairs(64, SHAPE)
    distance = batch[name]
    whole = np.asarray(distance(x, y))
    for rows in (1, 7):
        picked = np.random.default_rng(rows).permutation(64)[:rows]
        np.testing.assert_array_equal(distance(x[picked], y[picked]), whole[picked])
    np.testing.assert_array_equal([single[name](x[i], y[i]) for i in range(12)], whole[:12])
    np.testing.assert_array_equal([DISTANCES[name](x[i], y[i]) for i in range(12)], whole[:12])


@pytest.fixture(scope="module", params=DISTANCES)
def derivatives(request):
    name = request.param
    return name, batch[name], jax.jit(jax.vmap(jax.grad(DISTANCES[name], argnums=(0, 1))))


def test_derivatives_are_finite_everywhere(derivatives):
    name, _, grad = derivatives
    x, y = pairs(12, SHAPE)
    faint = [x.at[0, 0, 0, 0].add(step) for step in (1e-3, 1e-12, 1e-18, 1e-19, 1e-22)]
    for other in (y, x, *faint):
        for came in grad(x, other):
            assert np.isfinite(came).all()
    if name != "linf":
        moves = np.array([0, 6, 7] if name == "ms_ssim" else [0, 5, 6, 7])  # of opposites it is zero, and stays so
        assert all((np.abs(came[moves]).max(axis=(1, 2, 3)) > 0).all() for came in grad(x, y))
    if name != "ssim" and name != "ms_ssim":
        assert not any(np.any(came) for came in grad(x, x))
    else:  # a maximum, up to rounding
        assert all(np.abs(came).max() < 1e-6 for came in grad(x, x))


def test_derivatives_match_finite_differences(derivatives):
    name, distance, grad = derivatives
    x, y = (v[6:] for v in pairs(18, SHAPE))
    way = jnp.asarray(np.random.default_rng(2).standard_normal(x.shape), jnp.float32)
    step = 1e-5 if name == "linf" else 1e-3  # so that the value that differs most stays the same
    exact = np.sum(np.asarray(grad(x, y)[1]) * np.asarray(way), axis=(1, 2, 3))
    difference = (distance(x, y + step * way) - distance(x, y - step * way)) / (2 * step)
    np.testing.assert_allclose(difference, exact, rtol=0.02, atol=0.02 * np.abs(exact).max())


def test_forward_mode_agrees_with_reverse_mode():
    x, y = pair("grey blur")
    way = jnp.asarray(np.random.default_rng(2).standard_normal(x.shape), jnp.float32)
    forward = jax.jit(lambda: jax.jvp(lambda v: image.ssim(v, y), (x,), (way,))[1])()
    np.testing.assert_allclose(forward, jnp.sum(jax.jit(jax.grad(image.ssim))(x, y) * way), rtol=1e-4)


def test_what_cannot_be_compared_is_refused():
    x = jnp.zeros((16, 16, 3))
    for distance in DISTANCES.values():
        with pytest.raises(ArgumentError, match="`y`: got float32.*the other image's shape"):
            distance(x, x[:, :, :1])
        with pytest.raises(ArgumentError, match="for a batch use jax.vmap"):
            distance(x[None], x[None])
    with pytest.raises(ArgumentError, match="no side smaller than the window's 11 px"):
        image.ssim(x[:10], x[:10])
    assert image.ssim(x[:8], x[:8], window=Window.uniform()) == 1
    large = jnp.zeros((175, 200, 1))
    with pytest.raises(ArgumentError, match="no side under 176 px .11 px after 4 halvings.; fewer scales"):
        image.ms_ssim(large, large)
    with pytest.raises(ArgumentError, match="no side under 22 px"):
        image.ms_ssim(x, x, scales=2)
    for scales in (0, 6, 2.5):
        with pytest.raises(ArgumentError, match="an integer from 1 to 5"):
            image.ms_ssim(x, x, scales=scales)
    for side in (1, 4, 7.5):
        with pytest.raises(ArgumentError, match="an odd number"):
            Window.uniform(side)
    with pytest.raises(ArgumentError, match="sigma"):
        Window.gaussian(0.0)
