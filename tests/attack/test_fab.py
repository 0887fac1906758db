"""FAB: the projection is optimal, and on models with known distances the distance is the exact one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from sensijax import attack
from sensijax.attack._plane import nearest, to_plane
from sensijax.core import ArgumentError, Model

LOOP, D = attack.Loop(16, 4, False), 7
EXCEPT = ("test_the_projection_of_a_row",)  # bit by bit


@pytest.fixture(scope="module")
def problems():
    """(x, w, c) in the unit box; the last third cannot reach the plane."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(24, D)).astype(np.float32)
    w = rng.normal(size=(24, D)).astype(np.float32)
    w[:4, 2] = 0
    reach = np.where(w > 0, w * x, -w * (1 - x)).sum(axis=1)  # how far w . x can fall
    c = (reach * np.where(np.arange(24) < 16, rng.uniform(0.05, 0.95, 24), 1.5)).astype(np.float32)
    return x, w, c


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_way_to_a_plane_is_the_shortest_within_the_box(problems, norm):
    x, w, c = problems
    chosen = {"linf": attack.linf, "l2": attack.l2, "l1": attack.l1}[norm]
    d = np.asarray(jax.jit(lambda x, w, c: to_plane(chosen, x, w, c, (0.0, 1.0)))(x, w, c), np.float64)
    assert ((x + d >= -1e-6) & (x + d <= 1 + 1e-6)).all()
    np.testing.assert_allclose((w * d).sum(axis=1)[:16], -c[:16], rtol=1e-4, atol=1e-5)
    full = np.where(w > 0, -x, np.where(w < 0, 1 - x, 0))
    np.testing.assert_allclose(d[16:], full[16:], atol=1e-6)
    for i in range(16):
        size = {"linf": np.abs(d[i]).max(), "l2": np.sqrt((d[i] ** 2).sum()), "l1": np.abs(d[i]).sum()}[norm]
        np.testing.assert_allclose(size, shortest(norm, x[i], w[i], c[i]), rtol=1e-3, atol=1e-5)


def shortest(norm, x, w, c):
    """By linear programming; in L2 by the multiplier, which is found by halving."""
    if norm == "l2":
        low, high = 0.0, 1e4
        for _ in range(200):
            rate = (low + high) / 2
            d = np.clip(-rate * w.astype(np.float64), -x, 1 - x)
            low, high = (rate, high) if -(w * d).sum() < c else (low, rate)
        return np.sqrt((d**2).sum())
    # d = p - n with p, n >= 0; in L-infinity a further variable is above all of them.
    extra = int(norm == "linf")
    cost = np.concatenate([np.full(2 * D, 1.0 - extra), np.ones(extra)])
    equal = np.concatenate([w, -w, np.zeros(extra)])[None]
    bounds = [(0, 1 - v) for v in x] + [(0, v) for v in x] + [(0, None)] * extra
    below = np.concatenate([np.eye(2 * D), -np.ones((2 * D, 1))], axis=1) if extra else None
    solved = linprog(cost, A_ub=below, b_ub=np.zeros(2 * D) if extra else None, A_eq=equal, b_eq=[-c], bounds=bounds)
    return solved.fun


def test_the_projection_of_a_row_does_not_depend_on_the_others(problems):
    x, w, c = problems
    program = jax.jit(lambda x, w, c: to_plane(attack.l2, x, w, c, (0.0, 1.0)))
    whole = np.asarray(program(x, w, c))
    order = np.random.default_rng(1).permutation(24)
    assert (np.asarray(program(x[order], w[order], c[order])) == whole[order]).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_on_a_plane_the_distance_is_the_exact_one(plane, norm):
    one = attack.FAB(eps=1.0, norm=norm, steps=12, target_classes=1)
    result = one(jax.random.key(0), plane.model, plane.x, plane.y, loop=LOOP, diagnose=False)
    assert not result.robust.any()
    assert (result.distance >= plane.exact[norm] * (1 - 1e-4)).all()
    assert (result.distance <= plane.exact[norm] * 1.03).all()


def test_only_what_is_within_the_budget_breaks_an_example(plane):
    eps = np.float32(np.sort(plane.exact["l2"])[7] * 1.03)
    for minimal in (True, False):
        one = attack.FAB(eps=eps, norm="l2", steps=12, target_classes=1, minimal=minimal)
        result = one(jax.random.key(0), plane.model, plane.x, plane.y, loop=LOOP, diagnose=False)
        assert (result.robust | (result.distance <= eps)).all()
        assert result.robust.sum() == (plane.exact["l2"] > eps).sum()


def test_without_targets_the_nearest_boundary_is_taken():
    f = jnp.array([[-1.0, -2.0], [-3.0, -0.5]])
    w = jnp.array([[[1.0, 0.0], [1.0, 1.0]], [[3.0, 4.0], [0.0, 1.0]]])  # [C, B, D]
    value, normal = nearest(attack.l2, f, w)
    assert value.tolist() == [-2.0, -0.5]
    assert normal.tolist() == [[3.0, 4.0], [0.0, 1.0]]


def test_without_targets_it_finds_as_much_as_towards_every_class():
    rng = np.random.default_rng(2)
    model = Model(lambda w, x: x @ w, jnp.asarray(rng.normal(size=(D, 5)), jnp.float32), name="linear")
    x = rng.uniform(0.2, 0.8, (16, D)).astype(np.float32)
    y = np.asarray(model(x)).argmax(axis=1)
    towards = attack.FAB(eps=np.inf, norm="l2", steps=15, target_classes=9)
    nearest_one = attack.FAB(eps=np.inf, norm="l2", steps=15, target_classes=0, restarts=2)
    results = [one(jax.random.key(0), model, x, y, loop=LOOP, diagnose=False) for one in (towards, nearest_one)]
    np.testing.assert_allclose(results[1].distance, results[0].distance, rtol=0.1)


def test_a_norm_that_it_does_not_know_is_refused():
    with pytest.raises(ArgumentError, match="norm"):
        attack.FAB(eps=0.1, norm=attack.Norm("l7"))
