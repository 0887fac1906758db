"""The baseline JPEG codec as a function of the image's bytes: what Pillow and libjpeg write and read back.

All arithmetic is in whole numbers below 2**24, which float32 holds exactly (the cosine transforms count in int32), so
the bytes that come out are libjpeg's own, in any batch and on any device. Where the codec rounds, the derivative passes
straight through.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.perturb.image._dct import dct, inverse_dct
from sensijax.perturb.image._straight_through import floor, straight_through

# ITU-T T.81, tables K.1 and K.2: rows are vertical frequencies.
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
CHROMINANCE = np.full((8, 8), 99, np.float32)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def steps(quality: Float[Array, ""], table: np.ndarray) -> Float[Array, "8 8"]:
    """The quantisation steps at a quality of 1..100: `table` scaled as libjpeg does, whole numbers in 1..255."""
    quality = jnp.clip(quality, 1.0, 100.0)
    # The quarter and the half keep a division that is off by an ulp from falling below the whole number it means.
    low = floor(5000.25 / jnp.minimum(quality, 50.0))
    scale = jnp.where(quality < 50, low, 200 - 2 * quality)
    return jnp.clip(floor((jnp.asarray(table) * scale + 50.5) / 100), 1.0, 255.0)


def grey(pixels: Float[Array, "H W"], luminance: Float[Array, "8 8"]) -> Float[Array, "H W"]:
    """Compresses and restores a grey image of bytes."""
    return _component(pixels, luminance)


def colour(
    pixels: Float[Array, "H W 3"], luminance: Float[Array, "8 8"], chrominance: Float[Array, "8 8"]
) -> Float[Array, "H W 3"]:
    """Compresses and restores an sRGB image of bytes: YCbCr, chroma at half the resolution (4:2:0)."""
    height, width, _ = pixels.shape
    y, cb, cr = _to_ycbcr(pixels)
    y = _component(y, luminance)
    across = (width + 1) // 2
    cb, cr = (_enlarge(_component(_halve(c), chrominance)[:, :across], height, width) for c in (cb, cr))
    return _to_rgb(y, cb, cr)


def _component(plane: Array, steps: Array) -> Array:
    height, width = plane.shape
    plane = jnp.pad(plane, ((0, -height % 8), (0, -width % 8)), mode="edge")
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    blocks = (plane - 128).reshape(rows, 8, columns, 8).transpose(1, 3, 0, 2).reshape(8, 8, rows * columns)
    quotient = dct(blocks)
    divisor = 8 * steps[:, :, None]
    whole = jnp.floor((jnp.abs(quotient) + 4 * steps[:, :, None] + 0.5) / divisor)
    levels = straight_through(jnp.where(quotient < 0, -whole, whole), quotient / divisor)
    blocks = inverse_dct(levels * steps[:, :, None])
    plane = blocks.reshape(8, 8, rows, columns).transpose(2, 0, 3, 1).reshape(8 * rows, 8 * columns)
    return jnp.clip(plane[:height, :width] + 128, 0.0, 255.0)


def _to_ycbcr(pixels: Array) -> tuple[Array, Array, Array]:
    r, g, b = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    centre = 128 * 65536 + 32767
    y = floor((19595 * r + 38470 * g + 7471 * b + 32768) / 65536)
    cb = floor((32768 * b - 11059 * r - 21709 * g + centre) / 65536)
    cr = floor((32768 * r - 27439 * g - 5329 * b + centre) / 65536)
    return y, cb, cr


def _to_rgb(y: Array, cb: Array, cr: Array) -> Array:
    cb, cr = cb - 128, cr - 128
    red = floor((91881 * cr + 32768) / 65536)
    green = floor((32768 - 22554 * cb - 46802 * cr) / 65536)
    blue = floor((116130 * cb + 32768) / 65536)
    return jnp.clip(jnp.stack([y + red, y + green, y + blue], axis=-1), 0.0, 255.0)


def _halve(plane: Array) -> Array:
    """Means of 2 x 2 pixels; the last bit is rounded down and up in turn along a row, as libjpeg does."""
    # As libjpeg: to whole blocks across before the means are taken, downwards after.
    plane = jnp.pad(plane, ((0, plane.shape[0] % 2), (0, -plane.shape[1] % 16)), mode="edge")
    lines = plane[0::2] + plane[1::2]
    bias = np.where(np.arange(lines.shape[1] // 2) % 2 == 0, np.float32(1), np.float32(2))[None, :]
    return floor((lines[:, 0::2] + lines[:, 1::2] + bias) / 4)


def _enlarge(plane: Array, height: int, width: int) -> Array:
    """Twice the resolution: each new pixel is 3/4 the nearer and 1/4 the farther old one, in both directions."""
    lines = _twice(plane, 0)[:height]
    columns = _twice(lines, 1)[:, :width]
    bias = np.where(np.arange(width) % 2 == 0, np.float32(8), np.float32(7))[None, :]
    return floor((columns + bias) / 16)


def _twice(x: Array, axis: int) -> Array:
    count = x.shape[axis]
    near = 3 * x
    before = jnp.concatenate([x.take(np.array([0]), axis), x.take(np.arange(count - 1), axis)], axis)
    after = jnp.concatenate([x.take(np.arange(1, count), axis), x.take(np.array([count - 1]), axis)], axis)
    both = jnp.stack([near + before, near + after], axis=axis + 1)
    return both.reshape([2 * count if a == axis else x.shape[a] for a in range(2)])
