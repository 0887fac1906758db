"""Resizing without care: shrunk to fewer pixels and back, with no filter against aliasing."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for


@dataclasses.dataclass(frozen=True)
class Kernel:
    """How a value between pixels is made of the pixels around it.

    Attributes:
      offset: the first of the taps lies `floor(place + offset)` pixels along.
      weights: from the distance, in [0, 1), of the place beyond that floor, to the weight of each tap.
    """

    offset: float
    weights: Callable[[Array], tuple[Any, ...]]


def _cubic(distance: Array) -> tuple[Array, ...]:
    # Keys' cubic convolution with a = -3/4, as in OpenCV and PyTorch.
    def near(d: Array) -> Array:
        return (1.25 * d - 2.25) * d * d + 1

    def far(d: Array) -> Array:
        return ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0

    return tuple(
        rounded(f(d)) for f, d in ((far, distance + 1), (near, distance), (near, 1 - distance), (far, 2 - distance))
    )


# The bit more is there because rounding errors would otherwise decide on a border.
NEAREST = Kernel(0.5 + 1e-4, lambda distance: (1.0,))
"""The nearest pixel, and where two are equally near the later one; as Pillow's `NEAREST`, but for such ties."""

BILINEAR = Kernel(0.0, lambda distance: (1 - distance, distance))
"""Between two pixels, linearly; as OpenCV's `INTER_LINEAR`."""

BICUBIC = Kernel(-1.0, _cubic)
"""A cubic through four pixels, a = -3/4; as OpenCV's `INTER_CUBIC`."""


class Resize(Perturbation):
    """Shrinks the image to a fraction of its side and enlarges it again, taking values between pixels as they are.

    There is no low-pass filter, so fine structure turns into jagged edges and moire. Along a side of n px the small
    image has `ceil(fraction * n)` pixels, `1 / fraction` px apart; pixel centres lie at (i + 1/2), and beyond the frame
    the last pixel goes on. Where `fraction * n` is whole this is Pillow's or OpenCV's `resize` there and back (see the
    kernels). Between those the places move with `fraction`; with `BILINEAR` and `BICUBIC` so does the image, but for
    the last row and column where the small image gains one, and the derivative is exact elsewhere. With `NEAREST` the
    derivative with respect to `fraction` is zero.

    Attributes:
      fraction: the small image's side as a fraction of the large one's; in (0, 1].
      kernel: static; `NEAREST`, `BILINEAR` or `BICUBIC`, used both ways.

    Reference:
      Parmar, Zhang and Zhu, "On aliased resizing and surprising subtleties in GAN evaluation", CVPR 2022; Keys, "Cubic
      convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981.

    Example:
      >>> stripes = jnp.zeros((8, 8, 1)).at[:, ::2].set(1.0)
      >>> quarter = Resize(fraction=jnp.float32(0.25), kernel=NEAREST)
      >>> jax.jit(quarter)(jax.random.key(0), stripes).min().item()  # of the stripes only the white are met
      1.0
    """

    fraction: Float[Array, "..."]
    kernel: Kernel = static(default=BILINEAR)
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224, kernel: Kernel = BILINEAR) -> "Resize":
        """Severity 0..5: to 100, 80, 65, 50, 35, 25 % of the side (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (1.0, 0.8, 0.65, 0.5, 0.35, 0.25)))
        return cls(fraction=interpolate(severity, table), kernel=kernel)

    def is_identity(self) -> Any:
        return self.fraction == 1

    def apply(self, key: Array, x: Array) -> Array:
        height, width, channels = x.shape
        rows = self._there_and_back(x.reshape(height, -1))
        # Turned, so that columns too are read as whole rows, the fast way through memory.
        turned = rows.reshape(height, width, channels).transpose(1, 0, 2).reshape(width, -1)
        turned = self._there_and_back(turned)
        return jnp.clip(turned.reshape(width, height, channels).transpose(1, 0, 2), 0.0, 1.0)

    def _there_and_back(self, rows: Array) -> Array:
        side = len(rows)
        centres = np.arange(side, dtype=np.float32) + 0.5
        # The small image's last pixel; a fraction that means a whole number may lie a rounding error above it.
        last = jnp.clip(jnp.ceil(rounded(self.fraction * side) - 1e-3) - 1, 0, side - 1)
        small = self._read(rows, jnp.minimum(jnp.asarray(centres) * (1 / self.fraction), 2.0 * side), side - 1)
        return self._read(small, self.fraction * jnp.asarray(centres), last)

    def _read(self, rows: Array, centres: Array, last: Any) -> Array:
        places = rounded(centres) + np.float32(self.kernel.offset - 0.5)
        low = jnp.floor(places)
        weights = self.kernel.weights(places - low)
        index = jnp.stack([jnp.clip(low + tap, 0, last).astype(jnp.int32) for tap in range(len(weights))])
        weights = jnp.stack([jnp.broadcast_to(jnp.asarray(w, rows.dtype), places.shape) for w in weights])

        def add(total: Array, tap: tuple[Array, Array]) -> tuple[Array, None]:
            index, weight = tap
            return total + rounded(weight[:, None] * jnp.take(rows, index, axis=0, mode="clip")), None

        # Handed to a loop, the indices are worked out once; otherwise a compiler would do so for every value.
        total, _ = jax.lax.scan(add, jnp.zeros_like(rows), (index, weights))
        return total
