"""How far annotators agree beyond chance: Krippendorff's alpha and Fleiss' kappa, with bootstrap intervals."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import struct
from sensijax.label.aggregation._votes import read_votes

Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]
_CONSTANT = 0x61677265  # so that the resamples share no generator with data made from the same small seed


@struct
class Agreement:
    """A coefficient of agreement: 1 is perfect, 0 is chance, below 0 is systematic disagreement.

    Attributes:
      value: the coefficient.
      low, high: percentile bootstrap interval, items resampled; NaN if every resample is undefined.
      confidence: of the interval.
      items: how many items count, those with two votes or more.
      votes: how many votes they have.
      undefined: how many resamples had one class only; they are left out of the interval.
      resamples: float64 `[B]`, the bootstrap's values, NaN where undefined.
    """

    value: float
    low: float
    high: float
    confidence: float
    items: int
    votes: int
    undefined: int
    resamples: Float[np.ndarray, "b"]


def nominal_distance(values: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Classes without order: any two are at distance 1.

    Args:
      values: float64 `[K]`, the numbers that the classes stand for.
      totals: float64 `[K]`, how often each was given.

    Returns:
      float64 `[K, K]`, squared distances.

    Example:
      >>> nominal_distance(np.arange(2.0), np.ones(2)).tolist()
      [[0.0, 1.0], [1.0, 0.0]]
    """
    return 1 - np.eye(len(values))


