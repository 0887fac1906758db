"""What cannot be attacked is refused in words; what cannot be judged is never counted robust."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.core import ArgumentError, Model

LOOP = attack.Loop(8, 1, False)
X = np.array([[0.9, 0.1], [0.6, 0.5], [0.1, 0.9]], np.float32)
Y = np.array([0, 0, 1])


@pytest.fixture(scope="module")
def model():
    return Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="line")


def run(model, x=X, y=Y, *, by=None, **options):
    by = by or attack.PGD(eps=0.1, steps=3)
    return by(jax.random.key(0), model, x, y, loop=LOOP, diagnose=False, **options)


def changed(value):
    x = X.copy()
    x[1, 0] = value
    return x


@pytest.mark.parametrize(
    "x, came",
    [
        (changed(1.5), "1 examples with values such as 1.5"),
        (changed(-0.001), "-0.001"),
        (changed(np.nan), "nan"),
        (changed(np.inf), "inf"),
        (X * 255, "255|229|230"),
        (X.astype(np.float64), "float64"),
        ((X * 255).astype(np.uint8), "uint8"),
        (X[:0], r"shape \[0, 2\]"),
        (X[:, 0], r"shape \[3\]"),
    ],
)
def test_inputs(model, x, came):
    with pytest.raises(ArgumentError, match=f"`x`: got .*({came})"):
        run(model, x)


def test_another_box_admits_other_inputs(model):
    by = attack.PGD(eps=20.0, steps=3, box=(0, 255))
    assert len(run(model, X * 255, by=by)) == 3
    with pytest.raises(ArgumentError, match="box"):
        run(model, by=attack.PGD(eps=0.1, box=(1, 0)))


@pytest.mark.parametrize(
    "y", [np.array([0, 0, 2]), np.array([0, -1, 1]), np.array([0, 0]), np.array([0.0, 0.0, 1.0]), np.eye(2)[Y]]
)
def test_labels(model, y):
    with pytest.raises(ArgumentError, match="`y`"):
        run(model, y=y)


@pytest.mark.parametrize("ids", [[0, 1, 1], [0, 1], [-1, 0, 1], [0.5, 1, 2]])
def test_ids(model, ids):
    with pytest.raises(ArgumentError, match="`ids`"):
        run(model, ids=np.array(ids))


@pytest.mark.parametrize("norm, most", [("linf", 1), ("l2", 2**0.5), ("l1", 2)])
def test_budgets(model, norm, most):
    for eps in (0.0, -0.1, np.nan, np.inf, most * 1.01):
        with pytest.raises(ArgumentError, match=r"`eps`: got .*a budget in \(0, "):
            run(model, by=attack.PGD(eps=eps, norm=norm, steps=3))
    assert len(run(model, by=attack.PGD(eps=most, norm=norm, steps=3))) == 3


def test_one_bad_budget_among_good_ones(model):
    with pytest.raises(ArgumentError, match="`eps`: got 0;"):
        run(model, by=attack.PGD(eps=np.array([0.1, 0.0, 0.1], np.float32), steps=3))


def test_a_norm_that_is_none():
    with pytest.raises(ArgumentError, match="did you mean 'linf'"):
        attack.PGD(eps=0.1, norm="linff")


@pytest.mark.parametrize(
    "apply", [lambda w, x: (x @ w)[:, 0], lambda w, x: (x @ w)[:, :1], lambda w, x: (x @ w)[..., None]]
)
def test_outputs_that_are_no_logits(model, apply):
    with pytest.raises(ArgumentError, match="`model`.*logits"):
        run(Model(apply, model.params))


def test_numbers_that_are_none_are_never_robust(model):
    """One logit of one example is NaN, all of another's are infinite."""

    def apply(w, x):
        z = x @ w
        z = jnp.where(x[:, :1] == X[0, 0], z.at[:, 1].set(jnp.nan), z)
        return jnp.where(x[:, :1] == X[2, 0], jnp.float32(jnp.inf), z)

    result = run(Model(apply, model.params))
    assert [attack.STATUSES[s] for s in result.status] == ["nonfinite", "broken", "nonfinite"]
    assert result.forwards.tolist()[::2] == [0, 0]
    assert result.robust_accuracy == 0 and result.clean_accuracy == 1 / 3


def test_an_answer_that_turns_to_nan_is_not_broken(model):
    """NaN under attack is no wrong prediction: the example stays robust, and a flag says what happened."""

    def apply(w, x):
        z = x @ w
        return jnp.where(jnp.abs(z[:, :1] - z[:, 1:]) < 0.15, jnp.float32(jnp.nan), z)

    result = attack.PGD(eps=0.1, steps=3)(jax.random.key(0), Model(apply, model.params), X, Y, loop=LOOP)
    assert result.status[1] == 0 and "nonfinite_logits" in {flag.name for flag in result.flags}


def test_what_is_wrong_already_is_counted_and_not_attacked(model):
    result = run(model, y=1 - Y)
    assert (result.status == 2).all() and (result.forwards == 0).all()
    assert result.clean_accuracy == result.robust_accuracy == 0
    np.testing.assert_array_equal(result.x_adv, X)


def test_nothing_that_is_given_is_changed(model):
    x, y = X.copy(), Y.copy()
    run(model, x, y)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
