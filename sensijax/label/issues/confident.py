"""The confident joint: how many examples with each label belong to each class, by a model's confident predictions."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import struct
from sensijax.label.issues._validate import SLACK, check_labels, check_pair


@struct
class ConfidentJoint:
    """Counts of (given label, true class), and what follows from them.

    Attributes:
      thresholds: float64 `[K]`, the mean probability of a class among the examples labelled with it; infinite for a
        class that no label names, so that nothing is counted into it.
      suggested: int64 `[N]`, the class that an example is confidently counted into; -1 for none.
      counts: int64 `[K, K]`, given label in rows, true class in columns; at least 1 on the diagonal.
      calibrated: int64 `[K, K]`, scaled to the number of examples with each label, rounded within rows.
    """

    thresholds: Float[np.ndarray, "k"]
    suggested: Int[np.ndarray, "n"]
    counts: Int[np.ndarray, "k k"]
    calibrated: Int[np.ndarray, "k k"]

    @property
    def joint(self) -> np.ndarray:
        """float64 `[K, K]`, the distribution of (given, true)."""
        return self.calibrated / self.calibrated.sum()

    @property
    def prior(self) -> np.ndarray:
        """float64 `[K]`, of the true classes."""
        return self.joint.sum(axis=0)

    @property
    def noise(self) -> np.ndarray:
        """float64 `[K, K]`, p(given | true), true in rows; a row is NaN for a class that has no examples."""
        total = self.calibrated.sum(axis=0)[:, None]
        return np.where(total > 0, self.calibrated.T / np.maximum(total, 1), np.nan)

    @property
    def inverse_noise(self) -> np.ndarray:
        """float64 `[K, K]`, p(true | given), given in rows; a row is NaN for a label that no example has."""
        total = self.calibrated.sum(axis=1)[:, None]
        return np.where(total > 0, self.calibrated / np.maximum(total, 1), np.nan)

    @property
    def noise_rate(self) -> float:
        """The estimated fraction of labels that are wrong."""
        return float(1 - np.trace(self.joint))


def confident_joint(labels: Any, probs: Any, *, thresholds: Any = None) -> ConfidentJoint:
    """Counts examples whose probability of a class reaches what examples labelled so have on average.

    Args:
      labels: integers `[N]` in [0, K), as given.
      probs: `[N, K]`, predicted probabilities from a model that has not seen the example's label (cross-validation:
        a model that has learned the wrong labels by heart finds nothing).
      thresholds: `[K]`, in place of the averages.

    Returns:
      Thresholds, counts, and the matrices that follow, as in cleanlab 2.9.0 (with stable sorts, see `find_issues`).
      Like there, an example above several thresholds goes to its most probable class, whether or not that one is above
      its own.

    Raises:
      ArgumentError: if labels are no classes or rows of `probs` do not sum to one.

    Reference:
      Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70, 2021,
      section 3.1.

    Example:
      >>> labels = [0, 0, 0, 1, 1]
      >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]
      >>> confident_joint(labels, probs).counts.tolist()
      [[2, 1], [0, 1]]
    """
    y, p = check_pair(labels, probs)
    k = p.shape[1]
    if thresholds is None:
        n = np.bincount(y, minlength=k)
        sums = np.array([p[y == c, c].sum() for c in range(k)])
        limits = np.where(n > 0, np.maximum(sums / np.maximum(n, 1), 2 * SLACK), np.inf)
    else:
        limits = np.asarray(thresholds, np.float64)
        if limits.shape != (k,) or np.isnan(limits).any():
            raise ArgumentError("thresholds", f"{limits.tolist()}", f"{k} numbers, one for each class")
    confident = p >= limits[None] - SLACK
    many = confident.sum(axis=1)
    guess = np.where(many > 1, p.argmax(axis=1), confident.argmax(axis=1))
    suggested = np.where(many > 0, guess, -1)
    counts = np.zeros((k, k), np.int64)
    np.add.at(counts, (y[many > 0], suggested[many > 0]), 1)
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
    return ConfidentJoint(limits, suggested, counts, calibrate(counts, y))


def calibrate(counts: np.ndarray, labels: Any) -> np.ndarray:
    """Scales counts so that each row sums to the number of examples with that label, in whole numbers.

    Args:
      counts: `[K, K]`, given label in rows, no row empty.
      labels: integers `[N]` in [0, K).

    Returns:
      int64 `[K, K]`.

    Example:
      >>> calibrate(np.array([[2, 1], [0, 1]]), [0, 0, 0, 0, 1, 1]).tolist()
      [[3, 1], [0, 2]]
    """
    n = np.bincount(check_labels(labels, len(counts)), minlength=len(counts))
    scaled = (counts.T / counts.sum(axis=1) * n).T
    scaled = scaled / scaled.sum() * n.sum()  # by 1, but for rounding: as cleanlab does, where ties hang on it
    whole = scaled.round()
    for row in range(len(counts)):
        # What rounding has lost or won goes to the cells that it treated worst.
        while missing := int(n[row] - whole[row].sum()):
            step = 1 if missing > 0 else -1
            order = np.argsort(scaled[row] - whole[row], kind="stable")[::-step]
            whole[row, order[: abs(missing)]] += step
    return whole.astype(np.int64)


def estimate_transition(labels: Any, probs: Any) -> np.ndarray:
    """How likely each true class is to be labelled as each class, from the confident joint.

    Args:
      labels: integers `[N]` in [0, K), as given.
      probs: `[N, K]`, out-of-sample predicted probabilities.

    Returns:
      float64 `[K, K]`, true class in rows, given label in columns, rows that sum to one. An estimate: it is as good as
      the model. `anchor_transition` is the other one.

    Raises:
      ArgumentError: as `confident_joint`, and if a class has no example that belongs to it.

    Example:
      >>> estimate_transition([0, 0, 1, 1], [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]).round(2).tolist()
      [[1.0, 0.0], [0.33, 0.67]]
    """
    found = confident_joint(labels, probs)
    if (empty := np.flatnonzero(found.calibrated.sum(axis=0) == 0)).size:
        raise ArgumentError("labels", f"no example of class {empty[0]}", "examples of every class in probs")
    return found.noise


def noise_rate(labels: Any, probs: Any) -> float:
    """The fraction of labels that are wrong, by the calibrated confident joint.

    Args:
      labels: integers `[N]` in [0, K), as given.
      probs: `[N, K]`, out-of-sample predicted probabilities.

    Returns:
      A fraction in [0, 1): cleanlab's `num_label_issues(estimation_method="off_diagonal_calibrated")` over N.

    Raises:
      ArgumentError: as `confident_joint`.

    Example:
      >>> noise_rate([0, 0, 1, 1], [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
      0.25
    """
    return confident_joint(labels, probs).noise_rate
