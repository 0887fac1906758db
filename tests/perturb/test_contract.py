"""What the severity scale promises, and a call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.perturb import Perturbation, image, interpolate

TABLE = (0.0, 0.08, 0.12, 0.18, 0.26, 0.38)


def test_a_table_is_hit_exactly_and_joined_by_lines():
    np.testing.assert_array_equal(interpolate(jnp.arange(6), TABLE), np.asarray(TABLE, np.float32))
    between = np.linspace(0, 5, 101)
    np.testing.assert_allclose(interpolate(between, TABLE), np.interp(between, range(6), TABLE), atol=1e-7)


@pytest.mark.parametrize(("severity", "slope"), [(0.0, 0.08), (0.5, 0.08), (1.0, 0.04), (4.5, 0.12), (5.0, 0.12)])
def test_the_slope_is_that_of_the_step_even_at_both_ends(severity, slope):
    assert jax.grad(lambda s: interpolate(s, TABLE))(severity) == pytest.approx(slope, abs=1e-6)


def test_a_call_by_itself_is_one_program_for_all_that_are_alike():
    traces = []

    class Dim(Perturbation):
        by: jax.Array

        def apply(self, key, x):
            traces.append(type(x))
            return x * (1 - self.by)

    x = jnp.ones((8, 8, 1))
    for by in (0.25, 0.5, np.float32(0.5), jnp.float32(0.75)):
        np.testing.assert_array_equal(Dim(by)(jax.random.key(0), x), x * (1 - by))
    assert 1 <= len(traces) <= 2 and all(issubclass(kind, jax.core.Tracer) for kind in traces)  # weak or not


def test_a_call_by_itself_finds_what_the_compiled_call_does():
    x = jax.random.uniform(jax.random.key(1), (8, 8, 3))
    for op in (image.GaussianNoise.at(3), image.Brightness.at(2) >> image.Pixelate.at(1)):
        compiled = jax.jit(lambda op, key, x: op(key, x))
        np.testing.assert_array_equal(op(jax.random.key(2), x), compiled(op, jax.random.key(2), x))
