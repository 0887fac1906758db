"""Intervals, tests and verdicts: what a difference between clean and perturbed is worth."""

import enum
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.measure._estimate import Estimate, estimate_of, unmasked
from sensijax.measure._validate import fraction


def paired_bootstrap(
    difference: Any, *, binary: bool, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """The mean of paired differences, with the interval that other examples and other seeds would agree with.

    A two-way bootstrap after Owen's: examples are resampled with multinomial weights, seeds with Gaussian
    multipliers, each scaled to the unbiased variance of its part; the quantiles are those of BCa, stretched by
    Student's t at Satterthwaite's degrees of freedom, so that three seeds are honest (`_bootstrap` says why plain
    percentiles are not). Measured at a nominal 95%: 92% to 97% with three seeds, whether these agree or differ a lot;
    with two seeds that differ a lot, 88%. With one seed nothing is known about other seeds, and the interval speaks
    for examples only. All scenarios share their resamples.

    The p-value compares mean / standard error with that same t (the normal, but for few seeds that disagree), not
    with the resamples, so that Holm's correction over hundreds of scenarios has the digits it needs.

    A bootstrap of 600 unchanged answers says the change is 0 with no width at all. So where differences are those of
    correct or not (`binary`), one pseudo-example of +1 and one of -1 join the data, as Bonett and Price add them to a
    paired table: 0 changes among 600 give +-0.005, the rule of three. The mean reported stays the observed one.

    Memory is bounded: a few hundred MB beyond the input for any number of scenarios, up to 50,000 examples. Keep
    differences of correctness as int8.

    Args:
      difference: `[..., S, N]`, scenarios, seeds, examples, one dtype of real numbers (say, clean minus perturbed).
        NaN in any seed excludes that example from its scenario, and is counted.
      binary: whether these are differences of correct or not, -1, 0 or 1 (or NaN), or means of such over scenarios.
      resamples: how many, >= 100; 2,000 place a 95% bound to about 3% of the interval's width.
      level: of the interval, in (0, 1).
      seed: of the resampling, >= 0.

    Returns:
      An `Estimate`, its arrays `[...]`.

    Raises:
      ArgumentError: if shapes or options do not fit, a value is infinite, or `binary` and a value is outside [-1, 1].

    Reference:
      Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007). Bonett and Price, "Adjusted Wald
      confidence interval for a difference of binomial proportions based on paired data", J. Educational and
      Behavioral Statistics 37 (2012), the refinement of Agresti and Min, Statistics in Medicine 24 (2005).
      Satterthwaite, Biometrics Bulletin 2 (1946). Efron, "Better bootstrap confidence intervals", JASA 82 (1987).

    Example:
      >>> estimate = paired_bootstrap(np.zeros((1, 600), np.int8), binary=True)
      >>> float(estimate.mean), bool(-0.006 < estimate.low < 0 < estimate.high < 0.006), float(estimate.p_value)
      (0.0, True, 1.0)
    """
    return estimate_of("difference", difference, 1 if binary else None, resamples, level, seed)


def interaction(
    ab: Any, a: Any, b: Any, *, binary: bool, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Whether two stressors together do more than the sum of what each does alone.

    Example by example and seed by seed, drop(AB) - drop(A) - drop(B), then as `paired_bootstrap`. Positive: together
    worse than the sum. A ceiling makes interactions of its own: an example that A alone already costs cannot be lost
    again to B.

    Args:
      ab: `[..., S, N]` the drops under both (clean minus perturbed); NaN excludes the example.
      a: `[..., S, N]` the drops under the first alone, against the same clean run.
      b: `[..., S, N]` the drops under the second alone, likewise.
      binary: whether the drops are those of correct or not; their interaction is then a whole number in [-2, 2].
      resamples: how many, >= 100.
      level: of the interval, in (0, 1).
      seed: of the resampling, >= 0.

    Returns:
      An `Estimate` of the mean interaction, its arrays `[...]`.

    Raises:
      ArgumentError: if shapes differ, or for what `paired_bootstrap` refuses.

    Example:
      >>> drop = np.tile(np.array([1, 0, 0, 0], np.int8), 50)[None]
      >>> float(interaction(drop + np.roll(drop, 1), drop, np.roll(drop, 1), binary=True).mean)
      0.0
    """
    drops = [unmasked(drop) for drop in (ab, a, b)]
    for name, drop in zip(("ab", "a", "b"), drops, strict=True):
        if drop.dtype.kind not in "if" or drop.shape != drops[0].shape:
            raise ArgumentError(
                name, f"{drop.dtype}{list(drop.shape)}", f"signed numbers of the shape of `ab`: {list(drops[0].shape)}"
            )
        if binary and (wrong := drop[np.abs(drop) > 1]).size:
            raise ArgumentError(name, f"{wrong[0]:g}", "with `binary`, a drop of correct or not: -1, 0 or 1")
    dtype = np.result_type(*(drop.dtype for drop in drops))
    if dtype.kind == "i" and not binary:  # int8 holds [-2, 2], not three drops of any size
        dtype = np.dtype(np.int64)
    together, first, second = (drop.astype(dtype, copy=False) for drop in drops)
    return estimate_of("interaction", together - first - second, 2 if binary else None, resamples, level, seed)


def holm(p_values: Any) -> np.ndarray:
    """p-values of a family of tests, adjusted so that the chance of any false rejection stays below the level.

    Args:
      p_values: `[...]` in [0, 1], the whole family; NaN is a test that was not made, and stays.

    Returns:
      float64 `[...]`: reject where the adjusted p-value is at most the level. Valid under any dependence between tests.

    Raises:
      ArgumentError: if a p-value lies outside [0, 1].

    Reference:
      Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    Example:
      >>> holm([0.01, 0.04, 0.03, 0.005]).tolist()
      [0.03, 0.06, 0.06, 0.02]
    """
    p = np.asarray(p_values, np.float64)
    if (wrong := p[(p < 0) | (p > 1)]).size:
        raise ArgumentError("p_values", f"{wrong[0]:g}", "numbers in [0, 1]")
    adjusted = np.full(p.size, np.nan)
    made = np.flatnonzero(~np.isnan(p.ravel()))
    order = made[np.argsort(p.ravel()[made], kind="stable")]
    remaining = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(remaining * p.ravel()[order]), 1)
    return adjusted.reshape(p.shape)


class Verdict(enum.StrEnum):
    """What an interval says about a drop and a tolerance."""

    ROBUST = "robust"
    FRAGILE = "fragile"
    UNDECIDED = "undecided"


def verdict(interval_low: float, interval_high: float, tolerance: float) -> Verdict:
    """Decides by the interval of a drop, never by its mean: too little data gives no verdict, rather than a good one.

    Args:
      interval_low: lower bound of the drop.
      interval_high: upper bound of the drop, >= `interval_low`; where either is NaN the verdict is undecided.
      tolerance: the largest drop that is acceptable, in (0, 1).

    Returns:
      Robust if the whole interval is at most the tolerance, fragile if the whole interval is above it, else undecided.

    Raises:
      ArgumentError: if the tolerance is outside (0, 1), or the bounds are in the wrong order.

    Example:
      >>> [str(verdict(low, high, 0.05)) for low, high in ((-0.01, 0.05), (0.051, 0.2), (0.01, 0.06))]
      ['robust', 'fragile', 'undecided']
    """
    tolerance = fraction("tolerance", tolerance, "the acceptable drop")
    if interval_low > interval_high:
        raise ArgumentError("interval_low", f"{interval_low:g} above {interval_high:g}", "the lower bound comes first")
    if np.isnan(interval_low) or np.isnan(interval_high):
        return Verdict.UNDECIDED
    if interval_high <= tolerance:
        return Verdict.ROBUST
    return Verdict.FRAGILE if interval_low > tolerance else Verdict.UNDECIDED
