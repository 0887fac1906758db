"""Checks at the door of the simulators."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.core.values import has_value


def check_numbers(argument: str, value: Any, low: float = -np.inf, high: float = np.inf) -> None:
    """A finite number, or a stack of them, in [low, high]; what is traced was checked before."""
    if not has_value(value):
        return
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iuf" and numbers.dtype.name != "bfloat16":
        raise ArgumentError(argument, repr(value), f"a number {_interval(low, high)}")
    numbers = numbers.astype(np.float64)
    if (wrong := numbers[~((numbers >= low) & (numbers <= high) & np.isfinite(numbers))]).size:
        raise ArgumentError(argument, f"{wrong.ravel()[0]:g}", f"a number {_interval(low, high)}")


def _interval(low: float, high: float) -> str:
    if np.isinf(low) and np.isinf(high):
        return "that is finite"
    return f"in [{low:g}, {high:g}]" if np.isfinite(high) else f"of at least {low:g}"


def whole_numbers(argument: str, value: Any) -> tuple[int, ...] | None:
    """An integer or several as a tuple, as a static field keeps them; None stays None."""
    if value is None:
        return None
    given = value if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else (value,)
    if not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in given):
        raise ArgumentError(argument, repr(value), "an integer or a sequence of integers")
    return tuple(int(i) for i in given)


def check_indices(argument: str, indices: Sequence[int], size: int, of: str) -> None:
    """At least one index, each in [0, size), none twice."""
    if not len(indices):
        raise ArgumentError(argument, "none", f"at least one of the {size} {of}")
    for i in indices:
        if not 0 <= i < size:
            raise ArgumentError(argument, i, f"the data have {of} 0..{size - 1}")
    if len(set(indices)) < len(indices):
        raise ArgumentError(argument, f"{list(indices)}", "each one once")


def classes_of(data: Dataset, why: str) -> np.ndarray:
    """How many examples each class has, int64 `[K]`; refuses a regression."""
    if not data.is_classification:
        raise ArgumentError("data.y", "float targets: a regression", f"integer labels: {why}")
    if data.y.min() < 0:
        raise ArgumentError("data.y", int(data.y.min()), "classes 0..K-1")
    return np.bincount(data.y)


def check_finite(data: Dataset) -> None:
    """Refuses data with a NaN or an infinity, of which no mean, direction or rank can be learned."""
    if np.issubdtype(data.x.dtype, np.floating):
        bad = ~np.isfinite(data.x).reshape(len(data), -1).all(axis=1)
        if bad.any():
            raise ArgumentError(
                "data.x",
                f"{bad.sum()} examples with NaN or infinity, the first with id {data.ids[bad][0]}",
                "finite numbers: leave those out by data.take",
            )


def check_floats(data: Dataset) -> None:
    """Refuses integer inputs, which cannot be moved by a fraction, and those that are not finite."""
    if not np.issubdtype(data.x.dtype, np.floating):
        raise ArgumentError("data.x", f"dtype {data.x.dtype}", "floats: this drift moves inputs by fractions")
    check_finite(data)
