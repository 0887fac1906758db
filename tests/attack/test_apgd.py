"""APGD follows the authors' code step by step, on the network and from the starts of `apgd.npz`."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.attack import Goal, Victim, losses
from sensijax.attack._ascent import SparseRule
from sensijax.attack._l1_box import project_into_box, sparse_step, sparsity
from sensijax.attack._likely import likely_targets
from sensijax.core import ArgumentError

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
LOSSES = {"ce": losses.cross_entropy, "dlr": losses.dlr, "dlr-targeted": losses.targeted_dlr}


@pytest.mark.parametrize("norm, eps, loss", [("linf", 0.05, "dlr-targeted"), ("l2", 0.2, "dlr"), ("l1", 0.5, "ce")])
def test_thirty_steps_end_where_those_of_the_authors_code_do(golden_digits, norm, eps, loss):
    model, x, y = golden_digits
    stored = np.load(GOLDEN / "apgd.npz")
    index, name = stored["index"], {"linf": "Linf", "l2": "L2", "l1": "L1"}[norm]
    x, y = x[index], y[index].astype(np.int32)
    victim, rows = Victim.of(model), len(index)
    one = attack.APGD(eps=jnp.full(rows, eps, jnp.float32), norm=norm, steps=30, loss=LOSSES[loss])
    targets = likely_targets(np.asarray(jax.jit(model.apply)(model.params, x)), y, 1, 1)[:, 0]
    goal = Goal(x=jnp.asarray(x), y=jnp.asarray(y), target=jnp.asarray(targets), key=jnp.zeros((rows, 2), jnp.uint32))
    start = jnp.asarray(stored[f"{name}_start"])[..., None]
    state = dataclasses.replace(jax.jit(one.begin)(goal), x=start, **({} if norm == "l1" else {"old": start}))
    advance = jax.jit(lambda goal, state: dataclasses.replace(one.advance(victim, goal, state), step=state.step + 1))
    for _ in range(one.most_steps):
        state = advance(goal, state)
    best = stored[f"{name}_{loss}_best"][..., None]
    # A last bit may send single rows elsewhere, to a loss as high; in L1 it decides how many values a step moves.
    same = np.abs(np.asarray(state.best) - best).reshape(rows, -1).max(axis=1) < 1e-3
    assert same.mean() >= (0.5 if norm == "l1" else 0.9)
    expected = stored[f"{name}_{loss}_loss"]
    assert np.abs(np.asarray(state.best_loss) - expected).max() < 0.05
    np.testing.assert_allclose(np.asarray(state.best_loss)[same], expected[same], rtol=2e-3, atol=1e-5)


def test_the_step_size_is_checked_after_22_percent_of_the_steps_and_then_ever_more_often(plane):
    rows = 4
    one = attack.APGD(eps=jnp.full(rows, 1e-4, jnp.float32))
    x = jnp.asarray(plane.x[:rows])
    goal = Goal(x, jnp.zeros(rows, jnp.int32), jnp.full(rows, -1, jnp.int32), jnp.zeros((rows, 2), jnp.uint32))
    victim, state, checks = Victim.of(plane.model), jax.jit(one.begin)(goal), []
    advance = jax.jit(lambda state: dataclasses.replace(one.advance(victim, goal, state), step=state.step + 1))
    for i in range(one.most_steps):
        state = advance(state)
        if i and int(state.since[0]) == 0:
            checks.append(i)
    assert checks == [22, 41, 57, 70, 80, 87, 93, 99]
    # On a plane the first steps reach the corner, where the loss no longer rises: the step size falls ever more.
    assert float(state.step_size[0]) <= 2e-4 / 2**6


def test_in_l1_the_budget_shrinks_in_three_phases():
    assert SparseRule.evaluations(100) == 31 + 31 + 41
    assert SparseRule.evaluations(7) == 10


def test_no_iterate_of_the_last_phase_leaves_ball_or_box(ball):
    one = attack.APGD(eps=0.4, norm="l1", steps=12)
    result = one(jax.random.key(0), ball.model, ball.x, ball.y, loop=attack.Loop(16, 4, False), diagnose=False)
    size = np.abs(result.strongest - ball.x).sum(axis=1)
    assert size.max() <= 0.4 * (1 + 1e-5)
    assert size.max() > 0.39
    assert result.strongest.min() >= 0
    assert result.strongest.max() <= 1


def test_projection_into_ball_and_box_is_the_nearest_point():
    rng = np.random.default_rng(0)
    x, delta = rng.uniform(size=(64, 9)).astype(np.float32), rng.normal(size=(64, 9)).astype(np.float32)
    eps = rng.uniform(0.05, 3, 64).astype(np.float32)
    found = np.asarray(jax.jit(lambda *a: project_into_box(*a, (0.0, 1.0)))(delta, x, eps), np.float64)
    assert (np.abs(found).sum(axis=1) <= eps * (1 + 1e-6)).all()
    assert ((x + found >= -1e-6) & (x + found <= 1 + 1e-6)).all()
    # A convex set: the way to the given point makes no acute angle with the way to any other point of the set.
    for _ in range(200):
        other = rng.normal(size=delta.shape) * rng.uniform(0, 1, (64, 1))
        other = np.clip(x + other, 0, 1) - x
        other *= np.minimum(1, eps / np.abs(other).sum(axis=1))[:, None]
        assert (((delta - found) * (other - found)).sum(axis=1) <= 1e-4).all()


def test_a_sparse_step_moves_the_largest_values_of_the_gradient():
    gradient = jnp.array([[0.1, -3.0, 2.0, 0.5, -0.2]])
    step = sparse_step(gradient, jnp.array([0.4]), jnp.array([1.0]))
    assert step.tolist() == [[0.0, -0.5, 0.5, 0.0, 0.0]]
    assert sparsity(step).tolist() == [2.0]


def test_targets_are_the_likeliest_wrong_classes_and_restarts_lie_side_by_side():
    logits, y = np.array([[0.0, 5.0, 3.0, 4.0], [2.0, 1.0, 9.0, 3.0]]), np.array([1, 2])
    assert likely_targets(logits, y, 2, 2).tolist() == [[3, 3, 2, 2], [3, 3, 0, 0]]
    assert likely_targets(logits, y, 9, 1).tolist() == [[3, 2, 0], [3, 0, 1]]
    assert likely_targets(logits, y, 0, 2).tolist() == [[-1, -1], [-1, -1]]


@pytest.mark.parametrize("name, value", [("steps", 0), ("restarts", 0), ("target_classes", -1)])
def test_counts_are_checked(name, value):
    with pytest.raises(ArgumentError, match=name):
        attack.APGD(eps=0.1, **{name: value})
