"""Flax Linen modules give the same outputs and gradients as models."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import adapt
from sensijax.core import ArgumentError

X = np.random.default_rng(0).standard_normal((3, 4), np.float32)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x))

    def doubled(self, x):
        return 2 * self(x, train=False)


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic=False):
        return nn.Dropout(0.5)(nn.Dense(3)(x), deterministic=deterministic)


@pytest.fixture(scope="module")
def variables():
    variables = Net().init(jax.random.key(0), X, train=False)
    statistics = {"BatchNorm_0": {"mean": jnp.arange(4.0), "var": 1 + jnp.arange(4.0)}}
    return {**variables, "batch_stats": statistics}


@pytest.fixture(scope="module")
def model(variables):
    return adapt.linen(Net(), variables, train=False)


def test_outputs_are_the_modules_own(model, variables):
    jitted = jax.jit(model.apply)
    expected = Net().apply(variables, X, train=False)
    assert np.array_equal(model(X), expected)
    np.testing.assert_allclose(jitted(model.params, X), expected, atol=1e-6)
    jitted(model.params, X)
    assert jitted._cache_size() == 1 and model.name == "Net"


def test_gradients_are_the_modules_own(model, variables):
    by_params, by_x = jax.grad(lambda params, x: model.apply(params, x).sum(), argnums=(0, 1))(model.params, X)
    own = jax.grad(lambda v, x: Net().apply(v, x, train=False).sum(), argnums=(0, 1))(variables, X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), by_params, own[0])
    np.testing.assert_allclose(by_x, own[1], rtol=1e-6, atol=1e-6)


def test_frozen_and_boxed_variables_are_the_same_weights(model, variables):
    import flax.core

    assert adapt.linen(Net(), flax.core.freeze(variables), train=False).digest == model.digest
    boxed = {**variables, "params": jax.tree.map(lambda a: nn.Partitioned(a, (None,) * a.ndim), variables["params"])}
    boxed = adapt.linen(Net(), boxed, train=False)
    assert boxed.digest == model.digest and np.array_equal(boxed(X), model(X))


def test_another_method(model, variables):
    assert np.array_equal(adapt.linen(Net(), variables, method=Net.doubled)(X), 2 * model(X))


def test_statistics_in_training_mode_are_refused(variables):
    model = adapt.linen(Net(), variables, train=True)
    with pytest.raises(ArgumentError, match='Net in training mode .*"batch_stats" is immutable.*train=False'):
        model(X)
    with pytest.raises(ArgumentError, match="Net in training mode"):
        model.output_spec(jax.ShapeDtypeStruct(X.shape, X.dtype))


def test_dropout_in_training_mode_is_refused():
    variables = Dropping().init(jax.random.key(0), X, deterministic=True)
    with pytest.raises(ArgumentError, match='Dropping in training mode .*"dropout".*deterministic=True'):
        adapt.linen(Dropping(), variables)(X)
    assert adapt.linen(Dropping(), variables, deterministic=True)(X).shape == (3, 3)


def test_a_missing_argument_is_named(variables):
    with pytest.raises(ArgumentError, match="missing a required argument: 'train'.*train=False"):
        adapt.linen(Net(), variables)


def test_variables_that_do_not_fit_are_refused(variables):
    for wrong in (variables["params"], {"params": variables["params"]}):
        with pytest.raises(ArgumentError, match=r"`variables`: got collections \[.*that module.init returned"):
            adapt.linen(Net(), wrong, train=False)(X)
    for wrong in (None, {"params": 1}):
        with pytest.raises(ArgumentError, match="`variables`: got .*that module.init returned"):
            adapt.linen(Net(), wrong, train=False)


def test_what_is_no_module_is_refused(variables):
    with pytest.raises(ArgumentError, match="`module`: got the class Net"):
        adapt.linen(Net, variables, train=False)
