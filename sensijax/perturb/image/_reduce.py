"""Sums whose order is written down."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def image_mean(x: Float[Array, "H W C"]) -> Float[Array, "1 1 C"]:
    """The mean of each channel over the pixels, added in halves.

    A compiler picks the order of a reduction by the shape of the whole batch, so its last bit would depend on how many
    rows are computed together; additions of halves leave it no choice.
    """
    count = x.shape[0] * x.shape[1]
    total = x.reshape(count, x.shape[2])
    while len(total) > 1:
        half = len(total) // 2
        total = jnp.concatenate([total[:half] + total[half : 2 * half], total[2 * half :]])
    return total.reshape(1, 1, -1) / count
