"""One way or the other."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def sign(key: Array) -> Float[Array, ""]:
    """Plus or minus one, with equal odds: float32."""
    return jax.random.rademacher(key, (), jnp.float32)
