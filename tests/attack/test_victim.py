"""A model with randomness of its own: verdicts are functions of the input, gradients are means over other draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.core import ArgumentError

LOOP = attack.Loop(16, 8, False)


@pytest.fixture(scope="module")
def noisy(plane):
    def random(p, keys, x):
        return plane.model.apply(p, x + 0.1 * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys))

    return attack.RandomModel(random, plane.model.params, name="noisy", draws=30)


def test_the_verdict_is_the_same_alone_and_in_a_batch(noisy, plane):
    x = jnp.asarray(plane.x)
    whole = noisy(x)
    np.testing.assert_allclose(noisy(x[3:4])[0], whole[3], atol=1e-6)
    np.testing.assert_allclose(np.exp(whole).sum(axis=1), 1, atol=1e-5)  # probabilities
    other = jax.jit(attack.Victim.of(noisy).logits)(x, jax.random.split(jax.random.key(9), 16))
    np.testing.assert_array_equal(other, whole)


def test_the_gradient_is_a_mean_over_draws_that_are_not_the_verdicts(noisy, plane):
    victim, x = attack.Victim.of(noisy), jnp.asarray(plane.x)
    y = jnp.zeros(16, jnp.int32)

    @jax.jit
    def gradient(seed):
        return victim.gradient(attack.losses.cross_entropy, x, y, y, jax.random.split(jax.random.key(seed), 16))

    (a, loss, logits), (b, _, _) = gradient(0), gradient(1)
    assert (a != b).any()
    np.testing.assert_allclose(logits, noisy(x), atol=1e-6)
    # By hand, for one row: the mean of the gradients under each of its keys.
    key = jax.random.split(jax.random.key(0), 16)[5]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(30, dtype=jnp.uint32))

    def one(key, row):
        return attack.losses.cross_entropy(noisy.random(noisy.params, key[None], row[None]), y[:1], y[:1])[0]

    each, slopes = jax.jit(jax.vmap(jax.value_and_grad(one, argnums=1), (0, None)))(keys, x[5])
    np.testing.assert_allclose(np.asarray(a)[5], np.asarray(slopes).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(np.asarray(loss)[5], np.asarray(each).mean(), atol=1e-6)


def test_what_is_found_is_found_again_from_the_input_alone(noisy, plane):
    one = attack.PGD(eps=0.1, norm="l2", steps=10)
    result = one(jax.random.key(0), noisy, plane.x, plane.y, loop=LOOP, diagnose=False)
    broken = result.status == attack.STATUSES.index("broken")
    assert 3 < broken.sum() < 13  # some, not all
    for i in np.flatnonzero(broken):
        assert int(np.argmax(noisy(result.x_adv[i : i + 1]))) == 1
    # In the mean the noise hides nothing of a plane: what is well within or beyond the budget is decided.
    assert broken[plane.exact["l2"] < 0.07].all() and not broken[plane.exact["l2"] > 0.13].any()


def test_the_jacobian_has_the_logits_gradients(plane):
    victim, x = attack.Victim.of(plane.model), jnp.asarray(plane.x)
    jacobian = jax.jit(lambda x: victim.jacobian(x, lambda z: jnp.broadcast_to(jnp.array([[1, 0]]), z.shape)))
    gradients, classes, logits = jacobian(x)
    assert classes.shape == (16, 2) and logits.shape == (16, 2)
    expected = np.broadcast_to(np.asarray(plane.model.params["w"])[None], x.shape)
    np.testing.assert_allclose(gradients[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(gradients[1], 0)


def test_no_draws_are_refused(plane):
    with pytest.raises(ArgumentError, match="draws"):
        attack.RandomModel(lambda p, keys, x: x, {}, draws=0)
