"""Proper scores: the log loss, and what the Brier score is made of."""

import dataclasses
from typing import Any

import numpy as np

from sensijax.measure._validate import forecasts, weights_of, whole_number


@dataclasses.dataclass(frozen=True)
class BrierDecomposition:
    """The parts of a Brier score, each summed over classes.

    The score is reliability - resolution + uncertainty + within_variance - within_covariance.

    Attributes:
      reliability: mean squared distance of a bin's mean forecast from its observed rate; 0 is best.
      resolution: mean squared distance of a bin's observed rate from the base rate; larger is better.
      uncertainty: the variance of the outcomes, which no forecast changes.
      within_variance: the variance of forecasts within their bins.
      within_covariance: twice the covariance of forecasts and outcomes within bins.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within_variance: float
    within_covariance: float


def nll(p: Any, labels: Any, weights: Any = None) -> float:
    """The negative log-likelihood, or log loss: the mean over examples of -ln p[label], in nats.

    Args:
      p: `[N, K]` probabilities in [0, 1]; rows sum to 1 to within 1e-4.
      labels: integer `[N]` in [0, K).
      weights: `[N]` finite, 0 or more, of which only the ratios count; every row counts alike unless given.

    Returns:
      The score, 0 or more; +inf where a label of a row with weight has probability 0: nothing is clipped.

    Raises:
      ArgumentError: if shapes do not fit, there are none, or values are NaN or out of range, or all weights are 0.

    Reference:
      Good, "Rational decisions", Journal of the Royal Statistical Society B 14 (1952).

    Example:
      >>> round(nll([[0.5, 0.5], [0.25, 0.75]], [0, 0]), 6)
      1.039721
    """
    p, labels = forecasts(p, labels)
    weights = weights_of(weights, len(p))
    kept = np.ones(len(p), bool) if weights is None else weights > 0  # 0 times inf is no score
    with np.errstate(divide="ignore"):
        scores = -np.log(p[np.arange(len(p)), labels][kept])
    return float(np.average(scores, weights=None if weights is None else weights[kept])) + 0.0


def brier_decomposition(p: Any, labels: Any, bins: int = 15) -> BrierDecomposition:
    """The Brier score's parts, whose signed sum is the score itself, whatever the bins.

    Each class's probabilities are binned by equal width, closed on the right. The two parts within bins are what
    Murphy's three leave out when forecasts in a bin differ.

    Args:
      p: `[N, K]` probabilities in [0, 1]; rows sum to 1 to within 1e-4.
      labels: integer `[N]` in [0, K).
      bins: number of bins, >= 1.

    Returns:
      The five parts.

    Raises:
      ArgumentError: if shapes do not fit, there are none, or values are NaN or out of range.

    Reference:
      Murphy, "A new vector partition of the probability score", Journal of Applied Meteorology 12 (1973); Stephenson,
      Coelho and Jolliffe, "Two extra components in the Brier score decomposition", Weather and Forecasting 23 (2008).

    Example:
      >>> parts = brier_decomposition([[0.9, 0.1], [0.2, 0.8]], [0, 1], bins=2)
      >>> round(parts.reliability, 6), round(parts.resolution, 6)
      (0.05, 0.5)
    """
    p, labels = forecasts(p, labels)
    bins = whole_number("bins", bins, 1)
    parts = np.zeros(5)
    for k in range(p.shape[1]):
        f, y = p[:, k], (labels == k).astype(np.float64)
        place = np.maximum(np.searchsorted(np.arange(bins + 1) / bins, f, side="left") - 1, 0)
        _, place = np.unique(place, return_inverse=True)
        n = np.bincount(place)
        fbar, ybar = (np.bincount(place, f) / n)[place], (np.bincount(place, y) / n)[place]
        base = y.mean()
        terms = ((fbar - ybar) ** 2, (ybar - base) ** 2, (y - base) ** 2, (f - fbar) ** 2, 2 * (f - fbar) * (y - ybar))
        parts += [term.mean() for term in terms]
    return BrierDecomposition(*parts.tolist())
