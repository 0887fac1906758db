"""Gradient-enhanced polynomial chaos: more from a call; and derivatives that mislead are seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sensijax import sensitivity as s
from sensijax.core import ArgumentError
from sensijax.sensitivity.indices._design import values_and_gradients

ANGLES = {name: s.Uniform(-np.pi, np.pi) for name in ("x1", "x2", "x3")}
# Closed forms for Ishigami's function with a = 7, b = 0.1, as in tests/golden/gsa.json.
S1 = [0.31390519114781146, 0.4424111447900409, 0.0]
ST = [0.5575888552099592, 0.4424111447900409, 0.24368366406214773]


def ishigami(x):
    return jnp.sin(x[0]) + 7 * jnp.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * jnp.sin(x[0])


@pytest.mark.parametrize("seed", [0, 1])
def test_ishigami_to_5e_4_from_64_calls(seed):
    chaos = s.gradient_pce(ishigami, ANGLES, key=jax.random.key(seed), n=64)
    assert chaos.n_evaluations == 64
    assert np.abs(np.array([*chaos.S1, *chaos.ST]) - [*S1, *ST]).max() < 5e-4
    assert chaos.cross_validated < 1e-6


def test_derivatives_say_what_values_alone_do_not():
    with_slopes = s.gradient_pce(ishigami, ANGLES, key=jax.random.key(0), n=32)
    without = s.pce(ishigami, ANGLES, key=jax.random.key(0), n=32)
    assert with_slopes.cross_validated < 1e-3 < without.cross_validated


def test_normal_and_lognormal_inputs_and_two_outputs():
    # Var(n) = 0.25; Var(l) = e^(2m + s^2) (e^(s^2) - 1) with m = 0, s = 0.25; independent, so shares add up.
    space = {"n": s.Normal(1.0, 0.5), "l": s.LogNormal(0.0, 0.25)}
    chaos = s.gradient_pce(lambda x: jnp.stack([x[0] + x[1], x[0]]), space, key=jax.random.key(0), n=32)
    spread = np.exp(0.0625) * np.expm1(0.0625)
    np.testing.assert_allclose(chaos.S1[:, 0], [0.25 / (0.25 + spread), spread / (0.25 + spread)], atol=1e-3)
    np.testing.assert_allclose(chaos.S1[:, 1], [1.0, 0.0], atol=1e-5)


def test_a_loop_that_reverse_mode_refuses_goes_forward():
    def looped(x):
        return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x[0]), (0, x[1]))[1]

    x = np.array([[2.0, 3.0]])
    y, slopes = values_and_gradients(looped, x, s.Space({"a": s.Uniform(0.0, 3.0), "b": s.Uniform(0.0, 5.0)}))
    assert y[0, 0] == 24.0
    np.testing.assert_allclose(slopes[0, 0], [36.0, 8.0])


def test_derivatives_that_are_wrong_show_in_the_error_of_the_values():
    straight = s.gradient_pce(lambda x: x[0] * x[1], ANGLES, key=jax.random.key(0), n=32, degree=3)
    stopped = s.gradient_pce(
        lambda x: lax.stop_gradient(x[0]) * x[1], ANGLES, key=jax.random.key(0), n=32, degree=3, weight=1.0
    )
    assert straight.cross_validated < 1e-8 < 1e-2 < stopped.cross_validated


def test_given_derivatives_must_fit():
    x = np.random.default_rng(0).uniform(-1, 1, (16, 3))
    with pytest.raises(ArgumentError, match=r"\[16, 3\]"):
        s.gradient_pce_given(x, x[:, 0], x[:, :2], ANGLES)
    with pytest.raises(ArgumentError, match="above 0"):
        s.gradient_pce_given(x, x[:, 0], x, ANGLES, weight=0.0)
