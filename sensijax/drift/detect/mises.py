"""The Cramer-von Mises test: the mean squared difference of two empirical distribution functions."""

from typing import Any

import numpy as np
from scipy.special import gammaln, kv

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key
from sensijax.drift.detect._detection import (
    Correction,
    Detection,
    by_feature,
    permutation_p_value,
    permutation_threshold,
)
from sensijax.drift.detect._door import check_level, check_permutations, two_samples
from sensijax.drift.detect._ranks import permuted_sums, rank
from sensijax.measure import holm

FEW = 10
"""With fewer rows in either sample the limiting distribution is not trusted."""


def cramer_von_mises(
    reference: Any,
    sample: Any,
    *,
    key: Any = None,
    permutations: int = 1000,
    alpha: float = 0.05,
    correction: Correction = holm,
) -> Detection:
    """Two-sample Cramer-von Mises test of each feature: more sensitive than `ks` to shifts that are spread out.

    Without a key the p-value is that of the limiting distribution, standardised by the exact mean and variance
    (Anderson 1962); with one it comes from permutations, which is right for ties and for small samples too.

    Args:
      reference: real numbers `[n]` or `[n, d]`, n >= 2.
      sample: `[m]` or `[m, d]`, m >= 2.
      key: a typed key; needed where values are tied, or n or m is below 10.
      permutations: B, where a key is given.
      alpha: the level, in (0, 1).
      correction: of the p-values for looking at d features.

    Returns:
      The verdict; `statistic` is T = n m / N^2 sum (F - G)^2 over the N pooled values.

    Raises:
      ArgumentError: if an argument is not as above, there are NaN or infinities, or a key is needed and absent.

    Reference:
      Anderson, "On the distribution of the two-sample Cramer-von Mises criterion", Annals of Mathematical Statistics
      33 (1962).

    Example:
      >>> found = cramer_von_mises(np.arange(12.0), np.arange(12.0) + 6.5)
      >>> round(found.statistic, 4), round(found.p_value, 4), found.null
      (1.1389, 0.0011, 'asymptotic')
    """
    x, y = two_samples(reference, sample)
    alpha = check_level(alpha)
    ranked = rank(x, y)
    n, m = ranked.n, ranked.m
    scale = n * m / (n + m) ** 2
    # Every value of a group of ties counts with the difference after the group.
    place = np.arange(1, n + m + 1)[:, None]
    ends = np.where(ranked.last, place, 0)
    group = ends - np.concatenate([np.zeros((1, x.shape[1]), int), np.maximum.accumulate(ends, axis=0)[:-1]])
    weight = np.where(ranked.last, group, 0) * scale
    statistic = (ranked.difference(ranked.before, 0) ** 2 * weight).sum(axis=0)
    if key is None:
        if ranked.tied.any() or min(n, m) < FEW:
            why = f"n = {n}, m = {m}" if not ranked.tied.any() else f"{ranked.tied.sum()} feature(s) have ties"
            raise ArgumentError("key", None, f"a key, for permutations: {why}, where the limiting distribution is off")
        p = np.array([_survival(t, n, m) for t in statistic])
        return by_feature(
            "cramer_von_mises", statistic, p, lambda _, level: _critical(level, n, m),
            alpha=alpha, n=n, m=m, null="asymptotic", correction=correction,
        )  # fmt: skip
    permutations = check_permutations(permutations, alpha, x.shape[1])
    drawn = permuted_sums(ranked, check_key(key), permutations, 2, weight)
    slack = 1e-10 * np.abs(drawn).max(axis=0)
    return by_feature(
        "cramer_von_mises", statistic, permutation_p_value(statistic, drawn, slack),
        lambda feature, level: permutation_threshold(drawn[:, feature], level, slack[feature]),
        alpha=alpha, n=n, m=m, null=f"{permutations} permutations", correction=correction, constant=ranked.constant,
    )  # fmt: skip


def _standard(n: int, m: int) -> tuple[float, float]:
    """Mean and variance of T under the null."""
    total = n + m
    mean = (1 + 1 / total) / 6
    return mean, (total + 1) * (4 * m * n * total - 3 * (m * m + n * n) - 2 * m * n) / (180 * total**2 * m * n)


def _survival(t: float, n: int, m: int) -> float:
    mean, variance = _standard(n, m)
    w = 1 / 6 + (t - mean) / np.sqrt(45 * variance)
    return float(np.clip(1 - limiting_distribution(w), 1e-16, 1)) if w > 0 else 1.0


def _critical(level: float, n: int, m: int) -> float:
    low, high = 0.0, 40.0  # of T, which is below N / 6 but has left all levels by then
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _survival(middle, n, m) > level else (low, middle)
    return low


def limiting_distribution(w: float) -> float:
    """The limiting distribution function of the criterion under the null, by Anderson and Darling's series.

    Args:
      w: above 0.

    Returns:
      P(W <= w).

    Reference:
      Anderson and Darling, "Asymptotic theory of certain goodness of fit criteria", Annals of Mathematical Statistics
      23 (1952), equation 4.35.

    Example:
      >>> round(limiting_distribution(0.46136), 4)
      0.95
    """
    k = np.arange(20)
    with np.errstate(under="ignore"):
        u = (4 * k + 1) ** 2 / (16 * w)
        size = np.exp(gammaln(k + 0.5) - gammaln(k + 1)) / (np.pi**1.5 * np.sqrt(w))
        return float(np.sum(size * np.sqrt(4 * k + 1) * np.exp(-u) * kv(0.25, u)))
