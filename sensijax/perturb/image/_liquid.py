"""How a layer of drops catches the light: the chain of byte operations behind water that spatters the lens.

Everything here is in whole numbers, those of OpenCV's portable code, so what comes out are its bytes, in any batch and
on any device. Nothing has a derivative.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

_FAR = 20  # px; distances from the edges are cut off here
# The lengths of a step to the side, a diagonal and a knight's move, in 1/65536 px.
_SIDE, _DIAGONAL, _KNIGHT = 65536, 91750, 143976


def relief(pixels: Int32[Array, "H W"]) -> Int32[Array, "H W"]:
    """The light on the drops: their distance from the edges, equalised, embossed and smoothed.

    `blur(filter2D(equalizeHist(blur(min(distanceTransform(255 - Canny(pixels, 50, 150), DIST_L2, 5), 20), 3 x 3)),
    [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]), 3 x 3)`, each result in bytes.

    Args:
      pixels: the layer, int32 `[H, W]` in 0..255.

    Returns:
      int32 `[H, W]` in 0..255.
    """
    distance = _box(chamfer(canny(pixels, 50, 150)))
    # Whole pixels below the mean of nine: q // 9 for q < 2**12.
    depth = ((distance >> 16) * 7282) >> 16
    at = _neighbours(equalise(depth, _FAR))
    lit = 2 * (at(1, 1) - at(-1, -1)) + at(0, 0) + at(0, 1) + at(1, 0) - at(-1, 0) - at(0, -1)
    return ((_box(jnp.clip(lit, 0, 255)) + 4) * 7282) >> 16


def canny(pixels: Int32[Array, "H W"], low: int, high: int) -> Bool[Array, "H W"]:
    """Canny's edges: thin ridges of the gradient above `low` that hang together with one above `high`.

    Args:
      pixels: int32 `[H, W]` in 0..255.
      low, high: thresholds of `|dx| + |dy|`, with 3 x 3 Sobel derivatives.

    Returns:
      bool `[H, W]`.

    Reference:
      Canny, "A computational approach to edge detection", IEEE Transactions on Pattern Analysis and Machine
      Intelligence 8(6), 1986.
    """
    at = _neighbours(pixels, mode="edge")
    dx = at(-1, 1) - at(-1, -1) + 2 * (at(0, 1) - at(0, -1)) + at(1, 1) - at(1, -1)
    dy = at(1, -1) - at(-1, -1) + 2 * (at(1, 0) - at(-1, 0)) + at(1, 1) - at(-1, 1)
    strength = jnp.abs(dx) + jnp.abs(dy)
    around = _neighbours(strength, mode="constant")
    # tan(22.5 degrees) in 15 bits; tan(67.5 degrees) is 2 more.
    across, down = jnp.abs(dx), jnp.abs(dy) << 15
    gentle = across * 13573
    steep = gentle + (across << 16)
    ridge_across = (strength > around(0, -1)) & (strength >= around(0, 1))
    ridge_down = (strength > around(-1, 0)) & (strength >= around(1, 0))
    rising = (strength > around(-1, 1)) & (strength > around(1, -1))
    falling = (strength > around(-1, -1)) & (strength > around(1, 1))
    ridge_aslant = jnp.where((dx ^ dy) < 0, rising, falling)
    ridge = jnp.where(down < gentle, ridge_across, jnp.where(down > steep, ridge_down, ridge_aslant))
    ridge = ridge & (strength > low)
    return _connected(ridge & (strength > high), ridge)


def chamfer(edges: Bool[Array, "H W"]) -> Int32[Array, "H W"]:
    """The distance from the nearest edge by steps of 1, 1.4 and 2.1969 px (a knight's move), cut off at 20 px.

    The nearest edge of a row is the nearest one along it, whatever the row's distance; so the image is searched along
    rows first and across them then, 20 rows up and down.

    Args:
      edges: bool `[H, W]`.

    Returns:
      int32 `[H, W]`, in 1/65536 px.

    Reference:
      Borgefors, "Distance transformations in digital images", Computer Vision, Graphics, and Image Processing 34(3),
      1986.
    """
    height, width = edges.shape
    # Distances and lengths are whole numbers below 2**24, exact in float32, in which a CPU multiplies fastest. The
    # loops are not unrolled, for XLA would fuse them into whatever reads the result, and compute it anew for each
    # neighbour there.
    beyond = 2.0 * _FAR

    def double(i: Array, along: Array) -> Array:
        step = 1 << i
        reach = jnp.pad(along, ((0, 0), (16, 16)), constant_values=beyond)
        left, right = (jax.lax.dynamic_slice_in_dim(reach, 16 + d, width, axis=1) for d in (-step, step))
        return jnp.minimum(along, jnp.minimum(left, right) + step.astype(along.dtype))

    along = jax.lax.fori_loop(0, 5, double, jnp.where(edges, 0.0, beyond))
    padded = jnp.pad(along, ((_FAR, _FAR), (0, 0)), constant_values=beyond)

    def search(rows: Array, nearest: Array) -> Array:
        above, below = (jax.lax.dynamic_slice_in_dim(padded, _FAR + d, height, axis=0) for d in (-rows, rows))
        return jnp.minimum(nearest, _length(jnp.minimum(above, below), rows.astype(along.dtype)))

    nearest = jax.lax.fori_loop(0, _FAR, search, jnp.full(edges.shape, float(_FAR * _SIDE)))
    return nearest.astype(jnp.int32)


def equalise(pixels: Int32[Array, "H W"], top: int) -> Int32[Array, "H W"]:
    """Spreads the levels so that each covers a share of 0..255 as large as its share of the pixels.

    Args:
      pixels: int32 `[H, W]` in 0..top.
      top: the highest level there can be.

    Returns:
      int32 `[H, W]` in 0..255; an image of one level stays as it is.
    """
    levels = jnp.arange(top + 1)
    count = jnp.cumsum(jnp.zeros(top + 1, jnp.int32).at[pixels.reshape(-1)].add(1, mode="promise_in_bounds"))
    lowest = jnp.min(jnp.where(count > 0, count, pixels.size))
    others = pixels.size - lowest
    share = jnp.maximum(count - lowest, 0).astype(jnp.float32) * (255 / jnp.maximum(others, 1).astype(jnp.float32))
    table = jnp.where(others > 0, jnp.round(share).astype(jnp.int32), levels)
    return table.at[pixels].get(mode="promise_in_bounds")


def _length(u: Float[Array, "..."], v: Float[Array, ""]) -> Float[Array, "..."]:
    """The chamfer length of (u, v): its unit ball is a polygon of 16 sides, so it is the largest of linear forms."""
    straight, slanted = _KNIGHT - 2 * _SIDE, 2 * _DIAGONAL - _KNIGHT
    forms = ((_SIDE, straight), (_KNIGHT - _DIAGONAL, slanted), (slanted, _KNIGHT - _DIAGONAL), (straight, _SIDE))
    first, *others = (float(a) * u + float(b) * v for a, b in forms)
    for form in others:
        first = jnp.maximum(first, form)
    return first


def _connected(seeds: Bool[Array, "H W"], within: Bool[Array, "H W"]) -> Bool[Array, "H W"]:
    """The pixels of `within` that a chain of neighbours, diagonal ones too, joins to a seed."""

    def grow(state: tuple[Array, Array]) -> tuple[Array, Array]:
        seeds, _ = state
        at = _neighbours(seeds, mode="constant")
        rows = _neighbours(at(0, -1) | seeds | at(0, 1), mode="constant")
        grown = (rows(-1, 0) | rows(0, 0) | rows(1, 0)) & within
        return grown, jnp.any(grown != seeds)

    return jax.lax.while_loop(lambda state: state[1], grow, (seeds, jnp.ones((), bool)))[0]


def _box(pixels: Int32[Array, "H W"]) -> Int32[Array, "H W"]:
    """The sum of the nine neighbours."""
    at = _neighbours(pixels)
    across = at(0, -1) + pixels + at(0, 1)
    at = _neighbours(across)
    return at(-1, 0) + across + at(1, 0)


def _neighbours(pixels: Array, mode: str = "reflect"):
    """Reads the image shifted by one row or column; beyond the border as `jnp.pad` continues it."""
    height, width = pixels.shape
    padded = jnp.pad(pixels, 1, mode=mode)
    return lambda down, right: padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
