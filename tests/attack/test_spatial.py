"""Turns and shifts: what a pose does, that the grid begins mildly, and that every find can be made again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.core import ArgumentError, Model
from sensijax.perturb import image

LOOP = attack.Loop(8, 8, False)
SIDE = 9
# A bar through the middle, and whether it lies: the share of its light in the middle row against that in the column.
MODEL = Model(
    lambda p, x: jnp.stack([x[:, SIDE // 2].sum((1, 2)), p * x[:, :, SIDE // 2].sum((1, 2))], axis=1),
    jnp.float32(1),
    name="lying or standing",
)
X = np.zeros((2, SIDE, SIDE, 1), np.float32)
X[0, SIDE // 2], X[1, :, SIDE // 2] = 1, 1
Y = np.array([0, 1])
GRID = attack.SpatialGrid(degrees=60.0, shift=0.0, turns=7)
STEPS = attack.SpatialGradient(degrees=60.0, shift=0.05, steps=20, restarts=5)


def run(one):
    return one(jax.random.key(0), MODEL, X, Y, loop=LOOP, diagnose=False)


def test_a_pose_is_the_perturbations_own_geometry():
    x = jax.random.uniform(jax.random.key(0), (12, 10, 3))
    turn = image.Rotation(degrees=jnp.float32(20))
    turned = turn(jax.random.key(0), x)
    ways = [np.abs(attack.posed(x, degrees, 0, 0) - turned).max() for degrees in (20.0, -20.0)]
    assert min(ways) < 1e-6 < max(ways)
    np.testing.assert_allclose(attack.posed(x, 0, 2 / 10, -3 / 10)[2:, :-3], x[:-2, 3:], atol=1e-6)
    np.testing.assert_array_equal(attack.posed(x, 0, 0, 0), x)


def test_the_grid_finds_the_mildest_turn_that_fools():
    result = run(GRID)
    assert result.robust_accuracy == 0
    assert np.abs(result.degrees).tolist() == [60, 60]  # 40 leave more of the bar in its place
    assert (result.queries >= 5).all() and (result.queries <= 6).all() and (result.backwards == 0).all()
    assert result.distance.tolist() == [1, 1]


def test_half_of_the_bounds_is_half_of_the_turn():
    half = attack.SpatialGrid(degrees=60.0, shift=0.0, turns=7, eps=0.5)
    assert run(half).robust_accuracy == 1


@pytest.mark.parametrize("one", [GRID, STEPS], ids=["grid", "gradient"])
def test_every_find_can_be_made_again(one):
    result = run(one)
    assert (~result.robust).any()
    for i in np.flatnonzero(~result.robust):
        again = attack.posed(jnp.asarray(X[i]), result.degrees[i], result.down[i], result.right[i])
        np.testing.assert_allclose(again, result.x_adv[i], atol=1e-6)
        assert int(jnp.argmax(MODEL(again[None]))) != Y[i]
        assert abs(result.degrees[i]) <= 60 and max(abs(result.down[i]), abs(result.right[i])) <= 0.05 + 1e-7


def test_the_gradient_leads_from_a_pose_that_does_not_fool():
    one = attack.SpatialGradient(degrees=60.0, shift=0.05, steps=20, restarts=5)
    still = attack.SpatialGradient(degrees=60.0, shift=0.05, steps=0, restarts=5)
    assert run(one).robust.sum() < max(run(still).robust.sum(), 1)


def test_bad_bounds_are_refused():
    for fields, words in (({"turns": 4}, "odd"), ({"degrees": 0.0, "shift": 0.0}, "degrees"), ({"norm": "l2"}, "norm")):
        with pytest.raises(ArgumentError, match=words):
            attack.SpatialGrid(**fields)
    with pytest.raises(ArgumentError, match="images"):
        GRID(jax.random.key(0), Model(lambda p, x: x @ p, jnp.eye(2)), np.eye(2, dtype=np.float32), Y, diagnose=False)
