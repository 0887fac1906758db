"""Geometry: the camera turns, shifts, or stands nearer. What comes into the frame continues the border's last pixel."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._resample import resample, scaled
from sensijax.perturb.image._scale import table_for


class Rotation(Perturbation):
    """Turns the image about its centre, to the left or to the right with equal odds; bilinear.

    Attributes:
      degrees: the angle, in degrees; >= 0.

    Reference:
      Engstrom, Tran, Tsipras, Schmidt and Madry, "Exploring the landscape of spatial robustness", ICML 2019 (rotations
      up to 30 degrees).

    Example:
      >>> image = jnp.zeros((9, 9, 1)).at[4, 8].set(1.0)
      >>> out = Rotation(degrees=jnp.float32(90.0))(jax.random.key(0), image)
      >>> round(float(out[0, 4, 0] + out[8, 4, 0]), 3)
      1.0
    """

    degrees: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Rotation":
        """Severity 0..5: 0, 5, 10, 15, 20, 30 degrees (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 5.0, 10.0, 15.0, 20.0, 30.0)))
        return cls(degrees=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.degrees == 0

    def apply(self, key: Array, x: Array) -> Array:
        height, width, _ = x.shape
        angle = _sign(key) * self.degrees * (math.pi / 180)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        rows = (jnp.arange(height, dtype=x.dtype) - (height - 1) / 2)[:, None]
        columns = (jnp.arange(width, dtype=x.dtype) - (width - 1) / 2)[None, :]
        down = rounded(cos * rows) - rounded(sin * columns) + (height - 1) / 2
        across = rounded(sin * rows) + rounded(cos * columns) + (width - 1) / 2
        return jnp.clip(resample(x, down, across), 0.0, 1.0)


class Translation(Perturbation):
    """Shifts the image, in a direction drawn uniformly from the whole circle; bilinear.

    Attributes:
      fraction: the distance as a fraction of the image's shorter side; >= 0.

    Reference:
      Engstrom et al., ICML 2019 (translations up to 10 % of the side); Azulay and Weiss, "Why do deep convolutional
      networks generalize so poorly to small image transformations?", JMLR 20, 2019.

    Example:
      >>> Translation.at(2)(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).max().item()
      0.5
    """

    fraction: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Translation":
        """Severity 0..5: 0, 2, 5, 10, 15, 20 % of the shorter side (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)))
        return cls(fraction=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.fraction == 0

    def apply(self, key: Array, x: Array) -> Array:
        height, width, _ = x.shape
        direction = jax.random.uniform(key, (), x.dtype) * (2 * math.pi)
        distance = self.fraction * min(height, width)
        rows = jnp.arange(height, dtype=x.dtype) - rounded(distance * jnp.sin(direction))
        columns = jnp.arange(width, dtype=x.dtype) - rounded(distance * jnp.cos(direction))
        return jnp.clip(resample(x, rows[:, None], columns[None, :]), 0.0, 1.0)


class Scale(Perturbation):
    """Enlarges or shrinks the image about its centre, with equal odds; bilinear.

    Attributes:
      ratio: the enlargement; >= 1. The image is scaled by `ratio` or by `1 / ratio`.

    Reference:
      Azulay and Weiss, JMLR 20, 2019.

    Example:
      >>> Scale.at(5)(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).max().item()
      0.5
    """

    ratio: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Scale":
        """Severity 0..5: by 1, 1.05, 1.1, 1.2, 1.3, 1.5 (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (1.0, 1.05, 1.1, 1.2, 1.3, 1.5)))
        return cls(ratio=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.ratio == 1

    def apply(self, key: Array, x: Array) -> Array:
        step = jnp.where(_sign(key) > 0, self.ratio, 1 / self.ratio)
        return jnp.clip(scaled(x, step), 0.0, 1.0)


def _sign(key: Array) -> Array:
    """Plus or minus one, with equal odds: float32."""
    return jax.random.rademacher(key, (), jnp.float32)
