"""Rules that say which labels are issues; each is a function of (labels, probabilities, confident joint)."""

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.label.issues.confident import ConfidentJoint


def prune_by_noise_rate(
    labels: np.ndarray, probs: np.ndarray, joint: ConfidentJoint, *, fraction: float = 1.0, keep: int = 1
) -> np.ndarray:
    """For each pair of given label and true class, as many examples as the calibrated joint counts there.

    Those whose probability of the true class exceeds that of the given label most.

    Args:
      labels: int `[N]`, as given.
      probs: float64 `[N, K]`.
      joint: of these.
      fraction: in [0, 1], of the wrong labels of each pair.
      keep: examples that are left to each label at least; a label with no more of them has no issues.

    Returns:
      bool `[N]`.

    Raises:
      ArgumentError: if the fraction or `keep` is out of range.

    Example:
      >>> from sensijax.label import confident_joint
      >>> y, p = np.array([0, 0, 0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
      >>> prune_by_noise_rate(y, p, confident_joint(y, p)).tolist()
      [False, False, True, False, False]
    """
    found = np.zeros(len(labels), bool)
    counts = _to_prune(joint.calibrated, fraction, keep)
    for given in range(len(counts)):
        rows = np.flatnonzero(labels == given)
        if len(rows) <= keep:
            continue
        for true in np.flatnonzero(counts[given]):
            if true != given:
                margin = probs[rows, true] - probs[rows, given]
                found[rows[np.argsort(-margin, kind="stable")[: counts[given, true]]]] = True
    return found


def prune_by_class(
    labels: np.ndarray, probs: np.ndarray, joint: ConfidentJoint, *, fraction: float = 1.0, keep: int = 1
) -> np.ndarray:
    """For each given label, as many examples as the calibrated joint counts wrong, those with the lowest probability.

    Args:
      labels: int `[N]`, as given.
      probs: float64 `[N, K]`.
      joint: of these.
      fraction: in [0, 1], of the wrong labels.
      keep: examples that are left to each label at least.

    Returns:
      bool `[N]`.

    Raises:
      ArgumentError: if the fraction or `keep` is out of range.

    Example:
      >>> from sensijax.label import confident_joint
      >>> y, p = np.array([0, 0, 0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
      >>> prune_by_class(y, p, confident_joint(y, p)).tolist()
      [False, False, True, False, False]
    """
    found = np.zeros(len(labels), bool)
    counts = _to_prune(joint.calibrated, fraction, keep)
    for given in range(len(counts)):
        rows = np.flatnonzero(labels == given)
        if len(rows) > keep:
            wrong = max(len(rows) - counts[given, given], 0)
            found[rows[np.argsort(probs[rows, given], kind="stable")[:wrong]]] = True
    return found


def both(
    labels: np.ndarray, probs: np.ndarray, joint: ConfidentJoint, *, fraction: float = 1.0, keep: int = 1
) -> np.ndarray:
    """What both `prune_by_noise_rate` and `prune_by_class` find: fewer issues, surer ones.

    Args:
      labels, probs, joint, fraction, keep: as there.

    Returns:
      bool `[N]`.

    Raises:
      ArgumentError: if the fraction or `keep` is out of range.

    Example:
      >>> from sensijax.label import confident_joint
      >>> y, p = np.array([0, 0, 0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
      >>> both(y, p, confident_joint(y, p)).tolist()
      [False, False, True, False, False]
    """
    by_class = prune_by_class(labels, probs, joint, fraction=fraction, keep=keep)
    return by_class & prune_by_noise_rate(labels, probs, joint, fraction=fraction, keep=keep)


def confident_learning(labels: np.ndarray, probs: np.ndarray, joint: ConfidentJoint) -> np.ndarray:
    """The examples that the confident joint counts off its diagonal.

    Args:
      labels: int `[N]`, as given.
      probs: float64 `[N, K]`, not looked at again.
      joint: of these.

    Returns:
      bool `[N]`.

    Example:
      >>> from sensijax.label import confident_joint
      >>> y, p = np.array([0, 0, 0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
      >>> confident_learning(y, p, confident_joint(y, p)).tolist()
      [False, False, True, False, False]
    """
    return (joint.suggested >= 0) & (joint.suggested != labels)


def predicted_neq_given(labels: np.ndarray, probs: np.ndarray, joint: ConfidentJoint) -> np.ndarray:
    """The examples whose most probable class is another one: the simplest rule, which grows with the model's errors.

    Args:
      labels: int `[N]`, as given.
      probs: float64 `[N, K]`.
      joint: not looked at.

    Returns:
      bool `[N]`.

    Example:
      >>> from sensijax.label import confident_joint
      >>> y, p = np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]])
      >>> predicted_neq_given(y, p, confident_joint(y, p)).tolist()
      [False, True]
    """
    return probs.argmax(axis=1) != labels


def _to_prune(calibrated: np.ndarray, fraction: float, keep: int) -> np.ndarray:
    """The calibrated joint with at least `keep` on the diagonal, and a fraction of what lies beside it."""
    if not 0 <= fraction <= 1:
        raise ArgumentError("fraction", fraction, "in [0, 1]")
    if keep < 0:
        raise ArgumentError("keep", keep, "0 or more")
    right = calibrated.diagonal()
    kept = np.maximum(right, keep)
    others = np.maximum(np.count_nonzero(calibrated, axis=1) - 1, 1)
    full = np.maximum(calibrated - ((kept - right) / others)[:, None], 0)
    np.fill_diagonal(full, kept)
    part = full * fraction
    np.fill_diagonal(part, kept)
    np.fill_diagonal(part, kept + (full - part).sum(axis=1))
    return part.astype(np.int64)
