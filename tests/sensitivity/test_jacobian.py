"""Exact derivatives: against closed forms, against JAX's own, and in the places where they mislead."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sensijax.sensitivity as s
from sensijax.core import ArgumentError, Model

W = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
X = jnp.asarray(np.random.default_rng(1).standard_normal((6, 5)), jnp.float32)


def net(w, x):
    return jnp.tanh(x @ w) * x[:, :1]


MODEL = Model(net, jnp.asarray(W))


@jax.custom_vjp
def sine(x):
    return jnp.sin(x)


sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, u: (u * jnp.cos(x),))


def tree(x):
    return {"sum": x["a"].sum() * x["b"][0], "square": jnp.square(x["b"])}


TREE = {"a": jnp.ones((2, 3)), "b": jnp.arange(4.0)}


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_any_pytree_in_and_out_in_padded_blocks(mode):
    found = s.jacobian(tree, TREE, mode=mode, chunk=3)
    expected = jax.jacrev(tree)(TREE)
    jax.tree.map(np.testing.assert_array_equal, found.value, expected)
    assert found.mode == mode and found.passes == {"forward": 10, "reverse": 5}[mode] and found.chunk == 3
    # Rows and columns in flattening order: the outputs "square" then "sum", the inputs "a" then "b".
    matrix = found.matrix()
    assert matrix.shape == (5, 10)
    np.testing.assert_array_equal(matrix[:4, 6:], np.diag(2 * np.arange(4.0)))
    np.testing.assert_array_equal(matrix[4], [0] * 6 + [6, 0, 0, 0])
    assert found.frame().set_index(["output", "input"]).loc[("['sum']", "['b']"), "frobenius"] == 6


def test_batched_is_each_example_alone():
    each = jax.vmap(jax.jacrev(lambda x: net(jnp.asarray(W), x[None])[0]))(X)
    for mode in ("forward", "reverse", "auto"):
        found = s.jacobian(MODEL, X, mode=mode, batched=True, chunk=2)
        assert found.value.shape == (6, 3, 5)
        np.testing.assert_allclose(found.value, each, atol=1e-6)
        np.testing.assert_array_equal(found.matrix(), found.value)
    assert set(found.seconds) == {"forward", "reverse"}, "a close call is measured"
    assert found.mode == min(found.seconds, key=found.seconds.get)


def test_the_mode_that_needs_far_fewer_passes_needs_no_timing():
    wide = s.jacobian(lambda x: jnp.square(x).sum(), jnp.ones(20))
    tall = s.jacobian(lambda x: x * jnp.arange(20.0), jnp.float32(2))
    assert (wide.mode, tall.mode) == ("reverse", "forward") and not wide.seconds and not tall.seconds
    assert "1 in reverse" in wide.reason and tall.value.shape == (20,)


def test_a_budget_halves_the_blocks_and_refuses_what_cannot_fit():
    def f(x):
        return jnp.tanh(jnp.outer(x, x)).sum(axis=1)

    x = jnp.linspace(0.0, 1.0, 64)
    whole, tight = (s.jacobian(f, x, mode="forward", budget=budget) for budget in (1 << 30, 40_000))
    assert tight.chunk < whole.chunk and tight.peak_bytes < whole.peak_bytes
    np.testing.assert_allclose(tight.value, whole.value, rtol=1e-6)
    with pytest.raises(ArgumentError, match="singular"):
        s.jacobian(f, x, budget=1000)


def test_custom_vjp_falls_back_to_reverse_and_says_so(caplog):
    x = jnp.array([0.0, 1.0, 2.0])
    with caplog.at_level(logging.WARNING, "sensijax"):
        found = s.jacobian(sine, x, mode="forward")
        product = s.jvp(sine, x, jnp.ones(3))
        curved = s.hvp(lambda x: sine(x).sum(), x, jnp.ones(3))
    np.testing.assert_allclose(found.value, np.diag(np.cos(x)), atol=1e-6)
    np.testing.assert_allclose(product.product, np.cos(x), atol=1e-6)
    np.testing.assert_allclose(curved.product, -np.sin(x), atol=1e-6)
    assert (found.mode, product.mode) == ("reverse", "reverse") and "custom_vjp" in found.reason
    assert sum("custom_vjp" in record.message for record in caplog.records) == 2


def test_a_loop_of_unknown_length_goes_forward():
    def grown(x):
        return jax.lax.while_loop(lambda v: v.sum() < 10, lambda v: v * 2, x)

    found = s.jacobian(grown, jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(found.value, 4 * np.eye(2))
    assert found.mode == "forward" and "while_loop" in found.reason
    with pytest.raises(ArgumentError, match="while_loop"):
        s.jacobian(grown, jnp.array([1.0, 2.0]), mode="reverse")
    with pytest.raises(ArgumentError, match="while_loop"):
        s.vjp(grown, jnp.array([1.0, 2.0]), jnp.ones(2))


def test_zero_and_nonfinite_are_said(caplog):
    with caplog.at_level(logging.WARNING, "sensijax"):
        assert s.jacobian(jnp.round, jnp.ones(3)).zero
        # norm'(0) is NaN, a classic.
        bad = s.jacobian(lambda x: jnp.sqrt(jnp.square(x).sum(axis=1)), jnp.array([[1.0, 0.0], [0.0, 0.0]])).nonfinite
    assert (bad.count, bad.total, bad.where) == (2, 8, ("[1, 1, 0]", "[1, 1, 1]"))
    assert any("zero" in r.message for r in caplog.records) and any("[1, 1, 0]" in r.message for r in caplog.records)


def test_a_coupled_batch_is_refused():
    def normalised(x):  # batch normalisation in training mode
        return (x - x.mean(axis=0, keepdims=True)) / x.std(axis=0, keepdims=True)

    assert s.batch_coupling(MODEL, X) == 0
    assert s.batch_coupling(normalised, X) > 0.1
    with pytest.raises(ArgumentError, match="evaluation mode"):
        s.jacobian(normalised, X, batched=True)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: s.jacobian(lambda x: x, jnp.arange(3)), "floating inputs"),
        (lambda: s.jacobian(jnp.argmax, jnp.ones(3)), "logits, not classes"),
        (lambda: s.jacobian(jnp.sin, jnp.ones(3), mode="backward"), '"reverse"'),
        (lambda: s.jacobian(jnp.sin, jnp.ones(3), chunk=0), "at least one pass"),
        (lambda: s.jacobian(3, jnp.ones(3)), "a function"),
        (lambda: s.jvp(jnp.sin, jnp.ones(3), jnp.ones(4)), "shapes"),
        (lambda: s.hvp(jnp.sin, jnp.ones(3), jnp.ones(3)), "a scalar"),
        (lambda: s.batch_coupling(jnp.sin, jnp.ones((1, 3))), "at least two"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_operators_are_transposes_of_each_other():
    a = s.linear_operator(MODEL, X)
    v, u = (
        jnp.asarray(np.random.default_rng(i).standard_normal(n), jnp.float32) for i, n in ((2, (6, 5)), (3, (6, 3)))
    )
    assert a.shape == (18, 30) and a.mode == "forward"
    np.testing.assert_allclose(jnp.vdot(a.jvp(v), u), jnp.vdot(v, a.vjp(u)), rtol=1e-5)
    np.testing.assert_allclose(a.value, MODEL(X))
    np.testing.assert_allclose(s.vjp(MODEL, X, u).product, a.vjp(u), rtol=1e-6)


def test_hessian_products_and_curvature_of_a_cubic():
    x, v = jnp.array([1.0, 2.0, -1.0]), jnp.array([1.0, 0.5, 2.0])
    hv = s.hvp(lambda x: (x**3).sum(), x, v)
    np.testing.assert_allclose(hv.product, 6 * x * v, rtol=1e-6)
    bend = s.curvature(lambda x: x**3, x, v)
    np.testing.assert_allclose(bend.first, 3 * x**2 * v, rtol=1e-6)
    np.testing.assert_allclose(bend.second, 6 * x * v**2, rtol=1e-6)
    assert not bend.zero and s.curvature(jax.nn.relu, x, v).zero
    with pytest.raises(ArgumentError, match="hvp"):
        s.curvature(sine, x, v)


def test_programs_are_kept_for_models_and_never_for_closures():
    scale = [2.0]
    f = lambda x: x * scale[0]  # noqa: E731
    first = s.jacobian(f, jnp.ones(1)).value
    scale[0] = 3.0
    assert (first, s.jacobian(f, jnp.ones(1)).value) == (2.0, 3.0), "a closure may have changed"
    traces = []

    def counted(w, x):
        traces.append(1)
        return x @ w

    for value in (1.0, 2.0):
        found = s.jacobian(Model(counted, jnp.full((5, 3), value)), X, mode="reverse", batched=True)
        np.testing.assert_array_equal(found.value, np.full((6, 3, 5), value))
        many = len(traces)
    again = s.jacobian(Model(counted, jnp.full((5, 3), 3.0)), X, mode="reverse", batched=True)
    np.testing.assert_array_equal(again.value, np.full((6, 3, 5), 3.0))
    assert len(traces) - many <= 2, "shapes are checked again, programs are kept"
