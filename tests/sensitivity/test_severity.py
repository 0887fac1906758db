"""Derivatives with respect to what a perturbation does: closed forms, verdicts, and the edge at severity 0."""

import logging
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sensijax as sj
import sensijax.sensitivity as s
from sensijax import demo
from sensijax.core import ArgumentError, Model
from sensijax.perturb import Choice, Perturbation, image, interpolate

X = jnp.asarray(np.random.default_rng(0).uniform(0.3, 0.6, (4, 3)), jnp.float32)
W = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]], np.float32)
LINEAR = Model(lambda w, x: x @ w, jnp.asarray(W))
KEY = jax.random.key(0)


class Moved(Perturbation):
    """`x + act(amount)`; its scale is a table with a kink at 1."""

    amount: jax.Array
    deterministic: ClassVar[bool] = True

    @classmethod
    def at(cls, severity):
        return cls(amount=interpolate(severity, (0.0, 0.5, 2.0)))

    def is_identity(self):
        return self.amount == 0

    def act(self):
        return self.amount

    def apply(self, key, x):
        return x + self.act()


class Root(Moved):
    def act(self):
        return jnp.sqrt(self.amount)


class Jumping(Moved):
    def act(self):
        return self.amount + 0.25


class Stepping(Moved):
    def act(self):
        return jnp.round(200 * self.amount) / 200


class Surrogate(Moved):
    def act(self):
        return 2 * self.amount - jax.lax.stop_gradient(3 * self.amount)


class Noise(Moved):
    """Additive noise, whose derivative is the draw."""

    def apply(self, key, x):
        return x + self.amount * jax.random.normal(key, x.shape, x.dtype)


ONE = W.sum(axis=0)  # d outputs / d amount of a shift


def test_severity_goes_through_the_scale_and_is_one_sided_at_its_knots():
    for severity, slope in ((0, 0.5), (0.5, 0.5), (1, 1.5), (1.7, 1.5), (2, 1.5)):
        found = s.severity_derivative(LINEAR, Moved, KEY, X, severity=severity)
        np.testing.assert_allclose(found.derivative["severity"], np.tile(slope * ONE, (4, 1)), rtol=1e-5)
        np.testing.assert_allclose(found.finite_difference["severity"], np.tile(slope * ONE, (4, 1)), rtol=2e-2)
        assert (found.status["severity"] == "agrees").all() and found.side["severity"] == "right"
    plain = jax.jvp(lambda v: LINEAR(Moved.at(v)(KEY, X)), (jnp.float32(0),), (jnp.float32(1),))[1]
    assert not plain.any(), "what the one-sided derivative is for"


@pytest.mark.parametrize(
    "kind, severity, status",
    [(Root, 0, "unbounded"), (Root, 1.5, "agrees"), (Jumping, 0, "jump"), (Jumping, 0.5, "agrees"),
     (Stepping, 0.5, "zero"), (Surrogate, 0.5, "misleading"), (Moved, 0.5, "agrees")],
)  # fmt: skip
def test_verdicts(kind, severity, status, caplog):
    with caplog.at_level(logging.WARNING, "sensijax"):
        found = s.severity_derivative(LINEAR, kind, KEY, X, severity=severity, step=0.02)
    assert found.status["severity"].tolist() == [status] * 4
    assert ("not to be trusted" in caplog.text) == (status != "agrees")
    assert found.frame().loc[0, status] == 1


def test_all_parameters_of_a_chain_with_one_link_at_the_identity():
    chain = Moved(jnp.float32(0.5)) >> Noise(jnp.float32(0.0)) >> Noise(jnp.float32(2.0))
    keys = jax.random.split(KEY, 4)
    found = s.severity_derivative(LINEAR, chain, keys, X)
    assert found.names == ("links[0].amount", "links[1].amount", "links[2].amount")
    assert [found.side[n] for n in found.names] == ["both", "right", "both"]
    draws = jnp.stack(
        [jax.vmap(lambda k, i=i: jax.random.normal(jax.random.fold_in(k, i), (3,)))(keys) for i in (1, 2)]
    )
    for name, draw in zip(found.names[1:], draws, strict=True):
        np.testing.assert_allclose(found.derivative[name], draw @ W, rtol=1e-4, atol=1e-4)
        assert (found.status[name] == "agrees").all()
    left = s.severity_derivative(LINEAR, chain, keys, X, side=-1)
    np.testing.assert_allclose(left.derivative["links[1].amount"], draws[0] @ W, rtol=1e-4, atol=1e-4)
    assert left.side["links[1].amount"] == "left"
    np.testing.assert_allclose(found.outputs, LINEAR(jax.vmap(chain)(keys, X)), rtol=1e-5)


