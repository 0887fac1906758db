"""The model and the data of campaign.toml. Replace both functions with your own; these run as they are."""

import jax
import jax.numpy as jnp
import optax

import sensijax as sj
from sensijax.data import digits, split


def data() -> sj.Dataset:
    """Held-out images: float32 [N, H, W, C] in [0, 1], integer labels [N]."""
    _, held_out = split(digits(size=32), fraction=1 / 3, seed=0)
    return held_out


def load() -> sj.Model:
    """A softmax regression, trained on the other two thirds. apply(params, x[B, ...]) -> logits [B, K]."""
    train, _ = split(digits(size=32), fraction=1 / 3, seed=0)
    x, y = jnp.asarray(train.x), jnp.asarray(train.y)

    def apply(params, x):
        return x.reshape(len(x), -1) @ params["weight"] + params["bias"]

    def loss(params):
        return optax.softmax_cross_entropy_with_integer_labels(apply(params, x), y).mean()

    optimizer = optax.adam(3e-3)
    params = {"weight": jnp.zeros((32 * 32, 10)), "bias": jnp.zeros(10)}
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    for _ in range(300):
        params, state = step(params, state)
    return sj.Model(apply, params, name="softmax-regression", classes=tuple("0123456789"))
