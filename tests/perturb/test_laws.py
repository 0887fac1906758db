"""Laws that every image perturbation obeys."""

import contextlib
import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError, take
from sensijax.perturb import image

SHAPE, ROWS = (33, 28, 3), 256
# These refuse grey images.
COLOURED = (image.ChromaticAberration, image.Saturate, image.WhiteBalance, image.Hue, image.Demosaic)
GREY = tuple(op for op in image.ALL if op not in COLOURED)
STEPS = (image.ImpulseNoise, image.Pixelate, image.CheckerboardCutout)  # no derivative with respect to severity
# The derivative passes through rounding, or is that of a count's mean: not that of finite differences.
COUNTED = (image.GlassBlur, image.ShotNoise, image.ISONoise, image.LowLight, image.JPEG, image.Posterize, image.WEBP)
DRAWN = (*COUNTED, *STEPS, image.Snow, image.Spatter)

# Noise, blur, weather, digital: a draw for each value, a convolution, a random layer mixed in, boxes of pixels.
A_FAMILY_EACH = (image.GaussianNoise, image.DefocusBlur, image.Snow, image.Pixelate)


def pictures(rows, shape, seed=0):
    """Smooth scenes with an edge and some texture, in bytes; the second is black, the third white, the fourth grey."""
    rng = np.random.default_rng(seed)
    height, width, channels = shape
    y, x = np.mgrid[:height, :width] / max(height, width)
    slope = rng.uniform(-1, 1, (rows, 1, 1, channels))
    wave = rng.uniform(1, 6, (rows, 1, 1, channels)) * (x[..., None] + y[..., None] * slope)
    out = 0.5 + 0.3 * np.sin(2 * np.pi * wave) + 0.2 * (x > 0.5)[..., None] + 0.05 * rng.standard_normal((rows, *shape))
    out = np.round(np.clip(out, 0, 1) * 255) / 255
    out[1:2], out[2:3], out[3:4] = 0, 1, 0.5
    return jnp.asarray(out, jnp.float32)


class Compiled:
    """One operation, compiled once for a whole batch: severities, keys and images as rows."""

    def __init__(self, op):
        self.op, self.traces = op, 0

        def one(severity, key, x):
            self.traces += 1
            return op.at(severity, size=32)(key, x)

        self.one = one
        self.single: Any = jax.jit(one)
        self.batch: Any = jax.jit(jax.vmap(one))
        self.x = pictures(ROWS, SHAPE)
        self.keys = jax.random.split(jax.random.key(0), ROWS)
        self.severities = jnp.asarray(np.random.default_rng(1).uniform(0, 5, ROWS), jnp.float32)
        whole = jnp.round(self.severities)  # half of the rows at published severities, some of them 0
        self.severities = jnp.where(jnp.arange(ROWS) % 2 == 0, whole, self.severities).at[0].set(0)
        self.out = np.asarray(self.batch(self.severities, self.keys, self.x))

    def forget(self):
        """Else the programs of all operations stay in memory; the small ones that all of them use may."""
        self.single.clear_cache()
        self.batch.clear_cache()


@pytest.fixture(scope="module", params=image.ALL, ids=lambda op: op.__name__)
def compiled(request):
    made = Compiled(request.param)
    yield made
    made.forget()


