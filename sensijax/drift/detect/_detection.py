"""What a batch detector says: a statistic, how likely it is without drift, and what could have been seen at all."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import chdtri, chndtrinc, ndtri

from sensijax.core.errors import ArgumentError
from sensijax.measure import holm

POWER = 0.8
ROUNDING = 1e-9
"""Two p-values, or a p-value and a level, that differ by this fraction are the same number."""


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """What a detector found in each of d features.

    Attributes:
      statistic: float64 `[d]`.
      p_value: float64 `[d]`, each feature on its own.
      adjusted: float64 `[d]`, p-values corrected for looking at d features.
      drift: bool `[d]`, whether the adjusted p-value is at most alpha.
    """

    statistic: np.ndarray
    p_value: np.ndarray
    adjusted: np.ndarray
    drift: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Detection:
    """The verdict of one detector on one pair of samples.

    Attributes:
      detector: its name.
      statistic: what it measured; of the feature with the smallest p-value where each feature is tested on its own.
      p_value: the chance of such a statistic or a larger one where both samples come from one distribution; in (0, 1].
        Where each feature is tested, the smallest of the corrected ones.
      threshold: drift is a statistic above this one. Where each feature is tested, that of the feature shown, at the
        level of the first step of the correction, alpha / d.
      alpha: the level, the false positive rate that was asked for.
      n: rows of the reference.
      m: rows of the sample.
      null: where the p-value comes from: an exact distribution, an asymptotic one, or so many permutations.
      detectable: the smallest shift of the mean, in standard deviations, that a test of this level finds with 80 %
        power if both samples are normal with one known covariance and the test is the best there is (two-sided z; for
        all d features together the chi-squared test, which is best among those that prefer no direction). A detector
        that must find other changes too needs a larger shift.
      status: "ok", or what keeps the verdict from meaning much: constant data, or so few rows that no outcome could
        have been called drift.
      features: what was found in each feature, where each is tested on its own; else None.
    """

    detector: str
    statistic: float
    p_value: float
    threshold: float
    alpha: float
    n: int
    m: int
    null: str
    detectable: float
    status: str = "ok"
    features: Features | None = None

    @property
    def drift(self) -> bool:
        """Whether the p-value is at most alpha."""
        return self.p_value <= self.alpha * (1 + ROUNDING)

    @property
    def power_note(self) -> str:
        """What size of shift these numbers of rows can show, in words."""
        what = "any one feature's mean" if self.features is not None else "the mean"
        note = (
            f"n = {self.n}, m = {self.m}: at level {self.alpha:g} even the best test finds a shift of {what} "
            f"with {POWER:.0%} power only from {self.detectable:.2g} standard deviations on"
        )
        return note if self.status == "ok" else f"{note}; {self.status}"


def detectable_shift(n: int, m: int, alpha: float, features: int = 1, *, together: bool = False) -> float:
    """The smallest mean shift that the best test of normal samples with known covariance finds with 80 % power.

    Args:
      n, m: rows of the samples.
      alpha: the level of the test.
      features: d.
      together: whether the features are tested as one vector, else each at alpha / d.

    Returns:
      In standard deviations: of one feature, or the Mahalanobis length of the shift.

    Example:
      >>> round(detectable_shift(100, 100, 0.05), 3)
      0.396
    """
    scale = math.sqrt(1 / n + 1 / m)
    if together:
        noncentrality = chndtrinc(chdtri(features, alpha), features, 1 - POWER)
        return float(math.sqrt(noncentrality)) * scale
    return float(ndtri(1 - alpha / features / 2) + ndtri(POWER)) * scale


def benjamini_hochberg(p_values: Any) -> np.ndarray:
    """p-values of a family, adjusted so that of the rejections a fraction of at most the level is false, on average.

    Args:
      p_values: `[d]` in [0, 1], the whole family.

    Returns:
      float64 `[d]`. Holds for independent and for positively dependent tests (`holm` under any dependence), and where
      no feature has drifted the chance of any rejection is at most the level too.

    Raises:
      ArgumentError: if a p-value lies outside [0, 1].

    Reference:
      Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57
      (1995).

    Example:
      >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.005]).tolist()
      [0.02, 0.04, 0.04, 0.02]
    """
    p = np.asarray(p_values)
    if p.ndim != 1 or (p.size and p.dtype.kind not in "biuf"):
        raise ArgumentError("p_values", f"{p.dtype}{list(p.shape)}", "numbers [d]")
    p = p.astype(np.float64)
    if (wrong := p[~((p >= 0) & (p <= 1))]).size:
        raise ArgumentError("p_values", f"{wrong[0]:g}", "numbers in [0, 1]")
    order = np.argsort(p, kind="stable")[::-1]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1)), 1)
    return adjusted


Correction = Callable[[Any], np.ndarray]
"""From the p-values of all features to adjusted ones: `holm`, `benjamini_hochberg`."""


def by_feature(
    detector: str,
    statistic: np.ndarray,
    p_value: np.ndarray,
    threshold: Callable[[int, float], float],
    *,
    alpha: float,
    n: int,
    m: int,
    null: str,
    correction: Correction = holm,
    least: np.ndarray | float = 0.0,
    constant: np.ndarray | None = None,
) -> Detection:
    """The verdict of a detector that looks at each feature on its own.

    Args:
      detector, alpha, n, m, null: as in `Detection`.
      statistic, p_value: float64 `[d]`.
      threshold: of a feature (by its number) at a level.
      correction: of the p-values.
      least: `[d]` or one number, the smallest p-value that there could have been.
      constant: bool `[d]`, features with one value only in both samples.
    """
    d = len(p_value)
    adjusted = correction(p_value)
    shown = int(np.lexsort((-statistic, p_value))[0])
    status = "ok"
    if constant is not None and constant.any():
        names = ", ".join(map(str, np.flatnonzero(constant)[:5])) + (", ..." if constant.sum() > 5 else "")
        status = f"constant in both samples, so never drift: feature {names}"
    if np.min(np.broadcast_to(least, d)) * d > alpha * (1 + ROUNDING):
        status = f"too few rows: no outcome could have been called drift at level {alpha:g}"
    return Detection(
        detector,
        float(statistic[shown]),
        float(adjusted.min()),
        float(threshold(shown, alpha / d)),
        alpha,
        n,
        m,
        null,
        detectable_shift(n, m, alpha, d),
        status,
        Features(statistic, p_value, adjusted, adjusted <= alpha * (1 + ROUNDING)),
    )


def permutation_p_value(observed: Any, drawn: np.ndarray, slack: Any = 0.0) -> Any:
    """(1 + how many drawn statistics are at least the observed one) / (B + 1): never 0, and never too small.

    Args:
      observed: `[...]`, the statistic of the samples.
      drawn: `[B, ...]`, that of as many permutations.
      slack: `[...]`, 0 or more: rounding; what is closer than this counts as equal.

    Returns:
      float64 `[...]` in (0, 1].

    Reference:
      Phipson and Smyth, "Permutation p-values should never be zero", Statistical Applications in Genetics and
      Molecular Biology 9 (2010).

    Example:
      >>> float(permutation_p_value(3.0, np.array([1.0, 2.0, 4.0])))
      0.5
    """
    observed = np.asarray(observed)
    return (1.0 + (drawn >= (observed - slack)[None]).sum(axis=0)) / (len(drawn) + 1)


def permutation_threshold(drawn: np.ndarray, alpha: float, slack: float = 0.0) -> float:
    """What a statistic must exceed for a permutation p-value of at most alpha.

    Args:
      drawn: `[B]`.
      alpha: the level.
      slack: as for the p-value.

    Returns:
      The k-th largest, k = floor(alpha (B + 1)); infinite where k = 0.
    """
    k = math.floor(alpha * (len(drawn) + 1) * (1 + ROUNDING))
    return float(np.partition(drawn, len(drawn) - k)[len(drawn) - k]) + slack if k else math.inf
