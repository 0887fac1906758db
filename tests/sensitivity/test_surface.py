"""Response surfaces: against closed forms, exact slopes against differences, designs, surrogates, creases."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import sensitivity as s
from sensijax.core import ArgumentError, MissingExtraError
from sensijax.perturb import image

SCALES = {"light": image.Brightness, "contrast": image.Contrast}
KEY = jax.random.key(0)


@jax.jit
def means(x):
    """Outputs: the mean of each image, and its square."""
    mean = x.mean(axis=(1, 2, 3))
    return jnp.stack([mean, mean**2], axis=1)


def first(outputs, y):
    return outputs[0]


def second(outputs, y):
    return outputs[1]


@jax.jit
def dark(x):
    """Class 1 as soon as the image's mean passes 0.5."""
    mean = x.mean(axis=(1, 2, 3))
    return jnp.stack([jnp.full_like(mean, 0.5), mean], axis=1) * 40


X = jnp.asarray(np.random.default_rng(0).uniform(0.1, 0.3, (12, 8, 8, 1)), jnp.float32)
Y = np.zeros(12, int)


@pytest.fixture(scope="module")
def square():
    return s.surface(means, SCALES, KEY, X, Y, response=second, design=s.Grid(5), top=4.0, hessians=True)


def test_brightness_adds_a_tenth_of_its_severity_and_its_square_has_that_slope(square):
    mean = np.asarray(X).mean(axis=(1, 2, 3))
    light = square.severities[:, 0]
    np.testing.assert_allclose(square.values, np.mean((mean[None] + light[:, None] / 10) ** 2, axis=1), rtol=1e-3)
    expected = 2 * (mean.mean() + light / 10) / 10
    np.testing.assert_allclose(square.gradients[:, 0], expected, rtol=2e-3)
    np.testing.assert_allclose(square.gradients[:, 1], 0, atol=1e-4)
    np.testing.assert_allclose(square.hessians[:, 0, 0], 0.02, atol=1e-4)
    np.testing.assert_allclose(square.hessians[:, 1, 1], 0, atol=1e-3)
    assert square.mode == "forward" and square.hessians.shape == (25, 2, 2)


def test_the_surrogate_of_a_square_is_exact_and_its_error_is_reported(square):
    assert square.cross_validated < 1e-4
    at = np.array([[1.3, 2.2], [3.1, 0.4]])
    mean = np.asarray(X).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(square.predict(at), np.mean((mean[None] + at[:, :1] / 10) ** 2, axis=1), rtol=1e-2)


def test_values_at_severity_0_are_the_clean_ones(square):
    clean = square.values[(square.severities == 0).all(axis=1)]
    np.testing.assert_allclose(clean, np.mean(np.asarray(means(X))[:, 1]), rtol=1e-6)


def test_accuracy_is_measured_by_differences_and_breaks_where_the_mean_passes_a_half():
    found = s.surface(dark, SCALES, KEY, X, Y, response=s.right, design=s.Grid(6))
    assert found.mode == "difference" and np.isnan(found.mismatch)
    assert found.values.max() == 1 and found.values.min() == 0
    drop = found.frame().query("contrast == 0").response.to_numpy()
    mean = np.asarray(X).mean(axis=(1, 2, 3))
    assert drop.tolist() == pytest.approx([np.mean(mean + light / 10 < 0.5) for light in range(6)])


def test_the_steepest_place_of_a_cliff_and_its_interval():
    found = s.surface(dark, {"light": image.Brightness}, KEY, X, Y, design=s.QuasiRandom(64))
    place = s.steepest(found, resamples=60)
    # With logits of slope 40 the loss bends around a mean of 0.5 and is straight, and steepest, beyond it.
    assert place.severity[0] > 3 and place.interval[0, 0] <= place.severity[0] <= place.interval[0, 1]
    assert place.sharpness > 1.2 and place.direction[0] == pytest.approx(1)


def test_a_sigmoid_has_a_threshold_and_a_bump_a_ridge_where_they_are():
    def probability(outputs, y):
        return jax.nn.sigmoid(20 * (outputs[0] - 0.45))

    found = s.surface(means, SCALES, KEY, X, Y, response=probability, design=s.QuasiRandom(64))
    assert found.cross_validated < 0.01
    lines = s.creases(found).query("kind == 'threshold'")
    assert len(lines) and abs(lines.light - 2.5).max() < 0.3  # 0.2 + s / 10 = 0.45

    def bump(outputs, y):
        return jnp.exp(-50 * (outputs[0] - 0.45) ** 2)

    crest = s.creases(s.surface(means, SCALES, KEY, X, Y, response=bump, design=s.QuasiRandom(64))).query(
        "kind == 'ridge'"
    )
    assert len(crest) and abs(crest.light - 2.5).max() < 0.4


