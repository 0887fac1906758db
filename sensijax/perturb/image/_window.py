"""Weighted sums of shifted images, tap by tap.

A convolution's or a product's algorithm, and so its last bit, is chosen by the shape of the whole batch; sums of
shifted images are elementwise, the same for every row.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.perturb.image._reduce import rounded

Border = Literal["edge", "reflect", "symmetric"]
"""How an image goes on beyond its frame, in the words of `jnp.pad`."""


def gaussian_weights(sigma: Float[Array, ""], taps: np.ndarray) -> Float[Array, "T"]:
    """`exp(-taps**2 / (2 sigma**2))`; at sigma zero one at tap 0 and zero elsewhere, with finite derivatives."""
    # Below a hundredth of a pixel every other weight is zero in float32.
    ratio = rounded(taps * (1 / jnp.maximum(sigma, 0.01)))
    return jnp.exp(-0.5 * rounded(ratio * ratio))


def shifted(x: Array, axis: int, start: int, length: int) -> Array:
    """The slice `start:start + length` along an axis."""
    return jax.lax.slice_in_dim(x, start, start + length, axis=axis)


def window(x: Float[Array, "N M"], start: tuple[Array | int, Array | int], shape: tuple[int, int]) -> Array:
    """The part of an array from a traced place on.

    Take it anew for every use: a CPU's compiler computes a shared slice in a function of its own, which loads `start`
    again for every value, and then goes through them one by one (ten times as slow).
    """
    return jax.lax.dynamic_slice(x, start, shape)


def taller(x: Float[Array, "N M"], margins: tuple[int, int], mode: Border) -> Float[Array, "K M"]:
    """An array with rows added above and below, as `jnp.pad` does."""
    return jnp.pad(x, (margins, (0, 0)), mode=mode)


def wider(x: Float[Array, "H W C"], margins: tuple[int, int], mode: Border) -> Float[Array, "H N"]:
    """An image with columns added on the left and the right, as `jnp.pad` does, in the form `[H, W * C]`."""
    return jnp.pad(x, ((0, 0), margins, (0, 0)), mode=mode).reshape(len(x), -1)


@functools.partial(jax.jit, static_argnames=("axis", "step"), inline=True)
def weigh_symmetric(x: Float[Array, "N M"], weights: Float[Array, "R"], axis: int, step: int = 1) -> Array:
    """A symmetric filter along one axis: `weights[0] x[i] + sum_k weights[k] (x[i - k step] + x[i + k step])`.

    Args:
      x: float32 `[N, M]`, with the border that the filter needs. An image as `[H, W * C]`, with steps of C along W: a
        last axis of 3 keeps a CPU from computing several values at once.
      weights: float32 `[R]`, of the taps 0..R-1.
      axis: 0 or 1.
      step: from one tap to the next.

    Returns:
      float32, where the filter lies inside the frame: shorter by `2 (R - 1) step` along the axis.
    """
    reach = (len(weights) - 1) * step
    length = x.shape[axis] - 2 * reach
    total = weights[0] * shifted(x, axis, reach, length)
    for k in range(1, len(weights)):
        pair = shifted(x, axis, reach - k * step, length) + shifted(x, axis, reach + k * step, length)
        total = total + weights[k] * pair
    return total
