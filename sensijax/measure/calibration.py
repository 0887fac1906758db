"""Calibration: whether a confidence of 0.8 is right eight times in ten."""

import dataclasses
from typing import Any

import numpy as np
from scipy.special import psi

from sensijax.measure._validate import forecasts, outcomes, scored_outcomes, weights_of, whole_number


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram: what the confidences in each bin promise, and what they keep.

    Bins have equal width and are closed on the right, (lo, hi]; a confidence of exactly 0 belongs to the first.

    Attributes:
      edges: float64 `[bins + 1]`, from 0 to 1.
      counts: int64 `[bins]`, predictions in each bin; with weights float64, their sums.
      confidence: float64 `[bins]`, their mean confidence; NaN in an empty bin.
      accuracy: float64 `[bins]`, the fraction of them that is correct; NaN in an empty bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over predictions of their bin's |accuracy - confidence|; NaN if none."""
        if not self.counts.sum():
            return float("nan")
        gap = np.abs(np.nan_to_num(self.accuracy) - np.nan_to_num(self.confidence))
        return float((self.counts * gap).sum() / self.counts.sum())


def reliability(confidence: Any, correct: Any, bins: int = 15, weights: Any = None) -> Reliability:
    """Confidences and outcomes, binned.

    Args:
      confidence: `[N]` in [0, 1], the probability given to the predicted class.
      correct: `[N]` booleans, or 0 and 1.
      bins: number of bins, >= 1.
      weights: `[N]` finite, 0 or more, of which only the ratios count; every row counts alike unless given.

    Returns:
      Counts, mean confidence and accuracy per bin.

    Raises:
      ArgumentError: if lengths differ, there are none, or values are NaN or out of range, or all weights are 0.

    Reference:
      Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017.

    Example:
      >>> reliability([0.2, 0.9, 1.0], [False, True, True], bins=2).counts.tolist()
      [1, 2]
    """
    confidence, correct = outcomes(confidence, correct)
    weights = weights_of(weights, len(confidence))
    return from_sums(*bin_sums(confidence, correct, whole_number("bins", bins, 1), weights))


def ece(confidence: Any, correct: Any, bins: int = 15, weights: Any = None) -> float:
    """Expected calibration error with bins of equal width, the L1 form.

    The bins are closed on the right, (lo, hi], as in the paper, and a confidence of 0 belongs to the first. At an
    edge the libraries differ: with ten bins and confidences 0.95 (correct) and 1.0 (wrong), this definition and
    netcal give 0.475, torchmetrics 1.9, which puts 1.0 in a bin of its own, gives 0.525.

    Args:
      confidence: `[N]` in [0, 1], the probability given to the predicted class.
      correct: `[N]` booleans, or 0 and 1.
      bins: number of bins, >= 1.
      weights: `[N]` finite, 0 or more, of which only the ratios count; every row counts alike unless given.

    Returns:
      The error, in [0, 1].

    Raises:
      ArgumentError: if lengths differ, there are none, or values are NaN or out of range, or all weights are 0.

    Reference:
      Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.

    Example:
      >>> round(ece([0.95, 1.0], [True, False], bins=10), 6)
      0.475
    """
    return reliability(confidence, correct, bins, weights).ece


def brier(p: Any, labels: Any, weights: Any = None) -> float:
    """The Brier score of probabilities over K classes: the mean over examples of sum_k (p_k - [k = label])^2.

    Args:
      p: `[N, K]` probabilities in [0, 1]; rows sum to 1 to within 1e-4.
      labels: integer `[N]` in [0, K).
      weights: `[N]` finite, 0 or more, of which only the ratios count; every row counts alike unless given.

    Returns:
      The score, in [0, 2]; for two classes it is twice the one-sided score of scikit-learn's `brier_score_loss`.

    Raises:
      ArgumentError: if shapes do not fit, there are none, or values are NaN or out of range, or all weights are 0.

    Reference:
      Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78 (1950).

    Example:
      >>> round(brier([[0.7, 0.2, 0.1]], [0]), 6)
      0.14
    """
    p, labels = forecasts(p, labels)
    scores = np.square(p - np.eye(p.shape[1])[labels]).sum(axis=1)
    return float(np.average(scores, weights=weights_of(weights, len(p))))


def aurc(confidence: Any, correct: Any, weights: Any = None) -> float:
    """Area under the risk-coverage curve: the error among the n most confident predictions, averaged over n = 1..N.

    Predictions of equal confidence have no order of their own; the result is the expectation over their orders, so it
    does not depend on how the rows are sorted. With weights, scaled to a mean of 1 over the rows that have any, a level
    of weight V and error e after a weight of C with E of it wrong adds the sum of (E + j e) / (C + j) over j = 1..V,
    which for weights that are not whole is continued by the digamma function: equal weights change nothing.

    Args:
      confidence: `[N]`, any real score that is larger where the model is surer; not NaN.
      correct: `[N]` booleans, or 0 and 1.
      weights: `[N]` finite, 0 or more, of which only the ratios count; every row counts alike unless given.

    Returns:
      The area, in [0, 1]; smaller is better.

    Raises:
      ArgumentError: if lengths differ, there are none, values are NaN, or all weights are 0.

    Reference:
      Geifman, Uziel and El-Yaniv, "Bias-reduced uncertainty estimation for deep neural classifiers", ICLR 2019.

    Example:
      >>> round(aurc([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0]), 6)
      0.196667
    """
    confidence, correct = scored_outcomes(confidence, correct)
    weight = weights_of(weights, len(confidence))
    weight = np.ones(len(confidence)) if weight is None else weight * (np.count_nonzero(weight) / weight.sum())
    _, level = np.unique(-confidence[weight > 0], return_inverse=True)
    size = np.bincount(level, weight[weight > 0])
    wrong = np.bincount(level, (weight * (1 - correct))[weight > 0])
    after = size.cumsum()
    before, error, rate = after - size, wrong.cumsum() - wrong, wrong / size
    area = wrong + (error - before * rate) * (psi(after + 1) - psi(before + 1))
    return float(area.sum() / after[-1])


def bin_sums(
    confidence: np.ndarray, correct: np.ndarray, bins: int, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per bin: the count, the sum of confidences, the number correct; with weights, sums of those. They add up over
    disjoint sets of rows."""
    # k / bins is the double nearest to the edge, so a confidence written as 0.7 lies on the edge 7/10, not beside it.
    place = np.maximum(np.searchsorted(np.arange(bins + 1) / bins, confidence, side="left") - 1, 0)
    if weights is not None:
        columns = (weights, weights * confidence, weights * correct)
        return tuple(np.bincount(place, column, bins) for column in columns)  # type: ignore[return-value]
    counts = np.bincount(place, minlength=bins)
    return counts, np.bincount(place, confidence, bins), np.bincount(place, correct, bins).astype(np.int64)


def from_sums(counts: np.ndarray, confidence: np.ndarray, correct: np.ndarray) -> Reliability:
    """The diagram of what `bin_sums` returned, or of a sum of several of them."""
    bins = len(counts)
    with np.errstate(invalid="ignore"):
        return Reliability(np.arange(bins + 1) / bins, counts, confidence / counts, correct / counts)
