"""MMD over many bandwidths at once, at the level of one test."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sensijax.drift.detect._detection import Detection
from sensijax.drift.detect._drawn import run
from sensijax.drift.detect._quadratic import median_square, prepared
from sensijax.drift.detect.kernel import SLACK, statistics

OCTAVES = (-3, -2, -1, 0, 1, 2, 3)
"""Bandwidths are the median one times two to these powers."""


def mmd_aggregated(
    reference: Any, sample: Any, *, key: Any, permutations: int = 1000, alpha: float = 0.05
) -> Detection:
    """Permutation test by MMD with seven bandwidths, an eighth to eight times the median one, for changes of any scale.

    For each bandwidth, the MMD^2 of every labeling, the real one included, gets its p-value among all; the test's
    statistic is the smallest over bandwidths, and it is compared with that of the drawn labelings. This is MMDAgg with
    uniform weights, whose corrected quantiles (there from a second set of permutations and a bisection) become a
    p-value; B + 1 exchangeable statistics keep the level exactly, where a minimum of seven corrected p-values is far
    below it.

    Args:
      reference: real numbers `[n]` or `[n, d]`, n >= 2.
      sample: `[m]` or `[m, d]`, m >= 2.
      key: a typed key; the verdict is a function of it and the samples.
      permutations: B, the same for all bandwidths.
      alpha: the level, in (0, 1).

    Returns:
      The verdict; `statistic` is one minus the smallest p-value over bandwidths, in [0, 1).

    Raises:
      ArgumentError: as for `mmd`.

    Reference:
      Schrab et al., "MMD aggregated two-sample test", JMLR 24 (2023).

    Example:
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> mmd_aggregated(x, x + 1, key=jax.random.key(1)).drift
      True
    """
    return run("mmd_aggregated", _aggregated, reference, sample, key, permutations, alpha)


@functools.partial(jax.jit, static_argnames="permutations")
def _aggregated(key: Array, x: Array, y: Array, permutations: int) -> tuple[Array, Any, Array]:
    x, y = prepared(key, x, y)
    square = median_square(x, y)
    median = jnp.sqrt(jnp.where(square > 0, square, 1) / 2)

    def ranked(octave: Array) -> Array:
        t = statistics(key, x, y, median * 2**octave, permutations)
        below = jnp.searchsorted(jnp.sort(t), t - SLACK, side="left")
        return below.astype(jnp.float32) / len(t)  # 1 - the p-value of each labeling among all

    best = jnp.max(jax.lax.map(ranked, jnp.asarray(OCTAVES, jnp.float32)), axis=0)
    return best, 0.0, square == 0
