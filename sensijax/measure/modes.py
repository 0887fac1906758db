"""How a model fails: which confusions grow, which classes it falls back on, which group it fails first."""

import dataclasses
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.measure._validate import class_numbers, numbers, whole_number
from sensijax.measure.statistics import paired_bootstrap


@dataclasses.dataclass(frozen=True)
class ConfusionChange:
    """One way of being wrong, before and after.

    Attributes:
      label: the class that is right.
      predicted: the class that is predicted instead; -1 for no prediction.
      clean_count: rows confused so on unperturbed examples.
      count: rows confused so on perturbed examples.
      share: (count - clean_count) over the number of rows with this label.
    """

    label: int
    predicted: int
    clean_count: int
    count: int
    share: float

    @property
    def change(self) -> int:
        """By how many rows the confusion grew."""
        return self.count - self.clean_count


def confusion_changes(
    labels: Any, clean_prediction: Any, prediction: Any, classes: int, top: int = 5
) -> tuple[ConfusionChange, ...]:
    """The confusions (label -> another class) whose counts grew most.

    Args:
      labels: integer `[M]` in [0, K).
      clean_prediction: integer `[M]` in [0, K), or -1 for no prediction.
      prediction: integer `[M]` in [0, K), or -1 for no prediction, which counts as a confusion of its own.
      classes: K >= 2.
      top: how many to return at most, >= 1.

    Returns:
      Those that grew, most rows first; equal ones in the order of their classes.

    Raises:
      ArgumentError: if lengths differ, there are no rows, or a class is out of range.

    Example:
      >>> [(c.label, c.predicted, c.change) for c in confusion_changes([0, 0, 1], [0, 0, 1], [1, 1, 0], classes=2)]
      [(0, 1, 2), (1, 0, 1)]
    """
    classes, top = whole_number("classes", classes, 2), whole_number("top", top, 1)
    labels = class_numbers("labels", labels, classes)
    clean_prediction, prediction = _predictions(clean_prediction, prediction, classes)
    if not len(labels) or len(labels) != len(prediction):
        raise ArgumentError("labels", f"{len(labels)}", f"one for each of {len(prediction)} predictions, at least one")

    def confusion(predicted: np.ndarray) -> np.ndarray:
        counts = np.bincount(labels * (classes + 1) + predicted + 1, minlength=classes * (classes + 1))
        return counts.reshape(classes, classes + 1)  # column 0: no prediction

    before, after = confusion(clean_prediction), confusion(prediction)
    grown = after - before
    grown[np.arange(classes), np.arange(classes) + 1] = 0  # right answers are no confusion
    order = np.argsort(-grown, axis=None, kind="stable")[:top]
    per_label = before.sum(axis=1)
    return tuple(
        ConfusionChange(int(i), int(j) - 1, int(before[i, j]), int(after[i, j]), float(grown[i, j] / per_label[i]))
        for i, j in zip(*np.unravel_index(order, grown.shape), strict=True)
        if grown[i, j] > 0
    )


@dataclasses.dataclass(frozen=True, eq=False)
class DistributionShift:
    """What a model predicts, before and after, whatever is right.

    Attributes:
      total_variation: half the sum of absolute changes, in [0, 1]: the fraction of predictions that changed class, net.
      change: float64 `[K]`, the perturbed fraction of each class minus the clean one; sums to 0.
      clean: float64 `[K]`, fractions of the clean predictions.
      perturbed: float64 `[K]`, fractions of the perturbed predictions.
    """

    total_variation: float
    change: np.ndarray
    clean: np.ndarray
    perturbed: np.ndarray


def distribution_shift(clean_prediction: Any, prediction: Any, classes: int) -> DistributionShift:
    """How far the distribution over predicted classes has moved.

    A model that falls back on one class shows here, whichever answers were right. Rows without a prediction (-1)
    belong to neither distribution.

    Args:
      clean_prediction: integer `[M]` in [0, K), or -1 for no prediction.
      prediction: integer `[M]`, the same.
      classes: K >= 2.

    Returns:
      The shift; NaN where one side holds no prediction at all. Sampling alone moves a distribution estimated from M
      rows by a total variation of the order of sqrt(K / M): smaller shifts mean nothing.

    Raises:
      ArgumentError: if lengths differ or a class is out of range.

    Example:
      >>> distribution_shift([0, 0, 1, 1], [0, 0, 0, 0], classes=2).total_variation
      0.5
    """
    classes = whole_number("classes", classes, 2)
    clean, perturbed = (_distribution(v, classes) for v in _predictions(clean_prediction, prediction, classes))
    change = perturbed - clean
    return DistributionShift(float(np.abs(change).sum() / 2), change, clean, perturbed)