@contextlib.contextmanager
def compiled_quickly():
    """Where no bits are at stake: without a compiler's costly passes."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def test_the_output_is_an_image_of_the_same_shape(compiled):
    assert compiled.out.shape == (ROWS, *SHAPE) and compiled.out.dtype == np.float32
    assert np.isfinite(compiled.out).all() and compiled.out.min() >= 0 and compiled.out.max() <= 1


def test_severity_0_is_the_identity_bit_for_bit_within_a_stack(compiled):
    still = np.asarray(compiled.severities) == 0
    assert still.sum() > 5
    np.testing.assert_array_equal(compiled.out[still], np.asarray(compiled.x)[still])
    moved = [np.any(o != x) for o, x in zip(compiled.out[~still], np.asarray(compiled.x)[~still], strict=True)]
    assert np.mean(moved) > 0.9


def test_severity_0_is_the_identity_bit_for_bit_where_values_are_no_bytes(compiled):
    x = jax.random.uniform(jax.random.key(9), SHAPE)
    np.testing.assert_array_equal(compiled.single(jnp.float32(0), compiled.keys[0], x), x)


def test_neither_place_nor_batch_size_changes_a_rows_bits(compiled):
    # A batch of another size is another program: shown for the published operations, and by the loop of single calls
    # for all.
    size = 7 if compiled.op in image.IMAGENET_C else ROWS
    for seed in range(4 if size < ROWS else 1):
        picked = np.random.default_rng(seed).permutation(ROWS)[:size]
        out = compiled.batch(*take((compiled.severities, compiled.keys, compiled.x), picked))
        np.testing.assert_array_equal(out, compiled.out[picked])


def test_vmap_is_the_loop_of_single_calls_bit_for_bit(compiled):
    for row in range(12):
        out = compiled.single(compiled.severities[row], compiled.keys[row], compiled.x[row])
        np.testing.assert_array_equal(out, compiled.out[row])


def test_jit_changes_nothing_that_matters(compiled):
    if compiled.op not in A_FAMILY_EACH:
        pytest.skip("compiles every primitive by itself: shown for one published operation of each family")
    with compiled_quickly():
        out = compiled.one(compiled.severities[5], compiled.keys[5], compiled.x[5])
    np.testing.assert_allclose(out, compiled.out[5], rtol=0, atol=1e-6)


def test_the_damage_never_falls_with_severity(compiled):
    program = compiled.batch
    if "monotone" in inspect.signature(compiled.op.at).parameters:  # its published scale is not
        program = jax.jit(jax.vmap(lambda s, k, v: compiled.op.at(s, size=32, monotone=True)(k, v)))
        with compiled_quickly():
            program = program.lower(compiled.severities, compiled.keys, compiled.x).compile()
    damage = []
    # Pixelate's boxes are whole pixels: between whole severities they fall on an image's edges now and then.
    for severity in np.arange(0, 5.5, 1.0 if compiled.op is image.Pixelate else 0.5):
        out = program(jnp.full(ROWS, severity, jnp.float32), compiled.keys, compiled.x)
        damage.append(float(np.abs(np.asarray(out, np.float64) - np.asarray(compiled.x)).mean()))
    assert damage[0] == 0 and (np.diff(damage) >= 0).all() and damage[-1] > 2e-3, damage


def test_an_array_of_severities_is_one_trace(compiled):
    before = compiled.traces
    for severity in (0.0, 2.5, 5.0):
        compiled.batch(jnp.full(ROWS, severity, jnp.float32), compiled.keys, compiled.x)
    assert compiled.traces == before


def test_a_stack_of_severities_is_one_value(compiled):
    stacked = compiled.op.at(jnp.arange(6.0), size=32)
    assert {leaf.shape for leaf in jax.tree.leaves(stacked)} == {(6,)}
    assert {leaf.dtype for leaf in jax.tree.leaves(stacked)} == {np.dtype(np.float32)}
    assert stacked.is_identity().tolist() == [True] + 5 * [False]
    with pytest.raises(ArgumentError, match="a stack of perturbations"):
        stacked(compiled.keys[0], compiled.x[0])


def test_a_deterministic_operation_ignores_its_key_and_no_other_does(compiled):
    severity = jnp.full(ROWS, 4.0, jnp.float32)
    one = compiled.batch(severity, compiled.keys, compiled.x)
    other = compiled.batch(severity, jax.random.split(jax.random.key(77), ROWS), compiled.x)
    assert bool((one[4:11] == other[4:11]).all()) == compiled.op.deterministic


def test_unusable_severities_sizes_and_images_are_refused(compiled):
    for severity in (-0.1, 5.1, np.nan):
        with pytest.raises(ArgumentError, match="severity"):
            compiled.op.at(severity)
    with pytest.raises(ArgumentError, match="size"):
        compiled.op.at(1, size=64)
    for shape in ((4, 32, 32, 3), (32, 32), (7, 32, 3), (32, 32, 2)):
        with pytest.raises(ArgumentError, match="`x`"):
            compiled.op.at(1)(compiled.keys[0], jnp.zeros(shape))


@pytest.mark.parametrize("op", GREY, ids=lambda op: op.__name__)
def test_the_smallest_grey_image_on_the_largest_scale(op):
    x = pictures(1, (8, 8, 1))
    program = jax.jit(jax.vmap(lambda s, k, v: op.at(s)(k, v), in_axes=(0, None, None)))  # the scale of 224 px
    with compiled_quickly():
        out = np.asarray(program(jnp.array([0.0, 5.0]), jax.random.key(1), x[0]))
    np.testing.assert_array_equal(out[0], x[0])
    assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1 and np.any(out[1] != out[0])


@pytest.mark.slow
@pytest.mark.parametrize("op", image.IMAGENET_C, ids=lambda op: op.__name__)
def test_images_of_224(op):
    x = pictures(6, (224, 224, 3))[4:]
    with compiled_quickly():
        out = np.asarray(jax.jit(jax.vmap(lambda s, v: op.at(s)(jax.random.key(1), v)))(jnp.array([1.0, 5.0]), x))
    assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
    assert all(np.any(o != v) for o, v in zip(out, np.asarray(x), strict=True))


@pytest.mark.parametrize("op", COLOURED, ids=lambda op: op.__name__)
def test_grey_images_have_no_colour(op):
    with pytest.raises(ArgumentError, match="3 channels: a grey image has no (saturation|colour)"):
        op.at(1)(jax.random.key(0), jnp.zeros((8, 8, 1)))


@pytest.fixture(scope="module", params=image.ALL, ids=lambda op: op.__name__)
def derivatives(request):
    """Derivatives of a weighted sum of the output by severity and by the image, for many rows at once."""
    op, shape = request.param, (16, 16, 3)
    x = pictures(12, shape, seed=4)
    weight = jax.random.normal(jax.random.key(5), shape)

    def score(severity, key, x):
        return jnp.sum(weight * op.at(severity, size=32)(key, x))

    keys = jax.random.split(jax.random.key(3), 12)
    both = jax.jit(jax.vmap(jax.value_and_grad(score, argnums=(0, 2))))  # one program serves all that follows
    with compiled_quickly():
        both = both.lower(jnp.zeros(12, jnp.float32), keys, x).compile()
    yield op, lambda *given: both(*given)[1], lambda *given: both(*given)[0], keys, x, weight


@pytest.mark.parametrize("severity", [0.0, 1e-3, 1.0, 2.5, 5.0])
def test_derivatives_are_finite_everywhere(derivatives, severity):
    op, grad, _, keys, x, weight = derivatives
    by_severity, by_image = grad(jnp.full(12, severity, jnp.float32), keys, x)
    assert np.isfinite(by_severity).all() and np.isfinite(by_image).all()
    if severity == 0:
        np.testing.assert_array_equal(by_image, jnp.broadcast_to(weight, x.shape))
    if severity == 2.5 and op not in (*STEPS, image.Snow):  # on so few pixels some rows have no flake
        assert (np.abs(by_severity[4:]) > 1e-4).all()


def test_derivatives_by_severity_match_finite_differences(derivatives):
    op, grad, values, keys, x, _ = derivatives
    if op in DRAWN:
        pytest.skip("rounds: the derivative passes through")
    severity, step = jnp.full(12, 2.45, jnp.float32), 2e-3
    exact = np.asarray(grad(severity, keys, x)[0])[4:]
    difference = np.asarray((values(severity + step, keys, x) - values(severity - step, keys, x)) / (2 * step))[4:]
    # Pixels that pass a kink (clipping, a pixel's edge) within the step are off; they are few.
    assert np.median(np.abs(exact - difference)) < 0.02 * np.median(np.abs(exact)) + 0.02
    assert np.corrcoef(exact, difference)[0, 1] > 0.99


def test_derivatives_by_the_image_match_finite_differences(derivatives):
    op, grad, values, keys, x, _ = derivatives
    if op in (*COUNTED, image.Pixelate):
        pytest.skip("rounds: the derivative passes through")
    x = (0.2 + 0.6 * x).at[:, 3, 5, 0].set(0.95)  # one clear maximum, which fog looks at
    severity, step = jnp.full(12, 2.45, jnp.float32), 1e-3
    way = jax.random.normal(jax.random.key(8), x.shape)
    exact = np.asarray(jnp.sum(grad(severity, keys, x)[1] * way, axis=(1, 2, 3)))
    difference = (values(severity, keys, x + step * way) - values(severity, keys, x - step * way)) / (2 * step)
    # Not the flat images: where all values are the maximum, there are as many derivatives as directions.
    np.testing.assert_allclose(difference[4:], exact[4:], atol=0.05 * np.abs(exact[4:]).max() + 0.05)


PUBLISHED = {
    (image.GaussianNoise, "std"): ([0.08, 0.12, 0.18, 0.26, 0.38], [0.04, 0.06, 0.08, 0.09, 0.10]),
    (image.ShotNoise, "gain"): (1 / np.array([60, 25, 12, 5, 3]), 1 / np.array([500, 250, 100, 75, 50])),
    (image.ImpulseNoise, "rate"): ([0.03, 0.06, 0.09, 0.17, 0.27], [0.01, 0.02, 0.03, 0.05, 0.07]),
    (image.SpeckleNoise, "std"): ([0.15, 0.2, 0.35, 0.45, 0.6], [0.06, 0.1, 0.12, 0.16, 0.2]),
    (image.GaussianBlur, "sigma"): ([1, 2, 3, 4, 6], [0.4, 0.6, 0.7, 0.8, 1]),
    (image.DefocusBlur, "radius"): ([3, 4, 6, 8, 10], [0.3, 0.4, 0.5, 1, 1.5]),
    (image.DefocusBlur, "alias_blur"): ([0.1, 0.5, 0.5, 0.5, 0.5], [0.4, 0.5, 0.6, 0.2, 0.1]),
    (image.GlassBlur, "sigma"): ([0.7, 0.9, 1, 1.1, 1.5], [0.05, 0.25, 0.4, 0.25, 0.4]),
    (image.GlassBlur, "delta"): ([1, 2, 2, 3, 4], [1, 1, 1, 1, 1]),
    (image.GlassBlur, "iterations"): ([2, 1, 3, 2, 2], [1, 1, 1, 2, 2]),
    (image.MotionBlur, "radius"): ([10, 15, 15, 15, 20], [6, 6, 6, 8, 9]),
    (image.MotionBlur, "sigma"): ([3, 5, 8, 12, 15], [1, 1.5, 2, 2, 2.5]),
    (image.Snow, "mean"): ([0.1, 0.2, 0.55, 0.55, 0.55], [0.1, 0.1, 0.15, 0.25, 0.3]),
    (image.Snow, "std"): ([0.3, 0.3, 0.3, 0.3, 0.3], [0.2, 0.2, 0.3, 0.3, 0.3]),
    (image.Snow, "zoom"): ([3, 2, 4, 4.5, 2.5], [1, 1, 1.75, 2.25, 1.25]),
    (image.Snow, "threshold"): ([0.5, 0.5, 0.9, 0.85, 0.85], [0.6, 0.5, 0.55, 0.6, 0.65]),
    (image.Snow, "radius"): ([10, 12, 12, 12, 12], [8, 10, 10, 12, 14]),
    (image.Snow, "sigma"): ([4, 4, 8, 8, 12], [3, 4, 4, 6, 12]),
    (image.Snow, "mix"): ([0.8, 0.7, 0.7, 0.65, 0.55], [0.95, 0.9, 0.9, 0.85, 0.8]),
    (image.ZoomBlur, "count"): ([12, 16, 11, 13, 11], [7, 12, 16, 21, 26]),
    (image.ZoomBlur, "step"): ([0.01, 0.01, 0.02, 0.02, 0.03], [0.01] * 5),
    (image.CheckerboardCutout, "fraction"): ([0.2, 0.3, 0.4, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4, 0.5]),
    (image.Frost, "scene"): ([1, 0.8, 0.7, 0.65, 0.6], [1, 1, 0.9, 0.85, 0.75]),
    (image.Frost, "ice"): ([0.4, 0.6, 0.7, 0.7, 0.75], [0.2, 0.3, 0.4, 0.4, 0.45]),
    (image.Fog, "density"): ([1.5, 2, 2.5, 2.5, 3], [0.2, 0.5, 0.75, 1, 1.5]),
    (image.Fog, "decay"): ([2, 2, 1.7, 1.5, 1.4], [3, 3, 2.5, 2, 1.75]),
    (image.Brightness, "shift"): ([0.1, 0.2, 0.3, 0.4, 0.5], [0.05, 0.1, 0.15, 0.2, 0.3]),
    (image.Contrast, "factor"): ([0.4, 0.3, 0.2, 0.1, 0.05], [0.75, 0.5, 0.4, 0.3, 0.15]),
    (image.Saturate, "factor"): ([0.3, 0.1, 2, 5, 20], [0.3, 0.1, 1.5, 2, 2.5]),
    (image.Saturate, "shift"): ([0, 0, 0, 0.1, 0.2], [0, 0, 0, 0.1, 0.2]),
    (image.Pixelate, "fraction"): ([0.6, 0.5, 0.4, 0.3, 0.25], [0.95, 0.9, 0.85, 0.75, 0.65]),
    (image.Elastic, "alpha"): (244 * np.array([2, 2, 0.05, 0.07, 0.12]), 32 * np.array([0, 0.05, 0.08, 0.1, 0.1])),
    (image.Elastic, "sigma"): (
        244 * np.array([0.7, 0.08, 0.01, 0.01, 0.01]),
        32 * np.array([0, 0.2, 0.06, 0.04, 0.03]),
    ),
    (image.Elastic, "affine"): (
        244 * np.array([0.1, 0.2, 0.02, 0.02, 0.02]),
        32 * np.array([0.08, 0.07, 0.06, 0.05, 0.03]),
    ),
    (image.JPEG, "quality"): ([25, 18, 15, 10, 7], [80, 65, 58, 50, 40]),
    (image.Posterize, "levels"): ([32, 16, 8, 4, 2], [32, 16, 8, 4, 2]),
    (image.PlasmaNoise, "share"): (np.array([4.75, 7, 8.5, 9.25, 10]) * 6.4 / 255,) * 2,
    (image.Sparkles, "radius"): (np.array([1, 2, 3, 5, 6]) / 100, np.array([0.7, 3.5, 5.6, 6.3, 7]) / 100),
}


@pytest.mark.parametrize(("op", "field"), PUBLISHED, ids=lambda v: getattr(v, "__name__", v))
def test_whole_severities_are_the_published_constants(op, field):
    # hendrycks/robustness, ImageNet-C/create_c/make_imagenet_c.py and make_cifar_c.py.
    for size, table in zip((224, 32), PUBLISHED[op, field], strict=True):
        for came in at_whole_severities(op, size):
            np.testing.assert_array_equal(getattr(came, field), np.asarray(table, np.float32))


@functools.cache
def at_whole_severities(op, size):
    """Given as a stack of integers, and traced one by one."""
    return op.at(jnp.arange(1, 6), size=size), jax.vmap(lambda s: op.at(s, size=size))(jnp.arange(1.0, 6.0))
