"""Singular values and norms by products, against NumPy's on whole matrices."""

import jax.numpy as jnp
import numpy as np
import pytest

import sensijax.sensitivity as s
from sensijax.core import ArgumentError, Model


def linear(a, x):
    return a @ x


def of(matrix):
    return Model(linear, jnp.asarray(matrix, jnp.float32)), jnp.ones(matrix.shape[1])


@pytest.mark.parametrize("m, n, k", [(7, 50, 5), (50, 7, 3), (40, 60, 4)])
def test_values_and_directions_are_those_of_the_matrix(m, n, k):
    a = np.random.default_rng(m).standard_normal((m, n)).astype(np.float32)
    u, values, vt = np.linalg.svd(a.astype(np.float64))
    top = s.singular(*of(a), k)
    assert top.converged and (top.residuals < 1e-4).all()
    np.testing.assert_allclose(top.values, values[:k], rtol=1e-5)
    # A direction's error goes as the residual over the gap to the next value, so signs and 1e-2 are what is asked.
    np.testing.assert_allclose(np.abs(np.sum(np.asarray(top.right) * vt[:k], axis=1)), 1, atol=1e-2)
    np.testing.assert_allclose(np.abs(np.sum(np.asarray(top.left) * u.T[:k], axis=1)), 1, atol=1e-2)
    np.testing.assert_allclose(a @ np.asarray(top.right).T, top.values * np.asarray(top.left).T, atol=2e-4)


def test_values_that_occur_several_times_are_all_found():
    d = np.diag([2.0, 2.0, 2.0, 2.0, 1.0] + [0.5] * 25)
    np.testing.assert_allclose(s.singular(*of(d), 5).values, [2, 2, 2, 2, 1], rtol=1e-6)
    np.testing.assert_allclose(s.singular(*of(d), 30).values[4:6], [1, 0.5], rtol=1e-6)


def test_small_values_keep_their_digits():
    rng = np.random.default_rng(0)
    q, r = (np.linalg.qr(rng.standard_normal((60, 60)))[0] for _ in range(2))
    a = ((q * np.logspace(0, -4, 60)) @ r).astype(np.float32)
    expected = np.linalg.svd(a.astype(np.float64))[1][:8]
    np.testing.assert_allclose(s.singular(*of(a), 8, tolerance=1e-6).values, expected, rtol=1e-5)


def test_low_rank_zero_and_trees():
    assert s.singular(*of(np.outer(np.arange(1.0, 9), np.ones(20))), 2).values[1] < 1e-4
    nothing = s.singular(jnp.round, jnp.ones(20), 2)
    assert nothing.zero and (nothing.values == 0).all()
    top = s.singular(lambda x: {"y": 3 * x["a"][0] + 4 * x["b"]}, {"a": jnp.ones(2), "b": jnp.ones(())}, 1)
    np.testing.assert_allclose(top.values, [5], rtol=1e-6)
    np.testing.assert_allclose(np.abs(top.right["a"]), [[0.6, 0]], atol=1e-6)
    np.testing.assert_allclose(np.abs(top.right["b"]), [0.8], atol=1e-6)
    assert list(top.frame().columns) == ["rank", "value", "residual"]


def test_giving_up_is_said(caplog):
    a = np.random.default_rng(0).standard_normal((60, 60))
    found = s.singular(*of(a), 3, max_products=20)
    assert not found.converged and "max_products" in caplog.text


def test_k_too_large_is_explained():
    for k in (0, 8, 2.5, True):
        with pytest.raises(ArgumentError, match="7 rows and 50 columns"):
            s.singular(*of(np.ones((7, 50))), k)
    with pytest.raises(ArgumentError, match="vectors of 2000000 inputs"):
        s.singular(lambda x: x, jnp.ones(2_000_000), 40)
    with pytest.raises(ArgumentError, match="not finite"):
        s.singular(jnp.sqrt, jnp.zeros(4), 1)


def test_frobenius_interval_covers():
    """Of 200 intervals at 90 %, 180 should cover; 166 or fewer happen by chance once in 700 times."""
    a = np.random.default_rng(0).standard_normal((50, 60)).astype(np.float32)
    model, truth = of(a), np.linalg.norm(a.astype(np.float64))
    found = [s.frobenius_norm(*model, probes=40, level=0.9, seed=i) for i in range(200)]
    assert sum(f.low <= truth <= f.high for f in found) > 166
    assert np.mean([f.high - f.low for f in found]) < 0.1 * truth
    assert abs(np.mean([f.value**2 for f in found]) / truth**2 - 1) < 0.01
    assert not found[0].exact and found[0].mode == "reverse"


def test_norms_that_are_exact():
    a = np.random.default_rng(0).standard_normal((5, 60)).astype(np.float32)
    model = of(a)
    exact = s.frobenius_norm(*model)
    assert exact.exact and exact.low == exact.high
    np.testing.assert_allclose(exact.value, np.linalg.norm(a), rtol=1e-6)
    norm = s.spectral_norm(*model)
    np.testing.assert_allclose(norm.value, np.linalg.norm(a, 2), rtol=1e-5)
    assert norm.low <= norm.value <= norm.high
