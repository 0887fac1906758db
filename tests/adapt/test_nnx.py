"""Flax NNX modules give the same outputs and gradients as models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sensijax import adapt
from sensijax.core import ArgumentError

X = np.random.default_rng(0).standard_normal((3, 8, 8, 1), np.float32)


class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), strides=4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(16, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)])
        self.head = nnx.Linear(4, 3, rngs=rngs)
        self.scale = jnp.full((1, 1), 2.0)  # an array that is no nnx.Variable

    def __call__(self, x, **mode):
        x = self.norm(self.conv(x), **mode)
        x = x.reshape(x.shape[0], -1)
        for block in self.blocks:
            x = block(x)
        return self.head(x) * self.scale

    def doubled(self, x):
        return 2 * self(x)


class Sampler(nnx.Module):
    def __init__(self, rngs):
        self.rngs = rngs

    def __call__(self, x):
        return x + jax.random.normal(self.rngs.sample(), x.shape)


@pytest.fixture(scope="module")
def module():
    module = Net(nnx.Rngs(0))
    # Statistics unlike those of a fresh layer, so that evaluation and training mode differ.
    module.norm.mean[...] = jnp.arange(4.0)
    module.norm.var[...] = 1 + jnp.arange(4.0)
    module.eval()
    return module


@pytest.fixture(scope="module")
def model(module):
    return adapt.nnx(module, classes="abc")


@pytest.fixture(scope="module")
def jitted(model):
    return jax.jit(model.apply)


def test_outputs_are_the_modules_own(module, model, jitted):
    assert np.array_equal(model(X), module(X))
    np.testing.assert_allclose(jitted(model.params, X), module(X), atol=1e-5)
    assert model.name == "Net" and model.classes == ("a", "b", "c")
    assert model.output_spec(jax.ShapeDtypeStruct(X.shape, X.dtype)).shape == (3, 3)


def test_calls_share_one_compilation(model, jitted):
    jitted(model.params, X)
    jitted(jax.tree.map(lambda leaf: leaf + 1, model.params), X)
    assert jitted._cache_size() == 1


def test_gradients_are_the_modules_own(module, model):
    def loss(params, x):
        return model.apply(params, x).sum()

    by_params, by_x = jax.grad(loss, argnums=(0, 1))(model.params, X)
    own = nnx.grad(lambda module: module(X).sum())(module)
    np.testing.assert_allclose(by_params["head"]["kernel"], own["head"]["kernel"][...], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_x, jax.grad(lambda x: module(x).sum())(jnp.asarray(X)), rtol=1e-5, atol=1e-5)


def test_training_the_module_later_does_not_move_the_model(model):
    module = Net(nnx.Rngs(1))
    module.eval()
    model = adapt.nnx(module)
    before, digest = np.asarray(model(X)), model.digest
    module.head.kernel[...] = jnp.zeros((4, 3))
    assert not np.array_equal(module(X), before)
    assert np.array_equal(model(X), before) and adapt.nnx(module).digest != digest


def test_the_module_is_left_as_it_was(module):
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.RngState))))
    adapt.nnx(module)(X)
    after = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.RngState))))
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_digests_name_the_weights_and_not_the_random_streams(model):
    same, other = Net(nnx.Rngs(0)), Net(nnx.Rngs(0))
    for module in (same, other):
        module.norm.mean[...] = jnp.arange(4.0)
        module.norm.var[...] = 1 + jnp.arange(4.0)
    same.blocks[1].rngs.count[...] = jnp.uint32(7)  # as if it had been trained with dropout
    other.head.bias[...] = jnp.ones(3)
    same.eval()
    other.eval()
    assert adapt.nnx(same).digest == model.digest
    assert adapt.nnx(other).digest != model.digest


def test_training_mode_is_refused_with_its_paths_and_kept():
    module = Net(nnx.Rngs(0))
    paths = r"blocks\.1 \(Dropout\.deterministic=False\), norm \(BatchNorm"
    with pytest.raises(ArgumentError, match=rf"{paths}.*`module\.eval\(\)`"):
        adapt.nnx(module)
    assert module.blocks[1].deterministic is False and module.norm.use_running_average is False


def test_a_call_in_training_mode_is_refused(module):
    with pytest.raises(ArgumentError, match=r"changes norm\.mean, norm\.var"):
        adapt.nnx(module, use_running_average=False)(X)


def test_a_module_that_draws_is_refused():
    with pytest.raises(ArgumentError, match=r"changes rngs\.sample\.count"):
        adapt.nnx(Sampler(nnx.Rngs(sample=0)))(X)


def test_another_method(module, model):
    assert np.array_equal(adapt.nnx(module, method=Net.doubled)(X), 2 * model(X))


@pytest.mark.parametrize("value, match", [(Net, "the class Net"), (lambda x: x, "function"), (3, "int")])
def test_what_is_no_module_is_refused(value, match):
    with pytest.raises(ArgumentError, match=f"`module`: got {match}"):
        adapt.nnx(value)


def test_a_missing_argument_is_named():
    class Needs(nnx.Module):
        def __call__(self, x, train):
            return x

    with pytest.raises(ArgumentError, match="missing a required argument: 'train'"):
        adapt.nnx(Needs())
