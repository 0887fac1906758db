"""What drifts learn of the data: features as columns, their means and spreads."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.drift.simulate._validate import check_indices


def columns(data: Dataset) -> np.ndarray:
    """Examples as rows of features, `[N, D]`, without a copy; a feature's number counts an example in C order."""
    return data.x.reshape(len(data), -1)


def moments(x: np.ndarray) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d"]]:
    """Mean and standard deviation of each column, float64 `[D]`; a constant column has exactly 0."""
    mean = x.mean(axis=0, dtype=np.float64)
    std = x.std(axis=0, dtype=np.float64)
    return mean, np.where(x.max(axis=0) == x.min(axis=0), 0.0, std)


def chosen(argument: str, wanted: tuple[int, ...] | None, std: np.ndarray, of: str = "features") -> np.ndarray:
    """Which features are meant, bool `[D]`: those named, or all that vary.

    Raises:
      ArgumentError: if one that is named does not exist or is constant, or if none varies.
    """
    if wanted is None:
        if not std.any():
            raise ArgumentError("data.x", f"constant {of} only", "at least one that varies")
        return std > 0
    check_indices(argument, wanted, len(std), of)
    for i in wanted:
        if std[i] == 0:
            raise ArgumentError(argument, f"{i}, which is constant", f"{of} that vary: a constant one has no spread")
    return np.isin(np.arange(len(std)), wanted)


def unless_zero(strength: Any, x: Array, moved: Array) -> Array:
    """`moved` in the dtype of `x`, and at strength 0 `x` itself, to the last bit."""
    return jnp.where(strength == 0, x, moved.astype(x.dtype))
