"""The Kolmogorov-Smirnov test: the largest difference of two empirical distribution functions."""

import math
from typing import Any

import numpy as np

from sensijax.drift.detect._detection import Correction, Detection, by_feature
from sensijax.drift.detect._door import check_level, two_samples
from sensijax.drift.detect._ranks import rank
from sensijax.measure import holm

EXACT = 10**6
"""Up to this n m the distribution is counted out; beyond it the limiting one serves."""


def ks(
    reference: Any,
    sample: Any,
    *,
    alpha: float = 0.05,
    exact: bool | None = None,
    correction: Correction = holm,
) -> Detection:
    """Two-sample, two-sided Kolmogorov-Smirnov test of each feature. Deterministic.

    The exact p-value is conditional on the ties that there are: the chance, over all ways to call n of the pooled
    values the reference, of a difference as large, where differences are looked at between distinct values only. So it
    is right for discrete data too, where the distribution for continuous data rejects less often than alpha.

    Args:
      reference: real numbers `[n]` or `[n, d]`.
      sample: `[m]` or `[m, d]`.
      alpha: the level, in (0, 1).
      exact: whether to count the distribution out; unless given, up to n m = 10^6. Else SciPy's `kstwo` at the rounded
        effective size n m / (n + m), with ties conservative.
      correction: of the p-values for looking at d features: `sensijax.measure.holm` or `benjamini_hochberg`.

    Returns:
      The verdict; `statistic` is D = max |F - G| in [0, 1].

    Raises:
      ArgumentError: if the samples or the level are not as above, or there are NaN or infinities.

    Reference:
      Hodges, "The significance probability of the Smirnov two-sample test", Arkiv for Matematik 3 (1958). Schröer and
      Trenkler, "Exact and randomization distributions of Kolmogorov-Smirnov tests two or three samples",
      Computational Statistics and Data Analysis 20 (1995), for ties.

    Example:
      >>> found = ks([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])
      >>> found.statistic, round(found.p_value, 5), found.drift, found.null
      (1.0, 0.02857, True, 'exact')
    """
    x, y = two_samples(reference, sample, 1)
    alpha = check_level(alpha)
    ranked = rank(x, y)
    n, m = ranked.n, ranked.m
    # D as a whole number, D n m, so that no comparison depends on rounding.
    h = np.abs(ranked.before * (n + m) - n * np.arange(1, n + m + 1)[:, None])
    h = np.where(ranked.last, h, 0).max(axis=0)
    if exact is None:
        exact = n * m <= EXACT
    if not exact:
        from scipy.stats import kstwo  # half a second of start-up that no other detector needs

        size = round(n * m / (n + m)) or 1
        p = np.where(h > 0, kstwo.sf(h / (n * m), size), 1.0)
        return by_feature(
            "ks", h / (n * m), np.clip(p, np.finfo(float).tiny, 1), lambda _, level: float(kstwo.isf(level, size)),
            alpha=alpha, n=n, m=m, null="asymptotic", correction=correction, constant=ranked.constant,
        )  # fmt: skip
    p = _survival_by_feature(h, ranked.last, n, m)
    step = math.gcd(n, m)

    def threshold(feature: int, level: float) -> float:
        last = ranked.last[:, [feature]]
        low, high = 0, n * m // step + 1  # P(low) > level >= P(high), in multiples of the lattice's step
        while high - low > 1:
            middle = (low + high) // 2
            if survival(np.array([middle * step]), last, n, m)[0] > level:
                low = middle
            else:
                high = middle
        return (low + 0.5) * step / (n * m)

    least = _survival_by_feature(np.full(len(h), n * m), ranked.last, n, m)
    return by_feature(
        "ks", h / (n * m), p, threshold,
        alpha=alpha, n=n, m=m, null="exact", correction=correction, least=least, constant=ranked.constant,
    )  # fmt: skip


def _survival_by_feature(h: np.ndarray, last: np.ndarray, n: int, m: int) -> np.ndarray:
    """`survival`, each case once: features without ties and with the same h share it."""
    p, free = np.ones(len(h)), last.all(axis=0)
    if free.any():
        distinct, which = np.unique(h[free], return_inverse=True)
        p[free] = survival(distinct, np.ones((n + m, 1), bool), n, m)[which]
    if (~free).any():
        p[~free] = survival(h[~free], last[:, ~free], n, m)
    return p


def survival(h: np.ndarray, last: np.ndarray, n: int, m: int) -> np.ndarray:
    """P(D n m >= h) over all labelings of the pooled ranks.

    A labeling is a path: after k ranks it has met i references, and the next rank is one with probability
    (n - i) / (N - k). The path dies where the difference is as large as h, which is looked at after the last of each
    group of ties. What died is summed up, so that small probabilities keep their digits.

    Args:
      h: int64 `[c]`.
      last: bool `[N, c]`, or `[N, 1]`.
      n, m: rows.

    Returns:
      float64 `[c]`.
    """
    total, i = n + m, np.arange(n + 1)
    alive = np.zeros((len(h), n + 1))
    alive[:, 0] = 1
    died = np.zeros(len(h))
    for k in range(total):
        takes = alive * (np.clip(n - i, 0, total - k) / (total - k))[None]
        alive -= takes
        alive[:, 1:] += takes[:, :-1]
        beyond = (np.abs(i * total - n * (k + 1))[None] >= h[:, None]) & last[k][:, None]
        died += np.where(beyond, alive, 0).sum(axis=1)
        alive[beyond] = 0
    return np.minimum(died, 1)
