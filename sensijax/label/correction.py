"""True accuracy from noisy evaluation labels, when the noise is known."""

from typing import Any

import numpy as np
from scipy.special import ndtri

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import struct
from sensijax.label.issues._validate import check_labels


@struct
class CorrectedAccuracy:
    """Accuracy on the true labels, estimated from noisy ones.

    Attributes:
      value: the estimate, unbiased; it may lie outside [0, 1] when the sample is small, and is not clipped.
      low, high: its confidence interval.
      measured: the agreement with the noisy labels.
      confidence: of the interval.
      condition: the condition number of the transition matrix: how much the correction widens the interval.
      n: how many examples.
    """

    value: float
    low: float
    high: float
    measured: float
    confidence: float
    condition: float
    n: int


def corrected_accuracy(
    prediction: Any, observed: Any, transition: Any, *, confidence: float = 0.95, largest_condition: float = 100.0
) -> CorrectedAccuracy:
    """What accuracy on noisy labels says about accuracy on the true ones.

    With T[true, observed] the transition matrix, and predictions that depend on the noise only through the true class,
    the joint distributions obey J[observed, prediction] = T^t C[true, prediction]. So the accuracy, the trace of
    C, is the mean of inv(T)[observed, prediction] over the examples: a mean of independent terms, whose standard error
    gives the interval.

    It assumes that, given the true class, the label's error tells nothing about the prediction. That fails where noise
    depends on the instance, because hard examples are hard for annotator and model alike: then the agreement with wrong
    labels is higher than assumed, and so is the estimate. It fails too for a model trained on the same labels. The
    interval knows nothing of the uncertainty of an estimated transition matrix.

    Args:
      prediction: integers `[N]` in [0, K), the model's.
      observed: integers `[N]` in [0, K), the noisy labels.
      transition: `[K, K]`, rows that sum to one: how likely a true class (row) is labelled as each (column).
      confidence: in (0, 1), of the interval.
      largest_condition: refuse matrices whose condition number is larger: one that hardly tells classes apart makes any
        accuracy out of chance.

    Returns:
      Estimate and normal interval. The interval is too narrow where hardly any prediction differs from its label.

    Raises:
      ArgumentError: if the matrix is no transition matrix or too ill-conditioned, labels are no classes, or N < 2.

    Reference:
      Natarajan, Dhillon, Ravikumar and Tewari, "Learning with noisy labels", NeurIPS 2013, lemma 1, with 0-1 loss;
      Patrini et al., CVPR 2017, theorem 1 (the backward correction).

    Example:
      >>> prediction = np.repeat([0, 1], 100)
      >>> observed = np.repeat([0, 1, 1, 0], [80, 20, 80, 20])           # always right, under 20 % of noise
      >>> found = corrected_accuracy(prediction, observed, [[0.8, 0.2], [0.2, 0.8]])
      >>> round(found.measured, 3), round(found.value, 3)
      (0.8, 1.0)
    """
    t = np.asarray(transition, np.float64)
    if t.ndim != 2 or t.shape[0] != t.shape[1] or len(t) < 2:
        raise ArgumentError("transition", f"shape {list(t.shape)}", "a square matrix of 2 or more classes")
    if not (t >= 0).all() or not np.allclose(t.sum(axis=1), 1, atol=1e-5):
        raise ArgumentError("transition", f"rows that sum to {t.sum(axis=1)}", "probabilities, rows that sum to one")
    if not 0 < confidence < 1:
        raise ArgumentError("confidence", confidence, "in (0, 1)")
    said, seen = check_labels(prediction, len(t), "prediction"), check_labels(observed, len(t), "observed")
    if len(said) != len(seen) or len(said) < 2:
        raise ArgumentError("observed", f"{len(seen)} labels", f"2 or more, one for each of {len(said)} predictions")
    condition = float(np.linalg.cond(t))
    if not condition <= largest_condition:
        right = f"{largest_condition:g} at most: noise that leaves the classes apart"
        raise ArgumentError("transition", f"condition number {condition:.3g}", right)
    terms = np.linalg.inv(t)[seen, said]
    value, n = float(terms.mean()), len(terms)
    half = float(ndtri((1 + confidence) / 2) * terms.std(ddof=1) / np.sqrt(n))
    return CorrectedAccuracy(value, value - half, value + half, float((said == seen).mean()), confidence, condition, n)


def symmetric_accuracy(measured: Any, rate: float, classes: int) -> Any:
    """The closed form of `corrected_accuracy` for symmetric noise: (measured - e) / (1 - rate - e), e = rate / (K - 1).

    Args:
      measured: accuracy on the noisy labels, a number or an array.
      rate: in [0, (K - 1) / K), the fraction of labels that are wrong, any other class as likely (`Symmetric`).
      classes: K >= 2.

    Returns:
      Accuracy on the true labels, under the same assumption.

    Raises:
      ArgumentError: if there are fewer than 2 classes, or labels with that rate say nothing or the opposite.

    Example:
      >>> round(symmetric_accuracy(0.8, rate=0.2, classes=2), 12)
      1.0
    """
    if classes < 2:
        raise ArgumentError("classes", classes, "2 or more")
    if not 0 <= rate < (classes - 1) / classes:
        raise ArgumentError("rate", rate, f"in [0, {(classes - 1) / classes:g}): beyond, labels say nothing")
    by_chance = rate / (classes - 1)
    return (measured - by_chance) / (1 - rate - by_chance)
