"""Where a response is steepest along a severity, and how surely."""

import dataclasses
from typing import Any

import numpy as np

from sensijax.core import ArgumentError
from sensijax.sensitivity.indices._response import ResponseCurve


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The severity at which the mean response changes fastest.

    Attributes:
      severity: where the mean slope is largest in size, between nodes by a parabola.
      low, high: its interval over other examples, at `level`.
      slope: the mean slope there, in units of the response per unit of severity.
      slope_low, slope_high: its interval. It is that of the steepest place of each resample, so its ends lie further
        from 0 than those of the slope at a fixed severity.
      sharpness: |slope| over the mean |slope| along the curve: 1 for a straight line, large for a cliff.
      sharpness_low, sharpness_high: its interval.
      at_edge: whether the steepest place is the first or the last severity of the curve: then it may lie beyond.
      level: of the intervals.
      n: examples that count; those with a value that is not finite do not.
    """

    severity: float
    low: float
    high: float
    slope: float
    slope_low: float
    slope_high: float
    sharpness: float
    sharpness_low: float
    sharpness_high: float
    at_edge: bool
    level: float
    n: int

    def frame(self) -> Any:
        """A pandas table of one row, to be joined with others."""
        import pandas as pd

        return pd.DataFrame([dataclasses.asdict(self)])


def threshold(curve: ResponseCurve, *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Threshold:
    """Where the response's slope peaks, with a bootstrap interval over examples.

    Scales read from tables change their slope at integers, and with them every response. A peak next to an integer may
    be the table's: sweep the physical parameter instead to tell.

    Args:
      curve: from `response_curve`, at three severities or more, close enough to resolve the peak.
      level: of the intervals, in (0, 1).
      resamples: of the examples, >= 100.
      seed: of the resampling.

    Returns:
      A `Threshold`.

    Raises:
      ArgumentError: if the curve is too short, no slope differs from zero, fewer than two examples are finite, or an
        option is out of range.

    Example:
      >>> from sensijax.sensitivity.derivatives._nonfinite import NonFinite
      >>> s = np.linspace(0, 5, 51)[:, None]
      >>> centre = 2 + 0.1 * np.random.default_rng(0).standard_normal(200)[None]
      >>> slope = np.exp(-(((s - centre) / 0.3) ** 2))
      >>> found = threshold(ResponseCurve(s[:, 0], np.cumsum(slope, axis=0), slope, "forward", NonFinite(0, 1, ())))
      >>> round(found.severity, 1), found.low < 2 < found.high, found.at_edge
      (2.0, True, False)
    """
    if not 0 < level < 1:
        raise ArgumentError("level", level, "a confidence level lies strictly between 0 and 1")
    if resamples < 100:
        raise ArgumentError("resamples", resamples, "at least 100")
    if len(curve.severity) < 3:
        raise ArgumentError("curve", f"{len(curve.severity)} severities", "three or more: a peak has two sides")
    sound = np.isfinite(curve.slope).all(axis=0)
    slope, n = curve.slope[:, sound], int(sound.sum())
    if n < 2:
        raise ArgumentError("curve", f"{n} examples with finite slopes", "two or more: an interval needs others")
    mean = slope.mean(axis=1)
    if not mean.any():
        raise ArgumentError("curve", "slopes that are all zero", "a response that moves, and not in steps")
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), resamples)
    means = np.concatenate([mean[None], weights @ slope.T / n])
    place, height = _peaks(curve.severity, means)
    step = np.gradient(curve.severity)
    average = np.abs(means) @ (step / step.sum())
    sharpness = np.divide(np.abs(height), average, out=np.full(len(height), np.nan), where=average > 0)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(place[1:], tails)
    slope_low, slope_high = np.quantile(height[1:], tails)
    sharp_low, sharp_high = np.nanquantile(sharpness[1:], tails)
    edge = place[0] in (curve.severity[0], curve.severity[-1])
    return Threshold(
        severity=float(place[0]),
        low=float(low),
        high=float(high),
        slope=float(height[0]),
        slope_low=float(slope_low),
        slope_high=float(slope_high),
        sharpness=float(sharpness[0]),
        sharpness_low=float(sharp_low),
        sharpness_high=float(sharp_high),
        at_edge=bool(edge),
        level=level,
        n=n,
    )


def _peaks(severity: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place and signed height `[R]` of the largest |slope| of each row `[R, S]`, by a parabola through three nodes."""
    size, rows = np.abs(slopes), np.arange(len(slopes))
    top = size.argmax(axis=1)
    inner = np.clip(top, 1, len(severity) - 2)
    s0, s1, s2 = (severity[inner + d] for d in (-1, 0, 1))
    f0, f1, f2 = (size[rows, inner + d] for d in (-1, 0, 1))
    left, right = (f1 - f0) / (s1 - s0), (f2 - f1) / (s2 - s1)
    bend = (right - left) / (s2 - s0)
    curved = (top == inner) & (bend < 0)
    # The parabola's slope at the left interval's middle is `left`.
    place = np.where(curved, (s0 + s1) / 2 - left / (2 * np.where(curved, bend, -1.0)), severity[top])
    place = np.clip(place, severity[0], severity[-1])
    height = size[rows, top] + np.where(curved, -bend * np.square(place - severity[top]), 0)
    return place, height * np.sign(slopes[rows, top])
