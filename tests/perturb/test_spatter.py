"""Spatter against OpenCV, and the parts of its layer against definitions."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from sensijax_kernels import random as kernels

from sensijax.perturb.image import _liquid
from sensijax.perturb.image.spatter import Spatter, _glisten

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "spatter.npz")
PUBLISHED = {
    224: [
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ],
    32: [
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ],
}
SETTINGS = [(size, severity) for size in PUBLISHED for severity in range(1, 6)]
SIDE, DIAGONAL, KNIGHT = 65536, 91750, 143976

run = jax.jit(lambda op, key, x: op(key, x))
at = jax.jit(Spatter.at, static_argnames=("size", "monotone"))
slopes = jax.jit(jax.grad(lambda op, x, key, weight: jnp.sum(weight * op(key, x)), argnums=(0, 1)))
glisten = jax.jit(_glisten)
relief = jax.jit(jax.vmap(_liquid.relief))
canny = jax.jit(jax.vmap(lambda layer: _liquid.canny(layer, 50, 150)))
chamfer = jax.jit(_liquid.chamfer)
equalise = jax.jit(_liquid.equalise, static_argnums=1)
connected = jax.jit(_liquid._connected)


def unit(pixels):
    return jnp.asarray(pixels / 255, jnp.float32)


@pytest.mark.parametrize(("size", "severity"), SETTINGS)
def test_whole_severities_are_the_published_constants(size, severity):
    mean, std, blur, threshold, k, mud = PUBLISHED[size][severity - 1]
    op = at(float(severity), size=size)
    came = (op.mean, op.std, op.blur, op.threshold, op.rim if mud else op.opacity, op.mud)
    np.testing.assert_array_equal(came, np.float32((mean, std, blur, threshold, k, mud)))


@pytest.mark.parametrize(("size", "severity"), SETTINGS)
def test_the_published_image(size, severity):
    row = SETTINGS.index((size, severity))
    came = run(Spatter.at(severity, size=size), jax.random.key(row), unit(GOLDEN["pixels"]))
    np.testing.assert_allclose(came, GOLDEN["spatter"][row] / 65535, atol=2e-5)
    assert np.abs(came - unit(GOLDEN["pixels"])).mean() > 0.002


@pytest.mark.parametrize("name", ["drops", "slopes", "large"])
def test_edges_and_relief_are_opencvs_byte_for_byte(name):
    layers = jnp.asarray(GOLDEN[f"{name}_layer"], jnp.int32)
    edges = np.unpackbits(GOLDEN[f"{name}_edges"], count=layers.size).reshape(layers.shape)
    assert edges.mean() > 0.02
    np.testing.assert_array_equal(canny(layers), edges)
    np.testing.assert_array_equal(relief(layers), GOLDEN[f"{name}_relief"])


def two_passes(edges):
    """The distance by OpenCV's method: once down, once up, each pixel from its neighbours within 5 x 5."""
    moves = [(-2, -1, KNIGHT), (-2, 1, KNIGHT), (-1, -2, KNIGHT), (-1, 2, KNIGHT)]
    moves += [(-1, -1, DIAGONAL), (-1, 1, DIAGONAL), (-1, 0, SIDE), (0, -1, SIDE)]
    out = np.pad(np.where(edges, 0, 10**9), 2, constant_values=10**9)
    for sign in (1, -1):
        for y in range(2, out.shape[0] - 2)[::sign]:
            for x in range(2, out.shape[1] - 2)[::sign]:
                out[y, x] = min(out[y, x], *(out[y + sign * dy, x + sign * dx] + d for dy, dx, d in moves))
    return np.minimum(out[2:-2, 2:-2], 20 * SIDE)


@pytest.mark.parametrize("share", [0.0, 0.002, 0.02, 0.3, 1.0])
def test_distances_are_those_of_the_two_pass_algorithm(share):
    edges = np.random.default_rng(0).random((61, 47)) < share
    np.testing.assert_array_equal(chamfer(edges), two_passes(edges))


