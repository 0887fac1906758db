"""Missing features: a measurement does not arrive, and something stands in its place."""

import dataclasses
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static
from sensijax.drift.simulate._drift import Drift
from sensijax.drift.simulate._features import columns, moments, unless_zero
from sensijax.drift.simulate._validate import check_floats, check_indices, check_numbers, whole_numbers

_QUANTILES = 101


class MissingFeatures(Drift):
    """Each chosen feature of each example is missing with a probability, and a fill stands in its place.

    The three mechanisms of the literature: completely at random (the default); at random, where the probability grows
    with the value of another feature, `given`, which is itself never missing; not at random, where it grows with the
    value that is missing (`self_censoring`). Growing means strength 0 for the smallest value and 1 for the largest,
    as F^((1 - strength) / strength) of the rank F in [0, 1] of the value, whose mean over the ranks is the strength.

    Which features go is a function of (key, id, feature); what is missing at a strength is missing at a larger one.

    Attributes:
      strength: in [0, 1], the probability; under `self_censoring` its mean if the features are normal.
      features: which may be missing; unless given, all (but `given`).
      fill: what stands there; unless given, the mean of the feature. A NaN is refused: models do not take it.
      given: the feature on whose value it depends.
      self_censoring: whether it depends on the value itself.
      centre, spread: float32 `[D]`, means and standard deviations; learned.
      open: bool `[D]`, which may be missing; learned.
      ranks: float32 `[101]`, quantiles of the feature `given`; learned.

    Reference:
      Rubin, "Inference and missing data", Biometrika 63 (1976).

    Example:
      >>> data = Dataset(np.array([[0.0, 1.0], [4.0, 3.0]], np.float32), np.array([0, 1]))
      >>> MissingFeatures(strength=1.0, features=(1,)).fit(data).inputs(jax.random.key(0), data.x[0]).tolist()
      [0.0, 2.0]
    """

    features: tuple[int, ...] | None = static(default=None)
    fill: float | None = static(default=None)
    given: int | None = static(default=None)
    self_censoring: bool = static(default=False)
    centre: Float[Array, "d"] | None = None
    spread: Float[Array, "d"] | None = None
    open: Array | None = None
    ranks: Float[Array, "q"] | None = None

    changes: ClassVar[tuple[str, ...]] = ("inputs",)

    def __post_init__(self):
        check_numbers("strength", self.strength, 0, 1)
        object.__setattr__(self, "features", whole_numbers("features", self.features))
        if self.fill is not None and not np.isfinite(self.fill):
            raise ArgumentError("fill", self.fill, "a finite number, which the model can take")
        if self.given is not None and self.self_censoring:
            raise ArgumentError("given", f"{self.given} beside self_censoring", "one of the two")

    def fit(self, data: Dataset) -> Self:
        check_floats(data)
        x = columns(data)
        d = x.shape[1]
        features = tuple(range(d)) if self.features is None else self.features
        check_indices("features", features, d, "features")
        ranks = None
        if self.given is not None:
            check_indices("given", [self.given], d, "features")
            if self.features is not None and self.given in features:
                raise ArgumentError("given", f"{self.given}, which may be missing", "a feature that is always there")
            ranks = np.quantile(x[:, self.given].astype(np.float64), np.linspace(0, 1, _QUANTILES)).astype(np.float32)
            if ranks[0] == ranks[-1]:
                raise ArgumentError("given", f"{self.given}, which is constant", "a feature that varies")
        is_open = np.isin(np.arange(d), features) & (np.arange(d) != (-1 if self.given is None else self.given))
        if not is_open.any():
            raise ArgumentError("given", f"{self.given}, the only feature", "another one, that can be missing")
        mean, std = moments(x)
        return dataclasses.replace(  # type: ignore[type-var]
            self, centre=mean.astype(np.float32), spread=std.astype(np.float32), open=is_open, ranks=ranks
        )

    def probability(self, x: Array) -> Array:
        """How likely each feature of one example is to be missing, float32 of its shape."""
        strength = jnp.asarray(self.strength, jnp.float32)
        values = jnp.ravel(jnp.asarray(x)).astype(jnp.float32)
        if self.given is None and not self.self_censoring:
            p = jnp.full(values.shape, strength)
        else:
            if self.self_censoring:
                spread = jnp.asarray(self.spread)
                rank = jax.scipy.stats.norm.cdf((values - jnp.asarray(self.centre)) / jnp.where(spread > 0, spread, 1))
            else:
                # Where quantiles are equal, the value's rank is the middle of theirs.
                ranks, value = jnp.asarray(self.ranks), values[self.given]
                low, high = (jnp.searchsorted(ranks, value, side=side) for side in ("left", "right"))
                inside = jnp.interp(value, ranks, jnp.linspace(0, 1, _QUANTILES, dtype=jnp.float32))
                tied = (low + high - 1).astype(jnp.float32) / (2 * (_QUANTILES - 1))
                rank = jnp.full(values.shape, jnp.where(high - low > 1, tied, inside))
            exponent = (1 - strength) / jnp.where(strength > 0, strength, 1)
            p = jnp.where(strength > 0, jnp.power(jnp.clip(rank, 0, 1), exponent), 0)
            p = jnp.where(strength == 1, 1, p)  # 0 to the power of 0 included
        return jnp.reshape(jnp.where(jnp.asarray(self.open), p, 0), jnp.shape(x))

    def inputs(self, key: Array, x: Array) -> Array:
        x = jnp.asarray(x)
        u = jax.random.uniform(key, x.shape, jnp.float32)
        if self.fill is None:
            fill = jnp.reshape(jnp.asarray(self.centre), x.shape)
        else:
            fill = jnp.full(x.shape, self.fill, jnp.float32)
        return unless_zero(self.strength, x, jnp.where(u < self.probability(x), fill.astype(x.dtype), x))
