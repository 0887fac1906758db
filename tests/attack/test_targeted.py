"""PGD towards a class counts that class alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.core import ArgumentError, Model

LOOP = attack.Loop(8, 8, False)
# The prediction is the largest of three values; to make another the largest takes half of the lead in L-inf.
MODEL = Model(lambda p, x: p * x, jnp.float32(1), name="the largest value")
X = np.array([[0.6, 0.5, 0.3], [0.2, 0.7, 0.6], [0.5, 0.2, 0.9]], np.float32)
Y = X.argmax(axis=1)


def run(**fields):
    one = attack.TargetedPGD(steps=20, **fields)
    return one(jax.random.key(0), MODEL, X, Y, loop=LOOP, diagnose=False)


def test_a_chosen_target_is_reached_where_the_budget_allows_it():
    targets = np.array([2, 0, 0])
    lead = X[np.arange(3), Y] - X[np.arange(3), targets]
    result = run(eps=(lead / 2 * 1.01).astype(np.float32), target=targets)
    assert result.robust_accuracy == 0
    assert (np.asarray(MODEL(jnp.asarray(result.x_adv))).argmax(axis=1) == targets).all()
    assert run(eps=(lead / 2 * 0.99).astype(np.float32), target=targets).robust_accuracy == 1


def test_another_wrong_class_does_not_count():
    # Within 0.1 the runner-up, 1, is easily reached, by random starts alone; the target, 2, is not.
    x, y = np.tile(np.array([[0.6, 0.55, 0.1]], np.float32), (3, 1)), np.zeros(3, np.int64)
    results = [
        one(jax.random.key(0), MODEL, x, y, loop=LOOP, diagnose=False)
        for one in (attack.PGD(eps=0.1, steps=20), attack.TargetedPGD(eps=0.1, target=2, steps=20, restarts=10))
    ]
    assert [result.robust_accuracy for result in results] == [0, 1]


def test_ranks_are_those_of_the_clean_logits():
    logits = np.asarray(MODEL(jnp.asarray(X)))
    one = attack.TargetedPGD(eps=0.1, ranks=(2, 3), restarts=2)
    assert one.attempts == 4
    assert one.targets(logits, Y).tolist() == [[1, 2, 1, 2], [2, 0, 2, 0], [0, 1, 0, 1]]


def test_bad_targets_are_refused():
    for fields, words in (({"target": 7}, "classes in"), ({"target": Y}, "label"), ({"ranks": (1,)}, "ranks in")):
        with pytest.raises(ArgumentError, match=words):
            run(eps=0.1, **fields)
