"""Kernel two-sample tests on all features together: MMD with one bandwidth, and the energy distance."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sensijax.drift.detect._detection import Detection
from sensijax.drift.detect._drawn import check_positive, run
from sensijax.drift.detect._quadratic import Sums, median_square, prepared, sums

_MIDDLE = 0.36787944  # exp(-1), the kernel at the median distance


def mmd(
    reference: Any,
    sample: Any,
    *,
    key: Any,
    permutations: int = 1000,
    bandwidth: float | None = None,
    alpha: float = 0.05,
) -> Detection:
    """Permutation test by the maximum mean discrepancy with a Gaussian kernel, exp(-|x - y|^2 / (2 bandwidth^2)).

    All permutations are one matrix product (`_quadratic`); each labels both sides anew. Features count by their size:
    bring them to comparable units first. float32, after centring in float64: MMD^2 is right to about 1e-6.

    Args:
      reference: real numbers `[n]` or `[n, d]`, n >= 2.
      sample: `[m]` or `[m, d]`, m >= 2.
      key: a typed key; the verdict is a function of it and the samples. The statistic depends on the samples alone up
        to n + m = 1,024, and beyond that where a bandwidth is given.
      permutations: B.
      bandwidth: in the unit of the data; unless given, the root of half the median squared distance between pooled
        rows that differ (beyond 1,024 rows: of so many of them, chosen without regard to the side they come from).
      alpha: the level, in (0, 1).

    Returns:
      The verdict; `statistic` is the unbiased estimate of MMD^2, which may be below 0.

    Raises:
      ArgumentError: if an argument is not as above, there are NaN or infinities, or so few permutations that no
        p-value could be small enough.

    Reference:
      Gretton et al., "A kernel two-sample test", JMLR 13 (2012), equation 3.

    Example:
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> mmd(x, x + 1, key=jax.random.key(1)).drift
      True
    """
    if bandwidth is None:
        return run("mmd", _median_mmd, reference, sample, key, permutations, alpha)
    width = check_positive("bandwidth", bandwidth)
    return run("mmd", _mmd, reference, sample, key, permutations, alpha, bandwidth=width)


def energy(reference: Any, sample: Any, *, key: Any, permutations: int = 1000, alpha: float = 0.05) -> Detection:
    """Permutation test by the energy distance, 2 E|X - Y| - E|X - X'| - E|Y - Y'|: no bandwidth to choose.

    Args:
      reference: real numbers `[n]` or `[n, d]`, n >= 2.
      sample: `[m]` or `[m, d]`, m >= 2.
      key: a typed key; the p-value is a function of it and the samples, the statistic of the samples alone.
      permutations: B.
      alpha: the level, in (0, 1).

    Returns:
      The verdict; `statistic` is in the unit of the data (its root is SciPy's `energy_distance`, for one feature).

    Raises:
      ArgumentError: as for `mmd`.

    Reference:
      Szekely and Rizzo, "Energy statistics: a class of statistics based on distances", Journal of Statistical Planning
      and Inference 143 (2013).

    Example:
      >>> round(energy([0.0, 1.0], [2.0, 3.0], key=jax.random.key(0)).statistic, 5)
      3.0
    """
    return run("energy", _energy, reference, sample, key, permutations, alpha, unit=lambda scale, d: scale)


def unbiased(found: Sums, n: int, m: int) -> Array:
    """MMD^2 from sums over pairs of distinct rows."""
    return found.xx / (n * (n - 1)) + found.yy / (m * (m - 1)) - found.xy * (2 / (n * m))


def gaussian(square: Array, bandwidth: Array) -> Array:
    """The Gaussian kernel of squared distances."""
    return jnp.exp(-square / (2 * bandwidth**2))


def statistics(key: Array, x: Array, y: Array, bandwidth: Array, permutations: int) -> Array:
    """MMD^2 under the real and B drawn labels, `[1 + B]`, of arranged samples; pure."""
    found = sums(key, x, y, lambda square: gaussian(square, bandwidth), jnp.float32(_MIDDLE), permutations)
    return unbiased(found, len(x), len(y))


SLACK = 2e-7
"""Of kernel values below 1, averaged in float32: statistics that are closer than this are equal but for rounding."""


@functools.partial(jax.jit, static_argnames="permutations")
def _mmd(key: Array, x: Array, y: Array, bandwidth: Array, permutations: int) -> tuple[Array, Any, Array]:
    x, y = prepared(key, x, y)
    return statistics(key, x, y, bandwidth, permutations), SLACK, _constant(x, y)


@functools.partial(jax.jit, static_argnames="permutations")
def _median_mmd(key: Array, x: Array, y: Array, permutations: int) -> tuple[Array, Any, Array]:
    x, y = prepared(key, x, y)
    square = median_square(x, y)
    bandwidth = jnp.sqrt(jnp.where(square > 0, square, 1) / 2)
    return statistics(key, x, y, bandwidth, permutations), SLACK, _constant(x, y)


@functools.partial(jax.jit, static_argnames="permutations")
def _energy(key: Array, x: Array, y: Array, permutations: int) -> tuple[Array, Any, Array]:
    x, y = prepared(key, x, y)
    n, m = len(x), len(y)
    # About the mean distance. Taking it off all pairs of distinct rows leaves 1/n + 1/m of it, which is put back.
    middle = jnp.sqrt(2 * (jnp.sum(x * x) + jnp.sum(y * y)) / (n + m))
    found = sums(key, x, y, lambda square: -jnp.sqrt(square), -middle, permutations)
    own = found.xx / n**2 + found.yy / m**2 - middle * (1 - 1 / n + 1 - 1 / m)
    return own - found.xy * (2 / (n * m)) + 2 * middle, SLACK * middle, _constant(x, y)


def _constant(x: Array, y: Array) -> Array:
    return jnp.maximum(jnp.max(jnp.abs(x)), jnp.max(jnp.abs(y))) == 0
