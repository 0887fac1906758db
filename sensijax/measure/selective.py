"""Selective prediction: what a model that may abstain gains, and where to set its threshold."""

import dataclasses
from typing import Any

import numpy as np
from scipy.special import bdtr, ndtri

from sensijax.core.errors import ArgumentError
from sensijax.measure._validate import fraction, numbers, scored_outcomes, weights_of, whole_number
from sensijax.measure.calibration import aurc


@dataclasses.dataclass(frozen=True, eq=False)
class RiskCoverage:
    """A risk-coverage curve, one point for each distinct confidence, the surest first.

    Attributes:
      coverage: float64 `[L]`, the fraction accepted.
      risk: float64 `[L]`, the fraction of the accepted that is wrong.
      threshold: float64 `[L]`; accepted is what has a confidence of at least this.
    """

    coverage: np.ndarray
    risk: np.ndarray
    threshold: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Abstention:
    """What each threshold accepts, and its risk.

    Attributes:
      threshold: float64 `[T]`.
      coverage: float64 `[T]`, the fraction accepted.
      risk, low, high: float64 `[T]`, risk with its Wilson interval; NaN where nothing is accepted.
      accepted: int64 `[T]`, the number accepted.
      status: `[T]`, "ok" or "nothing accepted".
    """

    threshold: np.ndarray
    coverage: np.ndarray
    risk: np.ndarray
    low: np.ndarray
    high: np.ndarray
    accepted: np.ndarray
    status: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A chosen threshold: accept a confidence of at least `threshold`.

    Attributes:
      threshold: +inf accepts nothing.
      coverage: the fraction of the given rows accepted.
      risk: the error among them; NaN where nothing is accepted.
      status: "ok" or "nothing accepted".
    """

    threshold: float
    coverage: float
    risk: float
    status: str


def risk_coverage(confidence: Any, correct: Any, weights: Any = None) -> RiskCoverage:
    """The risk at each coverage; rows of equal confidence are one level.

    Args:
      confidence: `[N]`, larger where the model is surer; not NaN.
      correct: `[N]` booleans, or 0 and 1.
      weights: `[N]` finite, 0 or more; every row counts alike unless given.

    Returns:
      The curve.

    Raises:
      ArgumentError: if lengths differ, there are none, values are NaN, or all weights are 0.

    Reference:
      El-Yaniv and Wiener, "On the foundations of noise-free selective classification", JMLR 11 (2010).

    Example:
      >>> risk_coverage([0.9, 0.8, 0.8], [1, 0, 1]).risk.round(3).tolist()
      [0.0, 0.333]
    """
    confidence, correct = scored_outcomes(confidence, correct)
    weight = weights_of(weights, len(confidence))
    weight = np.ones(len(confidence)) if weight is None else weight
    kept = weight > 0
    negative, level = np.unique(-confidence[kept], return_inverse=True)
    size = np.bincount(level, weight[kept]).cumsum()
    wrong = np.bincount(level, (weight * (1 - correct))[kept]).cumsum()
    return RiskCoverage(size / size[-1], wrong / size, -negative)


def excess_aurc(confidence: Any, correct: Any) -> float:
    """AURC less that of the perfect ordering, which has every correct row before every wrong one.

    Args:
      confidence: `[N]`, larger where the model is surer; not NaN.
      correct: `[N]` booleans, or 0 and 1.

    Returns:
      The excess, 0 or more; a difference below 1e-15 is rounding, and is 0.

    Raises:
      ArgumentError: if lengths differ, there are none, or values are NaN.

    Reference:
      Geifman, Uziel and El-Yaniv, "Bias-reduced uncertainty estimation for deep neural classifiers", ICLR 2019.

    Example:
      >>> excess_aurc([0.9, 0.1], [0, 1])
      0.5
    """
    confidence, correct = scored_outcomes(confidence, correct)
    return max(0.0, round(aurc(confidence, correct) - aurc(correct, correct), 15))


def selective_accuracy(confidence: Any, correct: Any, coverage: float) -> float:
    """Accuracy of the surest fraction `coverage`; of a level cut in two, the part counts at its mean.

    Args:
      confidence: `[N]`, larger where the model is surer; not NaN.
      correct: `[N]` booleans, or 0 and 1.
      coverage: in (0, 1].

    Returns:
      The accuracy, in [0, 1].

    Raises:
      ArgumentError: if lengths differ, there are none, values are NaN, or the coverage is out of range.

    Reference:
      Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017.

    Example:
      >>> selective_accuracy([0.9, 0.8, 0.8, 0.1], [1, 0, 1, 0], 0.5)
      0.75
    """
    if coverage != 1:
        fraction("coverage", coverage, "a coverage other than 1")
    curve = risk_coverage(confidence, correct)
    wrong = np.interp(coverage, np.r_[0, curve.coverage], np.r_[0, curve.coverage * curve.risk])
    return float(1 - wrong / coverage)


def abstention(confidence: Any, correct: Any, thresholds: Any, level: float = 0.95) -> Abstention:
    """Coverage and risk at given thresholds, with Wilson intervals, each at `level` on its own.

    Args:
      confidence: `[N]`, larger where the model is surer; not NaN.
      correct: `[N]` booleans, or 0 and 1.
      thresholds: `[T]`, not NaN, chosen without these rows.
      level: of the intervals, in (0, 1).

    Returns:
      A column for each quantity.

    Raises:
      ArgumentError: if lengths differ, there are none, or values are NaN or out of range.

    Reference:
      Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Example:
      >>> abstention([0.9, 0.2], [1, 0], [0.5, 0.95]).status
      ('ok', 'nothing accepted')
    """
    confidence, correct = scored_outcomes(confidence, correct)
    thresholds = numbers("thresholds", thresholds)
    if np.isnan(thresholds).any():
        raise ArgumentError("thresholds", "NaN", "numbers, none of them NaN")
    z = ndtri((1 + fraction("level", level, "a level")) / 2)
    taken = confidence[None] >= thresholds[:, None]
    n, wrong = taken.sum(axis=1), (taken * (1 - correct)[None]).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = wrong / n
        middle = (wrong + z * z / 2) / (n + z * z)
        half = np.where(n > 0, z * np.sqrt(p * (1 - p) * n + z * z / 4) / (n + z * z), np.nan)
    status = tuple("ok" if k else "nothing accepted" for k in n)
    low, high = np.maximum(middle - half, 0), np.minimum(middle + half, 1)
    return Abstention(thresholds, n / len(confidence), p, low, high, n, status)


def threshold_for_risk(confidence: Any, correct: Any, risk: float, delta: float = 0.05, ranks: int = 20) -> Threshold:
    """A threshold whose true risk is at most `risk` with probability 1 - delta, for rows that are independent draws.

    Rank j of `ranks` is the confidence at place ceil(N j / ranks). Given that confidence, the rows strictly above it
    are independent draws from what lies above, so a binomial test of their errors is exact; each is made at
    delta / ranks. The last rank accepts every row. The guarantee holds under the law of these rows, not a shifted one.

    Args:
      confidence: `[N]`, larger where the model is surer; not NaN.
      correct: `[N]` booleans, or 0 and 1.
      risk: the error allowed among the accepted, in (0, 1).
      delta: the probability of failing, in (0, 1).
      ranks: number of ranks tested, >= 1.

    Returns:
      The threshold of the largest rank that passes; +inf, coverage 0 and "nothing accepted" if none does. It is the
      next number above a confidence, in the dtype of `confidence`: compare in that dtype.

    Raises:
      ArgumentError: if lengths differ, there are none, or values are NaN or out of range.

    Reference:
      Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017.

    Example:
      >>> threshold_for_risk([0.9, 0.8], [1, 1], 0.1).status
      'nothing accepted'
    """
    kind = np.asarray(confidence).dtype
    kind = kind if kind.kind == "f" else np.dtype(np.float64)
    confidence, correct = scored_outcomes(confidence, correct)
    risk, delta = fraction("risk", risk, "a risk"), fraction("delta", delta, "a probability")
    ranks, n = whole_number("ranks", ranks, 1), len(confidence)
    ordered = -np.sort(-confidence)
    for j in range(ranks, 0, -1):
        at = -np.inf if j == ranks else ordered[-(-n * j // ranks) - 1]
        taken = np.full(n, True) if j == ranks else confidence > at
        m, wrong = int(taken.sum()), float((1 - correct)[taken].sum())
        if m and bdtr(wrong, m, risk) <= delta / ranks:
            above = at if j == ranks else np.nextafter(kind.type(at), kind.type(np.inf))
            return Threshold(float(above), m / n, wrong / m, "ok")
    return Threshold(float("inf"), 0.0, float("nan"), "nothing accepted")


def threshold_for_cost(confidence: Any, correct: Any, cost_error: float, cost_abstain: float) -> Threshold:
    """The threshold of least mean cost on these rows; of equal ones that which accepts most.

    With calibrated probabilities, Chow's rule is the threshold 1 - cost_abstain / cost_error.

    Args:
      confidence: `[N]`, larger where the model is surer; not NaN.
      correct: `[N]` booleans, or 0 and 1.
      cost_error: of an accepted error, finite, > 0.
      cost_abstain: of a row not accepted, finite, > 0.

    Returns:
      The threshold; +inf where accepting nothing costs least.

    Raises:
      ArgumentError: if lengths differ, there are none, values are NaN, or a cost is not above 0.

    Reference:
      Chow, "On optimum recognition error and reject tradeoff", IEEE Transactions on Information Theory 16 (1970).

    Example:
      >>> threshold_for_cost([0.9, 0.6, 0.2], [1, 1, 0], 1.0, 0.3).threshold
      0.6
    """
    for name, cost in (("cost_error", cost_error), ("cost_abstain", cost_abstain)):
        if isinstance(cost, (bool, str)) or np.ndim(cost) or not 0 < cost < np.inf:
            raise ArgumentError(name, repr(cost), "a finite cost above 0")
    curve = risk_coverage(confidence, correct)
    cost = cost_error * curve.coverage * curve.risk + cost_abstain * (1 - curve.coverage)
    best = len(cost) - 1 - int(np.argmin(cost[::-1]))
    if cost_abstain < cost[best]:
        return Threshold(float("inf"), 0.0, float("nan"), "nothing accepted")
    return Threshold(float(curve.threshold[best]), float(curve.coverage[best]), float(curve.risk[best]), "ok")
