"""PAWN: how far the distribution function of an output moves when an input becomes known."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._given_data import drawn, measured
from sensijax.sensitivity.indices._interval import fraction
from sensijax.sensitivity.indices._result import Result, given_sample, squeezed


@dataclasses.dataclass(frozen=True, eq=False)
class PawnResult(Result):
    """Kolmogorov-Smirnov distances between the output's distribution and that in slices of an input.

    Attributes:
      minimum, mean, median, maximum: float64 `[d]` (`[d, k]`), over slices; in [0, 1].
      deviation: float64 `[d]`, the standard deviation over slices; divided by the mean, SALib's CV.
      minimum_interval, ..., maximum_interval: float64 `[d, 2]`, low and high.
      names: of the inputs.
      n_evaluations: rows.
      level: of the intervals.
    """

    minimum: np.ndarray
    mean: np.ndarray
    median: np.ndarray
    maximum: np.ndarray
    deviation: np.ndarray
    minimum_interval: np.ndarray
    mean_interval: np.ndarray
    median_interval: np.ndarray
    maximum_interval: np.ndarray
    names: tuple[str, ...]
    n_evaluations: int
    level: float

    def _plotted(self) -> tuple[str, ...]:
        return ("median", "maximum")


def pawn(
    f: Callable[[Any], Any], space: Any, *, key: jax.Array, n: int = 2**13, slices: int = 10, level: float = 0.95
) -> PawnResult:
    """PAWN indices of a function. The sample is stored: n (d + k) numbers.

    Args:
      f: pure; takes one point `[d]`, returns a real scalar or `[k]`.
      space: `{name: distribution}`, or a `Space`, correlated or not.
      key: a typed Threefry key.
      n: random points, >= 64 and >= 64 slices.
      slices: of each input's range, of equal probability.
      level: of the intervals.

    Returns:
      A `PawnResult`.

    Raises:
      ArgumentError: if an output is not finite or does not vary, or n does not fit.

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> space = {"x": Uniform(0, 1), "y": Uniform(0, 1)}
      >>> found = pawn(lambda x: x[0] + 4 * x[1], space, key=jax.random.key(0))
      >>> bool(found.median[0] < 0.2 < 0.4 < found.median[1])
      True
    """
    x, y, space, shape = drawn(f, space, key, n)
    return pawn_given(x, y if shape else y[:, 0], space, slices=slices, level=level)


def pawn_given(x: Any, y: Any, names: Any = None, *, slices: int = 10, level: float = 0.95) -> PawnResult:
    """PAWN indices from a sample.

    Equal to SALib 1.6.0's `analyze.pawn` to rounding, including that the largest value of an input is in no slice.
    SALib has no intervals. Distances are biased upwards, by about sqrt(slices / n): compare an input with one that is
    known not to matter.

    Args:
      x: `[n, d]`, rows independent of each other.
      y: `[n]` or `[n, k]`, outputs.
      names: of the columns, or a space.
      slices: of each input's range, of equal probability.
      level: of the intervals.

    Returns:
      A `PawnResult`.

    Raises:
      ArgumentError: if shapes do not fit, there are fewer than 64 rows for each slice, or an output is constant.

    Reference:
      Pianosi and Wagener, "A simple and efficient method for global sensitivity analysis based on cumulative
      distribution functions", Environmental Modelling and Software 67 (2015), and 108 (2018) for given data.

    Example:
      >>> x = np.random.default_rng(0).random((2000, 2))
      >>> found = pawn_given(x, x[:, 0])
      >>> bool(found.median[0] > 0.4), bool(found.median[1] < 0.2)
      (True, True)
    """
    x, y, names, shape = given_sample(x, y, names)
    if not isinstance(slices, int) or not 2 <= slices <= len(x) // 64:
        raise ArgumentError("slices", slices, f"between 2 and a sixty-fourth of the {len(x)} rows")
    whole, bounds = measured(_Distances(slices), x, y, fraction(level))
    fields = [squeezed(value, shape) for value in (*whole, *bounds[:4])]
    return PawnResult(*fields, names=names, n_evaluations=len(x), level=level)


@dataclasses.dataclass(frozen=True)
class _Distances:
    slices: int

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Statistics over slices, `[5, k]`."""
        step = 1 / self.slices
        edges = np.quantile(x, np.minimum(np.arange(0, 1 + step, step)[: self.slices + 1], 1))
        number = np.searchsorted(edges, x, side="right") - 1  # the largest value: one too many
        distance = np.stack([self._column(number, column) for column in y.T], axis=1)
        statistics = (np.nanmin, np.nanmean, np.nanmedian, np.nanmax, np.nanstd)
        return np.stack([statistic(distance, axis=0) for statistic in statistics])

    def _column(self, number: np.ndarray, y: np.ndarray) -> np.ndarray:
        order = np.argsort(y)
        y, number = y[order], number[order]
        last = np.append(y[1:] != y[:-1], True)  # of equal values, where both functions have made their step
        whole = np.arange(1, len(y) + 1)[last] / len(y)
        found = np.full(self.slices, np.nan)
        for s in range(self.slices):
            inside = number == s
            if count := np.count_nonzero(inside):
                found[s] = np.abs(np.cumsum(inside)[last] / count - whole).max()
        return found
