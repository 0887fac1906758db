"""The lossy part of WebP's key-frame codec, VP8, on the image's bytes: what its quantiser and its filter cost.

All arithmetic that decides a pixel is in whole numbers, so the bytes that come out are the same in any batch. Where the
codec rounds, the derivative passes straight through; thresholds of the filter have none.

Reference:
  Bankoski, Koleszar, Quillio, Salonen, Wilkins and Xu, "VP8 data format and decoding guide", RFC 6386, 2011; the
  encoder's choices (steps for a quality, rounding, filter strength) are those of libwebp's `quant_enc.c`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.struct import struct
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._straight_through import floor, straight_through

# RFC 6386, section 14.1: the steps of a block's mean and of its other coefficients, by index.
_DC = np.array(
    [4, 5, 6, 7, 8, 9, 10, 10, 11, 12, 13, 14, 15, 16, 17, 17, 18, 19, 20, 20, 21, 21, 22, 22, 23, 23, 24, 25, 25]
    + [*range(26, 38), *range(37, 47), *range(46, 77), *range(76, 90), 91, 93, 95, 96, 98, 100, 101, 102]
    + [*range(104, 119, 2), *range(122, 141, 2), 143, 145, 148, 151, 154, 157],
    np.float32,
)
_AC = np.array(
    [*range(4, 59), *range(60, 117, 2), *range(119, 174, 3), *range(177, 226, 4), 229, 234, 239, 245, 249, 254]
    + [259, 264, 269, 274, 279, 284],
    np.float32,
)
# Of the orthonormal cosine transform on 4 samples, times 2**12.
_COSINES = np.array(
    [[2048, 2048, 2048, 2048], [2676, 1108, -1108, -2676], [2048, -2048, -2048, 2048], [1108, -2676, 2676, -1108]],
    np.int32,
)
_EXACT = _COSINES.astype(np.float32) / np.float32(2**12)
_HADAMARD = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]], np.float32)
# What is added before a coefficient's magnitude is cut to whole steps: below a half, so small ones vanish.
_KEEP_DC, _KEEP_AC, _KEEP_MEANS, _KEEP_CHROMA_DC, _KEEP_CHROMA_AC = (
    np.float32(k / 256) for k in (96, 110, 108, 110, 115)
)


@struct
class Steps:
    """Quantisation steps, whole numbers in float32, and the filter's strength.

    Attributes:
      luma: of 4 x 4 blocks' coefficients but the mean.
      means_dc, means_ac: of the Hadamard transform of 4 x 4 blocks' means.
      chroma_dc, chroma_ac: of the chroma's 4 x 4 blocks.
      level: the loop filter's, 0..63.
    """

    luma: Float[Array, ""]
    means_dc: Float[Array, ""]
    means_ac: Float[Array, ""]
    chroma_dc: Float[Array, ""]
    chroma_ac: Float[Array, ""]
    level: Float[Array, ""]


def steps(quality: Float[Array, ""]) -> Steps:
    """What libwebp quantises with at a quality of 0..100, without adapting it to parts of the image."""
    share = jnp.clip(quality, 0.0, 100.0) / 100
    linear = jnp.where(share < 0.75, share * (2 / 3), 2 * share - 1)
    # The cube root's derivative at zero is infinite; below a thousandth the quality is taken to be that.
    index = rounded(127 * (1 - jnp.cbrt(jnp.maximum(linear, 1e-3))))
    dc, ac = (_between(table, index) for table in (_DC, _AC))
    level = jnp.floor(jnp.minimum(jnp.floor(ac / 4), 63.0) * (300 / 256))
    return Steps(
        luma=_whole(ac),
        means_dc=_whole(2 * dc),
        means_ac=_whole(jnp.maximum(1.55 * ac - 0.5, 8.0)),
        chroma_dc=_whole(jnp.minimum(dc, 132.0)),
        chroma_ac=_whole(ac),
        level=jax.lax.stop_gradient(jnp.where(level < 2, 0.0, jnp.minimum(level, 63.0))),
    )


def _between(table: np.ndarray, index: Array) -> Array:
    low = jnp.clip(jnp.floor(index), 0, len(table) - 2).astype(jnp.int32)
    start, end = jnp.asarray(table)[low], jnp.asarray(table)[low + 1]
    return start + rounded((index - low.astype(index.dtype)) * (end - start))


def _whole(x: Array) -> Array:
    return floor(x + 0.5)


def luma(plane: Float[Array, "H W"], steps: Steps) -> Float[Array, "H W"]:
    """Codes and restores a plane of bytes whose sides are multiples of 16."""
    predicted = _predicted(plane, 16)
    blocks = _blocks(plane - predicted)
    coefficients = transform(blocks)
    count = [side // 4 for side in plane.shape]
    means = coefficients[0, 0].reshape(count)
    kept = _quantised(_hadamard(_blocks(means)) / 2, steps.means_dc, steps.means_ac, _KEEP_DC, _KEEP_MEANS)
    means = _plane(floor((_hadamard(kept) + 3) / 8), *count)
    coefficients = _quantised(coefficients, steps.luma, steps.luma, _KEEP_DC, _KEEP_AC)
    coefficients = coefficients.at[0, 0].set(means.reshape(-1))
    plane = jnp.clip(predicted + _plane(inverse(coefficients), *plane.shape), 0.0, 255.0)
    return _filtered(plane, steps.level, 16)


def chroma(plane: Float[Array, "H W"], steps: Steps) -> Float[Array, "H W"]:
    """Codes and restores a plane of bytes whose sides are multiples of 8."""
    predicted = _predicted(plane, 8)
    kept = _quantised(
        transform(_blocks(plane - predicted)), steps.chroma_dc, steps.chroma_ac, _KEEP_CHROMA_DC, _KEEP_CHROMA_AC
    )
    plane = jnp.clip(predicted + _plane(inverse(kept), *plane.shape), 0.0, 255.0)
    return _filtered(plane, steps.level, 8)


def _predicted(plane: Array, size: int) -> Array:
    """Each macroblock's mean guessed from the row above and the column left of it; 128 where there are none."""
    rows, columns = (side // size for side in plane.shape)
    above = jnp.sum(plane.reshape(rows, size, columns, size)[:-1, -1], axis=-1)
    left = jnp.sum(plane.reshape(rows, size, columns, size)[:, :, :-1, -1], axis=1)
    total = jnp.pad(above, ((1, 0), (0, 0))) + jnp.pad(left, ((0, 0), (1, 0)))
    there = np.add.outer(np.arange(rows) > 0, np.arange(columns) > 0, dtype=np.float32)
    mean = jnp.where(there == 0, 128.0, floor((total + rounded(size / 2 * there)) * (1 / np.maximum(size * there, 1))))
    return jnp.repeat(jnp.repeat(mean, size, axis=0), size, axis=1)


def _blocks(plane: Array) -> Array:
    rows, columns = plane.shape[0] // 4, plane.shape[1] // 4
    return plane.reshape(rows, 4, columns, 4).transpose(1, 3, 0, 2).reshape(4, 4, rows * columns)


def _plane(blocks: Array, height: int, width: int) -> Array:
    return blocks.reshape(4, 4, height // 4, width // 4).transpose(2, 0, 3, 1).reshape(height, width)


def _quantised(x: Array, dc: Array, ac: Array, keep_dc: np.float32, keep_ac: np.float32) -> Array:
    """Coefficients `[4, 4, N]` cut to whole multiples of their steps."""
    first = np.zeros((4, 4, 1), bool)
    first[0, 0] = True
    step, keep = jnp.where(first, dc, ac), np.where(first, keep_dc, keep_ac)
    magnitude = rounded(jnp.abs(x) * (1 / step))
    whole = jnp.floor(magnitude + keep)
    return straight_through(jnp.where(x < 0, -whole, whole), x / step) * step


@jax.custom_jvp
def transform(samples: Float[Array, "4 4 N"]) -> Float[Array, "4 4 N"]:
    """Cosine transform of N blocks of whole numbers in -255..255: twice the orthonormal coefficients.

    The derivative is that of the exact transform.
    """
    rows = (_product(_COSINES, samples.astype(jnp.int32), 1) + 32) >> 6
    return _product(_COSINES, rows, 0).astype(samples.dtype) * np.float32(2**-17)


@transform.defjvp
def _(primals, tangents):
    return transform(*primals), 2 * _product(_EXACT, _product(_EXACT, tangents[0], 1), 0)


@jax.custom_jvp
def inverse(coefficients: Float[Array, "4 4 N"]) -> Float[Array, "4 4 N"]:
    """Samples from coefficients, in whole numbers: RFC 6386, section 14.3. The derivative is that of the exact one."""
    x = _butterflies(coefficients.astype(jnp.int32), 0)
    return ((_butterflies(x, 1) + 4) >> 3).astype(coefficients.dtype)


@inverse.defjvp
def _(primals, tangents):
    return inverse(*primals), _product(_EXACT.T, _product(_EXACT.T, tangents[0], 0), 1) / 2


def _butterflies(x: Array, axis: int) -> Array:
    first, second, third, fourth = (jax.lax.index_in_dim(x, k, axis, keepdims=True) for k in range(4))

    def larger(v: Array) -> Array:
        return v + ((v * 20091) >> 16)

    def smaller(v: Array) -> Array:
        return (v * 35468) >> 16

    total, difference = first + third, first - third
    inner, outer = smaller(second) - larger(fourth), larger(second) + smaller(fourth)
    return jnp.concatenate([total + outer, difference + inner, difference - inner, total - outer], axis)


def _hadamard(x: Array) -> Array:
    return _product(_HADAMARD, _product(_HADAMARD, x, 0), 1)


def _product(matrix: np.ndarray, x: Array, axis: int) -> Array:
    shape = [4 if a == axis else 1 for a in range(3)]
    first, *others = (matrix[:, k].reshape(shape) * jax.lax.slice_in_dim(x, k, k + 1, axis=axis) for k in range(4))
    return sum(others, start=first)  # type: ignore[return-value]


def _filtered(plane: Array, level: Array, size: int) -> Array:
    """The normal loop filter over the edges of macroblocks of `size` px and of the 4 x 4 blocks within."""
    for _ in range(2):  # first the edges between columns, then those between rows
        plane = _filtered_rows(plane.T, level, size)
    return plane


def _filtered_rows(plane: Array, level: Array, size: int) -> Array:
    lines = list(jnp.moveaxis(plane.reshape(plane.shape[0] // size, size, plane.shape[1]) - 128, 1, 0))
    limit = jnp.maximum(level, 1.0)
    busy = jnp.where(level >= 40, 2.0, jnp.where(level >= 15, 1.0, 0.0))
    if len(lines[0]) > 1:
        over, under = [line[:-1] for line in lines[-4:]], [line[1:] for line in lines[:4]]
        above, below = _soften(over, under, level, 3 * limit + 4, busy, wide=True)
        lines[-3:] = [jnp.concatenate([new, old[-1:]]) for new, old in zip(above, lines[-3:], strict=True)]
        lines[:3] = [jnp.concatenate([old[:1], new]) for old, new in zip(lines[:3], below, strict=True)]
    groups = jnp.stack(lines).reshape(size // 4, 4, *lines[0].shape)

    def edge(over: Array, under: Array) -> tuple[Array, Array]:
        above, below = _soften(list(over), list(under), level, 3 * limit, busy, wide=False)
        return jnp.stack([*below, *under[2:]]), jnp.stack([*over[:2], *above])

    last, done = jax.lax.scan(edge, groups[0], groups[1:])
    lines = jnp.concatenate([done, last[None]]).reshape(size, *lines[0].shape)
    return jnp.moveaxis(lines, 0, 1).reshape(plane.shape) + 128


def _soften(
    above: list[Array], below: list[Array], level: Array, reach: Array, busy: Array, wide: bool
) -> tuple[list[Array], list[Array]]:
    """RFC 6386, section 15.3, of the four lines above an edge and the four below, in -128..127.

    Returns the lines that may change: three on each side if `wide`, two if not.
    """
    (p3, p2, p1, p0), (q0, q1, q2, q3) = above, below
    steps = [jnp.abs(a - b) for a, b in ((p3, p2), (p2, p1), (p1, p0), (q1, q0), (q2, q1), (q3, q2))]
    smooth = jnp.abs(p0 - q0) * 2 + jnp.floor(jnp.abs(p1 - q1) / 2) <= reach
    for step in steps:
        smooth = smooth & (step <= jnp.maximum(level, 1.0))
    smooth = smooth & (level > 0)
    sharp = (steps[2] > busy) | (steps[3] > busy)
    apart = _signed(p1 - q1)
    whole = _signed(jnp.where(wide | sharp, apart, 0.0) + 3 * (q0 - p0))
    down, up = floor(_signed(whole + 4) / 8), floor(_signed(whole + 3) / 8)
    if wide:
        parts = [_signed(floor((weight * whole + 63) / 128)) for weight in (27, 18, 9)]
        first, second = (jnp.where(sharp, narrow, parts[0]) for narrow in (up, down))
        others = [jnp.where(sharp, 0.0, part) for part in parts[1:]]
    else:
        first, second = up, down
        others = [jnp.where(sharp, 0.0, floor((down + 1) / 2))]
    lines = list(zip((p0, p1, p2), (q0, q1, q2), (first, *others), (second, *others), strict=False))
    changed = [(jnp.where(smooth, _signed(p + a), p), jnp.where(smooth, _signed(q - b), q)) for p, q, a, b in lines]
    return [p for p, _ in reversed(changed)], [q for _, q in changed]


def _signed(x: Array) -> Array:
    return jnp.clip(x, -128.0, 127.0)