def test_an_adaptive_design_puts_points_where_the_surface_bends():
    def bent(u):
        value = 1 / (1 + np.exp(-25 * (u[:, 0] - 0.7)))
        return value, np.stack([25 * value * (1 - value), np.zeros(len(u))], axis=1)

    def model(x, value, slope):
        from sensijax.sensitivity.surrogates._surface import best_chaos

        return best_chaos(x, value, slope, s.Space({"a": s.Uniform(0.0, 1.0), "b": s.Uniform(0.0, 1.0)})).predict

    points = s.Adaptive(n=48, start=16, batch=8).points(KEY, 2, bent, model)
    assert points.shape == (48, 2) and len(np.unique(points, axis=0)) == 48
    added = points[16:]
    assert (abs(added[:, 0] - 0.7) < 0.25).mean() > 0.55  # half of the square's width


def test_a_grid_that_misses_the_surface_says_so():
    def cliff(outputs, y):
        return jax.nn.sigmoid(200 * (outputs[0] - 0.43))

    found = s.surface(means, SCALES, KEY, X[:2], Y[:2], response=cliff, design=s.Grid(4))
    assert found.cross_validated > 0.05


def test_slopes_that_mislead_are_seen_and_left_out(caplog):
    def rounded(x):
        mean = x.mean(axis=(1, 2, 3))
        return (mean + jax.lax.stop_gradient(mean))[:, None]

    found = s.surface(rounded, {"light": image.Brightness}, KEY, X, Y, response=first, design=s.QuasiRandom(16))
    assert found.mismatch == pytest.approx(0.5, abs=0.05) and "without slopes" in caplog.text


def test_a_gaussian_process_takes_the_place_of_the_chaos():
    found = s.surface(means, SCALES, KEY, X, Y, response=second, design=s.QuasiRandom(32), fit=s.gaussian_process)
    assert isinstance(found.surrogate, s.GaussianProcess) and found.cross_validated < 1e-2
    mean, deviation = found.surrogate.predict_with_deviation(found.severities)
    np.testing.assert_allclose(mean, found.values, atol=0.01)
    assert (deviation >= 0).all()


def test_without_its_package_an_extra_is_named(square, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingExtraError, match=r"sensijax\[xarray\]"):
        square.to_xarray()
    monkeypatch.setitem(sys.modules, "sklearn.gaussian_process", None)
    with pytest.raises(MissingExtraError, match=r"sensijax\[gp\]"):
        s.gaussian_process(square.severities, square.values, None, square.space)


def test_xarray_has_the_names_of_axes(square):
    xarray = pytest.importorskip("xarray")
    found = square.to_xarray()
    assert isinstance(found, xarray.Dataset) and found.gradients.dims == ("point", "input")
    assert found.hessians.sel(input="light", **{"with": "light"}).shape == (25,)


def test_xarray_tells_inputs_from_outputs_where_there_are_as_many():
    pytest.importorskip("xarray")
    x = np.random.default_rng(0).uniform(0, 1, (20, 2))
    space = {"a": s.Uniform(0.0, 1.0), "b": s.Uniform(0.0, 1.0)}
    found = s.pce_given(x, np.stack([x[:, 0] * x[:, 1], x[:, 0]], axis=1), space, degree=[2]).to_xarray()
    assert found.S1.dims == ("input", "output") and found.S1_interval.dims == ("input", "bound", "output")
    assert found.S2.dims == ("input", "with", "output") and found["mean"].dims == ("output",)
    assert found.S2_interval.dims == ("input", "with", "bound", "output")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"scales": {"light": image.Brightness.at(2)}}, "class"),
        ({"at": np.zeros((3, 2))}, "at least 8"),
        ({"at": np.full((9, 2), 7.0)}, "between 0"),
        ({"top": {"light": 3.0}}, "an end for each"),
        ({"top": 7.0}, r"\[0, 5\]"),
        ({"response": lambda o, y: o[0] * 0 + 1}, "same all over"),
        ({"response": lambda o, y: o[0] / 0}, "not finite"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(change, match):
    given = {"scales": SCALES, "design": s.Grid(3), "response": first, **change}
    with pytest.raises(ArgumentError, match=match):
        s.surface(means, given.pop("scales"), KEY, X, Y, **given)
