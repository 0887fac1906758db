"""From statistics under the real and the drawn labels to a verdict, and the program that every kernel test is."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key
from sensijax.drift.detect._cells import by_cells
from sensijax.drift.detect._detection import (
    ROUNDING,
    Detection,
    detectable_shift,
    permutation_p_value,
    permutation_threshold,
)
from sensijax.drift.detect._door import check_level, check_permutations, two_samples


def samples(reference: Any, sample: Any, least: int = 2) -> tuple[Array, Array, float]:
    """Both samples in float32 around their common mean and over one common scale, and that scale.

    Made in float64: a feature far from 0, such as a date, keeps its digits.
    """
    x, y = two_samples(reference, sample, least)
    pooled = np.concatenate([x, y])
    with np.errstate(over="ignore", invalid="ignore"):
        pooled -= pooled.mean(axis=0)
        scale = float(np.sqrt(np.square(pooled).mean(axis=0).max()))
    if not math.isfinite(scale):
        raise ArgumentError(
            "reference", f"values up to {np.abs(x).max():.2g}", "values whose squares are finite: scale"
        )
    scale = scale if scale > 0 else 1.0
    pooled = (pooled / scale).astype(np.float32)
    return jnp.asarray(pooled[: len(x)]), jnp.asarray(pooled[len(x) :]), scale


def p_value(statistics: Array, slack: Any) -> Array:
    """The permutation p-value from statistics `[1 + B]`, the real one first; pure, for use under `vmap`."""
    at_least = jnp.sum(statistics[1:] >= statistics[0] - slack)
    return (1 + at_least).astype(jnp.float32) / len(statistics)


def verdict(
    detector: str,
    statistics: Any,
    slack: Any,
    *,
    alpha: float,
    n: int,
    m: int,
    d: int,
    constant: bool = False,
    unit: float = 1.0,
) -> Detection:
    """A verdict on all features together.

    Args:
      detector: its name.
      statistics: `[1 + B]`, the real one first.
      slack: what is rounding.
      alpha, n, m, d: level, rows, features.
      constant: whether all rows are equal.
      unit: what the statistic is multiplied by at the end.
    """
    t = np.asarray(statistics, np.float64) * unit
    slack = float(slack) * unit
    labelings = math.inf if by_cells(n, m) else math.comb(n + m, n) / (2 if n == m else 1)
    status = "ok"
    if 1 / labelings > alpha * (1 + ROUNDING):
        status = f"too few rows: no outcome could have been called drift at level {alpha:g}"
    if constant:
        status, t, slack = "constant: all rows of both samples are equal", np.zeros_like(t), 0.0
    return Detection(
        detector,
        float(t[0]),
        float(permutation_p_value(t[0], t[1:], slack)),
        permutation_threshold(t[1:], alpha, slack),
        alpha,
        n,
        m,
        f"{len(t) - 1} permutations",
        detectable_shift(n, m, alpha, d, together=True),
        status,
    )


def run(
    detector: str,
    program: Callable[..., tuple[Array, Array, Array]],
    reference: Any,
    sample: Any,
    key: Any,
    permutations: int,
    alpha: Any,
    *,
    unit: Callable[[float, int], float] = lambda scale, d: 1.0,
    least: int = 2,
    bandwidth: float | None = None,
    **options: Any,
) -> Detection:
    """Checks, runs a jitted program `(key, x, y, ..., permutations=B) -> (statistics, slack, constant)`, judges."""
    alpha, key = check_level(alpha), check_key(key)
    permutations = check_permutations(permutations, alpha)
    x, y, scale = samples(reference, sample, least)
    if bandwidth is not None:
        options["bandwidth"] = jnp.float32(bandwidth / scale)
    statistics, slack, constant = program(key, x, y, permutations=permutations, **options)
    n, (m, d) = len(x), y.shape
    return verdict(
        detector, statistics, slack, alpha=alpha, n=n, m=m, d=d, constant=bool(constant), unit=unit(scale, d)
    )


def check_positive(name: str, value: Any) -> float:
    """A finite number above 0."""
    if isinstance(value, (bool, str)) or np.ndim(value) or not 0 < value < math.inf:
        raise ArgumentError(name, repr(value), "a finite number above 0")
    return float(value)
