"""Arithmetic whose rounding is written down, so that a row's bits do not depend on the rows beside it.

Two further rules hold in this room. No array is divided by a number that all of it shares, but multiplied by the
number's inverse: a compiler turns the one into the other in some batches and not in others. And a product with such a
number is `rounded` before it is squared, multiplied by a constant, or added to where a pixel is chosen by the sum.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def ordered_sum(x: Float[Array, "N ..."]) -> Float[Array, "..."]:
    """The sum along the first axis, added in halves.

    A compiler picks the order of a reduction by the shape of the whole batch, and with it the last bit; additions of
    halves leave it no choice.
    """
    while len(x) > 1:
        half = len(x) // 2
        x = jnp.concatenate([x[:half] + x[half : 2 * half], x[2 * half :]])
    return x[0]


def image_mean(x: Float[Array, "H W C"]) -> Float[Array, "1 1 C"]:
    """The mean of each channel over the pixels."""
    count = x.shape[0] * x.shape[1]
    return ordered_sum(x.reshape(count, x.shape[2]))[None, None] / count


def rounded(product: Float[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
    """A product, rounded by itself before it goes into a sum or another product.

    Otherwise a compiler may round it and the sum as one, or multiply in another order, as the program around happens to
    be laid out. It costs the last bit of the mantissa. The derivative is that of the identity.
    """
    return jax.lax.reduce_precision(product, exponent_bits=8, mantissa_bits=22)
