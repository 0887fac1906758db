"""The quantile of calibration scores that makes a set conformal, plain and weighted."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.measure._validate import fraction, numbers, whole_number

_ROUNDING = 1e-12
"""Relative: sums of ratios that reach their target up to this have reached it."""


def rank_of(n: int, alpha: float) -> int:
    """The place of the threshold among n sorted scores: k = ceil((n + 1)(1 - alpha)).

    Computed from the decimals of `alpha` as they are written, as binary rounding would move k by one. Where k > n,
    n examples are too few to promise 1 - alpha: at least 1/alpha - 1 are needed.

    Args:
      n: calibration examples, >= 1.
      alpha: the share of truths that may be missed, in (0, 1).

    Returns:
      k in [1, n + 1].

    Raises:
      ArgumentError: if a number is out of range.

    Reference:
      Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", Springer 2005.

    Example:
      >>> rank_of(100, 0.1), rank_of(8, 0.1)
      (91, 9)
    """
    n, _ = whole_number("n", n, 1), fraction("alpha", alpha, "a share that may be missed")
    return math.ceil((n + 1) * (1 - Fraction(str(alpha))))


def as_ratio(argument: str, ratio: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Importance ratios float64 of a shape: finite, not negative, not all zero."""
    array = numbers(argument, ratio, len(shape))
    if array.shape != shape:
        raise ArgumentError(argument, f"shape {list(array.shape)}", f"{list(shape)}")
    if (wrong := array[~((array >= 0) & np.isfinite(array))]).size:
        raise ArgumentError(argument, f"{wrong[0]:g}", "finite ratios, 0 or more")
    if not array.any():
        raise ArgumentError(argument, "ratios that are all 0", "at least one above 0")
    return array


def weighted_threshold(scores: np.ndarray, ratio: np.ndarray, alpha: float, at: np.ndarray) -> np.ndarray:
    """The smallest score up to which the mass reaches 1 - alpha, where a new example of ratio `at` holds its own mass.

    Args:
      scores: float64 `[n]`, sorted.
      ratio: float64 `[n]`, of the same examples.
      alpha: in (0, 1).
      at: float64 `[...]`.

    Returns:
      float64 `[...]`, infinite where the calibration mass alone does not suffice.
    """
    mass = np.cumsum(ratio)
    target = (1 - float(alpha)) * (mass[-1] + at) * (1 - _ROUNDING)
    return np.append(scores, np.inf)[np.searchsorted(mass, target, side="left")]
