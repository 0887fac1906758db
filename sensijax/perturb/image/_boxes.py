"""Pillow's shrinking by means over boxes, and enlarging by repetition, in one: each pixel becomes its box's mean.

The boxes are whole pixels along each side. Columns come first, then rows, and each mean is rounded to a byte, as in
Pillow, bit for bit.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.perturb.image._straight_through import bytes_of
from sensijax.perturb.image._wall import walled
from sensijax.perturb.image._window import shifted

_NEAR = 5  # px; boxes up to that length, that start up to so many pixels before the pixels that show them, are quick


@jax.custom_jvp
def box_means(x: Float[Array, "H W C"], fraction: Float[Array, ""]) -> Float[Array, "H W C"]:
    """Each pixel becomes the byte that is the mean of the box it lands in.

    Args:
      x: float32 `[H, W, C]` in [0, 1], rounded to bytes first.
      fraction: how many boxes there are along a side of n px: `int(fraction * n)`, at least one.

    Returns:
      float32 `[H, W, C]`, whole numbers in 0..255. The derivative is that of the means without any rounding; with
      respect to `fraction` it is zero.
    """
    height, width, channels = x.shape
    counts = _counts(x, fraction)
    (down, back_down, near_down), (along, back_along, near_along) = (
        (lengths[count], back[count], near[count])
        for count, (lengths, back, near) in zip(
            counts, (map(jnp.asarray, _near_boxes(side)) for side in (height, width)), strict=True
        )
    )
    # As [H, W * C], in sums of shifted images: a CPU computes several values at once.
    values = np.repeat(np.arange(width), channels)
    before, behind, above = _NEAR - 1, 1, np.pad(np.arange(height), (_NEAR - 1, 1), mode="edge")
    margins = [(before * step, (behind + _NEAR - 1) * step) for step in (1, channels)]
    flat = jnp.pad(bytes_of(x).reshape(height, -1), margins)
    starts = np.pad(values, (before * channels, behind * channels), mode="edge")
    flat = walled(_means(flat, along[starts], 1, channels), x)
    flat = walled(_means(flat, down[above], 0, 1), x)
    flat = walled(_repeated(flat, back_along[values], 1, channels), x)
    flat = _repeated(flat, back_down, 0, 1)
    far = ~(near_down & near_along)
    out, _ = jax.lax.while_loop(
        lambda state: state[1],
        lambda state: (_any_boxes(bytes_of(x), *counts)[0].reshape(flat.shape), jnp.zeros_like(state[1])),
        (flat, far),
    )
    return out.reshape(x.shape)


@box_means.defjvp
def _(primals, tangents):
    x, fraction = primals
    return box_means(x, fraction), 255 * _any_boxes(tangents[0], *_counts(x, fraction))[1]


def _counts(x: Array, fraction: Array) -> list[Array]:
    return [jnp.clip(jnp.floor(fraction * side), 1, side).astype(jnp.int32) for side in x.shape[:2]]


def _means(x: Float[Array, "N M"], lengths: Array, axis: int, step: int) -> Array:
    """The rounded mean of the box that starts at each pixel, where one does.

    In float32: a mean of up to 5 bytes is a tie exactly or by a tenth not, so rounding up from the half is Pillow's.
    """
    lengths = jnp.expand_dims(lengths, 1 - axis)
    count = lengths.shape[axis]
    total = shifted(x, axis, 0, count)
    for tap in range(1, _NEAR):
        total = total + jnp.where(lengths > tap, shifted(x, axis, tap * step, count), 0.0)
    return jnp.floor(total * (1 / lengths.astype(x.dtype)) + 0.5)


def _repeated(x: Float[Array, "N M"], back: Array, axis: int, step: int) -> Array:
    """The value that lies `back` pixels before each, from -1 to 4."""
    back = jnp.expand_dims(back, 1 - axis)
    count = back.shape[axis]
    out = shifted(x, axis, _NEAR * step, count)
    for distance in range(_NEAR):
        out = jnp.where(back == distance, shifted(x, axis, (_NEAR - 1 - distance) * step, count), out)
    return out


def _any_boxes(pixels: Array, rows: Array, columns: Array) -> tuple[Array, Array]:
    """As `box_means`, by running sums, for boxes of any length; and the same without rounding."""
    exact = pixels
    for axis, count in ((1, columns), (0, rows)):
        start, end = jnp.asarray(_borders(pixels.shape[axis]))[count].astype(jnp.int32)
        lengths = jnp.expand_dims(end - start, [a for a in range(3) if a != axis])

        def total(x: Array, axis: int = axis, start: Array = start, end: Array = end) -> Array:
            sums = jnp.pad(jnp.cumsum(x, axis), [(int(a == axis), 0) for a in range(3)])
            return jnp.take(sums, end, axis, mode="clip") - jnp.take(sums, start, axis, mode="clip")

        # Pillow's fixed point: weights in units of 2**-22, rounded half up. Sums of bytes are exact in any order.
        weight = (2 * 2**22 + lengths) // (2 * lengths)
        pixels = ((total(pixels).astype(jnp.int32) * weight + 2**21) >> 22).astype(pixels.dtype)
        exact = total(exact) / lengths.astype(exact.dtype)
    return pixels, exact


@functools.lru_cache(maxsize=16)
def _near_boxes(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every number of boxes: how long the one is that starts at each pixel; how far before each pixel its box
    starts; whether all are near. int8 `[number, pixel]` twice, bool `[number]`.
    """
    start, end = _borders(side).astype(int).transpose(1, 0, 2)
    back = np.arange(side) - start
    near = ((end - start <= _NEAR) & (back >= -1) & (back < _NEAR)).all(axis=1)
    lengths = np.ones_like(start)
    np.put_along_axis(lengths, start, end - start, axis=1)
    return lengths.clip(1, _NEAR).astype(np.int8), back.clip(-1, _NEAR - 1).astype(np.int8), near


@functools.lru_cache(maxsize=16)
def _borders(side: int) -> np.ndarray:
    """Where the box begins and ends that a pixel lands in, for every number of boxes: int16 `[number, 2, pixel]`.

    In Pillow's own double precision: where a border falls on a pixel's centre, its rounding decides who gets the pixel.
    """
    counts = np.arange(1, side + 1)[:, None]
    boxes, scale = np.arange(side), side / counts
    centre, support = (boxes + 0.5) * scale, 0.5 * scale
    start, end = ((centre + s * support + 0.5).astype(int).clip(0, side) for s in (-1, 1))
    end -= (end - 1 - centre + 0.5) * (1 / scale) > 0.5
    box = ((np.arange(side) + 0.5) * (counts / side)).astype(int)
    borders = np.stack([np.take_along_axis(b, box, axis=1) for b in (start, end)], axis=1)
    return np.concatenate([borders[:1], borders]).astype(np.int16)
