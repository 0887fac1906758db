"""Geometry: the camera turns, shifts, or stands nearer. What comes into the frame continues the border's last pixel."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.core.one_program import one_program
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._maps import Affine, Axes, frame_centre
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._sign import sign
from sensijax.perturb.image._warp import Step, Warp


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

    @one_program(static=("height", "width"))
    def warp(self, key: Array, height: int, width: int) -> Warp:
        """The rotation drawn with this key, ready for images, masks, keypoints and boxes of one frame."""
        angle = sign(key) * self.degrees * (math.pi / 180)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        matrix = jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
        turn = Affine(matrix, matrix.T, origin=frame_centre(height, width), reads=frame_centre(height, width))
        return Warp((Step(turn),), self.is_identity(), height, width)

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(self.warp(key, *x.shape[:2]).image(x), 0.0, 1.0)


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

    @one_program(static=("height", "width"))
    def warp(self, key: Array, height: int, width: int) -> Warp:
        """The shift drawn with this key, ready for images, masks, keypoints and boxes of one frame."""
        direction = jax.random.uniform(key, (), jnp.float32) * (2 * math.pi)
        distance = self.fraction * min(height, width)
        shift = rounded(distance * jnp.stack([jnp.sin(direction), jnp.cos(direction)]))
        still = jnp.zeros((2,), jnp.float32)
        return Warp((Step(Axes(scale=still + 1, origin=still, reads=-shift)),), self.is_identity(), height, width)

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(self.warp(key, *x.shape[:2]).image(x), 0.0, 1.0)


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

    @one_program(static=("height", "width"))
    def warp(self, key: Array, height: int, width: int) -> Warp:
        """The scaling drawn with this key, ready for images, masks, keypoints and boxes of one frame."""
        step = jnp.where(sign(key) > 0, self.ratio, 1 / self.ratio)
        middle = frame_centre(height, width)
        return Warp((Step(Axes(jnp.stack([step, step]), middle, middle)),), self.is_identity(), height, width)

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(self.warp(key, *x.shape[:2]).image(x), 0.0, 1.0)
