"""Errors of calibration beside the plain one: bins of equal mass, every class, the worst bin, no bias, no bins."""

from typing import Any

import numpy as np
from scipy.fft import dct, idct
from scipy.special import ndtri

from sensijax.core.errors import ArgumentError
from sensijax.measure._validate import forecasts, fraction, outcomes, weights_of, whole_number
from sensijax.measure.calibration import bin_sums, ece, from_sums, reliability

_CELLS = 8192  # of the grid on which residuals are smoothed


def equal_mass_ece(confidence: Any, correct: Any, bins: int = 15, weights: Any = None) -> float:
    """Expected calibration error with bins that hold equal shares of the predictions, the L1 form.

    Equal confidences stay together: a level of weight w above a weight of `before`, of W in all, goes whole to bin
    floor(bins (2 before + w) / (2 W)), where its middle lies. The order of rows does not count. Without equal
    confidences it is netcal 1.4.0's ECE with `equal_intervals=False`; what netcal calls ACE is a mean over bins of
    equal width.

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
      Nixon, Dusenberry, Zhang, Jerfel and Tran, "Measuring calibration in deep learning", CVPR workshops 2019.

    Example:
      >>> round(equal_mass_ece([0.6, 0.7, 0.8, 0.9], [0, 1, 1, 1], bins=2), 6)
      0.15
    """
    confidence, correct = outcomes(confidence, correct)
    bins, weight = whole_number("bins", bins, 1), weights_of(weights, len(confidence))
    weight = np.ones(len(confidence)) if weight is None else weight
    order = np.lexsort((weight, correct, confidence))  # sums in one order, whatever the order of the rows
    confidence, correct, weight = confidence[order], correct[order], weight[order]
    _, level = np.unique(confidence, return_inverse=True)
    mass = np.bincount(level, weight)
    middle = 2 * mass.cumsum() - mass
    place = np.minimum((bins * middle / (2 * mass.sum())).astype(np.int64), bins - 1)[level]
    return float(np.abs(np.bincount(place, weight * (correct - confidence))).sum() / mass.sum())


def classwise_ece(p: Any, labels: Any, bins: int = 15, weights: Any = None) -> float:
    """The mean over classes of the one-vs-rest expected calibration error, with bins of equal width.

    Args:
      p: `[N, K]` probabilities in [0, 1].
      labels: integer `[N]` in [0, K).
      bins: number of bins, >= 1.
      weights: `[N]` finite, 0 or more, of which only the ratios count; every row counts alike unless given.

    Returns:
      The error, in [0, 1].

    Raises:
      ArgumentError: if shapes do not fit, there are none, or values are NaN or out of range, or all weights are 0.

    Reference:
      Kull et al., "Beyond temperature scaling", NeurIPS 2019.

    Example:
      >>> round(classwise_ece([[0.8, 0.2], [0.6, 0.4]], [0, 1], bins=2), 6)
      0.2
    """
    p, labels = forecasts(p, labels)
    return float(np.mean([ece(p[:, k], labels == k, bins, weights) for k in range(p.shape[1])]))


def debiased_ece(confidence: Any, correct: Any, bins: int = 15) -> float:
    """The squared calibration error of the binned confidences, less what chance alone adds to it.

    It is the sum over bins of (n_b / n) [gap^2 - ybar (1 - ybar) / (n_b - 1)], a squared error, not its root, and
    signed: about calibrated predictions it falls below 0 as often as need be for its mean to be about 0. That mean,
    given the confidences, is low by s^2 / (n_b - 1) in a bin in which calibrated confidences have variance s^2. Bins
    have equal width; one with a single row, which has no variance, joins the next occupied one above, the last the
    one below. Without such bins it is `unbiased_square_ce` of the authors' uncertainty-calibration 0.1.4, which counts
    them as free of error.

    Args:
      confidence: `[N]` in [0, 1], the probability given to the predicted class; N >= 2.
      correct: `[N]` booleans, or 0 and 1.
      bins: number of bins, >= 1.

    Returns:
      The squared error; may be negative.

    Raises:
      ArgumentError: if lengths differ, there are fewer than two rows, or values are NaN or out of range.

    Reference:
      Kumar, Liang and Ma, "Verified uncertainty calibration", NeurIPS 2019.

    Example:
      >>> round(debiased_ece([0.9, 0.9, 0.9, 0.9], [1, 1, 0, 0]), 6)
      0.076667
    """
    confidence, correct = outcomes(confidence, correct)
    if len(confidence) < 2:
        raise ArgumentError("confidence", "one prediction", "at least two: a single one has no variance")
    joined: list[np.ndarray] = []
    waiting = np.zeros(3)
    for row in np.stack(bin_sums(confidence, correct, whole_number("bins", bins, 1)), axis=1):
        waiting = waiting + row
        if waiting[0] >= 2:
            joined.append(waiting)
            waiting = np.zeros(3)
    joined[-1] = joined[-1] + waiting
    n, promised, kept = np.stack(joined, axis=1)
    ybar = kept / n
    return float((n * (np.square(promised / n - ybar) - ybar * (1 - ybar) / (n - 1))).sum() / n.sum())


