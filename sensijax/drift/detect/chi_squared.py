"""The chi-squared test of homogeneity: whether categories occur as often as they did."""

from typing import Any

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
from sensijax.drift.detect._door import check_level, check_permutations, check_shape, generator
from sensijax.measure import holm

_PURPOSE = 0x63686932
_FEW = 5  # expected rows in a cell of the table, below which the limiting distribution is not trusted (Cochran 1954)


def chi2(
    reference: Any,
    sample: Any,
    *,
    key: Any = None,
    permutations: int = 1000,
    alpha: float = 0.05,
    correction: Correction = holm,
) -> Detection:
    """Pearson's chi-squared test that the categories of each feature have kept their shares.

    With a key the p-value comes from permutations of the pooled sample, which are hypergeometric draws of the table
    with both margins fixed; without one from the chi-squared distribution (no continuity correction).

    Args:
      reference: categories `[n]` or `[n, d]`: integers, booleans or strings. (Floats are refused: count them in bins
        by `psi`, or convert them.)
      sample: `[m]` or `[m, d]`. A category that occurs in one sample only is a category like the others.
      key: a typed key; needed where a cell of the table has fewer than five expected rows.
      permutations: B, where a key is given.
      alpha: the level, in (0, 1).
      correction: of the p-values for looking at d features.

    Returns:
      The verdict; `statistic` is chi-squared.

    Raises:
      ArgumentError: if an argument is not as above, or a key is needed and absent.

    Reference:
      Pearson, Philosophical Magazine 50 (1900). Cochran, "Some methods for strengthening the common chi-squared
      tests", Biometrics 10 (1954), for the rule of five.

    Example:
      >>> found = chi2(["a"] * 30 + ["b"] * 30, ["a"] * 45 + ["b"] * 15)
      >>> round(found.statistic, 4), round(found.p_value, 5)
      (8.0, 0.00468)
    """
    x, y = _categories("reference", reference), _categories("sample", sample)
    if x.ndim != y.ndim or x.shape[1:] != y.shape[1:]:
        raise ArgumentError("sample", f"shape {list(y.shape)}", f"features as in `reference`: {list(x.shape)}")
    if (x.dtype.kind in "US") != (y.dtype.kind in "US"):
        raise ArgumentError("sample", f"dtype {y.dtype}", f"categories of one kind: `reference` has {x.dtype}")
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    tables = []
    for j in range(x.shape[1]):
        names, code = np.unique(np.concatenate([x[:, j], y[:, j]]), return_inverse=True)
        tables.append(np.stack([np.bincount(part, minlength=len(names)) for part in (code[: len(x)], code[len(x) :])]))
    return _from_tables(tables, key, permutations, alpha, correction)


def chi2_counts(
    reference_counts: Any, sample_counts: Any, *, key: Any = None, permutations: int = 1000, alpha: float = 0.05
) -> Detection:
    """`chi2` of one feature whose categories have been counted already.

    Args:
      reference_counts: integers `[K]`, 0 or more: rows of the reference in each of K categories.
      sample_counts: integers `[K]`, of the sample in the same categories. One that nobody is in counts for nothing.
      key, permutations, alpha: as for `chi2`.

    Returns:
      The verdict.

    Raises:
      ArgumentError: if these are no counts of the same categories, a side is empty, or a key is needed and absent.

    Example:
      >>> round(chi2_counts([30, 30], [45, 15]).p_value, 5)
      0.00468
    """
    counts = []
    for name, given in (("reference_counts", reference_counts), ("sample_counts", sample_counts)):
        given = np.asarray(given)
        if given.ndim != 1 or given.dtype.kind not in "iu" or (given < 0).any() or not given.sum():
            raise ArgumentError(name, f"{given.dtype}{list(given.shape)}", "counts [K]: integers, 0 or more, not all 0")
        counts.append(given.astype(np.int64))
    if len(counts[0]) != len(counts[1]):
        raise ArgumentError("sample_counts", f"{len(counts[1])} categories", f"{len(counts[0])}, as in the reference")
    table = np.stack(counts)
    return _from_tables([table[:, table.sum(axis=0) > 0]], key, permutations, alpha, holm)


def _categories(name: str, values: Any) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind == "O" and all(isinstance(v, str) for v in values.ravel()):
        values = values.astype(str)
    if values.dtype.kind not in "biuUS":
        raise ArgumentError(name, f"dtype {values.dtype}", "categories: integers, booleans or strings, none missing")
    check_shape(name, values, 1)
    return values


def _statistic(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Chi-squared of a table whose margins are fixed, from the counts of one side `[..., K]`."""
    return (np.square(counts - expected[0]) * (1 / expected).sum(axis=0)).sum(axis=-1)


def _from_tables(
    tables: list[np.ndarray], key: Any, permutations: int, alpha: Any, correction: Correction
) -> Detection:
    alpha, d = check_level(alpha), len(tables)
    n, m = (int(side) for side in tables[0].sum(axis=1))
    expected = [t.sum(axis=0)[None] * np.array([[n], [m]]) / (n + m) for t in tables]
    statistic = np.array([_statistic(t[0], e) for t, e in zip(tables, expected, strict=True)])
    constant = np.array([t.shape[1] == 1 for t in tables])
    if key is None:
        for j, e in enumerate(expected):
            if e.min() < _FEW and not constant[j]:
                why = f"feature {j} has a category with {e.min():.2g} expected rows, fewer than {_FEW}"
                raise ArgumentError("key", None, f"a key, for permutations: {why}, where chi-squared is off")
        freedom = np.array([max(t.shape[1] - 1, 1) for t in tables])
        p = np.where(constant, 1, np.clip(chdtrc(freedom, statistic), np.finfo(float).tiny, 1))
        return by_feature(
            "chi2", statistic, p, lambda j, level: float(chdtri(freedom[j], level)),
            alpha=alpha, n=n, m=m, null="asymptotic", correction=correction, constant=constant,
        )  # fmt: skip
    permutations = check_permutations(permutations, alpha, d)
    rng = generator(check_key(key), _PURPOSE)
    drawn = np.stack(
        [
            _statistic(rng.multivariate_hypergeometric(t.sum(axis=0), n, size=permutations, method="marginals"), e)
            for t, e in zip(tables, expected, strict=True)
        ],
        axis=1,
    )
    slack = 1e-10 * np.abs(drawn).max(axis=0)
    return by_feature(
        "chi2", statistic, permutation_p_value(statistic, drawn, slack),
        lambda j, level: permutation_threshold(drawn[:, j], level, slack[j]),
        alpha=alpha, n=n, m=m, null=f"{permutations} permutations", correction=correction, constant=constant,
    )  # fmt: skip
