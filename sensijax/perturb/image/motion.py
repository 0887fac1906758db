"""Blur of movement: the camera shakes, or runs towards the scene."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import ordered_sum, rounded
from sensijax.perturb.image._resample import scaled
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._window import gaussian_weights


class MotionBlur(Perturbation):
    """The camera moves while the shutter is open: a fading trail in one direction.

    The direction is drawn for each example, uniform in -45 to 45 degrees from the horizontal. The trail has
    `2 * ceil(radius) + 1` taps one pixel apart, rounded to the grid, with the weights of one side of a Gaussian; the
    border is continued by its last pixel. The number of taps is a step in `radius`: its derivative is zero, those with
    respect to `sigma` and `x` are exact.

    Attributes:
      radius: half of the trail's length, px; >= 0.
      sigma: standard deviation of the Gaussian, px; >= 0.
      reach: static; the largest radius that is computed, px. `at` chooses it for its scale.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`motion_blur`, which is ImageMagick's `MotionBlurImage`).

    Example:
      >>> dot = jnp.zeros((32, 32, 1)).at[16, 31].set(1.0)
      >>> out = jax.jit(MotionBlur.at(1, size=32))(jax.random.key(0), dot)
      >>> bool(out[:, 26:].sum() > 0.99)  # it trails to the left of what is bright
      True
    """

    radius: Float[Array, "..."]
    sigma: Float[Array, "..."]
    reach: int = static(default=20)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "MotionBlur":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        radii = table_for(
            size,
            {
                224: (0.0, 10.0, 15.0, 15.0, 15.0, 20.0),
                32: (0.0, 6.0, 6.0, 6.0, 8.0, 9.0),
            },
        )
        sigmas = table_for(
            size,
            {
                224: (0.0, 3.0, 5.0, 8.0, 12.0, 15.0),
                32: (0.0, 1.0, 1.5, 2.0, 2.0, 2.5),
            },
        )
        return cls(
            radius=interpolate(severity, radii), sigma=interpolate(severity, sigmas), reach=math.ceil(max(radii))
        )

    def is_identity(self) -> Any:
        return (self.radius == 0) | (self.sigma == 0)

    def apply(self, key: Array, x: Array) -> Array:
        angle = (jax.random.uniform(key, (), x.dtype) - 0.5) * (math.pi / 2)
        taps = np.arange(2 * self.reach + 1, dtype=np.float32)
        weights = jnp.where(taps <= 2 * jnp.ceil(self.radius), gaussian_weights(self.sigma, taps), 0.0)
        weights = weights * (1 / ordered_sum(weights))
        down = jnp.ceil(rounded(taps * jnp.sin(angle)) - 0.5).astype(jnp.int32)
        right = jnp.ceil(rounded(taps * jnp.cos(angle)) - 0.5).astype(jnp.int32)
        above, ahead = math.ceil(2 * self.reach * math.sin(math.pi / 4)), 2 * self.reach
        padded = jnp.pad(x, ((above, above), (0, ahead), (0, 0)), mode="edge")
        total = rounded(weights[0] * x)
        for i in range(1, len(taps)):
            trail = jax.lax.dynamic_slice(padded, (above + down[i], right[i], 0), x.shape)
            total = total + rounded(weights[i] * trail)
        return jnp.clip(total, 0.0, 1.0)


class ZoomBlur(Perturbation):
    """The camera moves towards the scene: the mean of the image and its enlargements about its centre.

    16 zooms, evenly spaced from 1 to `zoom`, and the image itself, bilinear. The published code takes as many as its
    step of 0.01 to 0.03 makes (up to 16) and crops to whole pixels; a fixed number and exact centres make the image
    smooth in `zoom`, and the derivative exact.

    Attributes:
      zoom: the largest enlargement, >= 1; 1 leaves the image as it is.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`zoom_blur`).

    Example:
      >>> jax.jit(ZoomBlur.at(3))(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).round(4).max().item()
      0.5
    """

    zoom: Float[Array, "..."]
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "ZoomBlur":
        """Severity 0..5: the published largest zooms of ImageNet-C for images of 224 px, or of CIFAR-10-C for 32 px."""
        return cls(
            zoom=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (1.0, 1.1, 1.15, 1.2, 1.24, 1.3),
                        32: (1.0, 1.05, 1.1, 1.15, 1.2, 1.25),
                    },
                ),
            )
        )

    def is_identity(self) -> Any:
        return self.zoom == 1

    def apply(self, key: Array, x: Array) -> Array:
        steps = 16
        total = x
        for i in range(steps):
            zoom = 1 + rounded((self.zoom - 1) * (i / (steps - 1)))
            total = total + scaled(x, 1 / zoom)
        return jnp.clip(total / (steps + 1), 0.0, 1.0)
