"""Something stands in the way."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sensijax_kernels.random import uniform

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for


class Occlusion(Perturbation):
    """A grey square hides part of the image, at a random place inside the frame.

    The square is drawn with exact coverage: a pixel that it covers in part is blended. So the image moves smoothly with
    the square's side, and the derivative is non-zero on the square's rim.

    Attributes:
      fraction: the square's side as a fraction of the image's shorter side; in [0, 1].
      level: the grey it is painted in, in [0, 1].

    Reference:
      Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014 (occlusion); DeVries and
      Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.

    Example:
      >>> out = Occlusion.at(5)(jax.random.key(0), jnp.zeros((32, 32, 3)))
      >>> round(float((out / 0.5).mean()), 4)  # half the side is a quarter of the area
      0.25
    """

    fraction: Float[Array, "..."]
    level: float = static(default=0.5)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Occlusion":
        """Severity 0..5: 0, 10, 20, 30, 40, 50 % of the shorter side (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)))
        return cls(fraction=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.fraction == 0

    def apply(self, key: Array, x: Array) -> Array:
        height, width, _ = x.shape
        side = rounded(self.fraction * min(height, width))
        place = jax.random.uniform(key, (2,), x.dtype)
        rows = _coverage(rounded(place[0] * (height - side)), side, height)[:, None, None]
        columns = _coverage(rounded(place[1] * (width - side)), side, width)[None, :, None]
        return jnp.clip(x + rows * columns * (self.level - x), 0.0, 1.0)


class Patches(Perturbation):
    """Small grey squares hide parts of the image: dirt on the lens, leaves, raindrops.

    Each square lies at a random place inside the frame, independently of the others, and is drawn with exact coverage:
    a pixel that it covers in part is blended. What several cover is hidden as if one after the other. A fractional
    count paints the last square with that opacity, so the image is continuous in both parameters, and the derivatives
    are exact. The places of the first squares do not depend on how many there are.

    Attributes:
      count: how many squares, in [0, most].
      fraction: each square's side as a fraction of the image's shorter side; in [0, 1].
      level: static; the grey they are painted in, in [0, 1].
      most: static; the largest count that is computed. `at` chooses it for its scale.

    Reference:
      Zhong, Zheng, Kang, Li and Yang, "Random erasing data augmentation", AAAI 2020; Fong and Vedaldi, "Occlusions for
      effective data augmentation in image classification", ICCV Workshops 2019.

    Example:
      >>> patches = Patches(count=jnp.float32(1.0), fraction=jnp.float32(0.25), most=3)
      >>> out = jax.jit(patches)(jax.random.key(0), jnp.zeros((32, 32, 3)))
      >>> round(float((out / 0.5).sum() / 3), 3)  # one square of 8 x 8
      64.0
    """

    count: Float[Array, "..."]
    fraction: Float[Array, "..."]
    level: float = static(default=0.5)
    most: int = static(default=16)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Patches":
        """Severity 0..5: 0, 4, 6, 9, 12, 16 squares of 8 to 16 % of the shorter side (our own scale, at every size)."""
        counts = table_for(size, dict.fromkeys((224, 32), (0.0, 4.0, 6.0, 9.0, 12.0, 16.0)))
        fractions = table_for(size, dict.fromkeys((224, 32), (0.08, 0.08, 0.1, 0.12, 0.14, 0.16)))
        return cls(
            count=interpolate(severity, counts), fraction=interpolate(severity, fractions), most=int(max(counts))
        )

    def is_identity(self) -> Any:
        return (self.count == 0) | (self.fraction == 0)

    def apply(self, key: Array, x: Array) -> Array:
        height, width, _ = x.shape
        side = rounded(self.fraction * min(height, width))

        def hide(i: Array, shown: Array) -> Array:
            place = jax.random.uniform(jax.random.fold_in(key, i), (2,), x.dtype)
            opacity = jnp.clip(self.count - i, 0.0, 1.0)
            rows = opacity * _coverage(rounded(place[0] * (height - side)), side, height)
            columns = _coverage(rounded(place[1] * (width - side)), side, width)
            return shown * (1 - rounded(rounded(rows)[:, None] * columns[None, :]))

        shown = jax.lax.fori_loop(0, self.most, hide, jnp.ones((height, width), x.dtype))[..., None]
        return jnp.clip(x + rounded((1 - shown) * (self.level - x)), 0.0, 1.0)


class CheckerboardCutout(Perturbation):
    """A turned checkerboard over the image, of whose black fields a random share is painted grey.

    The board's angle is uniform over the circle, the side of its fields uniform from 10 to 25 % of the image's shorter
    side. The published board starts at the image's corner; here its phase is random too, uniform over two fields, which
    makes every pixel alike. A pixel belongs to the field that holds its centre. The fields hidden at one fraction are
    hidden at every higher one. Which fields are hidden moves in steps: the derivative with respect to `fraction` is
    zero, that with respect to `x` is one where `x` is seen and zero elsewhere. On images more than six times as long as
    wide the board repeats itself.

    Attributes:
      fraction: the share of the black fields that is painted; in [0, 1]. Half of it is the share of the image hidden.

    Reference:
      Mintun, Kirillov and Xie, "On interaction between augmentations and corruptions in natural corruption robustness",
      NeurIPS 2021 (`checkerboard_cutout` of ImageNet-C-bar and CIFAR-10-C-bar).

    Example:
      >>> board = CheckerboardCutout(fraction=jnp.float32(1.0))
      >>> out = jax.jit(board)(jax.random.key(0), jnp.zeros((64, 64, 3)))
      >>> jnp.unique((255 * out).round()).tolist()
      [0.0, 128.0]
    """

    fraction: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "CheckerboardCutout":
        """Severity 0..5 on the ImageNet-C-bar scale for images of 224 px, or the CIFAR-10-C-bar scale for 32 px."""
        return cls(
            fraction=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (0.0, 0.2, 0.3, 0.4, 0.5, 0.6),
                        32: (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
                    },
                ),
            )
        )

    def is_identity(self) -> Any:
        return self.fraction == 0

    def apply(self, key: Array, x: Array) -> Array:
        hidden = self.fields(key, *x.shape[:2]) < self.fraction
        return jnp.where(hidden[..., None], np.float32(128 / 255), x)

    @staticmethod
    def fields(key: Array, height: int, width: int) -> Float[Array, "H W"]:
        """For each pixel the fraction from which on it is hidden: a uniform draw for each black field, 1 for white."""
        place, cells = jax.random.split(key)
        turn, length, down, across = jax.random.uniform(place, (4,), jnp.float32)
        angle = turn * (2 * math.pi)
        side = jnp.maximum((0.1 + 0.15 * length) * min(height, width), 1.0)
        y, x = (np.arange(n, dtype=np.float32) for n in (height, width))
        along = rounded(y[:, None] * (jnp.cos(angle) / side)) + rounded(x[None, :] * (jnp.sin(angle) / side))
        aside = rounded(x[None, :] * (jnp.cos(angle) / side)) - rounded(y[:, None] * (jnp.sin(angle) / side))
        row, column = (jnp.floor(p + 2 * phase).astype(jnp.int32) for p, phase in ((along, down), (aside, across)))
        # 64 fields across the board: even, so that black meets white where it repeats.
        drawn = uniform(cells, (64, 64))[row % 64, column % 64]
        return jnp.where((row + column) % 2 == 0, drawn, 1.0)


def _coverage(start: Array, length: Array, count: int) -> Array:
    """How much of each of `count` unit cells the interval `[start, start + length]` covers: `[count]` in [0, 1]."""
    cells = jnp.arange(count, dtype=jnp.float32)
    return jnp.clip(jnp.minimum(cells + 1, start + length) - jnp.maximum(cells, start), 0.0, 1.0)
