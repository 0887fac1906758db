"""Sparse Jacobians: few passes, and a check that a wrong pattern does not survive."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import sensijax.sensitivity as s
from sensijax.core import ArgumentError


def local(x):
    """Each output depends on three neighbours."""
    return jnp.sin(x[1:-1]) * x[2:] + x[:-2] ** 2


X = jnp.linspace(0.1, 2.0, 40)


def test_a_banded_jacobian_takes_three_passes():
    pattern = s.sparsity(local, [X, X + 1])
    np.testing.assert_array_equal(pattern.toarray(), sum(np.eye(38, 40, k) for k in range(3)) > 0)
    found = s.sparse_jacobian(local, X + 0.5, pattern)
    assert found.colours == 3 and found.mode == "forward" and found.error < 1e-5
    np.testing.assert_allclose(found.matrix.toarray(), s.jacobian(local, X + 0.5).matrix(), rtol=1e-6)


def test_a_pattern_that_misses_an_entry_is_refused():
    pattern = scipy.sparse.lil_matrix(s.sparsity(local, [X]))
    pattern[7, 8] = False
    with pytest.raises(ArgumentError, match="misses entries"):
        s.sparse_jacobian(local, X, pattern)
    with pytest.raises(ArgumentError, match="outputs by inputs"):
        s.sparse_jacobian(local, X, np.ones((3, 3), bool))


def test_where_it_does_not_pay_it_says_so(caplog):
    found = s.sparse_jacobian(lambda x: jnp.cumsum(x), X, np.ones((40, 40), bool))
    assert found.colours == 40 and "costs about the same" in caplog.text
