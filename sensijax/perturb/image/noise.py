"""Noise of sensors: every pixel draws for itself."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._scale import table_for


class GaussianNoise(Perturbation):
    """Additive Gaussian noise, the same spread in every pixel and channel (low light, thermal noise).

    `clip(x + std * n, 0, 1)`, n ~ N(0, 1) for each value.

    Attributes:
      std: standard deviation of the noise, in units of the full range; >= 0.

    Reference:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019
      (`gaussian_noise`).

    Example:
      >>> GaussianNoise.at(3)(jax.random.key(0), jnp.full((32, 32, 3), 0.5)).shape
      (32, 32, 3)
    """

    std: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "GaussianNoise":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        return cls(std=interpolate(severity, table_for(size, {
            224: (0.0, 0.08, 0.12, 0.18, 0.26, 0.38),
            32: (0.0, 0.04, 0.06, 0.08, 0.09, 0.10),
        })))

    def is_identity(self) -> Any:
        return self.std == 0

    def apply(self, key: Array, x: Array) -> Array:
        noise = jax.random.normal(key, x.shape, x.dtype)
        return jnp.clip(x + self.std * noise, 0.0, 1.0)
