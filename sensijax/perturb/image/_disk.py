"""The disk of the published defocus blur, and what its array does to the disk's rim."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._wall import walled
from sensijax.perturb.image._window import shifted, weigh_symmetric, wider, window

ARRAY = 8
"""From the centre of the published kernel's array to its end, px, for disks up to that radius."""

_MIRRORED = 5  # the largest half width of a line that is mirrored there, for radii up to 10


def disk_mean(x: Float[Array, "H W C"], weights: Float[Array, "T"], radius: Float[Array, ""], reach: int) -> Array:
    """The mean over the pixels within `radius` of the smoothed image, with the rim as published.

    Each column of the disk is the difference of two running sums down the image. Sums run from mid grey, which keeps
    them, and so their rounding, small: in a bright image an error of 2e-6 on 224 rows and 8e-6 on 1024.

    The published array ends at a distance L from the centre, in the disk's last line or beyond it. On each of its four
    sides its kernel gains a share of the disk's line L - 1, as large as the smoothing's second tap, which is mirrored
    to where L + 1 would be, and lacks as much of line L. (The fifth tap adds another 1e-5 in all, which is left out.)

    Args:
      x: float32 `[H, W, C]`; mirrored about its last pixels.
      weights: of the smoothing's taps 0..T-1 to each side.
      radius: px, in [0, reach].
      reach: the largest radius that is computed, px.

    Returns:
      float32 `[H, W, C]`.
    """
    height, width, channels = x.shape
    margin, taps = reach + 1, len(weights) - 1
    # As [H, W * C], whole rows at a time: the fast way through memory.
    across = weigh_symmetric(wider(x, (margin + taps, margin + taps), "reflect"), weights, 1, step=channels)
    sums = _running_sums(across, weights, margin)
    lines = np.arange(reach + 1, dtype=np.float32)
    inside = (lines[:, None] ** 2 + lines[None, :] ** 2 <= radius * radius).astype(x.dtype)
    half_heights = jnp.sum(inside, axis=1).astype(jnp.int32) - 1
    both = np.where(lines > 0, np.float32(2), np.float32(1))
    share = 1 / jnp.sum(inside * (both[:, None] * both[None, :]))
    # In an array of their own, or a compiler works them out anew for every pixel.
    starts = jnp.concatenate([margin - jnp.maximum(half_heights, 0), margin + half_heights + 1])
    shape = (height, width * channels)
    total = jnp.zeros(shape, x.dtype)
    for offset in range(reach + 1):
        for side in sorted({-offset, offset}):
            left = (margin + side) * channels
            top, bottom = (window(sums, (starts[i], left), shape) for i in (offset, len(lines) + offset))
            total = total + (bottom - top)
    out = walled(rounded(total * share) + 0.5, x)
    if reach >= ARRAY - 1:  # else even the largest disk stays clear of the array's end
        end = jnp.maximum(jnp.floor(radius), ARRAY)
        gained, lacking = ((jnp.asarray(lines**2) + d * d <= radius * radius).astype(x.dtype) for d in (end - 1, end))
        lines_at = (end.astype(jnp.int32), gained), (end.astype(jnp.int32) + 1, lacking)

        def rim() -> Array:
            gain, lack = (_lines(sums, at, weights, shape, margin, channels) for at, weights in lines_at)
            grey = 2 * jnp.sum(both * (gained - lacking))  # half of what four sides weigh, for sums run from mid grey
            return out + rounded(weights[1] * share * (gain - lack + grey))

        out = jax.lax.cond(end - 1 <= radius, rim, lambda: out)
    return out.reshape(x.shape)


def _lines(sums: Array, distance: Array, weights: Array, shape: tuple[int, int], margin: int, channels: int) -> Array:
    """The sum over the four lines at a distance above, below, left and right, of pixels weighted from their middle."""
    half_width = jnp.sum(weights).astype(jnp.int32) - 1  # -1 where there is no pixel
    starts = jnp.stack(
        [margin - distance, margin - distance + 1, margin + distance, margin + distance + 1]
        + [margin - jnp.maximum(half_width, 0), margin + half_width + 1]
    )
    up, up_end, down, down_end, top, bottom = (window(sums, (start, 0), (shape[0], sums.shape[1])) for start in starts)
    rows, columns = walled((up_end - up) + (down_end - down), sums), walled(bottom - top, sums)
    total = jnp.zeros(shape, sums.dtype)
    for offset in range(_MIRRORED + 1):
        for side in sorted({-offset, offset}):
            total = total + weights[offset] * shifted(rows, 1, (margin + side) * channels, shape[1])
    for d in (-distance, distance):
        total = total + window(columns, (0, (margin + d) * channels), shape)
    return total


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _running_sums(x: Float[Array, "N M"], weights: Float[Array, "T"], margin: int) -> Float[Array, "K M"]:
    """The sums of the first 0, 1, 2, .. rows less 1/2, added one after another, of `x` mirrored and smoothed down."""
    rows, taps = _mirrored_rows(len(x), weights, margin), len(weights) - 1

    def add(i: Array, sums: Array) -> Array:
        near = [jax.lax.dynamic_slice_in_dim(x, rows[i + tap], 1) for tap in range(2 * taps + 1)]
        smooth = weights[0] * near[taps]
        for tap in range(1, taps + 1):
            smooth = smooth + weights[tap] * (near[taps - tap] + near[taps + tap])
        row = jax.lax.dynamic_slice_in_dim(sums, i, 1) + (rounded(smooth) - 0.5)
        return jax.lax.dynamic_update_slice_in_dim(sums, row, i + 1, 0)

    # In place: a scan, or `jnp.cumsum`, writes them elsewhere, and costs a CPU more than all else in the blur.
    count = len(x) + 2 * margin
    return jax.lax.fori_loop(0, count, add, jnp.zeros((count + 1, x.shape[1]), x.dtype))


@_running_sums.defjvp
def _(margin, primals, tangents):
    def plainly(x: Array, weights: Array) -> Array:
        smooth = weigh_symmetric(x[_mirrored_rows(len(x), weights, margin)], weights, 0)
        return jnp.pad(jnp.cumsum(smooth, axis=0), ((1, 0), (0, 0)))

    return _running_sums(*primals, margin), jax.jvp(plainly, primals, tangents)[1]


def _mirrored_rows(count: int, weights: Array, margin: int) -> Array:
    return jnp.asarray(np.pad(np.arange(count, dtype=np.int32), margin + len(weights) - 1, mode="reflect"))
