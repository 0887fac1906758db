"""Polynomial chaos: orthonormal bases, indices against closed forms, errors and intervals that mean something."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import sensitivity as s
from sensijax.core import ArgumentError
from sensijax.sensitivity.severities._pursuit import pursue
from sensijax.sensitivity.surrogates._basis import Basis, candidates

GOLDEN = json.loads((pathlib.Path(__file__).parent.parent / "golden" / "gsa.json").read_text())
ANGLES = {name: s.Uniform(-np.pi, np.pi) for name in ("x1", "x2", "x3")}


def ishigami(x):
    return jnp.sin(x[0]) + 7 * jnp.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * jnp.sin(x[0])


def all_indices(result):
    return np.array([*result.S1, *result.ST, result.S2[0, 2]])


def truth():
    known = GOLDEN["ishigami"]
    return np.array([*known["S1"], *known["ST"], known["S2"]["x1,x3"]])


@pytest.fixture(scope="module")
def chaos():
    return s.pce(ishigami, ANGLES, key=jax.random.key(0), n=128)


def test_bases_are_orthonormal_under_the_inputs_own_distributions():
    space = s.Space(
        {
            "u": s.Uniform(-2.0, 5.0),
            "n": s.Normal(1.0, 0.3),
            "l": s.LogNormal(0.2, 0.5),
            "t": s.Triangular(0.0, 1.0, 3.0),
        }
    )
    node, weight = np.polynomial.legendre.leggauss(40)
    score, mass = np.polynomial.hermite_e.hermegauss(40)
    columns = {
        "u": (1.5 + 3.5 * node, weight / 2),
        "n": (1.0 + 0.3 * score, mass / mass.sum()),
        "l": (np.exp(0.2 + 0.5 * score), mass / mass.sum()),
        "t": (space.inputs["t"].ppf((node + 1) / 2), weight / 2),
    }
    for i, (x, w) in enumerate(columns.values()):
        points = np.tile([[1.5, 1.0, 1.0, 1.0]], (len(x), 1))
        points[:, i] = x
        alpha = np.zeros((7, 4), int)
        alpha[:, i] = np.arange(7)
        terms = Basis(space, alpha).terms(points)
        np.testing.assert_allclose(terms.T @ (w[:, None] * terms), np.eye(7), atol=1e-9)


def test_derivatives_of_a_basis_are_those_of_differences():
    space = s.Space(
        {
            "u": s.Uniform(-2.0, 5.0),
            "n": s.Normal(1.0, 0.3),
            "l": s.LogNormal(0.2, 0.5),
            "t": s.Triangular(0.0, 1.0, 3.0),
        }
    )
    basis = Basis(space, candidates(4, 4, 1.0, 1000))
    x, step = np.array([[0.3, 1.2, 1.4, 1.7]]), 1e-6
    _, slopes, scale = basis.derivatives(x)
    for i in range(4):
        move = step * np.eye(4)[i][None]
        measured = (basis.terms(x + move) - basis.terms(x - move)) / (2 * step)
        np.testing.assert_allclose(slopes[:, i] * scale[:, i, None], measured, rtol=1e-5, atol=1e-7)


def test_candidates_are_counted_as_the_binomial_says_and_truncated_by_the_norm():
    assert len(candidates(3, 4, 1.0, 1000)) == 35 and len(candidates(20, 2, 1.0, 1000)) == 231
    for alpha in candidates(3, 4, 0.5, 1000):
        assert (alpha**0.5).sum() <= 2 + 1e-9
    assert candidates(100, 3, 1.0, 1000) is None


def test_ishigami_to_5e_4_from_128_values(chaos):
    assert chaos.n_evaluations == 128
    assert np.abs(all_indices(chaos) - truth()).max() < 5e-4
    assert chaos.mean == pytest.approx(GOLDEN["ishigami"]["mean"], abs=1e-3)
    assert chaos.variance == pytest.approx(GOLDEN["ishigami"]["variance"], rel=1e-3)


def test_predictions_and_slopes_are_those_of_the_function(chaos):
    x = np.random.default_rng(1).uniform(-3, 3, (50, 3))
    np.testing.assert_allclose(chaos.predict(x), jax.vmap(ishigami)(jnp.asarray(x, jnp.float32)), atol=0.02)
    slopes = jax.vmap(jax.grad(ishigami))(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(chaos.gradient(x), slopes, atol=0.2)
    np.testing.assert_allclose(jax.jit(chaos)(jnp.asarray(x[0], jnp.float32)), chaos.predict(x[:1])[0], rtol=1e-4)


def test_indices_of_every_order_add_up(chaos):
    names = chaos.names
    single = [chaos.interaction(n) for n in names]
    np.testing.assert_allclose(single, chaos.S1, atol=1e-12)
    assert chaos.interaction("x1", "x3") == pytest.approx(chaos.S2[0, 2])
    pairs = [chaos.interaction(a, b) for a, b in (("x1", "x2"), ("x1", "x3"), ("x2", "x3"))]
    assert sum(single) + sum(pairs) + chaos.interaction(*names) == pytest.approx(1)
    assert chaos.closed(*names) == pytest.approx(1)
    assert chaos.closed("x1", "x3") == pytest.approx(chaos.S1[0] + chaos.S1[2] + chaos.S2[0, 2])


def test_friedman_with_five_inputs_and_two_outputs():
    known = GOLDEN["friedman1"]
    space = {f"x{i}": s.Uniform(0.0, 1.0) for i in range(1, 6)}

    def friedman(x):
        value = 10 * jnp.sin(jnp.pi * x[0] * x[1]) + 20 * (x[2] - 0.5) ** 2 + 10 * x[3] + 5 * x[4]
        return jnp.stack([value, 1e5 + 2 * value])  # an offset and a scale change no index

    chaos = s.pce(friedman, space, key=jax.random.key(0), n=256)
    assert chaos.S1.shape == (5, 2) and chaos.S2_interval.shape == (5, 5, 2, 2)
    np.testing.assert_allclose(chaos.S1, np.tile(np.array(known["S1"])[:, None], 2), atol=2e-3)
    np.testing.assert_allclose(chaos.ST, np.tile(np.array(known["ST"])[:, None], 2), atol=2e-3)


def test_intervals_cover_when_the_values_are_noisy():
    # 60 independent designs and noises: 95 % intervals, so fewer than 50 hits of 60 has probability < 1e-3.
    space, hits = {"a": s.Uniform(-1.0, 1.0), "b": s.Uniform(-1.0, 1.0)}, 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        x = generator.uniform(-1, 1, (60, 2))
        y = x[:, 0] + 0.5 * x[:, 1] + 0.3 * x[:, 0] * x[:, 1] + 0.1 * generator.normal(size=60)
        chaos = s.pce_given(x, y, space, degree=[1, 2], q=1.0, resamples=50)
        low, high = chaos.S1_interval[0]
        hits += low <= (1 / 3) / (1 / 3 + 1 / 12 + 0.01) <= high
    assert hits >= 50


def test_a_step_has_a_large_cross_validated_error_and_intervals_as_wide():
    chaos = s.pce(lambda x: jnp.where(x[0] > 0.3, 1.0, 0.0) * x[1], ANGLES, key=jax.random.key(0), n=64, degree=[2, 4])
    assert chaos.cross_validated > 0.05
    assert np.ptp(chaos.ST_interval, axis=1).min() > 2 * 0.05


def test_the_leave_one_out_error_is_that_of_leaving_one_out():
    generator = np.random.default_rng(0)
    x = np.c_[np.ones(30), generator.normal(size=(30, 2))]
    y = x @ [1.0, 2.0, -1.0] + generator.normal(size=30)
    fit = pursue(x, y, 1, 0.0)
    assert sorted(fit.terms) == [0, 1, 2]
    missed = [y[i] - x[i] @ np.linalg.lstsq(np.delete(x, i, 0), np.delete(y, i), rcond=None)[0] for i in range(30)]
    correction = 30 / 27 * (1 + np.trace(np.linalg.inv(x.T @ x)))
    assert fit.error == pytest.approx(np.mean(np.square(missed)) / y.var() * correction)
    np.testing.assert_allclose(fit.coefficients[np.argsort(fit.terms)], np.linalg.lstsq(x, y, rcond=None)[0])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n": 4}, "at least 8"),
        ({"degree": 0}, "from 1 to 50"),
        ({"q": 1.5}, "total degree"),
        ({"level": 2}, "between 0 and 1"),
        ({"resamples": 3}, "at least 20"),
        ({"space": {"a": s.Discrete([0.0, 1.0])}}, "continuous"),
        ({"space": s.Space(ANGLES, groups={"g": ["x1", "x2"]})}, "closed"),
        ({"f": lambda x: jnp.log(x[0])}, "not finite"),
        ({"f": lambda x: 0 * x[0]}, "does not vary"),
    ],
)
def test_what_cannot_be_expanded_is_refused_in_words(change, match):
    given = {"f": lambda x: x[0], "space": ANGLES, "n": 16, **change}
    f, space = given.pop("f"), given.pop("space")
    with pytest.raises(ArgumentError, match=match):
        s.pce(f, space, key=jax.random.key(0), **given)


def test_an_unknown_name_is_refused_with_the_closest(chaos):
    with pytest.raises(ArgumentError, match="did you mean 'x1'"):
        chaos.interaction("x_1")
