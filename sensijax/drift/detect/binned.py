"""Distances of histograms, with the null distribution that a threshold needs: PSI and Jensen-Shannon.

The rule of thumb for PSI, "above 0.1 something has moved, above 0.25 a lot", names no sample size, but under the null
PSI is about (1/n + 1/m) times a chi-squared variable with one degree of freedom less than there are bins. With ten bins
and n = m = 100 its mean is 0.18: the rule then sees drift in nine of ten samples where there is none.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from scipy.special import chdtrc, chdtri

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
from sensijax.drift.detect._ranks import Ranked, labelings, rank
from sensijax.measure import holm

_FEW = 5  # expected rows in a bin, below which chi-squared is not trusted


def psi(
    reference: Any,
    sample: Any,
    *,
    key: Any = None,
    permutations: int = 1000,
    bins: int = 10,
    alpha: float = 0.05,
    correction: Correction = holm,
) -> Detection:
    """The population stability index of each feature, sum (q - p) ln(q / p), judged by its null distribution.

    Bins are quantiles of the reference, so that each holds as many of its rows; where both samples together have no
    more than `bins` distinct values, each value is a bin. A bin that is empty on one side counts as half a row there.

    With a key the null comes from permutations of the pooled sample, each with bins of its own reference: exact for any
    n, m and ties. Without one it is (1/n + 1/m) times chi-squared, which is a little wrong for few rows in a bin.

    Args:
      reference: real numbers `[n]` or `[n, d]`, n >= bins.
      sample: `[m]` or `[m, d]`, m >= 2.
      key: a typed key; needed where a bin has fewer than five expected rows on either side.
      permutations: B, where a key is given.
      bins: K >= 2.
      alpha: the level, in (0, 1).
      correction: of the p-values for looking at d features.

    Returns:
      The verdict; `statistic` is the index, which has no unit.

    Raises:
      ArgumentError: if an argument is not as above, there are NaN or infinities, or a key is needed and absent.

    Reference:
      Yurdakul and Naranjo, "Statistical properties of the population stability index", Journal of Risk Model
      Validation 14 (2020).

    Example:
      >>> rng = np.random.default_rng(0)
      >>> found = psi(rng.normal(size=100), rng.normal(size=100), key=jax.random.key(0))
      >>> found.statistic > 0.1, found.drift  # the rule of thumb would call this drift
      (True, False)
    """
    return _binned(
        "psi", reference, sample, key, permutations, bins, alpha, correction,
        index=stability_index, from_square=lambda s: s, to_square=lambda t: t,
    )  # fmt: skip


def jensen_shannon(
    reference: Any,
    sample: Any,
    *,
    key: Any = None,
    permutations: int = 1000,
    bins: int = 10,
    alpha: float = 0.05,
    correction: Correction = holm,
) -> Detection:
    """The Jensen-Shannon distance of each feature's histograms, judged by its null distribution.

    Bins, permutations and the null without a key are those of `psi`: to second order the squared distance is
    PSI / (8 ln 2).

    Args:
      reference: real numbers `[n]` or `[n, d]`, n >= bins.
      sample: `[m]` or `[m, d]`, m >= 2.
      key: a typed key; needed where a bin has fewer than five expected rows on either side.
      permutations: B, where a key is given.
      bins: K >= 2.
      alpha: the level, in (0, 1).
      correction: of the p-values for looking at d features.

    Returns:
      The verdict; `statistic` is the distance, the root of the divergence in bits, in [0, 1].

    Raises:
      ArgumentError: if an argument is not as above, there are NaN or infinities, or a key is needed and absent.

    Reference:
      Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37 (1991).
      Endres and Schindelin, "A new metric for probability distributions", same journal 49 (2003), for the root.

    Example:
      >>> found = jensen_shannon(np.repeat([0, 1], 50), np.repeat([2, 3], 50), key=jax.random.key(0))
      >>> round(found.statistic, 6), found.drift
      (1.0, True)
    """
    eight = 8 * np.log(2)
    return _binned(
        "jensen_shannon", reference, sample, key, permutations, bins, alpha, correction,
        index=_jensen_shannon, from_square=lambda s: np.sqrt(s / eight), to_square=lambda t: eight * t**2,
    )  # fmt: skip


def stability_index(p_counts: Any, q_counts: Any) -> np.ndarray:
    """PSI of two histograms: sum (q - p) ln(q / p) over bins.

    Args:
      p_counts, q_counts: counts `[..., K]`, 0 or more. An empty bin counts as half a row, one that is empty in both
        histograms not at all.

    Returns:
      float64 `[...]`.

    Raises:
      ArgumentError: if these are no counts of the same bins, or a histogram is empty.

    Example:
      >>> q = [5, 5, 10, 10, 10, 10, 10, 10, 15, 15]
      >>> round(float(stability_index([10] * 10, q)), 7)
      0.1098612
    """
    for name, given in (("p_counts", p_counts), ("q_counts", q_counts)):
        counts = np.asarray(given)
        if counts.dtype.kind not in "biuf" or not counts.ndim or counts.shape[-1] != np.shape(p_counts)[-1]:
            raise ArgumentError(name, f"{counts.dtype}{list(counts.shape)}", "numbers [..., K], K as in the other")
        if not ((counts >= 0) & (counts < np.inf)).all() or not counts.any(axis=-1).all():
            raise ArgumentError(name, "counts below 0, not finite, or all 0", "finite counts, 0 or more, not all 0")
    p, q = (np.asarray(counts, np.float64) for counts in (p_counts, q_counts))
    used = (p > 0) | (q > 0)
    p, q = (np.where(used, np.maximum(c, 0.5), 1) / c.sum(axis=-1, keepdims=True) for c in (p, q))
    return np.where(used, (q - p) * np.log(q / p), 0).sum(axis=-1)


def _jensen_shannon(p_counts: np.ndarray, q_counts: np.ndarray) -> np.ndarray:
    p, q = (c / c.sum(axis=-1, keepdims=True) for c in (p_counts, q_counts))
    middle = np.where(p + q > 0, (p + q) / 2, 1)
    p_bits, q_bits = (np.where(c > 0, c * np.log2(np.where(c > 0, c, 1) / middle), 0) for c in (p, q))
    return np.sqrt(np.maximum((p_bits + q_bits).sum(axis=-1) / 2, 0))


def _binned(
    detector: str,
    reference: Any,
    sample: Any,
    key: Any,
    permutations: int,
    bins: int,
    alpha: float,
    correction: Correction,
    *,
    index: Callable[[np.ndarray, np.ndarray], np.ndarray],
    from_square: Callable[[Any], Any],
    to_square: Callable[[Any], Any],
) -> Detection:
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 2:
        raise ArgumentError("bins", repr(bins), "an integer >= 2")
    x, y = two_samples(reference, sample)
    alpha, d = check_level(alpha), x.shape[1]
    ranked = rank(x, y)
    n, m = ranked.n, ranked.m
    few = ranked.last.sum(axis=0) <= bins
    if n < bins and not few.all():
        raise ArgumentError("reference", f"{n} rows", f"at least one for each of the {bins} bins, or fewer `bins`")
    edges = [np.flatnonzero(ranked.last[:, j]) if few[j] else None for j in range(d)]
    counts = [_counts(ranked, j, ranked.before[:, j][None], edges[j], bins) for j in range(d)]
    statistic = np.array([index(p, q)[0] for p, q in counts])
    if key is None:
        for j, (p, q) in enumerate(counts):
            expected = (p + q) * min(n, m) / (n + m)
            if (expected[expected > 0] < _FEW).any():
                why = f"feature {j} has bins with fewer than {_FEW} expected rows, where chi-squared is off"
                raise ArgumentError("key", None, f"a key, for permutations: {why}")
        freedom = np.array([max(1, ((p + q) > 0).sum() - 1) for p, q in counts])
        scale = 1 / n + 1 / m
        p_value = np.clip(chdtrc(freedom, to_square(statistic) / scale), np.finfo(float).tiny, 1)
        return by_feature(
            detector, statistic, p_value, lambda j, level: from_square(chdtri(freedom[j], level) * scale),
            alpha=alpha, n=n, m=m, null="asymptotic", correction=correction, constant=ranked.constant,
        )  # fmt: skip
    permutations = check_permutations(permutations, alpha, d)
    drawn = _permuted(ranked, check_key(key), permutations, edges, bins, index)
    slack = 1e-10 * np.abs(drawn).max(axis=0)
    return by_feature(
        detector, statistic, permutation_p_value(statistic, drawn, slack),
        lambda j, level: permutation_threshold(drawn[:, j], level, slack[j]),
        alpha=alpha, n=n, m=m, null=f"{permutations} permutations", correction=correction, constant=ranked.constant,
    )  # fmt: skip


def _permuted(
    ranked: Ranked,
    key: jax.Array,
    permutations: int,
    edges: list[np.ndarray | None],
    bins: int,
    index: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """The index for every permutation and feature: `[B, d]`."""
    free, drawn = ~ranked.tied, []
    for before in labelings(key, ranked.n, ranked.m, permutations):
        out, shared = np.empty((len(before), len(edges))), None
        for j, edge in enumerate(edges):
            if edge is None and free[j]:  # without ties the null is the same for every feature
                shared = index(*_counts(ranked, j, before, None, bins)) if shared is None else shared
                out[:, j] = shared
            else:
                out[:, j] = index(*_counts(ranked, j, before, edge, bins))
        drawn.append(out)
    return np.concatenate(drawn)


def _counts(
    ranked: Ranked, feature: int, before: np.ndarray, edge: np.ndarray | None, bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Histograms of the reference and of the sample `[b, K]` under labelings `[b, N]`.

    Args:
      ranked: the pooled sample.
      feature: which one.
      before: references among the first k + 1 ranks.
      edge: ranks at which bins end; unless given, those of the labeling's own reference quantiles: bin k ends with the
        value of its ceil(k n / K)-th reference, ties included.
      bins: K.
    """
    n, total = ranked.n, ranked.n + ranked.m
    if edge is None:
        wanted = -(-np.arange(1, bins) * n // bins)
        is_reference = np.diff(before, axis=1, prepend=0) > 0
        places = np.nonzero(is_reference)[1].reshape(len(before), n)[:, wanted - 1]
        ends = np.where(ranked.last[:, feature], np.arange(total), total)
        group_end = np.minimum.accumulate(ends[::-1])[::-1]
        places = group_end[places]
    else:
        places = np.broadcast_to(edge[None, :-1], (len(before), len(edge) - 1))
    references = np.take_along_axis(before, places, axis=1).astype(np.int64)
    everything = np.full((len(before), 1), total)
    p = np.diff(references, axis=1, prepend=0, append=np.full((len(before), 1), n))
    return p, np.diff(places + 1, axis=1, prepend=0, append=everything) - p
