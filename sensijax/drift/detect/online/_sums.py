"""Means over long streams in float32 that keep their digits.

A plain float32 sum of T numbers around 1 has lost four digits when T = 10^6: it adds 1 to 10^6, which is known to 1/16.
These carry what each addition rounds off (Knuth's two-sum) into the next, which makes the error of a mean a few
units in its last place at any length. XLA keeps the order of additions, so the correction is not optimised away.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from sensijax.core.struct import struct


@struct
class Mean:
    """A running mean.

    Attributes:
      total: float32, the sum.
      rest: float32, what rounding has taken from it.
      n: int32, how many values.
    """

    total: Float[Array, "..."]
    rest: Float[Array, "..."]
    n: Int32[Array, "..."]

    @property
    def value(self) -> Array:
        """float32, the mean; 0 before the first value."""
        return (self.total + self.rest) / jnp.maximum(self.n, 1).astype(jnp.float32)


def no_values() -> Mean:
    """The mean of nothing."""
    return Mean(jnp.float32(0), jnp.float32(0), jnp.int32(0))


def add(mean: Mean, value: Array) -> Mean:
    """The mean with one value more.

    Example:
      >>> import jax
      >>> mean, _ = jax.lax.scan(lambda m, x: (add(m, x), None), no_values(), jnp.full(100_000, 0.1))
      >>> float(mean.value), float(jax.lax.scan(lambda s, x: (s + x, None), jnp.float32(0), jnp.full(100_000, 0.1))[0])
      (0.10000000149011612, 9998.556640625)
    """
    value = value.astype(jnp.float32) + mean.rest
    total = mean.total + value
    seen = total - mean.total
    return Mean(total, (mean.total - (total - seen)) + (value - seen), mean.n + 1)
