"""Shares: the exact interval of one, and where the coverage of a calibrated threshold lies."""

from typing import Any

import numpy as np
from scipy.special import betaincinv

_NONE = 1e-9
"""Sums of weights below this are a rounded 0."""


def clopper_pearson(successes: Any, n: Any, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The exact interval of a share: low and high.

    Args:
      successes: `[...]` in [0, n]; of weighted examples the share times their effective number, which makes the
        interval an approximation.
      n: trials, a number or `[...]`.
      level: in (0, 1).

    Returns:
      Arrays of the shape of `successes`; (0, 1) where n is 0.

    Reference:
      Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934).

    Example:
      >>> [float(bound.round(3)) for bound in clopper_pearson(90, 100, 0.95)]
      [0.824, 0.951]
    """
    successes, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    some, failures, tail = successes > _NONE, n - successes, (1 - level) / 2
    low = np.where(some, betaincinv(np.where(some, successes, 1), np.maximum(failures, 0) + 1, tail), 0.0)
    some = failures > _NONE
    high = np.where(some, betaincinv(successes + 1, np.where(some, failures, 1), 1 - tail), 1.0)
    return low, high


def coverage_band(k: int, n: int, m: int, level: float) -> tuple[float, float]:
    """Where the share of m examples below the k-th smallest of n scores lies, all exchangeable and without ties.

    Args:
      k: place of the threshold, in [1, n + 1]; at n + 1 everything is below it.
      n: scores that it is taken from.
      m: new examples, >= 1.
      level: of the band, in (0, 1).

    Returns:
      The equal-tailed quantiles of the beta-binomial law with m trials and parameters k and n + 1 - k, as shares.

    Reference:
      Marques, "Universal distribution of the empirical coverage in split conformal prediction", arXiv:2303.02770.

    Example:
      >>> coverage_band(91, 100, 100, 0.95)
      (0.81, 0.97)
    """
    if k > n:
        return 1.0, 1.0
    from scipy.stats import betabinom  # half a second of start-up that nothing else needs

    law, tail = betabinom(m, k, n + 1 - k), (1 - level) / 2
    return float(law.ppf(tail)) / m, float(law.ppf(1 - tail)) / m
