"""What every result of a global sensitivity analysis can do: a tidy table, and a plot."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._space import Space, float_dtype

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """A frozen result: arrays by input, each with an array `NAME_interval` of bounds where it has an interval.

    Subclasses have at least `names`. Arrays of one number for each input are `[G]`, or `[G, k]` for k outputs; their
    intervals `[G, 2]`, or `[G, 2, k]`. Arrays of pairs are `[G, G]` with intervals `[G, G, 2]`, and likewise.
    """

    def frame(self) -> Any:
        """A tidy table: one row for each input (or pair), output and index.

        Returns:
          A pandas data frame with the columns `index` (such as "S1"), `input`, `with` (the pair's other input, or ""),
          `output` (its number), `estimate`, `low` and `high` (NaN where there is no interval).
        """
        import pandas

        rows = []
        for index, value, bounds in self._measures():
            names: tuple[str, ...] = getattr(self, "names")  # noqa: B009
            pairs = _is_pairs(value, len(names))
            value = value.reshape(*value.shape[: 1 + pairs], -1)
            bounds = None if bounds is None else bounds.reshape(*bounds.shape[: 2 + pairs], -1)
            for at in np.ndindex(*value.shape):
                if pairs and at[0] >= at[1]:
                    continue
                low, high = (np.nan, np.nan) if bounds is None else bounds[(*at[:-1], slice(None), at[-1])]
                other = names[at[1]] if pairs else ""
                rows.append((index, names[at[0]], other, at[-1], float(value[at]), float(low), float(high)))
        return pandas.DataFrame(rows, columns=["index", "input", "with", "output", "estimate", "low", "high"])

    def plot(self, ax: Any = None, *, output: int = 0, most: int = 20) -> Any:
        """A tornado: bars by input, longest on top, with intervals.

        Args:
          ax: matplotlib axes to draw on; new ones if absent.
          output: which output, if f has several.
          most: inputs shown at most.

        Returns:
          The axes.
        """
        from sensijax.sensitivity._plots import tornado

        return tornado(self, ax, output=output, most=most)

    def plot_pairs(self, ax: Any = None, *, output: int = 0) -> Any:
        """A heatmap of the second order: pairs whose interval contains 0 are in grey letters.

        Args:
          ax: matplotlib axes to draw on; new ones if absent.
          output: which output, if f has several.

        Returns:
          The axes.

        Raises:
          ArgumentError: if the result has no second order.
        """
        from sensijax.sensitivity._plots import pairs

        return pairs(self, ax, output=output)

    def to_xarray(self) -> Any:
        """As an `xarray.Dataset` with named axes; needs the extra `xarray`."""
        from sensijax.sensitivity._xarray import to_xarray

        return to_xarray(self)

    def _measures(self) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
        """(name, values, bounds) of every index."""
        count = len(getattr(self, "names"))  # noqa: B009
        found = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            bounds = getattr(self, f"{field.name}_interval", None)
            of_output = field.name in ("mean", "variance") and bounds is None
            if isinstance(value, np.ndarray) and value.shape[:1] == (count,) and not of_output:
                if not field.name.endswith("_interval"):
                    found.append((field.name, value, bounds))
        return found

    def _plotted(self) -> tuple[str, ...]:
        return tuple(name for name, _, bounds in self._measures() if bounds is not None) or tuple(
            name for name, _, _ in self._measures()
        )


def _is_pairs(value: np.ndarray, count: int) -> bool:
    if value.ndim < 2 or value.shape[1] != count:
        return False
    return bool(np.isnan(value[np.arange(count), np.arange(count)]).all())  # [G, G] outputs would be numbers there


def _output(value: np.ndarray, output: int, leading: int) -> np.ndarray:
    value = value.reshape(*value.shape[:leading], -1)
    if not 0 <= output < value.shape[-1]:
        raise ArgumentError("output", output, f"one of 0 to {value.shape[-1] - 1}")
    return value[..., output]


def squeezed(value: np.ndarray | None, shape: tuple[int, ...]) -> Any:
    """A value `[..., k]`, without its last axis where f returns a scalar."""
    if value is None:
        return None
    out = value if shape else value[..., 0]
    return float(out) if out.ndim == 0 else out


def refuse_constant(variance: np.ndarray, mean: np.ndarray, allowed: bool) -> None:
    """Raises if an output `[k]` does not vary by more than it is rounded to."""
    resolution = 4 * float(np.finfo(float_dtype()).eps) * np.abs(mean)
    constant = ~(variance > resolution**2)
    if constant.any():
        which = np.flatnonzero(constant)
        if allowed:
            _log.warning("%d of %d outputs do not vary: their indices are not defined", len(which), len(variance))
            return
        raise ArgumentError(
            "f",
            f"an output that does not vary (output {', '.join(map(str, which[:5]))} of {len(variance)})",
            "its indices are shares of a variance of 0: drop it, or pass allow_constant=True to get what remains",
        )


def given_names(names: Any) -> tuple[str, ...]:
    """Names from a list of them, a dict, or a `Space` (its groups)."""
    if isinstance(names, Space):
        return names.group_names
    if isinstance(names, str) or not isinstance(names, (Mapping, Sequence)) or not len(names):
        raise ArgumentError("names", repr(names), "a list of names, or a space")
    if len(set(names)) != len(names):
        raise ArgumentError("names", repr(names), "each name once")
    return tuple(map(str, names))


def given_sample(x: Any, y: Any, names: Any) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple[int, ...]]:
    """A checked sample: x float64 `[n, d]`, y float64 `[n, k]`, names, and y's trailing shape."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2:
        raise ArgumentError("x", f"shape {list(x.shape)}", "[n, d]")
    if y.ndim not in (1, 2) or len(y) != len(x) or y.size == 0:
        raise ArgumentError("y", f"shape {list(y.shape)}", f"[{len(x)}] or [{len(x)}, k]")
    if names is None:
        names = tuple(f"x{i + 1}" for i in range(x.shape[1]))
    names = tuple(names.names) if isinstance(names, Space) else given_names(names)
    if len(names) != x.shape[1]:
        raise ArgumentError("names", f"{len(names)} names", f"one for each of {x.shape[1]} columns of x")
    for argument, value in (("x", x), ("y", y)):
        bad = ~np.isfinite(value).reshape(len(value), -1).all(axis=1)
        if bad.any():
            came = f"{bad.sum()} of {len(value)} rows not finite, first at {int(np.argmax(bad))}"
            raise ArgumentError(argument, came, "finite numbers: drop those rows of x and y first")
    return x, y.reshape(len(y), -1), names, y.shape[1:]
