"""Weighted sums of shifted images, tap by tap.

A convolution's or a product's algorithm, and so its last bit, is chosen by the shape of the whole batch; sums of
shifted images are elementwise, the same for every row.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.perturb.image._reduce import rounded


def gaussian_weights(sigma: Float[Array, ""], taps: np.ndarray) -> Float[Array, "T"]:
    """`exp(-taps**2 / (2 sigma**2))`; at sigma zero one at tap 0 and zero elsewhere, with finite derivatives."""
    # Below a hundredth of a pixel every other weight is zero in float32.
    ratio = rounded(taps * (1 / jnp.maximum(sigma, 0.01)))
    return jnp.exp(-0.5 * rounded(ratio * ratio))


def shifted(x: Array, axis: int, start: int, length: int) -> Array:
    """The slice `start:start + length` along an axis."""
    return jax.lax.slice_in_dim(x, start, start + length, axis=axis)


def weigh_symmetric(x: Float[Array, "H W C"], weights: Float[Array, "R"], axis: int, mode: str | None = None) -> Array:
    """A symmetric filter along one axis: `weights[0] x[i] + sum_k weights[k] (x[i - k] + x[i + k])`.

    Args:
      x: float32 `[H, W, C]`.
      weights: float32 `[R]`, of the taps 0..R-1.
      axis: 0 or 1.
      mode: how the border is continued, as in `jnp.pad`; None keeps only where the filter lies inside the frame.

    Returns:
      float32 `[H, W, C]`; without a mode shorter by `2 (R - 1)` along the axis.
    """
    reach = len(weights) - 1
    if mode is not None:
        x = jnp.pad(x, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode=mode)
    # As [H, W * C], with steps of C along W: a last axis of 3 keeps a CPU from computing several values at once.
    height, width, channels = x.shape
    x, step = x.reshape(height, width * channels), (1, channels)[axis]
    length = x.shape[axis] - 2 * reach * step
    total = weights[0] * shifted(x, axis, reach * step, length)
    for k in range(1, reach + 1):
        pair = shifted(x, axis, (reach - k) * step, length) + shifted(x, axis, (reach + k) * step, length)
        total = total + weights[k] * pair
    return total.reshape(-1, width if axis == 0 else width - 2 * reach, channels)
