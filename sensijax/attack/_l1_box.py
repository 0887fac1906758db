"""The part of the L1 ball that lies in the box: where clipping after a projection would waste budget."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.attack._norm import along

_HALVINGS = 32


def project_into_box(delta: Array, x: Array, eps: Float[Array, "B"], box: tuple[float, float]) -> Array:
    """The nearest change (in L2) whose L1 norm is at most `eps` and that leaves `x + change` in the box.

    Every value shrinks by one amount lambda, between 0 and the room that it has to the box: the sum of what is left
    falls with lambda, piecewise linearly. The interval that holds the root is halved until it holds one piece, and
    the root of that is exact.

    Args:
      delta: `[B, ...]`.
      x: `[B, ...]` in the box.
      eps: `[B]`.
      box: (low, high).

    Reference:
      Croce and Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image classifiers", ICML 2021,
      proposition 2.1; there by sorting.

    Example:
      >>> x = jnp.array([[0.5, 0.9]])
      >>> change = project_into_box(jnp.array([[1.0, 1.0]]), x, jnp.array([0.4]), (0.0, 1.0))
      >>> bool(jnp.allclose(change, jnp.array([[0.3, 0.1]])))
      True
    """
    low, high = box
    size = jnp.abs(delta).reshape(len(x), -1)
    room = jnp.where(delta > 0, high - x, x - low).reshape(len(x), -1)

    def left(shrunk: Array) -> Array:
        return jnp.clip(size - shrunk[:, None], 0.0, room)

    def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        below, above = bracket
        middle = 0.5 * (below + above)
        over = jnp.sum(left(middle), axis=1) > eps
        return jnp.where(over, middle, below), jnp.where(over, above, middle)

    zero = jnp.zeros(len(x), delta.dtype)
    below, above = jax.lax.fori_loop(0, _HALVINGS, halve, (zero, jnp.max(size, axis=1)))
    middle = 0.5 * (below + above)[:, None]
    moving = (size > middle) & (size - middle < room)
    full = size - middle >= room
    excess = jnp.sum(jnp.where(moving, size, 0.0) + jnp.where(full, room, 0.0), axis=1) - eps
    shrunk = jnp.clip(excess / jnp.maximum(jnp.sum(moving, axis=1, dtype=delta.dtype), np.float32(1)), below, above)
    inside = jnp.sum(left(zero), axis=1) <= eps
    return jnp.sign(delta) * left(jnp.where(inside, zero, shrunk)).reshape(x.shape)


def sparsity(delta: Array) -> Float[Array, "B"]:
    """How many values of each row are not 0."""
    return jnp.sum((delta != 0).reshape(len(delta), -1), axis=1, dtype=delta.dtype)


def sparse_step(gradient: Array, share: Float[Array, "B"], length: Float[Array, "B"]) -> Array:
    """A step of L1 length `length` along the signs of the largest values of the gradient, a share of all of them."""
    flat = jnp.abs(gradient).reshape(len(gradient), -1)
    values = flat.shape[1]
    rank = jnp.clip(jnp.floor((1 - share) * values), 0, values - 1).astype(jnp.int32)
    threshold = jnp.take_along_axis(jnp.sort(flat, axis=1), rank[:, None], axis=1)[:, 0]
    signs = jnp.where(jnp.abs(gradient) >= along(threshold, gradient), jnp.sign(gradient), 0.0)
    return signs * along(length / jnp.maximum(sparsity(signs), np.float32(1)), gradient)
