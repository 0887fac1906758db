"""Checks at the door of the measures that run on the host."""

from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError


def whole_number(argument: str, value: Any, least: int) -> int:
    """An integer that is at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ArgumentError(argument, repr(value), f"an integer >= {least}")
    return int(value)


def fraction(argument: str, value: Any, meaning: str) -> float:
    """A number strictly between 0 and 1."""
    if isinstance(value, (bool, str)) or not np.ndim(value) == 0 or not 0 < value < 1:
        raise ArgumentError(argument, repr(value), f"{meaning} lies strictly between 0 and 1")
    return float(value)


def numbers(argument: str, values: Any, dimensions: int = 1) -> np.ndarray:
    """Real numbers as float64 of a given rank; the missing ones of a masked array (a store's NULLs) become NaN."""
    array = np.ma.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ArgumentError(argument, f"dtype {array.dtype}", "real numbers")
    if array.ndim != dimensions:
        raise ArgumentError(argument, f"shape {list(array.shape)}", f"rank {dimensions}")
    return np.ma.filled(array.astype(np.float64), np.nan)


def same_shape(**arrays: np.ndarray) -> None:
    """All arrays have the shape of the first."""
    (first, reference), *rest = arrays.items()
    for name, array in rest:
        if array.shape != reference.shape:
            raise ArgumentError(name, f"shape {list(array.shape)}", f"the shape of `{first}`: {list(reference.shape)}")


def zeros_and_ones(argument: str, values: Any, dimensions: int = 1) -> np.ndarray:
    """Correct or not: booleans, or numbers that are 0 or 1, as float64."""
    array = numbers(argument, values, dimensions)
    wrong = array[~((array == 0) | (array == 1))]
    if wrong.size:
        raise ArgumentError(argument, f"{wrong[0]:g}", "booleans, or 0 and 1")
    return array


def probabilities(argument: str, values: Any, dimensions: int = 1) -> np.ndarray:
    """Numbers in [0, 1], as float64; those that rounding in float32 has lifted above 1 are brought back."""
    array = numbers(argument, values, dimensions)
    wrong = array[~((array >= 0) & (array <= 1 + 1e-6))]
    if wrong.size:
        raise ArgumentError(argument, f"{wrong[0]:g}", "numbers in [0, 1]")
    return np.minimum(array, 1.0)


def class_numbers(argument: str, values: Any, classes: int, *, missing: bool = False) -> np.ndarray:
    """Class numbers `[N]` in [0, classes) as int64; with `missing`, -1 stands for no prediction."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ArgumentError(argument, f"{array.dtype}{list(array.shape)}", "class numbers: integers [N]")
    array = array.astype(np.int64)
    low = -1 if missing else 0
    wrong = array[(array < low) | (array >= classes)]
    if wrong.size:
        right = f"a class in 0..{classes - 1}" + (", or -1 for no prediction" if missing else "")
        raise ArgumentError(argument, int(wrong[0]), right)
    return array


def weights_of(weights: Any, n: int) -> np.ndarray | None:
    """The weights `[n]` of rows as float64, or None for none: finite, 0 or more, not all 0."""
    if weights is None:
        return None
    array = numbers("weights", weights)
    if len(array) != n:
        raise ArgumentError("weights", f"{len(array)}", f"one weight for each of {n} rows")
    if (wrong := array[~(np.isfinite(array) & (array >= 0))]).size:
        raise ArgumentError("weights", f"{wrong[0]:g}", "finite weights, 0 or more")
    if not array.any():
        raise ArgumentError("weights", "only zeros", "a weight above 0 for at least one row")
    return array


def outcomes(confidence: Any, correct: Any) -> tuple[np.ndarray, np.ndarray]:
    """Confidences in [0, 1] and whether each prediction was right, both float64 `[N]`, N >= 1."""
    confidence, correct = probabilities("confidence", confidence), zeros_and_ones("correct", correct)
    same_shape(confidence=confidence, correct=correct)
    if not len(confidence):
        raise ArgumentError("confidence", "none", "at least one prediction")
    return confidence, correct


def scored_outcomes(confidence: Any, correct: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scores on any scale, larger where the model is surer, and whether it was right, both float64 `[N]`, N >= 1."""
    confidence, correct = numbers("confidence", confidence), zeros_and_ones("correct", correct)
    same_shape(confidence=confidence, correct=correct)
    if not len(confidence) or np.isnan(confidence).any():
        raise ArgumentError("confidence", "NaN" if len(confidence) else "none", "at least one score, none of them NaN")
    return confidence, correct


def forecasts(p: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float64 `[N, K]` whose rows sum to 1 to within 1e-4, and labels int64 `[N]`, N >= 1."""
    p = probabilities("p", p, 2)
    if p.size == 0:
        raise ArgumentError("p", f"shape {list(p.shape)}", "at least one example [N, K]")
    wrong = p.sum(axis=1)[np.abs(p.sum(axis=1) - 1) > 1e-4]
    if wrong.size:
        raise ArgumentError("p", f"a row with sum {wrong[0]:g}", "rows of probabilities sum to 1")
    labels = class_numbers("labels", labels, p.shape[1])
    if len(labels) != len(p):
        raise ArgumentError("labels", f"{len(labels)}", f"one label for each of {len(p)} rows")
    return p, labels
