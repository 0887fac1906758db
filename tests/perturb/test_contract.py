"""What the severity scale promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.perturb import interpolate

TABLE = (0.0, 0.08, 0.12, 0.18, 0.26, 0.38)


def test_a_table_is_hit_exactly_and_joined_by_lines():
    np.testing.assert_array_equal(interpolate(jnp.arange(6), TABLE), np.asarray(TABLE, np.float32))
    between = np.linspace(0, 5, 101)
    np.testing.assert_allclose(interpolate(between, TABLE), np.interp(between, range(6), TABLE), atol=1e-7)


@pytest.mark.parametrize(("severity", "slope"), [(0.0, 0.08), (0.5, 0.08), (1.0, 0.04), (4.5, 0.12), (5.0, 0.12)])
def test_the_slope_is_that_of_the_step_even_at_both_ends(severity, slope):
    assert jax.grad(lambda s: interpolate(s, TABLE))(severity) == pytest.approx(slope, abs=1e-6)
