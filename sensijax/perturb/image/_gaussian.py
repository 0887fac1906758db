"""The Gaussian filter of the published corruptions."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.perturb.image._reduce import ordered_sum
from sensijax.perturb.image._wall import walled
from sensijax.perturb.image._window import gaussian_weights, taller, weigh_symmetric, wider


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
    margins = (radius, radius)
    across = walled(weigh_symmetric(wider(x, margins, "edge"), weights, 1, step=x.shape[2]), x)
    return walled(weigh_symmetric(taller(across, margins, "edge"), weights, 0), x).reshape(x.shape)
