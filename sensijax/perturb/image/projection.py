"""Where the camera stands and what it frames: shear, perspective, and a crop. The border's last pixel goes on."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.core.one_program import one_program
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._maps import Affine, Axes, Homography, frame_centre
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._sign import sign
from sensijax.perturb.image._warp import Step, Warp


class Shear(Perturbation):
    """Shears the image about its centre, along the rows or along the columns, to either side; bilinear.

    Axis and side are drawn with equal odds.

    Attributes:
      degrees: the angle by which the other axis leans, in degrees; in [0, 90).

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (ImageNet-P's `shear`, up to 15 degrees).

    Example:
      >>> image = jnp.zeros((9, 9, 1)).at[4, 4].set(1.0)
      >>> out = Shear(degrees=jnp.float32(45.0))(jax.random.key(0), image)
      >>> float(out[4, 4, 0])  # the centre stays
      1.0
    """

    degrees: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Shear":
        """Severity 0..5: 0, 5, 10, 15, 20, 25 degrees (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)))
        return cls(degrees=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.degrees == 0

    @one_program(static=("height", "width"))
    def warp(self, key: Array, height: int, width: int) -> Warp:
        """The shear drawn with this key, ready for images, masks, keypoints and boxes of one frame."""
        axis, side = jax.random.split(key)
        slope = sign(side) * jnp.tan(self.degrees * (math.pi / 180))
        along_rows = sign(axis) > 0
        lean = jnp.stack([jnp.where(along_rows, 0.0, slope), jnp.where(along_rows, slope, 0.0)])
        matrix, inverse = (_off_diagonal(values) for values in (lean, -lean))
        middle = frame_centre(height, width)
        return Warp((Step(Affine(matrix, inverse, middle, middle)),), self.is_identity(), height, width)

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(self.warp(key, *x.shape[:2]).image(x), 0.0, 1.0)


def _off_diagonal(values: Array) -> Array:
    one = jnp.ones_like(values[0])
    return jnp.stack([jnp.stack([one, values[0]]), jnp.stack([values[1], one])])


class Perspective(Perturbation):
    """Looks at the picture from aside: each corner of the frame reads another place, by a projection; bilinear.

    Each corner's displacement is uniform in `[-fraction, fraction]` of the width and, by itself, of the height.

    Attributes:
      fraction: the largest displacement of a corner along an axis, as a fraction of the side; in [0, 0.25). From 0.25
        on a drawn quadrilateral may fail to be convex.

    Reference:
      Hartley and Zisserman, "Multiple view geometry in computer vision", 2nd edition, 2004, section 2.3. The four
      displaced corners are those of torchvision's `RandomPerspective`, which moves them inwards only.

    Example:
      >>> Perspective.at(3)(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).max().item()
      0.5
    """

    fraction: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Perspective":
        """Severity 0..5: 0, 3, 6, 10, 15, 20 % of the side (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 0.03, 0.06, 0.1, 0.15, 0.2)))
        return cls(fraction=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.fraction == 0

    @one_program(static=("height", "width"))
    def warp(self, key: Array, height: int, width: int) -> Warp:
        """The projection drawn with this key, ready for images, masks, keypoints and boxes of one frame."""
        corners = jnp.array([[0, 0], [1, 0], [1, 1], [0, 1]], jnp.float32)
        corners = corners + rounded(self.fraction * jax.random.uniform(key, (4, 2), jnp.float32, -1.0, 1.0))
        return Warp((Step(Homography.of(corners, height, width)),), self.is_identity(), height, width)

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(self.warp(key, *x.shape[:2]).image(x), 0.0, 1.0)


class CropResize(Perturbation):
    """Keeps a part of the image, of its own proportions, and enlarges it to the whole frame; bilinear.

    The part's place is drawn uniformly among all that lie within the frame.

    Attributes:
      area: the part's share of the image's area; in (0, 1].

    Reference:
      Szegedy et al., "Going deeper with convolutions", CVPR 2015 (random crops by their share of the area); Touvron,
      Vedaldi, Douze and Jégou, "Fixing the train-test resolution discrepancy", NeurIPS 2019 (what they do to the
      apparent size of objects).

    Example:
      >>> CropResize.at(5)(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).max().item()
      0.5
    """

    area: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "CropResize":
        """Severity 0..5: 100, 85, 70, 55, 40, 25 % of the area (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (1.0, 0.85, 0.7, 0.55, 0.4, 0.25)))
        return cls(area=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.area == 1

    @one_program(static=("height", "width"))
    def warp(self, key: Array, height: int, width: int) -> Warp:
        """The crop drawn with this key, ready for images, masks, keypoints and boxes of one frame."""
        side = jnp.sqrt(self.area)
        room = jax.random.uniform(key, (2,), jnp.float32, -0.5, 0.5) * jnp.array([height, width], jnp.float32)
        middle = frame_centre(height, width)
        crop = Axes(scale=jnp.stack([side, side]), origin=middle, reads=middle + rounded(room * (1 - side)))
        return Warp((Step(crop),), self.is_identity(), height, width)

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(self.warp(key, *x.shape[:2]).image(x), 0.0, 1.0)
