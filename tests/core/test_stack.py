"""Stacks: many values of one structure with a leading axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError, stack, stack_size, take
from sensijax.perturb import image


def test_take_undoes_stack():
    values = [{"a": jnp.full((2, 3), i), "b": (jnp.float32(i), np.int32(i))} for i in range(4)]
    stacked = stack(values)
    assert stack_size(stacked) == 4
    for i, value in enumerate(values):
        jax.tree.map(np.testing.assert_array_equal, take(stacked, i), value)
    jax.tree.map(np.testing.assert_array_equal, take(stacked, np.array([3, 1])), stack([values[3], values[1]]))


def test_a_stack_of_perturbations_is_a_sweep():
    stacked = stack([image.Brightness.at(s) for s in (0, 2, 5)])
    np.testing.assert_array_equal(stacked.shift, image.Brightness.at(jnp.array([0.0, 2.0, 5.0])).shift)


def test_typed_keys_stack():
    keys = stack([jax.random.key(0), jax.random.key(1)])
    assert jnp.array_equal(jax.random.key_data(keys[1]), jax.random.key_data(jax.random.key(1)))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "at least one"),
        ([{"a": 1.0}, {"b": 1.0}], "structure"),
        ([1.0, (1.0,)], "structure"),
        ([image.GaussianBlur(jnp.float32(1), radius=3), image.GaussianBlur(jnp.float32(1), radius=4)], "structure"),
        ([np.zeros(2), np.zeros(3)], "one shape"),
        ([np.int32(1), np.float32(2)], "one dtype"),
    ],
)
def test_what_does_not_stack_is_refused(values, reason):
    with pytest.raises(ArgumentError, match=reason) as caught:
        stack(values)
    assert caught.value.argument.startswith("values")


@pytest.mark.parametrize("stacked", [(), {}, 1.0, {"a": np.zeros(2), "b": np.zeros(3)}, {"a": np.zeros(2), "b": 1.0}])
def test_what_is_no_stack_has_no_size(stacked):
    with pytest.raises(ArgumentError, match="leading axis"):
        stack_size(stacked)
