"""The size of a shift in several distances at once, and the strength that has a given size."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Array

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.drift.simulate import distances
from sensijax.drift.simulate._drift import Drift, Shifted, shift


@dataclasses.dataclass(frozen=True)
class ShiftSize:
    """How large a shift is, in distances that do not depend on what made it.

    Attributes:
      kl: Kullback-Leibler divergence of the weights, in nats.
      chi2: chi-squared divergence of the weights.
      effective_share: how much of the sample is left, 1 / (1 + chi2), in (0, 1].
      label_variation: total variation between the distributions of labels, in [0, 1]; None for a regression.
      relabelled: the share that is called otherwise, in [0, 1].
      ks_max, ks_mean: Kolmogorov-Smirnov distances of the features, the largest and the mean, in [0, 1].
      mean_difference: the largest movement of a feature's mean, in standard deviations, 0 or more.
      energy: energy distance, unbiased.
      mmd: squared maximum mean discrepancy, unbiased.
    """

    kl: float
    chi2: float
    effective_share: float
    label_variation: float | None
    relabelled: float
    ks_max: float
    ks_mean: float
    mean_difference: float
    energy: float
    mmd: float


def shift_size(reference: Dataset, shifted: Shifted) -> ShiftSize:
    """How large a shift is.

    Args:
      reference: the data.
      shifted: the same data under a drift, from `shift`.

    Returns:
      All distances of `sensijax.drift.distances`.

    Raises:
      ArgumentError: if the examples are others, or there are NaN among the inputs.

    Example:
      >>> import jax
      >>> from sensijax.drift import CovariateShift
      >>> x = np.random.default_rng(0).normal(size=(2000, 1)).astype(np.float32)
      >>> data = Dataset(x, np.zeros(2000, int))
      >>> size = shift_size(data, shift(CovariateShift(strength=0.5, along=0), jax.random.key(0), data))
      >>> bool(abs(size.kl - 0.125) < 0.02), bool(abs(size.mean_difference - 0.5) < 0.05)
      (True, True)
    """
    ks = distances.kolmogorov_smirnov(reference, shifted)
    chi2 = distances.chi2(reference, shifted)
    return ShiftSize(
        kl=distances.kl(reference, shifted),
        chi2=chi2,
        effective_share=1 / (1 + chi2),
        label_variation=distances.label_variation(reference, shifted) if reference.is_classification else None,
        relabelled=distances.relabelled(reference, shifted),
        ks_max=float(ks.max()),
        ks_mean=float(ks.mean()),
        mean_difference=float(np.abs(distances.mean_difference(reference, shifted)).max()),
        energy=distances.energy(reference, shifted),
        mmd=distances.mmd(reference, shifted),
    )


def shift_sizes(drift: Drift, key: Array, data: Dataset, strengths: Sequence[float]) -> pd.DataFrame:
    """The sizes of a drift over its strengths: one row for each, indexed by `strength`.

    Example:
      >>> import jax
      >>> from sensijax.drift import PriorShift
      >>> data = Dataset(np.array([[0.0], [1.0]], np.float32), np.array([0, 1]))
      >>> shift_sizes(PriorShift(0.0, toward=1), jax.random.key(0), data, [0, 0.5, 1]).label_variation.tolist()
      [0.0, 0.25, 0.5]
    """
    sizes = [shift_size(data, shift(_at(drift, s), key, data)) for s in strengths]
    index = pd.Index([float(s) for s in strengths], name="strength")
    return pd.DataFrame([dataclasses.asdict(size) for size in sizes], index=index)


def strength_for(
    drift: Drift,
    key: Array,
    data: Dataset,
    distance: Callable[[Dataset, Shifted], float],
    value: float,
    *,
    high: float = 1.0,
    tolerance: float = 1e-4,
) -> float:
    """The smallest strength at which a shift has a size, so that several drifts can be compared at equal sizes.

    Found by bisection, for a distance that grows with the strength. A distance that jumps, such as a share of
    relabelled examples, is at least `value` at the strength returned, and below it `tolerance` lower.

    Args:
      drift: the drift; its own strength does not matter.
      key: a typed PRNG key, scalar.
      data: the examples.
      distance: such as `distances.kl`, a function of (reference, shifted).
      value: the size that is wanted, above 0.
      high: the largest strength to look at.
      tolerance: of the strength.

    Returns:
      A strength in (0, high].

    Raises:
      ArgumentError: if the size is not reached at `high`.

    Example:
      >>> import jax
      >>> from sensijax.drift import CovariateShift, distances
      >>> x = np.random.default_rng(0).normal(size=(4000, 1)).astype(np.float32)
      >>> data = Dataset(x, np.zeros(4000, int))
      >>> round(strength_for(CovariateShift(0.0, along=0), jax.random.key(0), data, distances.kl, 0.5, high=3), 1)
      1.0
    """
    if not value > 0:
        raise ArgumentError("value", value, "a size above 0: strength 0 has size 0")
    if not tolerance > 0:
        raise ArgumentError("tolerance", tolerance, "above 0")

    def size(strength: float) -> float:
        return float(distance(data, shift(_at(drift, strength), key, data)))

    low = 0.0
    if not (most := size(high)) >= value:
        raise ArgumentError("value", f"{value:g}", f"at most {most:g}, which strength {high:g} reaches: see `high`")
    while high - low > tolerance:
        middle = (low + high) / 2
        low, high = (low, middle) if size(middle) >= value else (middle, high)
    return high


def _at(drift: Drift, strength: float) -> Drift:
    return dataclasses.replace(drift, strength=np.float32(strength))  # type: ignore[type-var]
