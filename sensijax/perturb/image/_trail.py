"""The fading trail that movement leaves: ImageMagick's motion blur, at an angle that may be traced."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.perturb.image._reduce import ordered_sum, rounded
from sensijax.perturb.image._wall import walled
from sensijax.perturb.image._window import gaussian_weights, taller, wider, window


def fading_weights(radius: Float[Array, ""], sigma: Float[Array, ""], reach: int) -> Float[Array, "T"]:
    """The weights along a trail: one side of a Gaussian, cut off after `2 * ceil(radius) + 1` taps; they sum to one.

    Args:
      radius: half of the trail's length, px; at most `reach`.
      sigma: standard deviation of the Gaussian, px.
      reach: the largest radius that is computed, px.

    Returns:
      float32 `[2 * reach + 1]`.
    """
    taps = np.arange(2 * reach + 1, dtype=np.float32)
    weights = jnp.where(taps <= 2 * jnp.ceil(radius), gaussian_weights(sigma, taps), 0.0)
    return weights * (1 / ordered_sum(weights))


@functools.partial(jax.jit, static_argnames=("margins",), inline=True)
def trail(
    x: Float[Array, "H W C"],
    weights: Float[Array, "T"],
    angle: Float[Array, ""],
    margins: tuple[tuple[int, int], tuple[int, int]],
) -> Float[Array, "H W C"]:
    """The weighted sum of an image and itself, read one pixel further per tap, with places rounded to the grid.

    Args:
      x: float32 `[H, W, C]`; the border is continued by its last pixel.
      weights: float32 `[T]`, of the taps 0..T-1.
      angle: where the taps lie, radians: 0 to the right, pi / 2 below.
      margins: how far the taps may reach for any angle that can come: (above, below), (left, right), px.

    Returns:
      float32 `[H, W, C]`.

    Reference:
      ImageMagick 6, `MotionBlurImage` (magick/effect.c).
    """
    taps = np.arange(len(weights), dtype=np.float32)
    down = jnp.ceil(rounded(taps * jnp.sin(angle)) - 0.5).astype(jnp.int32)
    right = jnp.ceil(rounded(taps * jnp.cos(angle)) - 0.5).astype(jnp.int32)
    height, width, channels = x.shape
    padded = taller(wider(x, margins[1], "edge"), margins[0], "edge")
    starts = jnp.concatenate([margins[0][0] + down, (margins[1][0] + right) * channels])
    total = jnp.zeros((height, width * channels), x.dtype)
    for tap in range(len(weights)):
        read = window(padded, (starts[tap], starts[len(weights) + tap]), (height, width * channels))
        total = total + weights[tap] * read
    return walled(total, angle).reshape(x.shape)
