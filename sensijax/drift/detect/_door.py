"""The door of the batch detectors: what two samples, a level, a key and a number of permutations must be."""

import math
from typing import Any

import jax
import numpy as np

from sensijax.core.errors import ArgumentError


def two_samples(reference: Any, sample: Any, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Both samples as float64 `[n, d]` and `[m, d]`.

    Args:
      reference, sample: real numbers `[n]` or `[n, d]`, of one rank and d.
      least: how many rows each must have.

    Raises:
      ArgumentError: for another dtype or shape, too few rows, NaN and infinities.
    """
    x, y = _sample("reference", reference, least), _sample("sample", sample, least)
    if x.ndim != y.ndim or x.shape[1:] != y.shape[1:]:
        raise ArgumentError("sample", f"shape {list(y.shape)}", f"features as in `reference`: {list(x.shape)}")
    return x.reshape(len(x), -1), y.reshape(len(y), -1)


def _sample(name: str, values: Any, least: int) -> np.ndarray:
    try:
        values = np.asarray(values)
    except ValueError as error:
        raise ArgumentError(name, "rows of different lengths", "[n], or [n, d]") from error
    if values.dtype.kind not in "biuf" and values.dtype.name != "bfloat16":
        raise ArgumentError(name, f"dtype {values.dtype}", "real numbers; for categories see `chi2`")
    check_shape(name, values, least)
    values = values.astype(np.float64)
    if (wrong := ~np.isfinite(values)).any():
        rows = int(wrong.reshape(len(values), -1).any(axis=1).sum())
        raise ArgumentError(
            name,
            f"{rows} of {len(values)} rows with NaN or infinities",
            "finite numbers: leave such rows out or impute, in both samples alike, and test the missing rate by `chi2`",
        )
    return values


def check_shape(name: str, values: np.ndarray, least: int) -> None:
    """Whether a sample is `[n]` or `[n, d]` with enough rows."""
    if values.ndim not in (1, 2) or 0 in values.shape[1:]:
        raise ArgumentError(
            name, f"shape {list(values.shape)}", "[n], or [n, d] with d >= 1; flatten what has more axes"
        )
    if len(values) < least:
        raise ArgumentError(name, f"{len(values)} rows", f"{least} or more")


def check_level(alpha: Any) -> float:
    """The level as a float in (0, 1)."""
    if isinstance(alpha, (bool, str)) or np.ndim(alpha) or not 0 < alpha < 1:
        raise ArgumentError("alpha", repr(alpha), "a level strictly between 0 and 1")
    return float(alpha)


def check_permutations(permutations: Any, alpha: float, tests: int = 1) -> int:
    """A number of permutations with which a p-value can be small enough.

    Args:
      permutations: B.
      alpha: the level.
      tests: d, how many p-values are corrected together.
    """
    least = math.ceil(tests / alpha * (1 - 1e-12)) - 1
    if isinstance(permutations, bool) or not isinstance(permutations, (int, np.integer)) or permutations < least:
        among = f" over {tests} features" if tests > 1 else ""
        raise ArgumentError(
            "permutations",
            repr(permutations),
            f"an integer >= {least}: the smallest p-value is 1 / (B + 1), and would never be called drift at level "
            f"{alpha:g}{among}",
        )
    return int(permutations)


def generator(key: jax.Array, purpose: int) -> np.random.Generator:
    """NumPy's generator for a key and a purpose, for draws on the host."""
    return np.random.default_rng([*np.asarray(jax.random.key_data(key)).ravel().tolist(), purpose])
