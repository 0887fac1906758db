"""Where a compiler must stop fusing: what is costly is worked out once, and in an order that suits a CPU."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def walled(x: Float[Array, "..."], given: Float[Array, "..."]) -> Float[Array, "..."]:
    """`x`, worked out in full before anything reads it.

    XLA computes a value anew in every loop that reads it, so a filter read at several places is computed several times;
    and a loop over an image whose last axis is 3 channels goes one value at a time, with all that is fused into it. On
    a CPU a loop that never runs is a border that it does not fuse across. Elsewhere nothing is done.

    Args:
      x: float32, any shape but an empty one.
      given: float32, any shape; an array that exists before `x` does and is no constant of the program, else the wall
        goes; below 1e38 everywhere.

    Returns:
      `x`. The derivative is that of the identity.
    """
    return jax.lax.platform_dependent(x, given, cpu=_loop, default=lambda x, given: x)


@walled.defjvp
def _(primals, tangents):
    return walled(*primals), tangents[0]


def _loop(x: Array, given: Array) -> Array:
    # Whether it would run must depend on a value, and it would change `x`, or a compiler drops the loop. The value is
    # not one of `x`, which would then have two readers.
    trips = (given.reshape(-1)[0] > 1e38).astype(jnp.int32)
    return jax.lax.while_loop(lambda state: state[1] > 0, lambda state: (2 * state[0], state[1] - 1), (x, trips))[0]
