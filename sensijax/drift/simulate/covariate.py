"""Covariate shift: inputs occur more or less often the further they lie along a direction."""

import dataclasses
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core import Dataset
from sensijax.core.struct import static
from sensijax.drift.simulate._drift import Drift
from sensijax.drift.simulate._features import columns
from sensijax.drift.simulate._validate import check_numbers
from sensijax.drift.simulate.direction import PrincipalComponent, along, fitted_direction


class CovariateShift(Drift):
    """Examples weigh exp(strength z), where z is their place along a direction in standard deviations from the mean.

    What an input is called does not change, only how often it occurs: p(x) moves, p(y | x) stays. Where z is normal,
    the tilted z is normal again with its mean at `strength`; then the Kullback-Leibler divergence from the old
    distribution is strength^2 / 2 nats, chi-squared exp(strength^2) - 1, and N examples are worth N exp(-strength^2):
    at strength 1 a third of them, at 2 one in 55. On your data `shift_size` measures all three.

    Attributes:
      strength: any finite number; negative tilts the other way.
      along: a feature's number, D numbers, or an object such as `ClassDifference(3, 5)`; unless given, the first
        principal component.
      axis: float32 `[D]`, so that (x - centre) . axis is z; learned.
      centre: float32 `[D]`, the mean example; learned.

    Reference:
      Shimodaira, "Improving predictive inference under covariate shift by weighting the log-likelihood function",
      Journal of Statistical Planning and Inference 90 (2000). The tilt: Gretton et al., "Covariate shift by kernel
      mean matching", in Dataset Shift in Machine Learning (2009), resample along a principal component likewise.

    Example:
      >>> data = Dataset(np.array([[-1.0], [1.0]], np.float32), np.array([0, 1]))
      >>> drift = CovariateShift(strength=0.5 * np.log(3.0), along=0).fit(data)
      >>> drift.weights(jax.random.key(0), data.x, data.y, np.zeros((2, 2), np.uint32)).round(4).tolist()
      [0.5, 1.5]
    """

    along: Any = static(default=PrincipalComponent())
    axis: Float[Array, "d"] | None = None
    centre: Float[Array, "d"] | None = None

    changes: ClassVar[tuple[str, ...]] = ("weights",)
    deterministic: ClassVar[bool] = True

    def __post_init__(self):
        check_numbers("strength", self.strength)
        object.__setattr__(self, "along", along(self.along))

    def fit(self, data: Dataset) -> Self:
        direction, spread = fitted_direction(self.along, data)
        centre = columns(data).mean(axis=0, dtype=np.float64)
        axis = direction / spread
        return dataclasses.replace(self, axis=axis.astype(np.float32), centre=centre.astype(np.float32))  # type: ignore[type-var]

    def weights(self, key: Array, x: Array, y: Array, ids: Array) -> Array:
        away = jnp.reshape(x, (len(x), -1)).astype(jnp.float32) - jnp.asarray(self.centre)[None]
        z = jnp.matmul(away, jnp.asarray(self.axis), precision=jax.lax.Precision.HIGHEST)
        tilt = self.strength * z
        w = jnp.exp(tilt - tilt.max())  # the largest is 1: no strength overflows
        return (w / w.mean()).astype(jnp.float32)
