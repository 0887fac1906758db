"""Plain functions as models."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import adapt
from sensijax.core import ArgumentError

X = np.random.default_rng(0).standard_normal((3, 4), np.float32)
W = np.random.default_rng(1).standard_normal((4, 2), np.float32)


def linear(w, x):
    return x @ w


def mirrored(x):
    return jnp.stack([x.sum(-1), -x.sum(-1)], axis=-1)


@pytest.mark.parametrize("batched", [True, False])
def test_with_parameters(batched):
    model = adapt.function(linear, W, batched=batched, name="line", classes=["a", "b"])
    np.testing.assert_allclose(model(X), X @ W, atol=1e-6)
    assert model.classes == ("a", "b") and model.name == "line"
    gradient = jax.grad(lambda w: model.apply(w, X).sum())(jnp.asarray(W))
    np.testing.assert_allclose(gradient, np.outer(X.sum(0), np.ones(2)), rtol=1e-5)


@pytest.mark.parametrize("batched", [True, False])
def test_without_parameters(batched):
    model = adapt.function(mirrored, batched=batched)
    np.testing.assert_allclose(model(X), np.stack([X.sum(1), -X.sum(1)], 1), atol=1e-6)
    assert model.params == {}
    jitted = jax.jit(model.apply)
    jitted(model.params, X)
    jitted(model.params, X)
    assert jitted._cache_size() == 1


def test_digests_name_the_parameters():
    model = adapt.function(linear, W)
    assert model.digest == adapt.function(linear, W.copy()).digest != adapt.function(linear, W + 1).digest


@pytest.mark.parametrize(
    "apply, params, match",
    [
        (3, None, "got int"),
        (linear, None, r"missing a required argument: 'x'; apply\(x\) where no `params`"),
        (mirrored, W, r"too many positional arguments; apply\(params, x\)"),
    ],
)
def test_what_does_not_fit_is_refused(apply, params, match):
    with pytest.raises(ArgumentError, match=f"`apply`: .*{match}"):
        adapt.function(apply, params)


def test_jitted_and_partial_functions_fit():
    assert adapt.function(jax.jit(linear), W)(X).shape == (3, 2)
    assert adapt.function(functools.partial(linear, W))(X).shape == (3, 2)
