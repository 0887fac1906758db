"""What a pixel counts: photo-electrons, and the noise of reading them out."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.perturb.image._poisson import poisson_quantile
from sensijax.perturb.image._reduce import rounded


def measured(
    light: Float[Array, "..."],
    electron: Float[Array, ""],
    read_noise: Float[Array, ""],
    u: Float[Array, "..."],
    n: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Linear light as a sensor measures it: `electron * (N + read_noise * n)`, N ~ Poisson(light / electron).

    Args:
      light: float32 `[...]`, linear, 1 is white; >= 0.
      electron: the light of one electron; >= 0. Without electrons, at 0, the light comes back.
      read_noise: standard deviation, in electrons; >= 0.
      u: float32 `[...]`, uniform in [0, 1).
      n: float32 `[...]`, standard normal.

    Returns:
      float32 `[...]`; the read noise takes it below 0. Its derivatives with respect to `light` and `electron` are those
      of the Gaussian limit (`poisson_quantile`).

    Reference:
      Foi, Trimeche, Katkovnik and Egiazarian, "Practical Poissonian-Gaussian noise modeling and fitting for
      single-image raw-data", IEEE Transactions on Image Processing 17(10), 2008.
    """
    counted = electron > 0
    size = jnp.where(counted, electron, 1.0)
    electrons = poisson_quantile(u, rounded(light * (1 / size))) + rounded(read_noise * n)
    return jnp.where(counted, rounded(electrons * size), light)
