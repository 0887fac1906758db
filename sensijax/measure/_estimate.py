"""A mean with its interval: the struct that comparisons return, and the door of the bootstrap behind them."""

import dataclasses
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.measure._bootstrap import bootstrap
from sensijax.measure._validate import fraction, whole_number

_ROUNDING = 1e-9
"""By how much a weighted sum of whole numbers may overshoot its bound."""


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """A mean difference and what is known about it: for one scenario numbers, for many arrays `[...]`.

    Where fewer than two examples remain there is no interval: its bounds, the error and the p-value are NaN.

    Attributes:
      mean: float64, the observed mean over seeds and examples, in the unit of the difference.
      low, high: float64, bounds of the interval, the same unit.
      standard_error: float64, of the mean; what the p-value is made from.
      p_value: float64 in [0, 1], two-sided, for the hypothesis that the true mean is 0.
      n_examples: int64, examples that count.
      n_excluded: int64, examples left out because a value of theirs is NaN.
      n_seeds: S.
      level: of the interval.
    """

    mean: Any
    low: Any
    high: Any
    standard_error: Any
    p_value: Any
    n_examples: Any
    n_excluded: Any
    n_seeds: int
    level: float


def unmasked(values: Any) -> np.ndarray:
    """An array as it is; the missing ones of a masked array become NaN."""
    if np.ma.isMaskedArray(values):  # a store's NULLs
        return np.ma.filled(values.astype(np.float64), np.nan)
    return np.asarray(values)


def estimate_of(argument: str, values: Any, bound: float | None, resamples: int, level: float, seed: int) -> Estimate:
    """Means of `[..., S, N]`, with the intervals of the two-way bootstrap.

    Args:
      argument: the name to use in an error.
      values: signed real numbers.
      bound: the largest magnitude that differences of correct or not can have, with pseudo-examples; None without.
      resamples, level, seed: as in `paired_bootstrap`.
    """
    values = unmasked(values)
    if values.dtype.kind not in "if":
        raise ArgumentError(argument, f"dtype {values.dtype}", "signed real numbers; int8 for correct or not")
    if values.ndim < 2 or values.size == 0:
        raise ArgumentError(
            argument, f"shape {list(values.shape)}", "[..., S, N]: at least one scenario, seed and example"
        )
    resamples, seed = whole_number("resamples", resamples, 100), whole_number("seed", seed, 0)
    level = fraction("level", level, "a confidence level")

    def check(block: np.ndarray) -> None:
        if np.isinf(block).any():
            raise ArgumentError(argument, "an infinity", "finite numbers, or NaN to exclude an example")
        if bound is not None:
            wrong = block[np.abs(block) > bound + _ROUNDING]
            if wrong.size:
                raise ArgumentError(argument, f"{wrong[0]:g}", f"with `binary`, numbers in [-{bound:g}, {bound:g}]")

    leading, (n_seeds, n) = values.shape[:-2], values.shape[-2:]
    out = bootstrap(
        values.reshape(-1, n_seeds, n),
        pseudo=bound is not None,
        resamples=resamples,
        level=level,
        seed=seed,
        check=check,
    )
    low, high = (out.low, out.high) if bound is None else np.clip((out.low, out.high), -bound, bound)

    def shaped(column: np.ndarray) -> Any:
        return column.reshape(leading)[()]  # a scalar, not a zero-dimensional array, for one scenario

    return Estimate(
        mean=shaped(out.mean),
        low=shaped(low),
        high=shaped(high),
        standard_error=shaped(out.standard_error),
        p_value=shaped(out.p_value),
        n_examples=shaped(out.count),
        n_excluded=shaped(n - out.count),
        n_seeds=n_seeds,
        level=level,
    )
