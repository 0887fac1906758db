"""One perturbation for all: the optimum on a half-space, whatever the order of the examples."""

import jax
import numpy as np
import pytest

from sensijax import attack
from sensijax.core import ArgumentError

LOOP = attack.Loop(16, 8, False)
ONE = attack.Universal(eps=0.1, norm="l2", batch=8, epochs=6)


def run(plane, rows=slice(None), one=ONE):
    ids = np.arange(16)[rows]
    return one(jax.random.key(0), plane.model, plane.x[rows], plane.y[rows], ids=ids, loop=LOOP)


def test_on_a_plane_one_direction_serves_everybody(plane):
    result = run(plane)
    w = np.asarray(plane.model.params["w"], np.float64)
    np.testing.assert_allclose(result.delta, 0.1 * w / np.linalg.norm(w), atol=2e-3)
    np.testing.assert_array_equal(result.robust, plane.exact["l2"] > 0.1)
    assert result.fooled == 1 - result.robust_accuracy
    broken = ~result.robust
    np.testing.assert_array_equal(result.x_adv[broken], np.clip(plane.x + result.delta[None], 0, 1)[broken])
    np.testing.assert_array_equal(ONE.judge(result.delta, plane.model, plane.x, plane.y, loop=LOOP), broken)
    assert np.linalg.norm(result.delta.astype(np.float64)) <= 0.1 * (1 + 1e-5)


def test_the_order_of_the_examples_changes_nothing(plane):
    rows = np.random.default_rng(0).permutation(16)
    np.testing.assert_array_equal(run(plane, rows).delta, run(plane).delta)


def test_counts_are_checked():
    with pytest.raises(ArgumentError, match="epochs"):
        attack.Universal(eps=0.1, epochs=0)
