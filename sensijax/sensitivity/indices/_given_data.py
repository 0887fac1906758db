"""First-order indices from any sample of inputs and outputs, and the intervals of estimators that take one.

The sample need not have a design; rows are independent draws. An interval comes from the spread of the estimator over
equal parts of the sample: such estimators are no functions of sums, and a bootstrap would fill them with ties.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from scipy.special import stdtrit

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._design import sample, values
from sensijax.sensitivity.indices._interval import fraction
from sensijax.sensitivity.indices._points import Random
from sensijax.sensitivity.indices._result import Result, given_sample, refuse_constant, squeezed
from sensijax.sensitivity.indices._space import Space, as_space
from sensijax.sensitivity.indices._stream import output_shape

Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From a column x `[n]` and outputs y `[n, k]` to measures `[measures, k]`."""


@dataclasses.dataclass(frozen=True, eq=False)
class FirstOrderResult(Result):
    """First-order indices from a sample; a trailing `[k]` where y has one.

    Attributes:
      S1: float64 `[d]`.
      S1_interval: float64 `[d, 2]`, low and high, from equal parts of the sample.
      names: of the inputs.
      n_evaluations: rows.
      level: of the interval.
    """

    S1: np.ndarray
    S1_interval: np.ndarray
    names: tuple[str, ...]
    n_evaluations: int
    level: float


@dataclasses.dataclass(frozen=True)
class Rank:
    """Rank-based: (E[Y Y'] - E[Y]^2) / V, where Y' is the output of the next larger x. No tuning, any sample.

    Consistent for inputs with a density, dependent or not; where an input is discrete, ties are broken by row.

    Reference:
      Gamboa, Gremaud, Klein and Lagnoux, "Global sensitivity analysis: a novel generation of mighty estimators based on
      rank statistics", Bernoulli 28 (2022), after Chatterjee, "A new coefficient of correlation", JASA 116 (2021).

    Example:
      >>> Rank()
      Rank()
    """

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        y = y[np.argsort(x, kind="stable")]
        y = y - y.mean(axis=0)
        return np.mean(y * np.roll(y, -1, axis=0), axis=0, keepdims=True) / y.var(axis=0)


@dataclasses.dataclass(frozen=True)
class Binned:
    """The variance of the means in classes of equal size, over V.

    The plain estimate is biased upwards by about (classes - 1) (1 - S1) / n, which is taken off.

    Attributes:
      classes: how many; chosen by n if absent, at most 48 (Plischke, Borgonovo and Smith 2013).
      corrected: whether the bias is taken off. Without it, the estimate is that of SALib's `analyze.delta`.

    Reference:
      Plischke, "An adaptive correlation ratio method using the cumulative sum of the reordered output", Reliability
      Engineering and System Safety 107 (2012).

    Example:
      >>> Binned(classes=16).classes
      16
    """

    classes: int | None = None
    corrected: bool = True

    def __post_init__(self) -> None:
        if self.classes is not None and (not isinstance(self.classes, int) or self.classes < 2):
            raise ArgumentError("Binned.classes", self.classes, "at least 2")

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        classes = self.classes or class_count(len(x))
        number = class_of(x, classes)
        size = np.bincount(number, minlength=classes)[:, None]
        total = np.stack([np.bincount(number, column, classes) for column in (y - y.mean(axis=0)).T], axis=1)
        share = (np.square(total) / np.maximum(size, 1)).sum(axis=0, keepdims=True) / len(x) / y.var(axis=0)
        if not self.corrected:
            return share
        lost = (np.count_nonzero(size) - 1) / (len(x) - 1)
        return (share - lost) / (1 - lost)


def first_order_given(
    x: Any, y: Any, names: Any = None, *, estimator: Rank | Binned | None = None, level: float = 0.95
) -> FirstOrderResult:
    """First-order Sobol indices from a sample without a design: what you have already run.

    Args:
      x: `[n, d]`, rows independent of each other; the inputs of a row may depend on one another.
      y: `[n]` or `[n, k]`, outputs.
      names: of the columns, or a space.
      estimator: `Rank()` if absent, or `Binned()`.
      level: of the interval.

    Returns:
      A `FirstOrderResult`. For dependent inputs an index is Var(E[Y | X_i]) / V, and indices may sum to more than 1.

    Raises:
      ArgumentError: if shapes do not fit, a value is not finite, there are fewer than 64 rows, or an output is
        constant.

    Example:
      >>> x = np.random.default_rng(0).random((4096, 2))
      >>> first_order_given(x, x @ [1.0, 2.0]).S1.round(1).tolist()
      [0.2, 0.8]
    """
    x, y, names, shape = given_sample(x, y, names)
    whole, bounds = measured(estimator or Rank(), x, y, fraction(level))
    return FirstOrderResult(squeezed(whole[0], shape), squeezed(bounds[0], shape), names, len(x), level)


def measured(estimator: Estimator, x: np.ndarray, y: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Measures `[measures, d, k]` and bounds `[measures, d, 2, k]` from up to 16 equal parts of the sample."""
    if len(x) < 64:
        raise ArgumentError("x", f"{len(x)} rows", "at least 64: the interval comes from parts of the sample")
    refuse_constant(y.var(axis=0), y.mean(axis=0), False)

    def each(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack([estimator(column, y) for column in x.T], axis=1)

    parts = int(np.clip(len(x) // 128, 4, 16))
    whole = each(x, y)
    some = np.stack([each(x[part], y[part]) for part in np.array_split(np.arange(len(x)), parts)])
    half = stdtrit(parts - 1, (1 + level) / 2) * some.std(axis=0, ddof=1) / np.sqrt(parts)
    return whole, np.stack([whole - half, whole + half], axis=2)


def drawn(
    f: Callable[[Any], Any], space: Any, key: jax.Array, n: Any
) -> tuple[np.ndarray, np.ndarray, Space, tuple[int, ...]]:
    """A stored random sample: x float64 `[n, d]`, y `[n, k]`, the space, and y's trailing shape."""
    space = as_space(space)
    shape = output_shape(f, space.dimension)
    if not isinstance(n, int) or n < 64:
        raise ArgumentError("n", n, "a whole number, at least 64")
    x = sample(space, Random(), key, n)
    return x, values(f, x, space, chunk=4096), space, shape


def class_count(n: int) -> int:
    """How many classes of equal size a sample is cut into, by Plischke, Borgonovo and Smith (2013)."""
    return int(np.round(min(int(np.ceil(n ** (2 / (7 + np.tanh((1500 - n) / 500))))), 48)))


def class_of(x: np.ndarray, classes: int) -> np.ndarray:
    """The class of each row, by rank: int `[n]`; ties are broken by row."""
    rank = np.empty(len(x), np.int64)
    rank[np.argsort(x, kind="stable")] = np.arange(1, len(x) + 1)
    return np.searchsorted(np.linspace(0, len(x), classes + 1), rank, side="left") - 1