def test_distances_of_the_smallest_image():
    edges = np.zeros((8, 8), bool)
    edges[7, 1] = True
    np.testing.assert_array_equal(chamfer(edges), two_passes(edges))


def test_hysteresis_follows_an_edge_to_its_end():
    spiral = np.zeros((33, 33), bool)
    y, x, dy, dx = 0, 0, 0, 1
    for length in np.repeat(np.arange(32, 0, -2), 2):
        for _ in range(length):
            spiral[y, x] = True
            y, x = y + dy, x + dx
        dy, dx = dx, -dy
    spiral[::4] = False  # cut into pieces
    seeds = spiral & (np.random.default_rng(0).random(spiral.shape) < 0.03)
    labels, _ = ndimage.label(spiral, np.ones((3, 3)))
    expected = np.isin(labels, labels[seeds]) & spiral
    assert seeds.sum() < expected.sum() < spiral.sum()
    np.testing.assert_array_equal(connected(seeds, spiral), expected)
    whole = np.zeros((1, 200), bool)
    assert connected(jnp.asarray(whole).at[0, 0].set(True), ~whole).all()


def test_equalisation_uses_every_share_and_leaves_one_level_alone():
    pixels = jnp.asarray([[3, 3, 3, 5], [5, 5, 20, 20]], jnp.int32)
    # Three of eight pixels are the lowest and become 0; three fifths of the rest are 5.
    np.testing.assert_array_equal(equalise(pixels, 20), [[0, 0, 0, 153], [153, 153, 255, 255]])
    np.testing.assert_array_equal(equalise(jnp.full((8, 8), 17), 20), np.full((8, 8), 17))


def test_a_layer_brighter_than_white_wraps_around():
    layer = jnp.full((32, 32), 0.0).at[8:24, 8:24].set(250 / 255)
    wrapped, black = layer.at[20, 20].set(258.5 / 255), layer.at[20, 20].set(2.5 / 255)
    np.testing.assert_array_equal(glisten(wrapped), glisten(black))
    assert np.any(glisten(wrapped) != glisten(layer))


def test_without_a_drop_the_image_stays():
    x = unit(GOLDEN["pixels"])
    weight = jnp.ones_like(x)
    for mud in (0.0, 0.5, 1.0):
        op = Spatter(*(jnp.float32(v) for v in (0.5, 0.1, 2, 0.9, 1, 1.5, mud)))
        np.testing.assert_array_equal(run(op, jax.random.key(0), x), x)
        by_parameters, _ = slopes(op, x, jax.random.key(0), weight)
        assert all(float(leaf) == 0 for leaf in jax.tree.leaves(by_parameters))


def test_between_water_and_mud_both_are_seen():
    x, key = unit(GOLDEN["pixels"]), jax.random.key(1)
    parameters = [jnp.float32(v) for v in (0.65, 0.3, 1.5, 0.66, 0.5, 1.5)]
    wet, both, muddy = (run(Spatter(*parameters, mud=jnp.float32(m)), key, x) for m in (0, 0.25, 1))
    np.testing.assert_allclose(both, 0.75 * wet + 0.25 * muddy, atol=1e-6)
    assert (wet >= x).all() and (wet > x).any()
    assert np.all(np.abs(np.asarray(muddy) * 255 - [63, 42, 20]) < 0.01, axis=-1).sum() > 10


@pytest.mark.parametrize(("severity", "luma"), [(2, 219.163), (4, 45.771)])
def test_grey_images_get_the_lumas_colour(severity, luma):
    key, op = jax.random.key(4), Spatter.at(severity, size=32)
    black = run(op, key, jnp.zeros((28, 32, 1)))
    red = run(op, key, jnp.zeros((28, 32, 3)))[..., :1] * 255 / (175 if severity == 2 else 63)
    assert black.max() > 0.1
    np.testing.assert_allclose(black, red * luma / 255, atol=1e-5)


