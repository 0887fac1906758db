"""Checks of labels and predicted probabilities."""

from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError

SLACK = 1e-6
"""Probabilities closer than this count as equal; the same number as cleanlab's."""


def check_probabilities(probs: Any) -> np.ndarray:
    """float64 `[N, K]`, rows that sum to one to within 1e-3 (what float16 leaves of a softmax)."""
    probs = np.asarray(probs)
    if probs.ndim != 2 or probs.shape[1] < 2 or not len(probs) or probs.dtype.kind not in "fiu":
        raise ArgumentError("probs", f"{probs.dtype}{list(probs.shape)}", "probabilities [N, K] with N >= 1, K >= 2")
    probs = probs.astype(np.float64)
    if not np.isfinite(probs).all():
        raise ArgumentError(
            "probs", f"row {int(np.argmin(np.isfinite(probs).all(axis=1)))} not finite", "probabilities"
        )
    if (row := np.flatnonzero((probs < 0).any(axis=1))).size:
        raise ArgumentError("probs", f"{probs[row[0]].min():g} in row {row[0]}", "no negative probability")
    if (row := np.flatnonzero(np.abs(probs.sum(axis=1) - 1) > 1e-3)).size:
        raise ArgumentError("probs", f"row {row[0]} sums to {probs[row[0]].sum():g}", "rows that sum to one")
    return probs


def check_labels(labels: Any, classes: int, argument: str = "labels") -> np.ndarray:
    """int64 `[N]`, each a class."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise ArgumentError(argument, f"{labels.dtype}{list(labels.shape)}", "class labels: integers [N], N >= 1")
    if (wrong := labels[(labels < 0) | (labels >= classes)]).size:
        raise ArgumentError(argument, int(wrong[0]), f"a class in 0..{classes - 1}")
    return labels.astype(np.int64)


def check_pair(labels: Any, probs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels int64 `[N]` and probabilities float64 `[N, K]` of the same examples."""
    probs = check_probabilities(probs)
    labels = check_labels(labels, probs.shape[1])
    if len(labels) != len(probs):
        raise ArgumentError("labels", f"{len(labels)} labels", f"one for each of the {len(probs)} rows of probs")
    return labels, probs
