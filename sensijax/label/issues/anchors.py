"""A transition matrix from anchor points: examples that belong to a class almost surely."""

from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.label.issues._validate import check_probabilities


def anchor_transition(probs: Any, *, quantile: float = 1.0) -> np.ndarray:
    """Reads the transition matrix off the predictions for the most typical example of each class.

    Where an example is of class i for certain, a model fitted to noisy labels predicts row i of the matrix.

    Args:
      probs: `[N, K]`, probabilities of *noisy* labels, by a calibrated model fitted to them.
      quantile: in (0, 1], of the probability of class i: the anchor is the example there. 1 takes the highest; a little
        less (the authors: 0.97 where there are many classes) guards against outliers.

    Returns:
      float64 `[K, K]`, true class in rows, given label in columns, rows that sum to one. Wrong where a class has no
      certain example: then the diagonal comes out too small.

    Raises:
      ArgumentError: if rows of `probs` do not sum to one, or the quantile is none.

    Reference:
      Patrini, Rozza, Menon, Nock and Qu, "Making deep neural networks robust to label noise: a loss correction
      approach", CVPR 2017, section 3 and equations 12 and 13.

    Example:
      >>> anchor_transition([[0.8, 0.2], [0.5, 0.5], [0.3, 0.7]]).tolist()
      [[0.8, 0.2], [0.3, 0.7]]
    """
    if not 0 < quantile <= 1:
        raise ArgumentError("quantile", quantile, "in (0, 1]")
    p = check_probabilities(probs)
    rank = int(np.ceil(quantile * len(p))) - 1
    rows = p[np.argsort(p, axis=0, kind="stable")[rank]]
    return rows / rows.sum(axis=1, keepdims=True)
