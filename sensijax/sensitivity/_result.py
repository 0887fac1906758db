"""What every result of a global sensitivity analysis can do: a tidy table, and a plot."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity._space import Space, float_dtype

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
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        names: tuple[str, ...] = getattr(self, "names")  # noqa: B009
        shown = [m for m in self._measures() if not _is_pairs(m[1], len(names)) and m[0] in self._plotted()]
        columns = [(i, _output(v, output, 1), None if b is None else _output(b, output, 2)) for i, v, b in shown]
        order = np.argsort(-np.abs(columns[-1][1]), kind="stable")[:most][::-1]
        height = 0.8 / len(columns)
        for j, (index, value, bounds) in enumerate(columns):
            place = np.arange(len(order)) + (len(columns) / 2 - j - 0.5) * height
            error = None if bounds is None else np.abs(bounds[order].T - value[order])
            ax.barh(place, value[order], height, xerr=error, label=index, error_kw={"capsize": 2, "lw": 0.8})
        ax.set_yticks(np.arange(len(order)), [names[i] for i in order])
        ax.axvline(0, color="0.3", lw=0.8)
        ax.legend()
        return ax

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
        import matplotlib.pyplot as plt

        names: tuple[str, ...] = getattr(self, "names")  # noqa: B009
        found = [m for m in self._measures() if _is_pairs(m[1], len(names))]
        if not found:
            raise ArgumentError(
                "result", type(self).__name__, "a result with second order: sobol(..., second_order=True)"
            )
        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        index, value, bounds = found[0]
        value, bounds = _output(value, output, 2), None if bounds is None else _output(bounds, output, 3)
        largest = np.nanmax(np.abs(value))
        picture = ax.imshow(value, cmap="RdBu_r", vmin=-largest, vmax=largest)
        ax.figure.colorbar(picture, ax=ax, label=index)
        ticks = np.arange(len(names))
        ax.set_xticks(ticks, names, rotation=45, ha="right")
        ax.set_yticks(ticks, names)
        if len(names) <= 12:
            for i, j in zip(*np.where(np.isfinite(value)), strict=True):
                clear = bounds is None or bounds[i, j, 0] > 0 or bounds[i, j, 1] < 0
                dark = abs(value[i, j]) > 0.6 * largest
                ax.text(j, i, f"{value[i, j]:.2f}", ha="center", va="center",
                        color=("w" if dark else "k") if clear else "0.55", fontsize=8)  # fmt: skip
        return ax

    def _measures(self) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
        """(name, values, bounds) of every index."""
        count = len(getattr(self, "names"))  # noqa: B009
        found = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and not field.name.endswith("_interval") and value.shape[:1] == (count,):
                found.append((field.name, value, getattr(self, f"{field.name}_interval", None)))
        return found

    def _plotted(self) -> tuple[str, ...]:
        return tuple(name for name, _, bounds in self._measures() if bounds is not None) or tuple(
            name for name, _, _ in self._measures()
        )


def _is_pairs(value: np.ndarray, count: int) -> bool:
    return value.ndim >= 2 and value.shape[1] == count and bool(np.isnan(value[0, 0]).all())


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
