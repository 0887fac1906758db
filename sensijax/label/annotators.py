"""Confusion matrices of annotators: careful ones, spammers, adversaries."""

from collections.abc import Sequence

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.label._validate import check_rate


def reliable(accuracy: float, classes: int) -> np.ndarray:
    """Right with a given probability, else any other class, each as likely.

    Args:
      accuracy: in [0, 1].
      classes: K >= 2.

    Returns:
      float32 `[K, K]`, rows true, columns voted.

    Example:
      >>> reliable(0.5, classes=3).tolist()
      [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]
    """
    _check_classes(classes)
    check_rate("accuracy", accuracy)
    own = np.eye(classes, dtype=bool)
    return np.where(own, accuracy, (1 - accuracy) / (classes - 1)).astype(np.float32)


def spammer(classes: int, favourite: int | None = None) -> np.ndarray:
    """Votes without looking: any class alike, or always the same one.

    Args:
      classes: K >= 2.
      favourite: the class that is always voted for; None for a vote at random.

    Returns:
      float32 `[K, K]`, all rows the same.

    Reference:
      Raykar and Yu, "Eliminating spammers and ranking annotators for crowdsourced labeling tasks", JMLR 13 (2012): a
      spammer is one whose votes do not depend on the truth.

    Example:
      >>> spammer(2, favourite=1).tolist()
      [[0.0, 1.0], [0.0, 1.0]]
    """
    _check_classes(classes)
    if favourite is None:
        return np.full((classes, classes), 1 / classes, np.float32)
    if not 0 <= favourite < classes:
        raise ArgumentError("favourite", favourite, f"a class in 0..{classes - 1}")
    return np.tile(np.eye(classes, dtype=np.float32)[favourite], (classes, 1))


def adversary(accuracy: float, classes: int, towards: Sequence[int] | None = None) -> np.ndarray:
    """Knows the true class as a careful annotator does, and systematically says another.

    Args:
      accuracy: how often the adversary knows the truth, in [0, 1].
      classes: K >= 2.
      towards: what is said for each class that the adversary takes the item to be, K classes; the next one unless
        given. Adversaries with one permutation agree with each other as the careful do. One class for all aims
        at that class.

    Returns:
      float32 `[K, K]`.

    Raises:
      ArgumentError: if a class is sent to itself, or is none.

    Example:
      >>> adversary(1.0, classes=3).tolist()
      [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    known = reliable(accuracy, classes)
    said = (np.arange(classes) + 1) % classes if towards is None else np.asarray(towards)
    if said.shape != (classes,) or said.dtype.kind not in "iu" or not ((said >= 0) & (said < classes)).all():
        raise ArgumentError("towards", towards, f"{classes} classes in 0..{classes - 1}")
    if (said == np.arange(classes)).any() and len(set(said.tolist())) > 1:
        raise ArgumentError("towards", towards, "another class for each (or one class for all): this is no adversary")
    return (known @ np.eye(classes)[said]).astype(np.float32)


def _check_classes(classes: int) -> None:
    if classes < 2:
        raise ArgumentError("classes", classes, "2 or more")
