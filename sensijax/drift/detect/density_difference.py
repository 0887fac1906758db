"""The least-squares density difference: the squared difference of two densities, fitted directly."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.core.errors import ArgumentError
from sensijax.drift.detect._cells import labels
from sensijax.drift.detect._detection import Detection
from sensijax.drift.detect._drawn import check_positive, run
from sensijax.drift.detect._quadratic import PRECISION, median_square, prepared, squared_distances
from sensijax.drift.detect.kernel import SLACK, gaussian


def lsdd(
    reference: Any,
    sample: Any,
    *,
    key: Any,
    permutations: int = 1000,
    centres: int = 100,
    regularisation: float = 0.1,
    alpha: float = 0.05,
) -> Detection:
    """Permutation test by the integral of (p - q)^2, with p - q fitted by Gaussians at some of the pooled rows.

    Centres and bandwidth (the median one) do not look at who is who, so the fit of every permutation shares them, and
    all permutations are one matrix product.

    Args:
      reference: real numbers `[n]` or `[n, d]`, n >= 2.
      sample: `[m]` or `[m, d]`, m >= 2.
      key: a typed key; it chooses the centres, and what is drawn.
      permutations: B.
      centres: how many Gaussians; all rows where there are fewer.
      regularisation: above 0, added to the Gram matrix of the Gaussians, whose diagonal is 1.
      alpha: the level, in (0, 1).

    Returns:
      The verdict; `statistic` is 2 theta' h - theta' H theta, in units of (pi bandwidth^2)^(-d/2): a density's own unit
      would overflow in many dimensions.

    Raises:
      ArgumentError: as for `mmd`; if centres or regularisation are not as above.

    Reference:
      Sugiyama et al., "Density-difference estimation", Neural Computation 25 (2013). Bu, Alippi and Zhao, "A pdf-free
      change detection test based on density difference estimation", IEEE Transactions on Neural Networks and Learning
      Systems 29 (2018).

    Example:
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> lsdd(x, x + 1, key=jax.random.key(1)).drift
      True
    """
    if isinstance(centres, bool) or not isinstance(centres, (int, np.integer)) or centres < 1:
        raise ArgumentError("centres", repr(centres), "an integer >= 1")
    weight = jnp.float32(check_positive("regularisation", regularisation))
    return run("lsdd", _lsdd, reference, sample, key, permutations, alpha, centres=int(centres), regularisation=weight)


@functools.partial(jax.jit, static_argnames=("permutations", "centres"))
def _lsdd(
    key: Array, x: Array, y: Array, regularisation: Array, permutations: int, centres: int
) -> tuple[Array, Any, Array]:
    x, y = prepared(key, x, y)
    n, m = len(x), len(y)
    square = median_square(x, y)
    bandwidth = jnp.sqrt(jnp.where(square > 0, square, 1) / 2)
    z = jnp.concatenate([x, y])
    chosen = jax.random.permutation(jax.random.fold_in(key, 0x6C736464), n + m)[:centres]
    c = z[chosen]
    gram = gaussian(squared_distances(c, c), bandwidth * jnp.sqrt(jnp.float32(2)))
    # theta = (H + lambda I)^-1 h, so that the statistic is h' M h with eigenvalues (e + 2 lambda) / (e + lambda)^2.
    e, v = jnp.linalg.eigh(gram)
    e = jnp.maximum(e, 0)
    root = v * (jnp.sqrt(e + 2 * regularisation) / (e + regularisation))[None]
    features = jnp.matmul(gaussian(squared_distances(z, c), bandwidth), root, precision=PRECISION)
    weight = labels(key, n, m, permutations) * (1 / n + 1 / m) - 1 / n  # 1/m for the sample, -1/n for the reference
    h = jnp.matmul(features.T, weight, precision=PRECISION)
    return jnp.sum(h * h, axis=0), SLACK, square == 0
