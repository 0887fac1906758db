"""Transfer asks the model once, and never for a gradient."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.core import ArgumentError, Model

LOOP = attack.Loop(16, 8, False)


def test_to_itself_a_linear_model_transfers_exactly(plane):
    eps = plane.exact["l2"].astype(np.float32)
    for factor, robust in ((1.001, 0), (0.999, 1)):
        one = attack.PGD(eps=eps * np.float32(factor), norm="l2", steps=20, start=False)
        result = attack.Transfer(one, plane.model)(jax.random.key(0), plane.model, plane.x, plane.y, loop=LOOP)
        assert result.robust_accuracy == robust
        assert (result.queries == 1).all() and (result.backwards == 0).all()
        np.testing.assert_allclose(result.distance[~result.robust], (eps * factor)[~result.robust], rtol=1e-5)


def test_it_goes_on_where_the_surrogate_is_fooled_already(plane):
    # The model's plane is twice as far away: an attack that ended at the surrogate's would never reach it.
    params = plane.model.params
    far = dataclasses.replace(plane.model, params=params | {"c": params["c"] + 0.1 * jnp.linalg.norm(params["w"])})
    eps = (plane.exact["l2"] + 0.101).astype(np.float32)
    one = attack.PGD(eps=eps, norm="l2", steps=20, start=False)
    result = attack.Transfer(one, plane.model)(jax.random.key(0), far, plane.x, plane.y, loop=LOOP)
    assert result.robust_accuracy == 0
    assert (np.asarray(far(jnp.asarray(result.x_adv))).argmax(axis=1) == 1).all()


def test_the_nearest_example_of_a_surrogate_stays_at_its_boundary(plane):
    params = plane.model.params
    far = dataclasses.replace(plane.model, params=params | {"c": params["c"] + 0.1 * jnp.linalg.norm(params["w"])})
    result = attack.Transfer(attack.DDN(), plane.model)(jax.random.key(0), far, plane.x, plane.y, loop=LOOP)
    assert result.robust_accuracy == 1


def test_a_surrogate_with_other_classes_is_refused(plane):
    other = Model(lambda p, x: jnp.zeros((len(x), 3)), 0, name="three classes")
    with pytest.raises(ArgumentError, match="3 classes"):
        attack.Transfer(attack.PGD(eps=0.1), other)(jax.random.key(0), plane.model, plane.x, plane.y, loop=LOOP)
