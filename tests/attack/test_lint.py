"""The lint finds what loses the derivative on the way to the logits, and leaves what is ordinary alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sensijax.attack.flags._lint import lint
from sensijax.core import Model
from sensijax.perturb import image

X = jax.ShapeDtypeStruct((4, 8), jnp.float32)
W = jnp.asarray(np.random.default_rng(0).standard_normal((8, 8)), jnp.float32)


def flags(function, x=X):
    return {flag.name: flag for flag in lint(Model(lambda _, x: function(x), {}), x)}


def images(x):
    return x.reshape(len(x), 2, 4, 1)


def attention(x):
    heads = x.reshape(len(x), 2, 2, 2)
    return jax.nn.dot_product_attention(heads, heads, heads).reshape(len(x), -1)


@jax.custom_vjp
def straight_through(x):
    return jnp.round(x)


straight_through.defvjp(lambda x: (straight_through(x), None), lambda _, g: (g,))


@jax.custom_jvp
def without_derivative(x):
    return 2 * x


without_derivative.defjvp(lambda x, t: (without_derivative(*x), jnp.zeros_like(t[0])))

ORDINARY = {
    "relu": lambda x: jax.nn.relu(x @ W),
    "relu by hand": lambda x: x * (x > 0).astype(x.dtype),
    "relu by where": lambda x: x * jnp.where(x > 0, jnp.float32(1), jnp.float32(0)),
    "leaky relu": jax.nn.leaky_relu,
    "relu6": jax.nn.relu6,
    "hard swish": jax.nn.hard_swish,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "where": lambda x: jnp.where((x > 0.2) & ~(x > 0.8), x, 0.1 * x),
    "abs": jnp.abs,
    "clip": lambda x: jnp.clip(x, 0.0, 1.0) @ W,
    "clamp": lambda x: jax.lax.clamp(jnp.float32(0), x, jnp.float32(1)) @ W,
    "max-pool": lambda x: nnx.max_pool(images(x), (2, 2)).reshape(len(x), -1),
    "softmax": lambda x: jax.nn.softmax(x @ W) @ W,
    "log-softmax": jax.nn.log_softmax,
    "logsumexp": lambda x: x - jax.nn.logsumexp(x, axis=1, keepdims=True),
    "attention": attention,
    "layer norm": lambda x: jax.nn.standardize(x, axis=1) @ W,
    "sort": lambda x: jnp.sort(x, axis=1)[:, :3],
    "median": lambda x: jnp.median(x, axis=1, keepdims=True) * x,
    "largest three": lambda x: jax.lax.top_k(x, 3)[0],
    "modulo": lambda x: jnp.mod(x, jnp.float32(1)),
    "half precision": lambda x: (x.astype(jnp.bfloat16) @ W.astype(jnp.bfloat16)).astype(jnp.float32),
    "nan to num": jnp.nan_to_num,
    "scan": lambda x: jax.lax.scan(lambda c, _: (jax.nn.relu(c @ W), None), x, None, length=3)[0],
    "loop of known length": lambda x: jax.lax.fori_loop(0, 3, lambda _, c: jax.nn.relu(c @ W), x),
    "cond": lambda x: jax.lax.cond(x.sum() > 0, lambda x: x, lambda x: 2 * x, x),
    "checkpoint": jax.checkpoint(lambda x: jax.nn.relu(x @ W)),
    "resize": lambda x: jax.image.resize(images(x), (len(x), 3, 5, 1), "bilinear").reshape(len(x), -1),
    "a rounded value that is not used": lambda x: (jnp.round(x), x @ W)[1],
    "a rounded constant": lambda x: x @ jnp.round(W),
}

# What finds it, with which severity, in how many places.
LOSING = {
    "round": (lambda x: jnp.round(x * 8) / 8 @ W, "rounding", "distrust", 1),
    "floor and ceil": (lambda x: (jnp.floor(x * 8) + jnp.ceil(x * 8)) @ W, "rounding", "distrust", 2),
    "bytes": (lambda x: (x * 255).astype(jnp.uint8).astype(jnp.float32) @ W, "rounding", "distrust", 1),
    "eight-bit floats": (lambda x: x.astype(jnp.float8_e4m3fn).astype(jnp.float32) @ W, "rounding", "caution", 1),
    "sign": (lambda x: jnp.sign(x - 0.5) @ W, "rounding", "distrust", 1),
    "threshold": (lambda x: (x > 0.5).astype(jnp.float32) @ W, "threshold", "distrust", 1),
    "threshold by where": (
        lambda x: jnp.where(x > 0.5, jnp.float32(1), jnp.float32(0)) @ W, "threshold", "distrust", 1
    ),
    "argmax": (lambda x: jax.nn.one_hot(jnp.argmax(x @ W, axis=1), 8), "choice", "distrust", 1),
    "index of top_k": (lambda x: jax.nn.one_hot(jax.lax.top_k(x, 1)[1][:, 0], 8), "choice", "distrust", 1),
    "lookup": (lambda x: W[jnp.argmin(((x[:, None] - W[None]) ** 2).sum(axis=2), axis=1)], "choice", "distrust", 1),
    "stop": (lambda x: jax.lax.stop_gradient(2 * x) @ W, "stopped_gradient", "distrust", 1),
    "stop of a part": (lambda x: x @ W + jax.lax.stop_gradient(2 * x), "stopped_gradient", "caution", 1),
    "bits": (lambda x: (jax.lax.bitcast_convert_type(x, jnp.int32) & 7).astype(jnp.float32), "bits", "distrust", 1),
    "straight-through rule": (lambda x: straight_through(8 * x) @ W, "rounding", "caution", 1),
    "straight-through by hand": (lambda x: (x + jax.lax.stop_gradient(jnp.round(x) - x)) @ W, "rounding", "caution", 1),
    "rounded gate": (lambda x: x * jnp.round(x), "rounding", "caution", 1),
    "round in a scan": (
        lambda x: jax.lax.scan(lambda c, _: (jnp.floor(c @ W), None), x, None, length=3)[0], "rounding", "distrust", 1
    ),
    "round in a branch": (
        lambda x: jax.lax.cond(x.sum() > 0, lambda x: x, lambda x: jnp.round(x), x), "rounding", "caution", 1
    ),
    "round in a jit in a vmap": (jax.vmap(jax.jit(lambda r: jnp.round(r) * 2)), "rounding", "distrust", 1),
    "a rule that drops it": (lambda x: without_derivative(x) @ W, "zero_derivative", "distrust", 0),
    "while": (
        lambda x: jax.lax.while_loop(lambda c: c.sum() > 1, lambda c: c * jnp.float32(0.5), x), "loop", "distrust", 1
    ),
    "callback": (
        lambda x: jax.pure_callback(lambda a: a, jax.ShapeDtypeStruct(x.shape, x.dtype), x), "callback", "distrust", 1
    ),
    "noise under a fixed key": (
        lambda x: (x + jax.random.normal(jax.random.key(0), x.shape)) @ W, "random_bits", "distrust", 1
    ),
    "dropout of what is not the largest, under a fixed key": (
        lambda x: jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, x.shape) | (x > 1), x, jnp.float32(0)) @ W,
        "random_bits", "distrust", 1,
    ),
    "dropout under a fixed key": (
        lambda x: jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), x, jnp.float32(0)) @ W,
        "random_bits", "distrust", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_what_is_ordinary_is_left_alone(name):
    assert flags(ORDINARY[name]) == {}


@pytest.mark.parametrize("name", LOSING)
def test_what_loses_the_derivative_is_found(name):
    function, flag, severity, count = LOSING[name]
    found = flags(function)
    assert found[flag].severity == severity
    assert sum(found[flag].numbers.values()) >= count
    assert ("zero_derivative" in found or "no_gradient" in found) == (severity == "distrust" and flag != "random_bits")


def test_a_flag_says_which_operation_where_how_often_and_what_to_do():
    def model(x):
        for _ in range(3):
            x = jnp.round(x) @ W
        return jnp.floor(x)

    flag = flags(model)["rounding"]
    assert flag.numbers == {"round": 3.0, "floor": 1.0}
    assert "`round` x 3, `floor`" in flag.saw and "test_lint.py:" in flag.saw
    assert "BPDA" in flag.remedy


def test_a_rule_of_its_own_is_said():
    assert "1 under a derivative rule of its own" in flags(LOSING["straight-through rule"][0])["rounding"].saw
    assert "rule of its own" not in flags(LOSING["round"][0])["rounding"].saw


def test_a_gradient_that_cannot_be_taken_is_said():
    found = flags(LOSING["while"][0])
    assert "while_loop" in found["no_gradient"].saw


def test_the_shift_of_a_softmax_is_a_maximum_and_nothing_else():
    """`stop_gradient` of a maximum is ordinary; of anything that is more than one, it is not."""
    assert flags(lambda x: x - jax.lax.stop_gradient(jnp.max(x, axis=1, keepdims=True))) == {}
    assert flags(lambda x: x - jax.lax.stop_gradient(jnp.max(x, axis=1, keepdims=True) + x.mean()))


def test_a_codec_is_found_behind_its_straight_through_gradient():
    codec = image.JPEG(quality=jnp.float32(50.0))

    def model(x):
        return jax.vmap(lambda x: codec.apply(jax.random.key(0), x))(x).reshape(len(x), -1)

    found = flags(model, jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32))
    assert found["rounding"].severity == "caution" and found["rounding"].numbers["floor"] >= 1


def test_honest_networks_are_left_alone():
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
            self.logits = nnx.Linear(64, 10, rngs=rngs)

        def __call__(self, x):
            x = nnx.max_pool(nnx.relu(self.norm(self.conv(x))), (2, 2), strides=(2, 2))
            return self.logits(x.reshape(len(x), -1))

    graph, state = nnx.split(nnx.eval_shape(lambda: Network(nnx.Rngs(0))))
    model = Model(lambda p, x: nnx.merge(graph, p)(x), jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), state))
    assert lint(model, jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)) == ()
