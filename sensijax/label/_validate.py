"""Checks at the door of the label room."""

from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.core.values import has_value

ROUNDING = 1e-5
"""How far from 1 the float32 entries of a distribution may sum."""


def check_rate(argument: str, value: Any, most: float = 1.0) -> None:
    """A rate, or a stack of them, in [0, most]; what is traced was checked before."""
    if not has_value(value):
        return
    rates = np.asarray(value)
    if rates.dtype.kind not in "iuf" or (wrong := rates[~((rates >= 0) & (rates <= most))]).size:
        came = f"{wrong.ravel()[0]:g}" if rates.dtype.kind in "iuf" else repr(value)
        right = f"a fraction in [0, {most:g}]" if most < np.inf else "a finite number, 0 or more"
        raise ArgumentError(argument, came, right)
    if np.isinf(rates).any():
        raise ArgumentError(argument, "inf", "a finite number, 0 or more")


def as_rows(argument: str, value: Any) -> Any:
    """Square matrices float32 `[..., K, K]` whose rows are distributions; what is traced was checked before.

    Raises:
      ArgumentError: if they are not square, have fewer than 2 classes, an entry that is no probability, or a row that
        does not sum to one.
    """
    if not has_value(value):
        return value
    try:
        matrix = np.asarray(value, np.float32)
    except ValueError as error:
        raise ArgumentError(argument, f"what is no array: {error}", "rows of one length: [K, K]") from error
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] < 2:
        raise ArgumentError(argument, f"shape {list(matrix.shape)}", "square, for 2 classes or more: [..., K, K]")
    if (wrong := matrix[~((matrix >= 0) & (matrix <= 1 + ROUNDING))]).size:
        raise ArgumentError(argument, f"an entry {wrong[0]:g}", "probabilities in [0, 1]")
    sums = matrix.astype(np.float64).sum(-1)
    if (far := np.argwhere(np.abs(sums - 1) > ROUNDING)).size:
        where = tuple(int(i) for i in far[0])
        row = where[0] if len(where) == 1 else list(where)
        raise ArgumentError(argument, f"row {row} sums to {sums[where]:g}", "rows that sum to 1: P(observed | true)")
    return matrix


def check_labels(y: Any, classes: int) -> np.ndarray:
    """Class labels int32 `[N]` in [0, classes), at least one."""
    y = np.asarray(y)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise ArgumentError("y", f"{y.dtype}{list(y.shape)}", "class labels: integers [N]")
    if not len(y):
        raise ArgumentError("y", "no label", "at least one")
    if (wrong := y[(y < 0) | (y >= classes)]).size:
        raise ArgumentError("y", int(wrong[0]), f"a class in 0..{classes - 1}")
    return y.astype(np.int32)


def flat_examples(x: Any) -> np.ndarray:
    """Examples float32 `[N, D]`, finite: an annotator cannot look at a missing feature."""
    x = np.asarray(x, np.float32)
    x = x.reshape(len(x), -1)
    if (missing := ~np.isfinite(x).all(axis=1)).any():
        raise ArgumentError(
            "x", f"{missing.sum()} examples with NaN or infinity", "finite features: fill in what is missing first"
        )
    return x
