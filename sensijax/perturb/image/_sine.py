"""Waves over an image, the same to the last bit in every batch."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.perturb.image._reduce import rounded


def sine(turns: Float[Array, "..."]) -> Float[Array, "..."]:
    """`sin(2 pi turns)`, within 4e-6 for a few hundred turns; elementwise.

    A compiler computes the sines of an array several at a time and the rest one by one, with other last bits; which
    those are depends on the batch.

    Args:
      turns: float32 `[...]`; add 0.25 for the cosine.

    Returns:
      float32 `[...]` in [-1, 1].

    Example:
      >>> sine(jnp.array([0.0, 0.125, 0.25, 1.5])).round(4).tolist()
      [0.0, 0.707099974155426, 1.0, 0.0]
    """
    part = turns - jnp.floor(turns + 0.5)
    x = rounded((2 * math.pi) * jnp.where(jnp.abs(part) > 0.25, jnp.copysign(0.5, part) - part, part))
    square = rounded(x * x)
    series = jnp.ones_like(x)
    for n in (72, 42, 20, 6):  # 1 - x^2 / (2 3) (1 - x^2 / (4 5) (1 - ...))
        series = 1 - rounded(rounded(square * (1 / n)) * series)
    return jnp.clip(rounded(x * series), -1.0, 1.0)
