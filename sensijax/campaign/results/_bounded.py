"""Many scenarios in bounded memory: so many at a time that their values fit."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from sensijax import measure

Item = TypeVar("Item")
MOST_BYTES = 256 << 20  # of values that are in memory at once


def in_blocks(items: Sequence[Item], bytes_each: int) -> Iterator[Sequence[Item]]:
    """Slices of `items`, in order, of so many that their values take at most `MOST_BYTES`; at least one."""
    step = max(1, MOST_BYTES // max(1, bytes_each))
    for start in range(0, len(items), step):
        yield items[start : start + step]


def joined(estimates: Sequence[measure.Estimate], rows: np.ndarray | None = None) -> measure.Estimate:
    """Estimates of several blocks of scenarios as one.

    Args:
      estimates: each with arrays `[L]`; all of as many seeds and of one level.
      rows: int64 `[sum of L]`, the place of each scenario; in the order they came in unless given.
    """
    if len(estimates) == 1 and rows is None:
        return estimates[0]
    merged = {}
    for field in ("mean", "low", "high", "standard_error", "p_value", "n_examples", "n_excluded"):
        column = np.concatenate([getattr(estimate, field) for estimate in estimates])
        merged[field] = column if rows is None else column[np.argsort(rows)]
    return dataclasses.replace(estimates[0], **merged)
