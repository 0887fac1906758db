"""Losses that an adversary raises: one number a row, from logits `[B, K]`, labels `[B]` and target classes `[B]`.

A function here takes all three, so that one loss can stand for another; an untargeted one ignores the targets.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Loss = Callable[[Float[Array, "B K"], Int[Array, "B"], Int[Array, "B"]], Float[Array, "B"]]


def _of(logits: Array, classes: Array) -> Array:
    return jnp.take_along_axis(logits, classes[:, None], axis=1)[:, 0]


def _without(logits: Array, classes: Array) -> Array:
    """The logits, with that of one class a row out of the running."""
    taken = jax.nn.one_hot(classes, logits.shape[1], dtype=jnp.bool_)
    return jnp.where(taken, -jnp.inf, logits)


def cross_entropy(logits: Array, y: Array, target: Array) -> Array:
    """Of the label: -log softmax(logits)[y]."""
    return -_of(jax.nn.log_softmax(logits), y)


def targeted_cross_entropy(logits: Array, y: Array, target: Array) -> Array:
    """Minus the cross-entropy of the target: log softmax(logits)[target]."""
    return _of(jax.nn.log_softmax(logits), target)


def margin(logits: Array, y: Array, target: Array) -> Array:
    """The best other logit minus the label's: above 0 exactly where the prediction is wrong.

    Example:
      >>> margin(jnp.array([[3.0, 1.0, 2.0]]), jnp.array([0]), jnp.array([1])).tolist()
      [-1.0]
    """
    return jnp.max(_without(logits, y), axis=1) - _of(logits, y)


def targeted_margin(logits: Array, y: Array, target: Array) -> Array:
    """The target's logit minus the label's."""
    return _of(logits, target) - _of(logits, y)


def dlr(logits: Array, y: Array, target: Array) -> Array:
    """Difference of logits ratio: `margin` over the gap between the largest and the third largest logit.

    Neither a shift nor a scale of the logits changes it, so a saturated softmax does not hide the gradient. Croce and
    Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks", ICML
    2020, equation 6. Needs 3 classes.
    """
    top = jax.lax.top_k(logits, 3)[0]
    return margin(logits, y, target) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr(logits: Array, y: Array, target: Array) -> Array:
    """`targeted_margin` over the gap between the largest and the mean of the third and fourth largest logits.

    Croce and Hein (ICML 2020), equation 7. Needs 4 classes.
    """
    top = jax.lax.top_k(logits, 4)[0]
    return targeted_margin(logits, y, target) / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]) + 1e-12)