@pytest.mark.parametrize("size", [224, 32])
def test_on_the_monotone_scale_no_pixels_change_ever_falls(size):
    x, key = unit(GOLDEN["pixels"]), jax.random.key(2)
    scale = [at(s, size=size, monotone=True) for s in np.linspace(0, 5, 21, dtype=np.float32)]
    changes = np.stack([np.abs(run(op, key, x) - x) for op in scale])
    assert (np.diff(changes, axis=0) >= -1e-6).all()
    assert (np.diff(changes.mean(axis=(1, 2, 3))) > 0).all() and changes[0].max() == 0
    third = run(Spatter.at(3, size=size), key, x)
    np.testing.assert_allclose(changes[12], np.abs(third - x), atol=1e-6)


def test_the_published_scale_of_32_px_is_not_monotone():
    x, keys = unit(GOLDEN["pixels"]), jax.random.split(jax.random.key(2), 8)
    three, four = (np.mean([np.abs(run(at(s, size=32), key, x) - x) for key in keys]) for s in (3.0, 4.0))
    assert four < 0.8 * three


by_rim = jax.jit(
    lambda op, key, x: jax.jvp(
        lambda rim: dataclasses.replace(op, rim=rim)(key, x), (op.rim,), (jnp.ones_like(op.rim),)
    )[1]
)


@pytest.mark.parametrize("mud", [0.0, 0.5, 1.0])
def test_derivatives_where_there_is_no_step_are_exact(mud):
    x, key = 0.1 + 0.3 * unit(GOLDEN["pixels"]), jax.random.key(6)
    weight = jnp.sin(7 * jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape)
    op = Spatter(*map(jnp.float32, (0.65, 0.3, 1.5, 0.66, 0.4, 1.3, mud)))
    exact, by_image = slopes(op, x, key, weight)
    step = 2e-3

    def value(op, x):
        return np.sum(np.asarray(weight, float) * run(op, key, x))

    def moved(field, by):
        return dataclasses.replace(op, **{field: getattr(op, field) + jnp.float32(by)})

    for field in ("opacity", "mud"):
        difference = (value(moved(field, step), x) - value(moved(field, -step), x)) / (2 * step)
        np.testing.assert_allclose(getattr(exact, field), difference, rtol=0.05, atol=0.05, err_msg=field)
    slope = by_rim(op, key, x)
    high, low = (np.asarray(run(moved("rim", by), key, x)) for by in (step, -step))
    stays = np.abs(high - low) < 0.02  # no pixel that the mud comes to cover
    assert stays.mean() > 0.99 and (jnp.abs(slope).max() > 0.01) == (mud > 0)
    np.testing.assert_allclose(slope[stays], (high - low)[stays] / (2 * step), atol=2e-3)
    way = jax.random.normal(jax.random.key(1), x.shape)
    difference = (value(op, x + 1e-2 * way) - value(op, x - 1e-2 * way)) / 2e-2
    np.testing.assert_allclose(jnp.sum(by_image * way), difference, rtol=0.02, atol=0.05)
    assert float(exact.threshold) == 0
    assert (abs(float(exact.std)) < 1e-5) == (mud == 1)


def test_the_layers_derivative_passes_through_its_bytes():
    layer = 0.65 + 0.3 * ndimage.gaussian_filter(
        np.asarray(jax.jit(kernels.normal, static_argnums=1)(jax.random.key(0), (32, 32))), 1
    )
    layer = np.where(layer > 0.68, layer, 0).astype(np.float32)
    pixels = np.floor(layer * 255)
    shine = np.asarray(relief(jnp.asarray(pixels, jnp.int32)[None])[0])
    light = pixels * shine
    top = np.unravel_index(light.argmax(), light.shape)
    assert (light == light[top]).sum() == 1
    weight = np.random.default_rng(0).standard_normal(layer.shape).astype(np.float32)
    slope = 255 * shine / light[top]
    expected = weight * slope
    expected[top] -= slope[top] * (weight * light).sum() / light[top]  # the brightest pixel is what all are scaled by
    came = jax.jit(jax.grad(lambda layer: jnp.sum(weight * _glisten(layer))))(layer)
    np.testing.assert_allclose(came, expected, rtol=1e-4, atol=1e-4)
