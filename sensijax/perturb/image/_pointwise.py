"""Costly functions of single values, and the normal draw, at the speed of a flat array."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def pointwise(function: Callable[..., Array], *arrays: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
    """An elementwise function of images.

    On a CPU, XLA computes a fused loop whose last axis is 3 channels one value at a time, several times slower than a
    flat one, and it sees through every reshape. A loop of two trips is a border that it does not fuse across.

    Args:
      function: elementwise; takes arrays of one shape and returns one of that shape.
      *arrays: float32, all of one shape `[H, W, C]`.

    Returns:
      `function(*arrays)`.
    """
    shape = arrays[0].shape
    if shape[-1] == 1:
        return function(*arrays)
    size = math.prod(shape)
    halves = [jnp.pad(a.reshape(-1), (0, size % 2)).reshape(2, -1) for a in arrays]
    return jax.lax.map(lambda half: function(*half), halves).reshape(-1)[:size].reshape(shape)


def standard_normal(key: Array, shape: tuple[int, ...]) -> Float[Array, "H W C"]:
    """`jax.random.normal(key, shape)`, bit for bit, for an image."""
    above_minus_one = np.nextafter(np.float32(-1), np.float32(0))
    uniform = jax.random.uniform(key, shape, jnp.float32, above_minus_one, np.float32(1))
    return np.float32(math.sqrt(2)) * pointwise(jax.lax.erf_inv, uniform)
