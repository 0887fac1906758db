"""Statistics that are sums of a kernel over pairs of rows, for all permutations in one matrix product.

With S the labels of all permutations as columns, the sum over both sides' own pairs and over mixed pairs follow from
column sums of S * (K S), the row sums of K, and its total. Where n = m and cells are pairs (`_cells`), K [2n, 2n]
shrinks to H_ij = K(x_i, x_j) + K(y_i, y_j) - K(x_i, y_j) - K(y_i, x_j), [n, n], and S to signs: a quarter of the work.
H is made, multiplied and forgotten in blocks of rows, so memory grows with N and not with its square.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.drift.detect._cells import arrange, by_pairs, labels, signs

_BLOCK = 2048
_SEEN = 1024
"""So many rows of the pooled sample, by whole cells, make the median distance."""

PRECISION = jax.lax.Precision.HIGHEST  # else a GPU may round to ten bits


class Sums(NamedTuple):
    """Sums of a kernel over ordered pairs of distinct rows, under each labeling: float32 `[1 + B]`, the real one first.

    Attributes:
      xx, yy: within the reference, within the sample.
      xy: of one row of each.
    """

    xx: Array
    yy: Array
    xy: Array


def squared_distances(x: Array, y: Array) -> Array:
    """|x_i - y_j|^2, `[n, m]`, from rows that have been centred, so that few digits are lost."""
    across = jnp.matmul(x, y.T, precision=PRECISION)
    square = jnp.sum(x * x, axis=1)[:, None] + jnp.sum(y * y, axis=1)[None] - 2 * across
    return jnp.maximum(square, 0)


def median_square(x: Array, y: Array) -> Array:
    """The median of |z_i - z_j|^2 over pairs of pooled rows that differ; 0 where none do.

    Beyond 1,024 rows, over the first cells with about as many: a set that no labeling changes. Found bit by bit, which
    costs 31 passes over the distances and no sort.

    Args:
      x, y: arranged and centred samples `[n, d]`, `[m, d]`.
    """
    small = min(len(x), len(y))
    cells = max(1, _SEEN * small // (len(x) + len(y)))
    z = jnp.concatenate([side[np.arange(len(side)) % small < cells] for side in (x, y)])
    square = squared_distances(z, z)
    # The diagonal and equal rows come out as rounding of the squared norms.
    floor = 1e-6 * jnp.mean(jnp.sum(z * z, axis=1))
    bits = jax.lax.bitcast_convert_type(jnp.where(square > floor, square, 0), jnp.int32)
    positive = jnp.sum(bits > 0)
    wanted = bits.size - positive + (positive + 1) // 2

    def halve(step: Array, found: Array) -> Array:
        candidate = found + jnp.left_shift(jnp.int32(1), jnp.int32(30) - step)
        return jnp.where(jnp.sum(bits < candidate) < wanted, candidate, found)

    found = jax.lax.fori_loop(0, 31, halve, jnp.int32(0))
    return jnp.where(positive > 0, jax.lax.bitcast_convert_type(found, jnp.float32), 0)


def sums(key: Array, x: Array, y: Array, kernel: Callable[[Array], Array], constant: Array, permutations: int) -> Sums:
    """Sums of a kernel under the real labels and B drawn ones.

    Args:
      key: a typed key.
      x, y: arranged samples `[n, d]`, `[m, d]`, centred.
      kernel: from squared distances to kernel values, elementwise.
      constant: about the kernel's mean; it is taken off every value before anything is summed, which keeps digits, and
        it is the caller's to know that no statistic changes by that.
      permutations: B.

    Returns:
      Sums of (kernel - constant).
    """
    if by_pairs(len(x), len(y)):
        return _sums_of_pairs(key, x, y, lambda square: kernel(square) - constant, permutations)
    return _sums_of_labels(key, x, y, lambda square: kernel(square) - constant, permutations)


def _sums_of_pairs(key: Array, x: Array, y: Array, kernel: Callable, permutations: int) -> Sums:
    n = len(x)
    s = signs(key, n, permutations)
    same = jnp.sum(kernel(jnp.maximum(jnp.sum((x - y) ** 2, axis=1), 0)))  # k(x_i, y_i): in every labeling mixed

    def block(x_rows: Array, y_rows: Array, s_rows: Array, number: Array) -> tuple[Array, Array]:
        own = jnp.where((number[:, None] == jnp.arange(n)[None]) | (number >= n)[:, None], 0.0, 1.0).astype(jnp.float32)
        alike = kernel(squared_distances(x_rows, x)) + kernel(squared_distances(y_rows, y))
        mixed = kernel(squared_distances(x_rows, y)) + kernel(squared_distances(y_rows, x))
        h = own * (alike - mixed)
        return jnp.sum(s_rows * jnp.matmul(h, s, precision=PRECISION), axis=0), jnp.sum(own * (alike + mixed))

    q, total = _over_blocks(block, n, x, y, s)
    within, across = (total + q) / 2, (total - q) / 4 + same
    # Only the sum of both sides' own pairs is known, and for n = m only it is needed: half of it for each.
    return Sums(within / 2, within / 2, across)


def _sums_of_labels(key: Array, x: Array, y: Array, kernel: Callable, permutations: int) -> Sums:
    z = jnp.concatenate([x, y])
    total_rows = len(z)
    s = labels(key, len(x), len(y), permutations)

    def block(z_rows: Array, s_rows: Array, number: Array) -> tuple[Array, Array, Array]:
        own = jnp.where(
            (number[:, None] == jnp.arange(total_rows)[None]) | (number >= total_rows)[:, None], 0.0, 1.0
        ).astype(jnp.float32)
        k = own * kernel(squared_distances(z_rows, z))
        row = jnp.sum(k, axis=1)
        inner = jnp.sum(s_rows * jnp.matmul(k, s, precision=PRECISION), axis=0)
        return inner, jnp.sum(s_rows * row[:, None], axis=0), jnp.sum(row)

    yy, row, total = _over_blocks(block, total_rows, z, s)
    return Sums(total - 2 * row + yy, yy, row - yy)


def _over_blocks(block: Callable, rows: int, *arrays: Array) -> tuple[Array, ...]:
    """Sums what `block` makes of blocks of rows and their numbers; a number of `rows` or more is padding."""
    if rows <= _BLOCK:
        return block(*arrays, jnp.arange(rows))
    blocks = -(-rows // _BLOCK)
    size = -(-rows // blocks)
    pad = blocks * size - rows
    cut = [jnp.pad(a, [(0, pad), *[(0, 0)] * (a.ndim - 1)]).reshape(blocks, size, *a.shape[1:]) for a in arrays]
    number = jnp.arange(blocks * size).reshape(blocks, size)
    start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(block, *[c[0] for c in cut], number[0]))

    def add(so_far: tuple, part: tuple) -> tuple[tuple, None]:
        return jax.tree.map(jnp.add, so_far, block(*part)), None

    return jax.lax.scan(add, start, (*cut, number))[0]


def prepared(key: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Arranged samples around their common mean, float32 `[n, d]`, `[m, d]`."""
    x, y = arrange(key, x, y)
    mean = (jnp.sum(x, axis=0) + jnp.sum(y, axis=0)) / (len(x) + len(y))
    return x - mean[None], y - mean[None]
