"""Values that move in steps, with the derivative of what they step along."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def straight_through(value: Array, surrogate: Array) -> Array:
    """`value`, exactly, whose derivative is that of `surrogate`.

    Args:
      value: float32, any shape; its own derivative is ignored.
      surrogate: float32 of the same shape, smooth where `value` moves in steps.

    Returns:
      `value`.

    Reference:
      Bengio, Léonard and Courville, "Estimating or propagating gradients through stochastic neurons for conditional
      computation", 2013.

    Example:
      >>> jax.grad(lambda v: straight_through(jnp.floor(v), v))(1.7).item()
      1.0
    """
    return value


@straight_through.defjvp
def _(primals, tangents):
    return straight_through(*primals), tangents[1]


def floor(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The floor, with the derivative of the identity."""
    return straight_through(jnp.floor(x), x)


def bytes_of(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The bytes 0..255 an image in [0, 1] is stored as, in float32, with the derivative of `255 x`."""
    return straight_through(jnp.round(jnp.clip(x, 0.0, 1.0) * 255.0), x * 255.0)
