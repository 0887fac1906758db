"""A data set with the labels that people wrote down, and the true ones beside them."""

import dataclasses

import numpy as np

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.label._noise import LabelResult

TRUE_LABEL = "true_label"


def relabel(data: Dataset, result: LabelResult) -> Dataset:
    """The data as a training would get them: observed labels, ids as they were.

    Args:
      data: the examples that were labelled, in the order of the result.
      result: of a noise that was called with `data.y`.

    Returns:
      A data set whose `y` are the observed labels. The true ones are the integer group `true_label`; where the noise
      models annotators, who wrote each label is the group `annotator`.

    Raises:
      ArgumentError: if the result is of other labels than the data's, or the data were relabelled before.

    Example:
      >>> import jax
      >>> from sensijax.label import PairFlip
      >>> data = Dataset(np.zeros((3, 2), np.float32), np.array([0, 1, 2]))
      >>> noisy = relabel(data, PairFlip(rate=1.0, classes=3)(jax.random.key(0), data.y, ids=data.ids))
      >>> noisy.y.tolist(), noisy.groups["true_label"].tolist()
      ([1, 2, 0], [0, 1, 2])
    """
    truth = np.asarray(result.truth)
    if len(truth) != len(data):
        raise ArgumentError("result", f"{len(truth)} labels", f"one for each of the {len(data)} examples")
    if not data.is_classification or (truth != data.y).any():
        raise ArgumentError("result", "true labels that are not the data's", "the result for data.y, in its order")
    if TRUE_LABEL in data.groups:
        raise ArgumentError("data.groups", f"{TRUE_LABEL!r}: relabelled before", "the data with their true labels")
    groups = {**data.groups, TRUE_LABEL: truth}
    annotator = np.asarray(result.annotator)
    if (annotator >= 0).any():
        groups["annotator"] = annotator
    return dataclasses.replace(data, y=np.asarray(result.labels), groups=groups)
