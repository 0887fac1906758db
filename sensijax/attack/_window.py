"""Windows of images: where Square changes what."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Window(NamedTuple):
    """A rectangle in the images of a batch, one a row.

    Attributes:
      top, left: int32 `[B]` its first line and column.
      height, width: int32 `[B]`.
    """

    top: Int[Array, "B"]
    left: Int[Array, "B"]
    height: Int[Array, "B"]
    width: Int[Array, "B"]

    @classmethod
    def somewhere(cls, uniform: Float[Array, "B 2"], height: Array, width: Array, image: tuple[int, int]) -> "Window":
        """At one of the places where it lies in the image, all of them equally likely, from uniform draws."""
        free = jnp.stack([image[0] - height + 1, image[1] - width + 1], axis=1)
        place = jnp.minimum((uniform * free.astype(uniform.dtype)).astype(jnp.int32), free - 1)
        return cls(place[:, 0], place[:, 1], height, width)

    def local(self, image: tuple[int, int]) -> tuple[Int[Array, "B H 1"], Int[Array, "B 1 W"]]:
        """Each pixel's line and column, counted from the window's corner."""
        line = jnp.arange(image[0], dtype=jnp.int32)[None, :, None] - self.top[:, None, None]
        column = jnp.arange(image[1], dtype=jnp.int32)[None, None, :] - self.left[:, None, None]
        return line, column

    def mask(self, image: tuple[int, int]) -> Bool[Array, "B H W"]:
        """Which pixels are inside."""
        line, column = self.local(image)
        inside_line = (line >= 0) & (line < self.height[:, None, None])
        return inside_line & (column >= 0) & (column < self.width[:, None, None])


def bump(
    window: Window,
    turned: Bool[Array, "B"],
    image: tuple[int, int],
    power: int,
    size: Callable[[Array, tuple[int, ...]], Array],
) -> Float[Array, "B H W"]:
    """Two pyramids in the window, of opposite signs, one above the other (`turned`: side by side), of size 1 together.

    A pyramid's height at a distance r from its middle, in the maximum norm, is the sum of k ** -power over the k from
    r + 1 to where it ends.

    Args:
      window: where; square, where `turned`.
      turned: `[B]`.
      image: (height, width).
      power: 2 in L2, 4 in L1.
      size: the norm over some axes, which stay with length 1.
    """
    line, column = window.local(image)
    line, column = jnp.broadcast_arrays(line, column)
    along, across = (jnp.where(turned[:, None, None], *pair) for pair in ((column, line), (line, column)))
    height, width = window.height[:, None, None], window.width[:, None, None]
    sums = jnp.asarray(np.concatenate([[0], np.cumsum(np.arange(1, max(image) + 2.0) ** -power)]), jnp.float32)
    middle = height // 2
    pyramids = []
    for first, lines, sign in ((0, middle, 1.0), (middle, height - middle, -1.0)):
        ends = jnp.maximum(lines // 2, width // 2) + 1
        distance = jnp.maximum(jnp.abs(along - first - lines // 2), jnp.abs(across - width // 2))
        inside = (along >= first) & (along < first + lines) & (across >= 0) & (across < width)
        pyramid = jnp.where(inside, sums[ends] - sums[jnp.minimum(distance, ends)], 0.0)
        pyramids.append(sign * pyramid / jnp.maximum(size(pyramid, (1, 2)), np.float32(1e-12)))
    both = pyramids[0] + pyramids[1]
    return both / jnp.maximum(size(both, (1, 2)), np.float32(1e-12))