def test_parameters_that_are_arrays_or_have_no_derivative():
    choice = Choice((Moved(jnp.float32(0.5)), Moved(jnp.int32(1))), weights=jnp.array([1.0, 0.0]))
    found = s.severity_derivative(LINEAR, Choice((choice.options[0],) * 2, choice.weights), KEY, X)
    assert found.names == ("options[0].amount", "options[1].amount", "weights[0]", "weights[1]")
    np.testing.assert_allclose(found.derivative["options[0].amount"], np.tile(ONE, (4, 1)), rtol=1e-6)
    assert (found.status["weights[0]"] == "flat").all() and (found.status["options[1].amount"] == "flat").all()

    class Counted(Moved):
        times: int = 3

        def act(self):
            return self.amount * self.times

    with jax.numpy_dtype_promotion("standard"):
        counted = s.severity_derivative(LINEAR, Counted(jnp.float32(0.5)), KEY, X)
    assert counted.skipped == ("times",) and counted.names == ("amount",)


def test_examples_in_chunks_are_the_same_examples():
    kind = Noise(jnp.float32(0.5))
    whole, cut = (s.severity_derivative(LINEAR, kind, KEY, X, chunk=chunk) for chunk in (256, 3))
    np.testing.assert_allclose(cut.derivative["amount"], whole.derivative["amount"], rtol=1e-6)
    fewer = s.severity_derivative(LINEAR, kind, KEY, X[:2])
    np.testing.assert_allclose(fewer.derivative["amount"], whole.derivative["amount"][:2], rtol=1e-6)


def test_a_custom_vjp_model_falls_back_and_says_so(caplog):
    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, u: (2 * u,))
    found = s.severity_derivative(Model(lambda w, x: double(x @ w), jnp.asarray(W)), Moved, KEY, X, severity=0.5)
    np.testing.assert_allclose(found.derivative["severity"], np.tile(ONE, (4, 1)), rtol=1e-5)
    assert found.mode == "reverse" and "custom_vjp" in caplog.text


def test_nonfinite_derivatives_are_counted():
    found = s.severity_derivative(Model(lambda w, x: jnp.log(x - 0.8), ()), Moved, KEY, X, severity=0.5)
    assert found.nonfinite.count and (found.status["severity"] == "nonfinite").any()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: s.severity_derivative(LINEAR, Moved, KEY, X), "its class with `severity=`"),
        (lambda: s.severity_derivative(LINEAR, Moved.at(1), KEY, X, severity=1), "the class, which has the scale"),
        (lambda: s.severity_derivative(LINEAR, Moved, KEY, X, severity=3), "a severity lies in"),
        (lambda: s.severity_derivative(LINEAR, Moved.at(1), KEY, X, size=32), "options go to `.at`"),
        (lambda: s.severity_derivative(LINEAR, Moved.at(1), 0, X), "a typed key"),
        (lambda: s.severity_derivative(LINEAR, Moved.at(1), jax.random.split(KEY, 3), X), "each of 4 examples"),
        (lambda: s.severity_derivative(LINEAR, Moved.at(1), KEY, X, side=0), "falling"),
        (lambda: s.severity_derivative(LINEAR, Moved.at(1), KEY, X, step=0), "> 0"),
        (lambda: s.severity_derivative(lambda x: x - x.mean(axis=0, keepdims=True), Moved.at(1), KEY, X), "evaluation"),
        (lambda: s.severity_derivative(lambda x: x.sum(), Moved.at(1), KEY, X), "batch axis first"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


@pytest.fixture(scope="module")
def digits():
    data = demo.data().take(slice(48))
    return demo.load(), data, sj.key_for(0, "fog", data.ids)


def test_the_demonstrations_fog_agrees_with_finite_differences(digits):
    model, data, keys = digits
    found = s.severity_derivative(model, image.Fog, keys, data.x, severity=1.5, size=32)
    table = found.frame().iloc[0]
    assert table.agrees > 0.95 and table.disagreement < 0.05
    # Stated for this batch: 48 digits, where the fog of severity 1.5 moves logits by 4 a severity or more.
    assert table.derivative_rms > 1


def test_the_slope_predicts_the_curve(digits):
    model, data, keys = digits
    at = np.array([0.0, 0.02, 1.5, 1.52])
    curve = s.response_curve(model, image.Fog, keys, data.x, data.y, at, size=32)
    mean, slope = curve.response.mean(axis=1), curve.slope.mean(axis=1)
    for i in (0, 2):
        measured = (mean[i + 1] - mean[i]) / 0.02
        np.testing.assert_allclose((slope[i] + slope[i + 1]) / 2, measured, rtol=0.05, atol=2e-4)
    assert list(curve.frame().n) == [48] * 4


def test_margin_and_cross_entropy():
    logits = jnp.array([[2.0, 1.0, -1.0]])
    assert float(s.margin(logits[0], jnp.int32(1))) == -1
    np.testing.assert_allclose(s.cross_entropy(logits[0], jnp.int32(1)), -jax.nn.log_softmax(logits[0])[1])
