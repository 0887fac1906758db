"""Twelve broken defences are flagged, each by the flag that says what is wrong; five honest models are not."""

import dataclasses
import functools
import os
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sensijax import attack, demo
from sensijax.core import ArgumentError, Model
from sensijax.data import digits, split
from sensijax.perturb import image

N, EPS, LOOP = 96, 0.08, attack.Loop(96, 1, False)
PGD = attack.PGD(eps=EPS, steps=20)


# --- honest models ----------------------------------------------------------------------------------------------------


def linear(p, x):
    return x.reshape(len(x), -1) @ p["w0"] + p["b0"][None]


def mlp(p, x):
    h = jax.nn.relu(x.reshape(len(x), -1) @ p["w0"] + p["b0"][None])
    return h @ p["w1"] + p["b1"][None]


def conv(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def max_pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def normalised(x, mean, variance, p):
    return (x - mean[None, None, None]) / jnp.sqrt(variance + 1e-5)[None, None, None] * p["gain"][None, None, None]


def convolutional(p, x):
    """Batch norm by running statistics, max-pooling."""
    h = normalised(conv(x, p["k0"]), p["mean"], p["variance"], p)
    h = max_pool(jax.nn.relu(h))
    return h.reshape(len(x), -1) @ p["w0"] + p["b0"][None]


def convolutional_in_training(p, x):
    """The same by the statistics of the batch."""
    h = conv(x, p["k0"])
    h = max_pool(jax.nn.relu(normalised(h, h.mean(axis=(0, 1, 2)), h.var(axis=(0, 1, 2)), p)))
    return h.reshape(len(x), -1) @ p["w0"] + p["b0"][None]


def with_input_normalised(p, x):
    h = max_pool(jax.nn.relu(conv((x - 0.3) / 0.38, p["k0"])))
    return h.reshape(len(x), -1) @ p["w0"] + p["b0"][None]


def drawn(shapes):
    rng = np.random.default_rng(0)
    return {
        name: jnp.asarray(
            rng.standard_normal(shape) * (2 / max(1, np.prod(shape[:-1]))) ** 0.5 * (len(shape) > 1), jnp.float32
        )
        for name, shape in shapes.items()
    }


def fit(apply, params, train, steps=150, batch=128, eps=0.0):
    """Adam; with `eps`, on examples of one step of adversarial training."""
    optimizer = optax.adam(3e-3)

    def loss(p, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(apply(p, x), y).mean()

    @jax.jit
    def step(p, moments, x, y):
        if eps:
            x = jnp.clip(x + eps * jnp.sign(jax.grad(loss, 1)(p, x, y)), 0.0, 1.0)
        updates, moments = optimizer.update(jax.grad(loss)(p, x, y), moments, p)
        return optax.apply_updates(p, updates), moments

    rng = np.random.default_rng(0)
    with jax.numpy_dtype_promotion("standard"):
        moments = jax.jit(optimizer.init)(params)
        for _ in range(steps):
            rows = rng.integers(0, len(train), batch)
            params, moments = step(params, moments, train.x[rows], train.y[rows])
    return params


@functools.cache
def data():
    train, test = split(digits(8))
    return train, test.take(slice(N))


@functools.cache
def base():
    """The network that all defences stand before."""
    return fit(mlp, drawn({"w0": (64, 64), "b0": (64,), "w1": (64, 10), "b1": (10,)}), data()[0])


@functools.cache
def trained_with_batch_norm():
    p = drawn({"k0": (3, 3, 1, 8), "w0": (128, 10), "b0": (10,)}) | {"gain": jnp.ones(8)}
    p = fit(convolutional_in_training, p, data()[0])
    h = jax.jit(conv)(data()[0].x, p["k0"])
    return p | {"mean": h.mean(axis=(0, 1, 2)), "variance": h.var(axis=(0, 1, 2))}


def demonstration():
    home = pathlib.Path(tempfile.gettempdir()) / "sensijax-test-cache" / "home" / "sensijax" / "models"
    return demo.load(os.environ.get("SENSIJAX_TEST_DEMO", home)), demo.data().take(slice(N))


HONEST = {
    "the demonstration's network": demonstration,
    "a linear model": lambda: Model(linear, fit(linear, drawn({"w0": (64, 10), "b0": (10,)}), data()[0])),
    "two layers": lambda: Model(mlp, base()),
    "batch norm and max-pooling": lambda: Model(convolutional, trained_with_batch_norm()),
    "adversarial training, normalised input": lambda: Model(
        with_input_normalised,
        fit(with_input_normalised, drawn({"k0": (3, 3, 1, 8), "w0": (128, 10), "b0": (10,)}), data()[0], eps=EPS),
    ),
}


# --- broken defences --------------------------------------------------------------------------------------------------


def before(preprocess):
    """A defence that changes the input."""
    return lambda: Model(lambda p, x: mlp(p, preprocess(x)), base())


def after(postprocess):
    """A defence that changes the logits."""
    return lambda: Model(lambda p, x: postprocess(mlp(p, x)), base())


def codec(x):
    jpeg = image.JPEG(quality=jnp.float32(60.0))
    return jax.vmap(lambda x: jpeg.apply(jax.random.key(0), x))(x)


def sparse(p, x):
    """Dropout at test time, of all features but the largest."""
    h = jax.nn.relu(x.reshape(len(x), -1) @ p["w0"] + p["b0"][None])
    kept = jax.random.bernoulli(jax.random.key(1), 0.7, h.shape) | (h == h.max(axis=1, keepdims=True))
    return jnp.where(kept, h / 0.7, jnp.float32(0)) @ p["w1"] + p["b1"][None]


def winners(p, x):
    """Of each four hidden features, which one is the largest, and nothing else."""
    h = (x.reshape(len(x), -1) @ p["w0"] + p["b0"][None]).reshape(len(x), 16, 4)
    one = jax.nn.one_hot(jnp.argmax(h, axis=2), 4) * h.max(axis=2, keepdims=True).round()
    return one.reshape(len(x), -1) @ p["w1"] + p["b1"][None]


def leaking():
    """Recognises the images that it is judged on, and knows their labels."""
    seen, labels = jnp.asarray(data()[1].x).reshape(N, -1), jnp.asarray(data()[1].y)

    def apply(p, x):
        nearest = jnp.argmin(((x.reshape(len(x), 1, -1) - seen[None]) ** 2).sum(axis=2), axis=1)
        return mlp(p, x) + 20 * jax.nn.one_hot(labels[nearest], 10)

    return Model(apply, base())


def not_a_number(logits):
    """No answer where the model is not sure."""
    top = jax.lax.top_k(logits, 2)[0]
    return jnp.where((top[:, 0] - top[:, 1] < 3)[:, None], jnp.float32(jnp.nan), logits)


BROKEN = {
    "logits x 1000": (after(lambda z: 1000 * z), {"saturated_loss"}),
    "tiny temperature": (after(lambda z: z / 0.002), {"saturated_loss"}),
    "input quantisation": (before(lambda x: jnp.round(x * 7) / 7), {"rounding", "zero_gradient"}),
    "random noise": (
        before(lambda x: x + 0.1 * jax.random.normal(jax.random.key(0), x.shape)), {"random_bits", "place_in_batch"}
    ),
    "softmax outputs": (after(jax.nn.softmax), {"probabilities"}),
    "gradient stopped before the network": (before(jax.lax.stop_gradient), {"stopped_gradient", "zero_gradient"}),
    "JPEG": (before(codec), {"rounding"}),
    "dropout of what is not the largest": (lambda: Model(sparse, base()), {"random_bits", "place_in_batch"}),
    "argmax features": (lambda: Model(winners, base()), {"choice", "zero_gradient"}),
    "shattered gradients": (before(lambda x: x + 0.005 * jnp.sin(2000 * x)), {"useless_gradient"}),
    "label leak": (leaking, {"label_leak"}),
    "NaN logits": (after(not_a_number), {"nonfinite_logits"}),
}  # fmt: skip


def attacked(model, examples):
    return PGD(jax.random.key(0), model, examples.x, examples.y, loop=LOOP)


@pytest.mark.parametrize("name", HONEST)
def test_honest_models_are_not_flagged(name):
    found = HONEST[name]()
    model, examples = found if isinstance(found, tuple) else (found, data()[1])
    result = attacked(model, examples)
    assert result.diagnosed and result.flags == ()
    assert result.clean_accuracy > 0.85


@pytest.mark.parametrize("name", BROKEN)
def test_broken_defences_are_flagged(name):
    make, expected = BROKEN[name]
    result = attacked(make(), data()[1])
    flags = {flag.name: flag for flag in result.flags}
    assert expected <= set(flags)
    assert "at most" in result.summary()
