"""The Gaussian filter of the published corruptions."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.perturb.image._reduce import ordered_sum
from sensijax.perturb.image._window import gaussian_weights, weigh_symmetric


def gaussian(x: Float[Array, "H W C"], sigma: Float[Array, ""], radius: int) -> Float[Array, "H W C"]:
    """`scipy.ndimage.gaussian_filter(mode="nearest", truncate=4)` of each channel.

    Args:
      x: float32 `[H, W, C]`.
      sigma: standard deviation, px; >= 0. At 0 the filter is the identity, with a finite derivative.
      radius: the taps computed on each side, px; those beyond `int(4 * sigma + 0.5)` weigh nothing.

    Returns:
      float32 `[H, W, C]`.
    """
    taps = np.arange(radius + 1, dtype=np.float32)
    weights = jnp.where(taps <= jnp.floor(4 * sigma + 0.5), gaussian_weights(sigma, taps), 0.0)
    weights = weights * (1 / (2 * ordered_sum(weights) - weights[0]))
    for axis in (0, 1):
        x = weigh_symmetric(x, weights, axis, mode="edge")
    return x