def ordinal_distance(values: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Ordered classes: the distance is the number of votes from the middle of one class to the middle of the other.

    Args:
      values, totals: as for `nominal_distance`; the values themselves do not count, the order of the classes does.

    Returns:
      float64 `[K, K]`, squared distances.

    Example:
      >>> ordinal_distance(np.arange(3.0), np.array([2.0, 4.0, 2.0])).tolist()
      [[0.0, 9.0, 36.0], [9.0, 0.0, 9.0], [36.0, 9.0, 0.0]]
    """
    middle = np.cumsum(totals) - totals / 2
    return (middle[:, None] - middle[None]) ** 2


def interval_distance(values: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Classes that are numbers: the distance is their difference.

    Args:
      values, totals: as for `nominal_distance`.

    Returns:
      float64 `[K, K]`, squared distances.

    Example:
      >>> interval_distance(np.array([0.0, 3.0]), np.ones(2)).tolist()
      [[0.0, 9.0], [9.0, 0.0]]
    """
    return (values[:, None] - values[None]) ** 2


def krippendorff_alpha(
    votes: Any,
    classes: int,
    *,
    metric: Metric = nominal_distance,
    values: Any = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Krippendorff's alpha: 1 - observed over expected disagreement; any number of votes on an item, any metric.

    Args:
      votes: integers `[N, A]`, -1 for no vote; the `Votes` of a `Crowd`; or `(item, worker, label)`, integers `[M]`.
        Items with fewer than two votes do not count.
      classes: K >= 2.
      metric: `nominal_distance`, `ordinal_distance`, `interval_distance`, or a function of (values, totals) to squared
        distances `[K, K]`.
      values: `[K]`, the numbers that the classes stand for; 0..K-1 unless given.
      confidence: in (0, 1), of the interval.
      resamples: B >= 1, of the items.
      seed: of the resamples.

    Returns:
      The coefficient with its interval.

    Raises:
      ArgumentError: if no item has two votes, or all votes are of one class: then chance would agree as well, and alpha
        is undefined.

    Reference:
      Hayes and Krippendorff, "Answering the call for a standard reliability measure for coding data", Communication
      Methods and Measures 1(1), 2007.

    Example:
      >>> found = krippendorff_alpha([[0, 0], [1, 1], [0, 1], [1, 1]], classes=2)
      >>> round(found.value, 4)
      0.5333
    """
    table = _table(votes, classes)
    numbers = np.arange(classes, dtype=np.float64) if values is None else np.asarray(values, np.float64)
    if numbers.shape != (classes,) or not np.isfinite(numbers).all():
        raise ArgumentError("values", f"{numbers.tolist()}", f"{classes} finite numbers, one for each class")
    table = table[table.sum(axis=1) >= 2]
    if not len(table):
        raise ArgumentError("votes", "no item with two votes", "at least one: agreement needs two annotators")

    def alpha(weight: np.ndarray) -> float:
        """Of the items, each taken `weight` times."""
        m = table.sum(axis=1)
        scaled = table * (weight / (m - 1))[:, None]
        coincidences = scaled.T @ table - np.diag(scaled.sum(axis=0))
        totals = weight @ table
        distance = metric(numbers, totals)
        expected = (np.outer(totals, totals) * distance).sum()  # a value is at distance 0 from itself
        return 1 - (totals.sum() - 1) * (coincidences * distance).sum() / expected if expected > 0 else np.nan

    return _with_interval(alpha, table, confidence, resamples, seed)


def fleiss_kappa(
    votes: Any, classes: int, *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Agreement:
    """Fleiss' kappa: (observed - expected agreement) / (1 - expected), with as many votes on every item.

    Args:
      votes: integers `[N, A]`, -1 for no vote; the `Votes` of a `Crowd`; or `(item, worker, label)`, integers `[M]`.
      classes: K >= 2.
      confidence: in (0, 1), of the interval.
      resamples: B >= 1, of the items.
      seed: of the resamples.

    Returns:
      The coefficient with its interval.

    Raises:
      ArgumentError: if items have different numbers of votes (`krippendorff_alpha` allows that) or fewer than two, or
        all votes are of one class.

    Reference:
      Fleiss, "Measuring nominal scale agreement among many raters", Psychological Bulletin 76(5), 1971.

    Example:
      >>> found = fleiss_kappa([[0, 0], [1, 1], [0, 1], [1, 1]], classes=2)
      >>> round(found.value, 4)
      0.4667
    """
    table = _table(votes, classes)
    m = table.sum(axis=1)
    if m.min() != m.max() or m[0] < 2:
        came = f"from {m.min():g} to {m.max():g} votes on an item"
        raise ArgumentError("votes", came, "the same number on each, 2 or more; else use krippendorff_alpha")
    agreeing = ((table**2).sum(axis=1) - m[0]) / (m[0] * (m[0] - 1))

    def kappa(weight: np.ndarray) -> float:
        share = weight @ table / (weight.sum() * m[0])
        expected = (share**2).sum()
        observed = weight @ agreeing / weight.sum()
        return (observed - expected) / (1 - expected) if (share > 0).sum() > 1 else np.nan

    return _with_interval(kappa, table, confidence, resamples, seed)


def _table(votes: Any, classes: int) -> np.ndarray:
    """float64 `[N, K]`, how many votes each item has for each class."""
    read = read_votes(votes, classes)
    table = np.zeros((read.items + 1, read.classes))  # the last row is for entries that are no votes
    np.add.at(table, (np.asarray(read.item), np.asarray(read.label)), 1)
    return table[:-1]


def _with_interval(
    statistic: Callable[[np.ndarray], float], table: np.ndarray, confidence: float, resamples: int, seed: int
) -> Agreement:
    if not 0 < confidence < 1:
        raise ArgumentError("confidence", confidence, "in (0, 1)")
    if resamples < 1:
        raise ArgumentError("resamples", resamples, "1 or more")
    n = len(table)
    value = statistic(np.ones(n))
    if np.isnan(value):
        raise ArgumentError("votes", "votes of one class only", "two classes or more: else agreement is undefined")
    rng = np.random.default_rng([seed, _CONSTANT])
    drawn = np.array([statistic(np.bincount(rng.integers(0, n, n), minlength=n) * 1.0) for _ in range(resamples)])
    defined = drawn[~np.isnan(drawn)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) if defined.size else (np.nan, np.nan)
    undefined = len(drawn) - len(defined)
    return Agreement(float(value), float(low), float(high), confidence, n, int(table.sum()), undefined, drawn)