@dataclasses.dataclass(frozen=True)
class GroupAccuracy:
    """The accuracy within one group.

    Attributes:
      group: its name, as it came.
      accuracy: fraction correct, over seeds and examples; NaN if every example is excluded.
      low, high: interval at the level asked for, over the group's examples (and seeds).
      n: examples.
      too_small: whether they are too few to rank the group.
    """

    group: Any
    accuracy: float
    low: float
    high: float
    n: int
    too_small: bool


@dataclasses.dataclass(frozen=True)
class WorstGroup:
    """Accuracy by group, and the group that fares worst.

    Attributes:
      groups: every group, sorted by name.
      worst: the one of lowest accuracy among those large enough to rank; None if none is.
    """

    groups: tuple[GroupAccuracy, ...]
    worst: GroupAccuracy | None


def worst_group(
    correct: Any, groups: Any, *, smallest: int = 10, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> WorstGroup:
    """The accuracy of every group with its interval, and the worst of them.

    A group of a handful of examples is often the worst or the best by chance: one with fewer than `smallest` is
    measured and flagged, and never named the worst. Each interval speaks for its own group; as the worst is picked
    after looking, its accuracy is biased downwards, the more the more groups overlap.

    Args:
      correct: `[S, N]` booleans, or 0 and 1, for S seeds and N examples; NaN excludes the example.
      groups: `[N]` integers or strings.
      smallest: examples a group needs in order to be ranked, >= 1.
      level: of the intervals, in (0, 1).
      resamples: bootstrap resamples, >= 100.
      seed: of the resampling, >= 0.

    Returns:
      The groups and the worst one. The intervals are those of `paired_bootstrap` with one pseudo-example right and one
      wrong, so a group without an error still has a width.

    Raises:
      ArgumentError: if shapes do not fit or values are out of range.

    Reference:
      Sagawa, Koh, Hashimoto and Liang, "Distributionally robust neural networks for group shifts", ICLR 2020.

    Example:
      >>> correct = np.repeat([[1, 0, 1]], [40, 20, 3], axis=1)
      >>> result = worst_group(correct, np.repeat(["a", "b", "c"], [40, 20, 3]))
      >>> result.worst.group, result.worst.accuracy, [g.too_small for g in result.groups]
      ('b', 0.0, [False, False, True])
    """
    correct, groups = numbers("correct", correct, 2), np.asarray(groups)
    smallest = whole_number("smallest", smallest, 1)
    if groups.shape != correct.shape[1:] or groups.dtype.kind not in "iuU":
        raise ArgumentError(
            "groups",
            f"{groups.dtype}{list(groups.shape)}",
            f"an integer or a string for each of {correct.shape[1]} examples",
        )
    if (wrong := correct[~np.isnan(correct) & (correct != 0) & (correct != 1)]).size:
        raise ArgumentError("correct", f"{wrong[0]:g}", "booleans, or 0 and 1, or NaN to exclude an example")
    names, place = np.unique(groups, return_inverse=True)
    measured = []
    for i, name in enumerate(names):
        # On the scale of -1 (wrong) and 1 (right) the pseudo-examples of a paired difference are one right, one wrong.
        signed = 2 * correct[:, place == i] - 1
        estimate = paired_bootstrap(signed, binary=True, level=level, resamples=resamples, seed=seed)
        accuracy, low, high = ((float(v) + 1) / 2 for v in (estimate.mean, estimate.low, estimate.high))
        n = int(estimate.n_examples)
        measured.append(GroupAccuracy(name.item(), accuracy, low, high, n, too_small=n < smallest))
    ranked = [group for group in measured if not group.too_small]
    return WorstGroup(tuple(measured), min(ranked, key=lambda group: group.accuracy, default=None))


def _predictions(clean: Any, perturbed: Any, classes: int) -> tuple[np.ndarray, np.ndarray]:
    clean = class_numbers("clean_prediction", clean, classes, missing=True)
    perturbed = class_numbers("prediction", perturbed, classes, missing=True)
    if len(clean) != len(perturbed):
        raise ArgumentError("prediction", f"{len(perturbed)} rows", f"{len(clean)}, as in `clean_prediction`")
    return clean, perturbed


def _distribution(prediction: np.ndarray, classes: int) -> np.ndarray:
    counts = np.bincount(prediction[prediction >= 0], minlength=classes)
    return counts / counts.sum() if counts.sum() else np.full(classes, np.nan)
