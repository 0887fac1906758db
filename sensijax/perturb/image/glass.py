"""Frosted glass: pixels change places with their neighbours."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32
from sensijax_kernels.random import bits

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._gaussian import gaussian
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._straight_through import floor

# A flat region stays at its byte: its weighted mean is off by up to 0.9e-4 of a byte's step, which the floor would turn
# into a whole one.
_GUARD = 1 / 8192


class GlassBlur(Perturbation):
    """Frosted glass: a Gaussian blur, pixels that take the colour of a neighbour, and the blur again.

    Between the blurs the image is cut to bytes. Then, `iterations` times, from the last pixel to the first, each pixel
    takes the colour that the pixel (dy, dx) from it has by then; dy and dx are drawn uniformly from `-delta` to
    `delta - 1`. Pixels too near to the border keep theirs. The published loop is written as a swap, but on a colour
    image its right-hand side is two views, so the other pixel keeps its colour; here a grey image is treated alike.

    Where `delta` or `iterations` is not whole, a share of the pixels, as large as the fraction, has the next whole
    number and the others the one below, so that the blur has no jumps in severity. That share is counted in 256ths,
    the same pixels serve both parameters, and those that belong to it at one fraction do at every higher one.

    The derivatives with respect to `delta` and `iterations` are zero, for they are steps; those with respect to `sigma`
    and `x` pass straight through the cut to bytes.

    Attributes:
      sigma: standard deviation of both blurs, px; >= 0.
      delta: how far a pixel looks, px; in [0, 127].
      iterations: how often every pixel looks; in [0, passes].
      radius: static; the taps of the blurs computed on each side, px. `at` chooses it for its scale.
      passes: static; the most iterations that are computed. `at` chooses it for its scale.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`glass_blur`).

    Example:
      >>> halves = jnp.zeros((32, 32, 3)).at[:, 16:].set(1.0)
      >>> glass = GlassBlur(sigma=jnp.float32(0.0), delta=jnp.float32(2.0), iterations=jnp.float32(1.0))
      >>> out = jax.jit(glass)(jax.random.key(0), halves)
      >>> [int(out[:, :8].max()), int(out[:, 8:24].max()), int(out[:, 24:].min())]
      [0, 1, 1]
    """

    sigma: Float[Array, "..."]
    delta: Float[Array, "..."]
    iterations: Float[Array, "..."]
    radius: int = static(default=6)
    passes: int = static(default=3)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224, monotone: bool = False) -> "GlassBlur":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px.

        On the published scales the mean change of an image falls where iterations do (1 to 2 and 3 to 4 at 224 px) and
        where the blur smooths the shuffle again (2 to 3 and 4 to 5 at 32 px). With `monotone` it never does: at 224 px
        there are always 2 iterations, at 32 px they grow evenly from 1 to 2.
        """
        published = (
            {224: (0.0, 0.7, 0.9, 1.0, 1.1, 1.5), 32: (0.0, 0.05, 0.25, 0.4, 0.25, 0.4)},
            {224: (0.0, 1.0, 2.0, 2.0, 3.0, 4.0), 32: (0.0, 1.0, 1.0, 1.0, 1.0, 1.0)},
            {224: (2.0, 2.0, 1.0, 3.0, 2.0, 2.0), 32: (1.0, 1.0, 1.0, 1.0, 2.0, 2.0)},
        )
        calibrated = (
            {224: (0.0, 0.7, 0.9, 1.0, 1.1, 1.5), 32: (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)},
            {224: (0.0, 1.0, 1.5, 2.0, 3.0, 4.0), 32: (0.0, 1.0, 1.0, 1.0, 1.0, 1.0)},
            {224: (2.0, 2.0, 2.0, 2.0, 2.0, 2.0), 32: (1.0, 1.0, 1.25, 1.5, 1.75, 2.0)},
        )
        sigmas, deltas, counts = (table_for(size, tables) for tables in (calibrated if monotone else published))
        return cls(
            sigma=interpolate(severity, sigmas),
            delta=interpolate(severity, deltas),
            iterations=interpolate(severity, counts),
            radius=int(4 * max(sigmas) + 0.5),
            passes=math.ceil(max(counts)),
        )

    def is_identity(self) -> Any:
        return (self.sigma == 0) & ((self.delta == 0) | (self.iterations == 0))

    def apply(self, key: Array, x: Array) -> Array:
        height, width, channels = x.shape
        x = floor(rounded(gaussian(x, self.sigma, self.radius) * 255) + _GUARD)
        source = sources(*displacements(key, self.delta, self.iterations, (self.passes, height, width)))
        x = x.reshape(height * width, channels).at[source].get(mode="promise_in_bounds").reshape(x.shape)
        return jnp.clip(gaussian(x / 255, self.sigma, self.radius), 0.0, 1.0)


