"""How many points are enough: doubling n until the widest interval is below a tolerance."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sensijax.core.errors import ArgumentError

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Convergence:
    """Results at growing n.

    Attributes:
      results: of the method, one for each n.
      n: how many points each had.
      half_width: float64, half of the widest interval of each.
      tolerance: what was asked for.
    """

    results: tuple[Any, ...]
    n: tuple[int, ...]
    half_width: np.ndarray
    tolerance: float

    @property
    def result(self) -> Any:
        """The last result, at the largest n."""
        return self.results[-1]

    @property
    def converged(self) -> bool:
        """Whether the last half-width is within the tolerance."""
        return bool(self.half_width[-1] <= self.tolerance)

    def frame(self) -> Any:
        """The tidy tables of all results, one below the other, with a column `n`."""
        import pandas

        return pandas.concat(
            [result.frame().assign(n=n) for n, result in zip(self.n, self.results, strict=True)], ignore_index=True
        )

    def plot(self, ax: Any = None) -> Any:
        """Half of the widest interval against n, with the tolerance and the slope of n^(-1/2) for comparison.

        Args:
          ax: matplotlib axes to draw on; new ones if absent.

        Returns:
          The axes.
        """
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        n = np.asarray(self.n, float)
        ax.loglog(n, self.half_width, "o-", label="half of the widest interval")
        ax.loglog(n, self.half_width[0] * np.sqrt(n[0] / n), ":", color="0.5", label="as 1 / sqrt(n)")
        ax.axhline(self.tolerance, color="C3", lw=1, label="tolerance")
        ax.set_xlabel("n")
        ax.legend()
        return ax


def converge(
    method: Callable[..., Any],
    f: Callable[[Any], Any],
    space: Any,
    *,
    key: jax.Array,
    tolerance: float,
    start: int = 2**10,
    most: int = 2**20,
    indices: tuple[str, ...] | None = None,
    **options: Any,
) -> Convergence:
    """Runs a method at n = start, 2 start, ... until every interval is within +- tolerance, or n exceeds `most`.

    The streamed methods run one compiled program at every n once a block fills a chunk, and the points at n are among
    those at 2 n. All are evaluated again, so the whole costs twice the last run. Stopping when an interval happens to
    be short makes it a little too short on average.

    Args:
      method: `sobol`, `dgsm`, `shapley_effects`, or another that takes `n` and gives results with intervals.
      f: the function.
      space: of its inputs.
      key: a typed Threefry key, the same at every n.
      tolerance: of half an interval, in the unit of the indices; > 0.
      start: the first n.
      most: no n above this.
      indices: which of the result's indices count, such as `("ST",)`; all that have an interval if absent.
      **options: passed to the method.

    Returns:
      A `Convergence`; not `converged` if `most` was reached first, which is logged.

    Raises:
      ArgumentError: if the tolerance is not above 0, `most` is below `start`, or a result has no such interval.

    Example:
      >>> from sensijax.sensitivity import Uniform, sobol
      >>> space = {"x": Uniform(0, 1), "y": Uniform(0, 1)}
      >>> found = converge(sobol, lambda x: x[0] * x[1], space, key=jax.random.key(0), tolerance=0.05)
      >>> found.converged
      True
    """
    if not isinstance(tolerance, (int, float)) or not tolerance > 0:
        raise ArgumentError("tolerance", repr(tolerance), "a number above 0")
    if most < start:
        raise ArgumentError("most", most, f"at least `start`, {start}")
    results, counts, widths, n = [], [], [], start
    while n <= most:
        results.append(method(f, space, key=key, n=n, **options))
        counts.append(n)
        widths.append(_half_width(results[-1], indices))
        if widths[-1] <= tolerance:
            break
        n *= 2
    else:
        _log.warning("half an interval is %.3g at n = %d, above the tolerance %.3g", widths[-1], counts[-1], tolerance)
    return Convergence(tuple(results), tuple(counts), np.asarray(widths), float(tolerance))


def _half_width(result: Any, indices: tuple[str, ...] | None) -> float:
    found = {
        field.name.removesuffix("_interval"): getattr(result, field.name)
        for field in dataclasses.fields(result)
        if field.name.endswith("_interval") and getattr(result, field.name) is not None
    }
    if missing := set(indices or ()) - set(found):
        raise ArgumentError("indices", f"{sorted(missing)}", f"of {', '.join(found)}")
    count, widest = len(result.names), 0.0
    for name in indices or found:
        axis = 2 if found[name].shape[:2] == (count, count) and found[name].ndim > 2 and name == "S2" else 1
        widest = max(widest, float(np.nanmax(np.diff(found[name], axis=axis))) / 2)
    return widest
