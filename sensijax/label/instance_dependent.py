"""Instance-dependent noise whose rate is what it says."""

import dataclasses
from typing import Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.label._noise import LEARNED
from sensijax.label._validate import check_labels, flat_examples
from sensijax.label.part_dependent import PartDependent, truncated_mean, truncated_quantile


class InstanceDependent(PartDependent):
    """Labels are wrong where an example is hard to tell, as in `PartDependent`, at a mean flip rate of exactly `rate`.

    Two things differ from the published noise. The drawn flip rates are scaled so that their mean is `rate`: towards 0
    below a rate of 1/2, towards 1 above it. So a sweep begins at no noise without a step, and its axis is the expected
    fraction of wrong labels. And every feature is standardised over the data, so that one with large numbers does not
    choose the wrong labels alone; a constant one says nothing.

    Attributes:
      rate: the expected fraction of wrong labels, in [0, 1].
      spread: as in `PartDependent`.
      centre: float32 `[D]`, the features' means; learned.
      scale: float32 `[D]`, 1 / their standard deviations, 0 for a constant feature; learned.

    Raises:
      ArgumentError: as `PartDependent`; and if it is called before `fit`, or on examples of another size.

    Example:
      >>> import jax
      >>> x, y = np.random.default_rng(0).normal(size=(1000, 5)), np.arange(1000) % 3
      >>> noise = InstanceDependent(rate=0.1).fit(x, y, classes=3)
      >>> round(float(noise(jax.random.key(0), y, x).probability.mean()), 2)
      0.1
    """

    centre: Float[Array, "d"] | None = dataclasses.field(default=None, metadata=LEARNED)
    scale: Float[Array, "d"] | None = dataclasses.field(default=None, metadata=LEARNED)

    def fit(self, x: np.ndarray, y: np.ndarray, classes: int) -> Self:
        x = flat_examples(x)
        check_labels(y, classes)
        centre, scale = standardisation(x)
        return dataclasses.replace(self, classes=classes, centre=centre, scale=scale)  # type: ignore[type-var]

    def check(self, x: np.ndarray | None) -> None:
        super().check(x)
        check_fitted(type(self).__name__, x, self.centre)

    def features(self, x: Array) -> Array:
        return (x - jnp.asarray(self.centre)[None]) * jnp.asarray(self.scale)[None]

    def flip_rates(self, place: Array) -> Array:
        rate, spread = jnp.asarray(self.rate, jnp.float32), jnp.asarray(self.spread, jnp.float32)
        q, mean = truncated_quantile(place, rate, spread), truncated_mean(rate, spread)
        return jnp.where(rate <= 0.5, q * rate / mean, 1 - (1 - q) * (1 - rate) / (1 - mean))


def standardisation(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and inverse standard deviations of features, 0 for a constant one.

    Args:
      x: float32 `[N, D]`.

    Returns:
      float32 `[D]` twice; (x - mean) * inverse has mean 0 and standard deviation 1.

    Example:
      >>> [part.tolist() for part in standardisation(np.float32([[1, 5], [3, 5]]))]
      [[2.0, 5.0], [1.0, 0.0]]
    """
    mean = x.mean(axis=0, dtype=np.float64)
    deviation = np.sqrt(np.square(x - mean.astype(np.float32)).mean(axis=0, dtype=np.float64))
    # A constant feature can have a deviation of the rounding of its mean.
    varies = deviation > 1e-6 * np.abs(mean)
    inverse = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return mean.astype(np.float32), inverse.astype(np.float32)


def check_fitted(name: str, x: np.ndarray | None, centre: Array | np.ndarray | None) -> None:
    """Refuses a noise that has not seen the data, or has seen examples of another size."""
    if centre is None:
        raise ArgumentError("noise", f"{name} before fit", "noise.fit(x, y, classes) first: it must know the data")
    assert x is not None
    if x.shape[1] != len(centre):
        raise ArgumentError("x", f"{x.shape[1]} features", f"the {len(centre)} that {name} was fitted to")
