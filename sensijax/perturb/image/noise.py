"""Noise of sensors: every pixel draws for itself."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float
from sensijax_kernels.random import normal, uniform

from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._pointwise import pointwise
from sensijax.perturb.image._poisson import poisson_quantile
from sensijax.perturb.image._scale import table_for


class GaussianNoise(Perturbation):
    """Additive Gaussian noise, the same spread in every pixel and channel (low light, thermal noise).

    `clip(x + std * n, 0, 1)`, n ~ N(0, 1) for each value.

    Attributes:
      std: standard deviation of the noise, in units of the full range; >= 0.

    Reference:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019 (`gaussian_noise`).

    Example:
      >>> GaussianNoise.at(3)(jax.random.key(0), jnp.full((32, 32, 3), 0.5)).shape
      (32, 32, 3)
    """

    std: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "GaussianNoise":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        return cls(
            std=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (0.0, 0.08, 0.12, 0.18, 0.26, 0.38),
                        32: (0.0, 0.04, 0.06, 0.08, 0.09, 0.10),
                    },
                ),
            )
        )

    def is_identity(self) -> Any:
        return self.std == 0

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(x + self.std * normal(key, x.shape), 0.0, 1.0)


class ShotNoise(Perturbation):
    """Shot noise: light arrives in photons, and their number is Poisson distributed.

    `clip(gain * N, 0, 1)`, N ~ Poisson(x / gain) for each value. A white pixel collects `1 / gain` photons on average.

    A draw is the quantile of one uniform number, so for one key the count grows with the light (see `poisson_quantile`
    for how exact it is). A count has no derivative; the one given is that of its Gaussian limit with the draw held
    fixed, damped below one photon.

    Attributes:
      gain: brightness of one photon, in units of the full range; >= 0. The published scales state its inverse.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`shot_noise`; the published constants are 1 / gain = 60, 25, 12, 5, 3).

    Example:
      >>> out = jax.jit(ShotNoise.at(5))(jax.random.key(0), jnp.full((32, 32, 3), 0.5))
      >>> jnp.unique(out).tolist()  # so dark that single photons show
      [0.0, 0.3333333432674408, 0.6666666865348816, 1.0]
    """

    gain: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "ShotNoise":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        return cls(
            gain=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (0.0, 1 / 60, 1 / 25, 1 / 12, 1 / 5, 1 / 3),
                        32: (0.0, 1 / 500, 1 / 250, 1 / 100, 1 / 75, 1 / 50),
                    },
                ),
            )
        )

    def is_identity(self) -> Any:
        return self.gain == 0

    def apply(self, key: Array, x: Array) -> Array:
        gain = jnp.where(self.gain > 0, self.gain, 1.0)
        light = jnp.maximum(x, 0.0) * (1 / gain)
        count = pointwise(poisson_quantile, uniform(key, x.shape), light)
        return jnp.clip(count * gain, 0.0, 1.0)


class ImpulseNoise(Perturbation):
    """Salt and pepper: a share of the values is replaced by white or black, half and half (dead pixels, bit errors).

    The values hit at one rate are hit at every higher one. Where a value is hit is a step in `rate`: the derivative
    with respect to `rate` is zero, that with respect to `x` is one where `x` survives and zero elsewhere.

    Attributes:
      rate: probability that a value (a pixel's channel) is replaced; in [0, 1].

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`impulse_noise`, which is scikit-image's `random_noise(mode="s&p")`).

    Example:
      >>> out = ImpulseNoise.at(5)(jax.random.key(0), jnp.full((32, 32, 3), 0.5))
      >>> jnp.unique(out).tolist()
      [0.0, 0.5, 1.0]
    """

    rate: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "ImpulseNoise":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        return cls(
            rate=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (0.0, 0.03, 0.06, 0.09, 0.17, 0.27),
                        32: (0.0, 0.01, 0.02, 0.03, 0.05, 0.07),
                    },
                ),
            )
        )

    def is_identity(self) -> Any:
        return self.rate == 0

    def apply(self, key: Array, x: Array) -> Array:
        # One number says both whether (its distance from the ends) and what (which end), and nests over rates.
        u = uniform(key, x.shape)
        return jnp.where(2 * u < self.rate, 0.0, jnp.where(2 * u >= 2 - self.rate, 1.0, x))


class SpeckleNoise(Perturbation):
    """Multiplicative Gaussian noise: the brighter, the noisier (radar, ultrasound).

    `clip(x + std * x * n, 0, 1)`, n ~ N(0, 1) for each value.

    Attributes:
      std: standard deviation of the noise relative to the value; >= 0.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`speckle_noise`).

    Example:
      >>> float(SpeckleNoise.at(5)(jax.random.key(0), jnp.zeros((8, 8, 3))).max())  # black stays black
      0.0
    """

    std: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "SpeckleNoise":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        return cls(
            std=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (0.0, 0.15, 0.2, 0.35, 0.45, 0.6),
                        32: (0.0, 0.06, 0.1, 0.12, 0.16, 0.2),
                    },
                ),
            )
        )

    def is_identity(self) -> Any:
        return self.std == 0

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(x + self.std * (x * normal(key, x.shape)), 0.0, 1.0)