def displacements(
    key: Array, delta: Float[Array, ""], iterations: Float[Array, ""], shape: tuple[int, int, int]
) -> tuple[Int32[Array, "T H W"], Int32[Array, "T H W"]]:
    """Where each pixel looks in each pass: rows down and columns right, (0, 0) for those that keep their colour.

    Args:
      key: a typed PRNG key; one word is drawn for each pixel and pass.
      delta: how far, in [0, 127].
      iterations: how many of the passes happen, the first ones.
      shape: passes, height and width.

    Returns:
      Two arrays of int32 `[passes, height, width]`.
    """
    passes, height, width = shape
    word = bits(key, shape)
    fraction, share = word >> 8, (word & 255).astype(jnp.int32)
    delta = _whole(delta, share)
    happens = jnp.arange(passes)[:, None, None] < _whole(iterations, share)
    row, column = jnp.arange(height)[None, :, None], jnp.arange(width)[None, None, :]
    # The published loops run from H - delta down to delta + 1: one line more is left out above than below.
    inside = (row > delta) & (row <= height - delta) & (column > delta) & (column <= width - delta)
    base = (2 * delta).astype(jnp.uint32)
    across, fraction = _digit(fraction, base)
    down, _ = _digit(fraction, base)
    moves = happens & inside
    return jnp.where(moves, down - delta, 0), jnp.where(moves, across - delta, 0)


def sources(down: Int32[Array, "T H W"], right: Int32[Array, "T H W"]) -> Int32[Array, "H*W"]:
    """Which pixel each pixel's colour comes from in the end, as indices into the flat image.

    A pass goes from the last pixel to the first, so whoever looks back at a later pixel finds what that pixel has taken
    already: a chain of pointers, each to a later pixel of the same pass or to any pixel of the pass before. All chains
    are followed at once, in steps that double, until the longest has come to its end.

    Args:
      down, right: int32 `[T, H, W]`; where each pixel looks in each pass, within the frame.

    Returns:
      int32 `[H * W]`.
    """
    passes, height, width = down.shape
    count = height * width
    here = jnp.arange(count).reshape(1, height, width)
    there = here + down * width + right
    start = count * jnp.arange(passes)[:, None, None]
    # Node p * H * W + q is pixel q after pass p; an end of a chain, pixel q before the first pass, is -1 - q.
    before = jnp.where(start > 0, start - count + there, -1 - there)
    pointer = jnp.where(there > here, start + there, before).reshape(-1)

    def step(pointer: Array) -> Array:
        return jnp.where(pointer < 0, pointer, pointer.at[jnp.maximum(pointer, 0)].get(mode="promise_in_bounds"))

    pointer = jax.lax.while_loop(lambda pointer: jnp.any(pointer >= 0), step, pointer)
    return -1 - pointer[-count:]


def _whole(value: Array, share: Int32[Array, "..."]) -> Int32[Array, "..."]:
    """Rounded up where `share`, in 0..255, lies below the fraction, and down elsewhere."""
    low = jnp.floor(value)
    part = (256 * (value - low)).astype(jnp.int32)
    return low.astype(jnp.int32) + (share < part).astype(jnp.int32)


def _digit(fraction: Array, base: Array) -> tuple[Array, Array]:
    """The first digit of a 24 bit fraction in a base of up to 255, and the fraction that is left."""
    product = fraction * base
    return (product >> 24).astype(jnp.int32), product & 0xFFFFFF
