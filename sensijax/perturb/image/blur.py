"""Blur of the lens: out of focus, or simply soft."""

import math
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._disk import ARRAY, disk_mean
from sensijax.perturb.image._gaussian import gaussian
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import ordered_sum
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._window import gaussian_weights


class GaussianBlur(Perturbation):
    """Gaussian blur, cut off at four standard deviations; the border is continued by its last pixel.

    Attributes:
      sigma: standard deviation, px; >= 0.
      radius: static; the taps computed on each side, px. Weights beyond `int(4 * sigma + 0.5)` are zero, so any radius
        at least that large gives the same image; a smaller one cuts the blur off. `at` chooses it for its scale.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`gaussian_blur`, which is `scipy.ndimage.gaussian_filter(mode="nearest",
      truncate=4)`).

    Example:
      >>> dot = jnp.zeros((9, 9, 1)).at[4, 4].set(1.0)
      >>> out = jax.jit(GaussianBlur(sigma=jnp.float32(1.0), radius=4))(jax.random.key(0), dot)
      >>> round(float(out[4, 4, 0]), 4)  # 1 / (2 pi)
      0.1592
    """

    sigma: Float[Array, "..."]
    radius: int = static(default=24)
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "GaussianBlur":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        table = table_for(
            size,
            {
                224: (0.0, 1.0, 2.0, 3.0, 4.0, 6.0),
                32: (0.0, 0.4, 0.6, 0.7, 0.8, 1.0),
            },
        )
        return cls(sigma=interpolate(severity, table), radius=int(4 * max(table) + 0.5))

    def is_identity(self) -> Any:
        return self.sigma == 0

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(gaussian(x, self.sigma, self.radius), 0.0, 1.0)


class DefocusBlur(Perturbation):
    """Out of focus: each point of light becomes a disk with a slightly smoothed rim.

    The kernel is the disk of pixels within `radius`, smoothed by a Gaussian of `alias_blur` on 3 taps (5 for radii
    beyond 8); the border is mirrored about its last pixel. The published code smooths the disk inside an array that
    ends 8 px from the centre, or with the disk where that is larger, and mirrors the rim there: its kernel sums to
    1.013 at radius 8 and 1.011 at 10, and brightens. So does this one. The disk's pixels are a step in `radius`: the
    derivative with respect to `radius` is zero, that with respect to `alias_blur` and `x` is exact.

    Attributes:
      radius: of the disk, px; >= 0.
      alias_blur: standard deviation of the smoothing of its rim, px; >= 0.
      reach: static; the largest radius that is computed, px. `at` chooses it for its scale.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`defocus_blur`).

    Example:
      >>> dot = jnp.zeros((9, 9, 1)).at[4, 4].set(1.0)
      >>> blur = DefocusBlur(radius=jnp.float32(1.0), alias_blur=jnp.float32(0.0), reach=1)
      >>> int((blur(jax.random.key(0), dot) > 0.19).sum())  # a cross of five pixels, a fifth each
      5
    """

    radius: Float[Array, "..."]
    alias_blur: Float[Array, "..."]
    reach: int = static(default=10)
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224, monotone: bool = False) -> "DefocusBlur":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px.

        With `monotone=True`, a scale on which the damage never falls: at 32 px the published one narrows the smoothing
        from severity 3 on, before the disk has grown to a second pixel; here the smoothing stays at 0.6 px.
        """
        radii = table_for(
            size,
            {
                224: (0.0, 3.0, 4.0, 6.0, 8.0, 10.0),
                32: (0.0, 0.3, 0.4, 0.5, 1.0, 1.5),
            },
        )
        blurs = table_for(
            size,
            {
                224: (0.0, 0.1, 0.5, 0.5, 0.5, 0.5),
                32: (0.0, 0.4, 0.5, 0.6, 0.6, 0.6) if monotone else (0.0, 0.4, 0.5, 0.6, 0.2, 0.1),
            },
        )
        return cls(
            radius=interpolate(severity, radii), alias_blur=interpolate(severity, blurs), reach=math.floor(max(radii))
        )

    def is_identity(self) -> Any:
        return (self.radius == 0) & (self.alias_blur == 0)

    def apply(self, key: Array, x: Array) -> Array:
        taps = np.arange(3 if self.reach > ARRAY else 2, dtype=np.float32)
        weights = jnp.where((taps <= 1) | (self.radius > ARRAY), gaussian_weights(self.alias_blur, taps), 0.0)
        weights = weights * (1 / (2 * ordered_sum(weights) - weights[0]))
        return jnp.clip(disk_mean(x, weights, self.radius, self.reach), 0.0, 1.0)
