"""Which labels to look at again, the worst first."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from sensijax.core.struct import struct
from sensijax.label.issues._validate import SLACK, check_pair
from sensijax.label.issues.confident import ConfidentJoint, confident_joint
from sensijax.label.issues.filters import prune_by_noise_rate
from sensijax.label.issues.scores import normalized_margin

Rule = Callable[[np.ndarray, np.ndarray, ConfidentJoint], np.ndarray]
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


@struct
class Issues:
    """Labels that look wrong.

    Attributes:
      indices: int64 `[I]`, the issues, the lowest score first; of equal scores the earlier example.
      mask: bool `[N]`, the same as a mask.
      score: float64 `[N]`, of every label; low is bad.
      suggested: int64 `[N]`, the model's most probable class.
      joint: the confident joint, with the noise that it estimates.
    """

    indices: Int[np.ndarray, "i"]
    mask: Bool[np.ndarray, "n"]
    score: Float[np.ndarray, "n"]
    suggested: Int[np.ndarray, "n"]
    joint: ConfidentJoint


def find_issues(
    labels: Any, probs: Any, *, rule: Rule = prune_by_noise_rate, score: Score = normalized_margin
) -> Issues:
    """Finds labels that a model's predictions speak against, and ranks them.

    Args:
      labels: integers `[N]` in [0, K), as given.
      probs: `[N, K]`, predicted probabilities from a model that has not seen the example's label.
      rule: which labels are issues: `prune_by_noise_rate` (cleanlab's default too), `prune_by_class`, `both`,
        `confident_learning`, `predicted_neq_given`, or a function of (labels, probs, confident joint). Options by
        `functools.partial`.
      score: what ranks them: `normalized_margin`, `self_confidence`, `confidence_weighted_entropy`, or a function of
        (labels, probs).

    Returns:
      The issues. Under any rule, a label that the model finds most probable itself (to within 1e-6) is none. The lists
      are those of cleanlab 2.9.0's `find_label_issues` with stable sorts. Its own sort is not stable, so that where
      counts or margins are equal to the bit (small counts of many classes often are) its list depends on the
      processor; here the order of classes and examples decides.

    Raises:
      ArgumentError: if labels are no classes or rows of `probs` do not sum to one.

    Reference:
      Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70, 2021.

    Example:
      >>> labels = [0, 0, 0, 1, 1]
      >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]
      >>> find_issues(labels, probs).indices.tolist()
      [2]
    """
    y, p = check_pair(labels, probs)
    joint = confident_joint(y, p)
    favoured = p.copy()
    favoured[np.arange(len(y)), y] += SLACK
    mask = np.asarray(rule(y, p, joint)) & (favoured.argmax(axis=1) != y)
    quality = score(y, p)
    indices = np.flatnonzero(mask)
    indices = indices[np.argsort(quality[indices], kind="stable")]
    return Issues(indices, mask, quality, p.argmax(axis=1), joint)
