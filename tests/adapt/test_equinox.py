"""Equinox modules give the same outputs and gradients as models."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import adapt
from sensijax.core import ArgumentError, MissingExtraError

X = np.random.default_rng(0).standard_normal((3, 4), np.float32)


class Net(eqx.Module):
    layers: list
    table: np.ndarray

    def __init__(self):
        keys = jax.random.split(jax.random.key(0))
        linears = [eqx.nn.Linear(4, out, key=key) for out, key in zip((4, 3), keys, strict=True)]
        self.layers = [linears[0], eqx.nn.Dropout(0.5), jax.nn.relu, linears[1]]
        self.table = np.arange(3, dtype=np.int32)

    def __call__(self, x, key=None):
        for layer in self.layers:
            x = layer(x)
        return x[self.table]


class Normed(eqx.Module):
    linear: eqx.nn.Linear
    norm: eqx.nn.BatchNorm

    def __init__(self):
        self.linear = eqx.nn.Linear(4, 3, key=jax.random.key(0))
        self.norm = eqx.nn.BatchNorm(3, axis_name="batch", mode="ema")

    def __call__(self, x, state):
        return self.norm(self.linear(x), state)


class Batched(eqx.Module):
    weight: jax.Array

    def __call__(self, x):
        return x @ self.weight


@pytest.fixture(scope="module")
def module():
    return eqx.nn.inference_mode(Net())


@pytest.fixture(scope="module")
def model(module):
    return adapt.equinox(module)


@pytest.fixture(scope="module")
def trained():
    module, state = eqx.nn.make_with_state(Normed)()
    step = jax.vmap(module, in_axes=(0, None), out_axes=(0, None), axis_name="batch")
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(3):
            _, state = step(X, state)
    return eqx.nn.inference_mode(module), state


def test_outputs_are_the_modules_own(module, model):
    jitted = jax.jit(model.apply)
    expected = jax.vmap(module)(X)
    assert np.array_equal(model(X), expected)
    np.testing.assert_allclose(jitted(model.params, X), expected, atol=1e-6)
    jitted(model.params, X)
    assert jitted._cache_size() == 1 and model.name == "Net"


def test_gradients_are_the_modules_own(module, model):
    def loss(params, x):
        return model.apply(params, x).sum()

    by_params, by_x = jax.grad(loss, argnums=(0, 1), allow_int=True)(model.params, X)
    own = eqx.filter_grad(lambda module, x: jax.vmap(module)(x).sum())(module, X)
    np.testing.assert_allclose(by_params.layers[0].weight, own.layers[0].weight, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(by_x, jax.grad(lambda x: jax.vmap(module)(x).sum())(X), rtol=1e-6, atol=1e-6)


def test_statistics_are_used_and_kept(trained):
    module, state = trained
    model = adapt.equinox(module, state=state)
    expected, _ = jax.vmap(module, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(X, state)
    np.testing.assert_allclose(model(X), expected, atol=1e-6)
    # Alone or together: an example's outputs do not depend on the rest of its batch.
    np.testing.assert_allclose(model(X[:1]), expected[:1], atol=1e-6)
    assert model.digest == adapt.equinox(module, state=state).digest
    moved = jax.tree.map(lambda leaf: leaf + 1 if leaf.dtype == jnp.float32 else leaf, state)
    assert model.digest != adapt.equinox(module, state=moved).digest


def test_a_module_of_batches():
    model = adapt.equinox(Batched(jnp.ones((4, 3))), batched=True)
    assert np.array_equal(model(X), X @ np.ones((4, 3), np.float32))


def test_integer_arrays_count_in_the_digest(module, model):
    other = eqx.tree_at(lambda m: m.table, module, np.array([0, 2, 1], np.int32))
    assert adapt.equinox(other).digest != model.digest


def test_training_mode_is_refused_with_its_path(trained):
    with pytest.raises(ArgumentError, match=r"layers\[1\] \(Dropout\.inference=False\); adapt `equinox\.nn\.infer"):
        adapt.equinox(Net())
    with pytest.raises(ArgumentError, match=r"norm \(BatchNorm\.inference=False\)"):
        adapt.equinox(eqx.nn.inference_mode(trained[0], value=False), state=trained[1])
    with pytest.raises(ArgumentError, match=r"the module itself \(Dropout"):
        adapt.equinox(eqx.nn.Dropout(0.5))


def test_flags_inside_modules_with_flags_are_found():
    class Outer(eqx.Module):
        inference: bool
        inner: eqx.Module

        def __call__(self, x):
            return self.inner(x)

    with pytest.raises(ArgumentError, match=r"training mode in inner\.inner \(Dropout"):
        adapt.equinox(Outer(True, Outer(True, eqx.nn.Dropout(0.5))))


def test_a_missing_state_is_named(trained):
    with pytest.raises(ArgumentError, match="`state`: got None; .*make_with_state"):
        adapt.equinox(trained[0])


def test_what_is_no_module_is_refused():
    for value, match in ((Net, "the class Net"), (lambda x: x, "function")):
        with pytest.raises(ArgumentError, match=f"`module`: got {match}"):
            adapt.equinox(value)


def test_a_missing_package_names_the_extra(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sensijax\[equinox\]'"):
        adapt.equinox(module)
