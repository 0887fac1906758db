"""Intervals for regression: a model's own, widened or narrowed until they hold the target as often as they say."""

import dataclasses
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.measure._validate import numbers, same_shape
from sensijax.measure.conformal._quantile import rank_of


@dataclasses.dataclass(frozen=True, eq=False)
class IntervalPredictor:
    """A calibrated predictor of intervals; made by `absolute` or `cqr`.

    Attributes:
      alpha: the share of targets that may be missed.
      k: the place of the margin among the sorted scores.
      margin: what is added on both sides, in the unit of the target; infinite where k > n, negative where the model's
        own intervals were too wide.
    """

    alpha: float
    k: int
    margin: float

    @property
    def status(self) -> str:
        """Either "ok", or "too few examples": every interval is the whole line."""
        return "ok" if np.isfinite(self.margin) else "too few examples"

    def intervals(self, low: Any, high: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds float64 `[N]`; a narrowed interval whose bounds have crossed is empty (low > high).

        Args:
          low: `[N]`, predictions, or the lower quantiles of `cqr`.
          high: `[N]`, the upper quantiles; the predictions unless given.

        Returns:
          The bounds.

        Raises:
          ArgumentError: if shapes differ or a number is not finite.
        """
        low = _finite("low", low)
        high = low if high is None else _finite("high", high)
        same_shape(low=low, high=high)
        return low - self.margin, high + self.margin


def absolute(prediction: Any, target: Any, alpha: float) -> IntervalPredictor:
    """Split conformal intervals of one width: score |target - prediction|.

    Args:
      prediction: `[n]`, for calibration examples that the model was not fitted on.
      target: `[n]`, the same unit.
      alpha: the share of targets that may be missed, in (0, 1).

    Returns:
      A calibrated predictor.

    Raises:
      ArgumentError: if shapes differ, a number is not finite, or alpha is out of range.

    Reference:
      Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, "Distribution-free predictive inference for regression", JASA 113
      (2018).

    Example:
      >>> absolute(np.zeros(9), np.arange(9.0), alpha=0.2).margin
      7.0
    """
    prediction, target = _finite("prediction", prediction), _finite("target", target)
    same_shape(prediction=prediction, target=target)
    return cqr(prediction, prediction, target, alpha)


def cqr(low: Any, high: Any, target: Any, alpha: float) -> IntervalPredictor:
    """Conformalised quantile regression: score max(low - target, target - high).

    Args:
      low, high: `[n]`, estimated quantiles for calibration examples, low <= high.
      target: `[n]`, the same unit.
      alpha: the share of targets that may be missed, in (0, 1).

    Returns:
      A calibrated predictor.

    Raises:
      ArgumentError: if shapes differ, a number is not finite, low > high somewhere, or alpha is out of range.

    Reference:
      Romano, Patterson and Candes, "Conformalized quantile regression", NeurIPS 2019.

    Example:
      >>> cqr(np.zeros(9), np.full(9, 10.0), np.arange(9.0), alpha=0.2).margin
      -1.0
    """
    target, low, high = _finite("target", target), _finite("low", low), _finite("high", high)
    same_shape(target=target, low=low, high=high)
    if not len(target):
        raise ArgumentError("target", "no example", "at least one")
    if (low > high).any():
        raise ArgumentError("low", f"{(low > high).sum()} above `high`", "low <= high")
    scores = np.sort(np.maximum(low - target, target - high))
    k = rank_of(len(scores), alpha)
    return IntervalPredictor(alpha, k, float(scores[k - 1]) if k <= len(scores) else float("inf"))


def _finite(argument: str, values: Any) -> np.ndarray:
    array = numbers(argument, values)
    if not np.isfinite(array).all():
        raise ArgumentError(argument, f"{(~np.isfinite(array)).sum()} that are not finite", "finite numbers")
    return array
