"""How good a label looks to a model: low scores first when labels are checked again."""

from typing import Any

import numpy as np

from sensijax.label.issues._validate import SLACK, check_pair


def self_confidence(labels: Any, probs: Any) -> np.ndarray:
    """The probability of the given label.

    Args:
      labels: integers `[N]` in [0, K), as given.
      probs: `[N, K]`, out-of-sample predicted probabilities.

    Returns:
      float64 `[N]` in [0, 1].

    Raises:
      ArgumentError: if labels are no classes or rows of `probs` do not sum to one.

    Example:
      >>> self_confidence([0, 1], [[0.7, 0.3], [0.6, 0.4]]).tolist()
      [0.7, 0.4]
    """
    y, p = check_pair(labels, probs)
    return p[np.arange(len(y)), y]


def normalized_margin(labels: Any, probs: Any) -> np.ndarray:
    """The probability of the given label less that of the best other one, mapped to [0, 1]; below 1/2 another wins.

    Args:
      labels: integers `[N]` in [0, K), as given.
      probs: `[N, K]`, out-of-sample predicted probabilities.

    Returns:
      float64 `[N]` in [0, 1]: (1 + p[label] - max p[other]) / 2.

    Raises:
      ArgumentError: if labels are no classes or rows of `probs` do not sum to one.

    Reference:
      Northcutt, Jiang and Chuang, "Confident learning", JAIR 70, 2021, section 3.2.

    Example:
      >>> normalized_margin([0, 1], [[0.75, 0.25], [1.0, 0.0]]).tolist()
      [0.75, 0.0]
    """
    y, p = check_pair(labels, probs)
    rows = np.arange(len(y))
    others = p.copy()
    others[rows, y] = -np.inf
    return (p[rows, y] - others.max(axis=1) + 1) / 2


def confidence_weighted_entropy(labels: Any, probs: Any) -> np.ndarray:
    """log(1 + w) / w, where w is the entropy of the prediction (in units of log K) over the label's probability.

    Args:
      labels: integers `[N]` in [0, K), as given.
      probs: `[N, K]`, out-of-sample predicted probabilities.

    Returns:
      float64 `[N]` in [0, 1], as cleanlab 2.9.0 computes it: w and the probability are taken as at least 1e-6. Note
      that a model's certainty of *another* class (w near 0 over near 0) may score well; the margin does not.

    Raises:
      ArgumentError: if labels are no classes or rows of `probs` do not sum to one.

    Reference:
      Kuan and Mueller, "Model-agnostic label quality scoring to detect real-world label errors", ICML DataPerf workshop
      2022.

    Example:
      >>> confidence_weighted_entropy([0], [[0.5, 0.5]]).round(4).tolist()
      [0.5493]
    """
    y, p = check_pair(labels, probs)
    entropy = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis=1) / np.log(p.shape[1])
    w = entropy / np.maximum(p[np.arange(len(y)), y], SLACK)
    return np.log1p(w) / np.maximum(w, SLACK)
