"""A wall changes no value, and XLA does not see through it on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.perturb.image._wall import walled
from sensijax.perturb.image._window import weigh_symmetric

X = jax.random.uniform(jax.random.key(0), (5, 20, 12))


def blurred(x, wall=True):
    weights, given = jnp.array([0.4, 0.2, 0.1], jnp.float32), x
    x = weigh_symmetric(x, weights, 0)
    return weigh_symmetric(walled(x, given) if wall else x, weights, 1, step=2)


def test_values_and_derivatives_are_those_without():
    for wrap in (lambda f: f, jax.vmap):
        x = X if wrap is jax.vmap else X[0]
        np.testing.assert_array_equal(wrap(lambda x: walled(x, x))(x), x)
        slopes = [wrap(jax.grad(lambda x, wall=wall: jnp.sum(blurred(x, wall) ** 2)))(x) for wall in (True, False)]
        np.testing.assert_allclose(*slopes, rtol=1e-5)


def test_a_program_for_a_cpu_keeps_it_and_no_other_has_it():
    program = jax.jit(jax.vmap(blurred)).trace(X)
    assert " while(" in program.lower(lowering_platforms=("cpu",)).compile().as_text()
    assert "while" not in program.lower(lowering_platforms=("cuda",)).as_text()
