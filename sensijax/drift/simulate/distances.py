"""How far a shift has moved the data, in several distances: each a function of (reference, shifted).

All are estimated on the examples at hand, in float64 on the host. The divergences look at the weights, and see nothing
of inputs that move; the distances between samples (KS, mean difference, energy, MMD) see both.
"""

import numpy as np
from jaxtyping import Float

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.drift.simulate._drift import Shifted
from sensijax.drift.simulate._features import columns, moments
from sensijax.drift.simulate._validate import check_finite

MOST = 1000
"""Examples of which all pairs are compared; of more data, so many are drawn."""

_SUBSAMPLE = 0x44495354  # beside a user's seed, so that no generator of his is this one


def kl(reference: Dataset, shifted: Shifted) -> float:
    """Kullback-Leibler divergence of the new distribution from the old, mean of w log w, in nats; 0 or more.

    Example:
      >>> data = Dataset(np.zeros((2, 1), np.float32), np.array([0, 1]))
      >>> round(kl(data, Shifted(data.x, data.y, np.array([2.0, 0.0]), data.ids)), 4)   # log 2
      0.6931
    """
    w = _weights(reference, shifted)
    return float(max(np.mean(w * np.log(np.where(w > 0, w, 1))), 0))


def chi2(reference: Dataset, shifted: Shifted) -> float:
    """Chi-squared divergence of the new distribution from the old, mean of (w - 1)^2; 0 or more.

    N examples are worth N / (1 + chi2) under the shift: Kish's effective sample size.
    """
    return float(np.mean((_weights(reference, shifted) - 1) ** 2))


def label_variation(reference: Dataset, shifted: Shifted) -> float:
    """Total variation between the two distributions of labels, in [0, 1].

    Raises:
      ArgumentError: for a regression.
    """
    if not reference.is_classification:
        raise ArgumentError("reference.y", "float targets: a regression", "integer labels")
    w = _weights(reference, shifted)
    _, old = np.unique(np.concatenate([reference.y, shifted.y]), return_inverse=True)
    masses = np.concatenate([np.full(len(w), -1 / len(w)), w / len(w)])
    return float(0.5 * np.abs(np.bincount(old, masses)).sum())


def relabelled(reference: Dataset, shifted: Shifted) -> float:
    """The share of the new distribution that is called otherwise than before, in [0, 1]: how far a concept moved."""
    w = _weights(reference, shifted)
    same = np.asarray(shifted.y == reference.y).reshape(len(w), -1).all(axis=1)
    return float(np.mean(w * ~same))


def kolmogorov_smirnov(reference: Dataset, shifted: Shifted) -> Float[np.ndarray, "d"]:
    """For each feature the largest difference between the two (weighted) distribution functions, in [0, 1]."""
    w = _weights(reference, shifted)
    old, new = _inputs(reference, shifted)
    masses = np.concatenate([np.full(len(w), -1 / len(w)), w / len(w)])
    distances = np.empty(old.shape[1])
    for j in range(old.shape[1]):  # by column: a sorted copy of all would be as large as the data
        values = np.concatenate([old[:, j], new[:, j]])
        order = np.argsort(values, kind="stable")
        values, difference = values[order], np.cumsum(masses[order])
        distances[j] = np.abs(difference[np.append(values[1:] != values[:-1], True)]).max()
    return np.where(distances < 1e-12, 0.0, distances)


def mean_difference(reference: Dataset, shifted: Shifted) -> Float[np.ndarray, "d"]:
    """For each feature, by how many of the reference's standard deviations its mean has moved; signed.

    A feature that is constant in the reference has 0 as long as its mean stays, and infinity once it moves.
    """
    w = _weights(reference, shifted)
    old, new = _inputs(reference, shifted)
    mean, std = moments(old)
    moved = (w[:, None] * (new - mean)).mean(axis=0) - (old - mean).mean(axis=0)
    away = np.where(np.abs(moved) <= 1e-12 * (np.abs(mean) + 1), 0.0, np.copysign(np.inf, moved))
    return np.where(std > 0, moved / np.where(std > 0, std, 1), away)


def energy(reference: Dataset, shifted: Shifted, most: int = MOST) -> float:
    """Energy distance between the two distributions, 2 E|x - y| - E|x - x'| - E|y - y'|, on standardised features.

    Estimated without bias, by a U-statistic over pairs of examples; so it may be slightly below 0 for a small shift.

    Args:
      reference: the data.
      shifted: the same data under a drift.
      most: of more examples than this, so many are drawn (always the same).

    Reference:
      Szekely and Rizzo, "Energy statistics: a class of statistics based on distances", Journal of Statistical
      Planning and Inference 143 (2013).
    """
    return _pairwise(reference, shifted, lambda squares, scale: -np.sqrt(squares), most)


def mmd(reference: Dataset, shifted: Shifted, most: int = MOST) -> float:
    """Squared maximum mean discrepancy with the kernel exp(-|x - y|^2 / (2 m^2)), on standardised features.

    m is the median distance between examples of the reference. Estimated without bias, as `energy` is.

    Reference:
      Gretton et al., "A kernel two-sample test", JMLR 13 (2012).
    """
    return _pairwise(reference, shifted, lambda squares, scale: np.exp(-squares / (2 * scale)), most)


def _pairwise(reference: Dataset, shifted: Shifted, kernel, most: int) -> float:
    # Examples (x, x~, w) are independent of one another, so the mean over pairs i != j of
    # k(x, x') - w k(x~, x') - w' k(x, x~') + w w' k(x~, x~') is unbiased for samples that share their examples, too.
    if most < 2:
        raise ArgumentError("most", most, "2 or more: pairs are compared")
    w = _weights(reference, shifted)
    old, new = _inputs(reference, shifted)
    if len(w) < 2:
        raise ArgumentError("reference", "one example", "2 or more: pairs are compared")
    mean, std = moments(old)
    scale = np.where(std > 0, std, 1)
    if len(w) > most:
        rows = np.random.default_rng([len(w), _SUBSAMPLE]).choice(len(w), most, replace=False)
        rows = np.argsort(reference.ids)[rows]  # the same examples in whatever order
        w, old, new = w[rows], old[rows], new[rows]
    old, new = (old - mean) / scale, (new - mean) / scale
    n = len(w)
    both = np.concatenate([old, new])
    lengths = (both**2).sum(axis=1)
    squares = np.maximum(lengths[:, None] + lengths[None] - 2 * both @ both.T, 0)
    apart = ~np.eye(n, dtype=bool)
    median = float(np.median(squares[:n, :n][apart]))
    k = kernel(squares, median if median > 0 else 1.0)
    between = k[:n, :n] - w[:, None] * k[n:, :n] - w[None] * k[:n, n:] + w[:, None] * w[None] * k[n:, n:]
    value = float(between[apart].mean())
    return 0.0 if abs(value) < 1e-12 else value


def _weights(reference: Dataset, shifted: Shifted) -> np.ndarray:
    if not np.array_equal(reference.ids, shifted.ids):
        raise ArgumentError("shifted", "other examples than the reference has", "that data set under a drift: shift()")
    w = shifted.weights.astype(np.float64)
    return w / w.mean()


def _inputs(reference: Dataset, shifted: Shifted) -> tuple[np.ndarray, np.ndarray]:
    check_finite(reference)
    old, new = columns(reference), shifted.x.reshape(len(reference), -1)
    return old, new