def smooth_ece(confidence: Any, correct: Any) -> float:
    """Calibration error without bins: residuals smoothed at the one width that equals the error found at that width.

    smECE_sigma is the integral over [0, 1] of |mean_i (y_i - f_i) K_sigma(f_i, t)|, with K the Gaussian reflected at
    0 and 1. It does not rise with sigma, so smECE_sigma = sigma has one solution, found by bisection. Residuals lie on
    a grid of 8,192 cells, each split between the two nearest, where a cosine transform smooths them. The authors'
    relplot 1.0.3 searches sigma to 1/1024 only.

    Args:
      confidence: `[N]` in [0, 1], the probability given to the predicted class.
      correct: `[N]` booleans, or 0 and 1.

    Returns:
      The error, in [0, 1], to about a cell's width, 1e-4.

    Raises:
      ArgumentError: if lengths differ, there are none, or values are NaN or out of range.

    Reference:
      Blasiok and Nakkiran, "Smooth ECE: principled reliability diagrams via kernel smoothing", 2023.

    Example:
      >>> round(smooth_ece([1.0, 1.0, 1.0, 1.0], [1, 1, 1, 0]), 4)
      0.25
    """
    confidence, correct = outcomes(confidence, correct)
    residual = (correct - confidence) / len(confidence)
    at = np.clip(confidence * _CELLS - 0.5, 0, _CELLS - 1)
    low = np.minimum(at.astype(np.int64), _CELLS - 2)
    mass = np.bincount(low, residual * (1 - (at - low)), _CELLS) + np.bincount(low + 1, residual * (at - low), _CELLS)
    waves = dct(mass, norm="ortho")
    decay = -np.square(np.pi * np.arange(_CELLS)) / 2  # the reflected Gaussian's eigenvalues are exp(sigma^2 decay)
    below, above = 0.0, 1.0
    for _ in range(40):
        sigma = (below + above) / 2
        smoothed = np.abs(idct(waves * np.exp(sigma * sigma * decay), norm="ortho")).sum()
        below, above = (sigma, above) if smoothed > sigma else (below, sigma)
    return above


def mce(confidence: Any, correct: Any, bins: int = 15) -> float:
    """Maximum calibration error: the largest |accuracy - confidence| of an occupied bin of equal width.

    Args:
      confidence: `[N]` in [0, 1], the probability given to the predicted class.
      correct: `[N]` booleans, or 0 and 1.
      bins: number of bins, >= 1.

    Returns:
      The error, in [0, 1].

    Raises:
      ArgumentError: if lengths differ, there are none, or values are NaN or out of range.

    Reference:
      Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.

    Example:
      >>> round(mce([0.2, 0.9, 0.9], [0, 1, 0], bins=2), 6)
      0.4
    """
    diagram = reliability(confidence, correct, bins)
    return float(np.nanmax(np.abs(diagram.accuracy - diagram.confidence)))


def reliability_intervals(
    confidence: Any, correct: Any, bins: int = 15, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score intervals of the accuracy in each bin of a reliability diagram.

    Args:
      confidence: `[N]` in [0, 1], the probability given to the predicted class.
      correct: `[N]` booleans, or 0 and 1.
      bins: number of bins of equal width, >= 1.
      level: the confidence level of each interval by itself, in (0, 1).

    Returns:
      Lower and upper ends, float64 `[bins]` each; NaN in an empty bin.

    Raises:
      ArgumentError: if lengths differ, there are none, or values are NaN or out of range.

    Reference:
      Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Example:
      >>> low, high = reliability_intervals([0.7] * 10, [1] * 7 + [0] * 3, bins=1)
      >>> round(low[0], 4).item(), round(high[0], 4).item()
      (0.3968, 0.8922)
    """
    confidence, correct = outcomes(confidence, correct)
    z = float(ndtri((1 + fraction("level", level, "a confidence level")) / 2))
    diagram = from_sums(*bin_sums(confidence, correct, whole_number("bins", bins, 1)))
    n, rate = np.where(diagram.counts > 0, diagram.counts, np.nan), diagram.accuracy
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(rate * (1 - rate) / n + np.square(z / (2 * n))) / (1 + z * z / n)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)  # rounding alone leaves [0, 1]
