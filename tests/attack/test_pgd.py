"""On a half-space, gradient attacks within a ball are exact: they succeed where the plane is within it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.attack.losses import margin
from sensijax.core import ArgumentError

LOOP = attack.Loop(16, 8, False)
EXCEPT = ("[pgd-l2]", "test_a_row")  # its rows are compared bit by bit
ATTACKS = {
    "pgd-linf": attack.PGD(eps=0.0, norm="linf", steps=20),
    # From a random start the sphere is climbed in ever smaller steps: from the example itself, straight to the optimum.
    "pgd-l2": attack.PGD(eps=0.0, norm="l2", steps=20, start=False),
    "pgd-l1": attack.PGD(eps=0.0, norm="l1", steps=20),
    "fgsm-linf": attack.FGSM(eps=0.0),
    "fgsm-l1": attack.FGSM(eps=0.0, norm="l1"),
    "mim-linf": attack.MIM(eps=0.0),
    "mim-l2": attack.MIM(eps=0.0, norm="l2"),
}


def run(one, surface, rows=slice(None)):
    ids = np.arange(len(surface.x))[rows]
    x, y = surface.x[rows], surface.y[rows]
    return one(jax.random.key(1), surface.model, x, y, ids=ids, loop=LOOP, diagnose=False)


def of_budget(one, eps):
    changes = {"step_size": eps} if isinstance(one, attack.FGSM) else {}
    return dataclasses.replace(one, eps=eps, **changes)


@pytest.mark.parametrize("name", ATTACKS)
def test_it_succeeds_just_beyond_the_exact_distance_and_never_before(name, plane):
    one = ATTACKS[name]
    exact = plane.exact[str(one.norm)].astype(np.float32)
    beyond = run(of_budget(one, exact * np.float32(1.001)), plane)  # a budget for each example
    assert beyond.robust_accuracy == 0
    assert run(of_budget(one, exact * np.float32(0.999)), plane).robust_accuracy == 1
    delta = (beyond.x_adv.astype(np.float64) - plane.x).reshape(len(exact), -1)
    sizes = np.linalg.norm(delta, {"l2": 2, "linf": np.inf, "l1": 1}[str(one.norm)], axis=1)
    assert (sizes <= exact * 1.001 * (1 + 1e-5)).all()
    assert (beyond.x_adv >= 0).all() and (beyond.x_adv <= 1).all()


def test_the_strongest_attempt_is_the_optimum(plane):
    result = run(attack.PGD(eps=0.01, norm="linf", steps=20, loss=margin), plane)
    w = np.asarray(plane.model.params["w"])
    reached = np.asarray(plane.model(jnp.asarray(result.strongest)))[:, 1]
    best = np.asarray(plane.model(jnp.asarray(plane.x)))[:, 1] + 0.01 * np.abs(w).sum()
    np.testing.assert_allclose(reached, best, atol=1e-5)


def test_momentum_of_zero_is_the_iterative_method(plane):
    steps = attack.MIM(eps=0.02, mu=0.0, steps=4)
    plain = attack.PGD(eps=0.02, steps=4, step_size=0.005, start=False)
    np.testing.assert_allclose(run(steps, plane).strongest, run(plain, plane).strongest, atol=1e-6)


def test_a_row_does_not_depend_on_the_others(plane):
    one = of_budget(ATTACKS["pgd-l2"], 0.12)
    rows = np.array([3, 12, 0, 7])
    np.testing.assert_array_equal(run(one, plane, rows).strongest, run(one, plane).strongest[rows])


def test_an_unknown_norm_is_refused():
    with pytest.raises(ArgumentError, match="did you mean 'linf'"):
        attack.MIM(eps=0.1, norm="linff")
