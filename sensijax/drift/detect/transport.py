"""The Wasserstein distance as a test: how far the values have moved."""

from typing import Any

import numpy as np

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


def wasserstein(
    reference: Any,
    sample: Any,
    *,
    key: Any,
    permutations: int = 1000,
    alpha: float = 0.05,
    correction: Correction = holm,
) -> Detection:
    """Permutation test of each feature by the 1-Wasserstein distance, in the feature's own unit.

    The permutations of all features are one matrix product: |F - G| of the permuted ranks times the gaps between the
    sorted values.

    Args:
      reference: real numbers `[n]` or `[n, d]`, n >= 2.
      sample: `[m]` or `[m, d]`, m >= 2.
      key: a typed key; the verdict is a function of it and the samples.
      permutations: B of the pooled sample.
      alpha: the level, in (0, 1).
      correction: of the p-values for looking at d features.

    Returns:
      The verdict; `statistic` is the distance, the integral of |F - G|.

    Raises:
      ArgumentError: if an argument is not as above, there are NaN or infinities, or so few permutations that no
        p-value could be small enough.

    Reference:
      Ramdas, Garcia Trillos and Cuturi, "On Wasserstein two-sample testing and related families of nonparametric
      tests", Entropy 19 (2017).

    Example:
      >>> import jax
      >>> found = wasserstein(np.arange(20.0), np.arange(20.0) + 8, key=jax.random.key(0))
      >>> round(found.statistic, 6), found.drift
      (8.0, True)
    """
    x, y = two_samples(reference, sample)
    alpha, key = check_level(alpha), check_key(key)
    permutations = check_permutations(permutations, alpha, x.shape[1])
    ranked = rank(x, y)
    gaps = np.concatenate([np.diff(ranked.values, axis=0), np.zeros((1, x.shape[1]))])
    statistic = (np.abs(ranked.difference(ranked.before, 0)) * gaps).sum(axis=0)
    drawn = permuted_sums(ranked, key, permutations, 1, gaps)
    slack = 1e-10 * np.abs(drawn).max(axis=0)
    return by_feature(
        "wasserstein", statistic, permutation_p_value(statistic, drawn, slack),
        lambda feature, level: permutation_threshold(drawn[:, feature], level, slack[feature]),
        alpha=alpha, n=len(x), m=len(y), null=f"{permutations} permutations", correction=correction,
        constant=ranked.constant,
    )  # fmt: skip
