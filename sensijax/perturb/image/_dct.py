"""The integer cosine transforms of the JPEG reference codec, bit for bit.

The codec's accurate transform is linear in integers up to one rounding after each pass over rows or columns, so a pass
is a product with a fixed integer matrix: exact, and so the same in any order, in any batch and on any device.

Reference:
  Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989, with the
  13-bit constants of libjpeg's `jfdctint.c` and `jidctint.c`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Row u: the weights of samples 0..3 in coefficient u, times 2**13 * sqrt(8). The other half of a row mirrors the first,
# with its sign for even u and against it for odd u: so sums of mirrored samples make the even, differences the odd
# ones.
_HALF = np.array(
    [
        [8192, 8192, 8192, 8192],
        [11363, 9633, 6437, 2260],
        [10703, 4433, -4433, -10703],
        [9633, -2259, -11362, -6436],
        [8192, -8192, -8192, 8192],
        [6437, -11362, 2261, 9633],
        [4433, -10704, 10704, -4433],
        [2260, -6436, 9633, -11363],
    ],
    np.int32,
)
_EXACT = _HALF.astype(np.float32) / np.float32(2**13)


@jax.custom_jvp
def dct(samples: Float[Array, "8 8 N"]) -> Float[Array, "8 8 N"]:
    """Cosine transform of N blocks of whole numbers in -128..127.

    Args:
      samples: float32 `[8, 8, N]`: row, column, block.

    Returns:
      float32 `[8, 8, N]`, whole numbers: 8 times the orthonormal coefficients (vertical, horizontal frequency, block).
      The derivative is that of the exact transform.
    """
    rows = _descale(_analyse(_HALF, samples.astype(jnp.int32), 1), 11)
    return _descale(_analyse(_HALF, rows, 0), 15).astype(samples.dtype)


@dct.defjvp
def _(primals, tangents):
    return dct(*primals), _analyse(_EXACT, _analyse(_EXACT, tangents[0], 1), 0)


@jax.custom_jvp
def inverse_dct(coefficients: Float[Array, "8 8 N"]) -> Float[Array, "8 8 N"]:
    """Samples from the orthonormal coefficients of N blocks, in whole numbers.

    Args:
      coefficients: float32 `[8, 8, N]`, whole numbers: vertical, horizontal frequency, block.

    Returns:
      float32 `[8, 8, N]`, whole numbers: row, column, block. The derivative is that of the exact transform.
    """
    columns = _descale(_synthesise(_HALF, coefficients.astype(jnp.int32), 0), 11)
    return _descale(_synthesise(_HALF, columns, 1), 18).astype(coefficients.dtype)


@inverse_dct.defjvp
def _(primals, tangents):
    return inverse_dct(*primals), _synthesise(_EXACT, _synthesise(_EXACT, tangents[0], 0), 1) / 8


def _analyse(half: np.ndarray, x: Array, axis: int) -> Array:
    """`x` times the matrix along an axis: samples to coefficients."""
    head, tail = _part(x, 0, 4, axis), jnp.flip(_part(x, 4, 8, axis), axis)
    even, odd = _product(half[0::2], head + tail, axis), _product(half[1::2], head - tail, axis)
    return jnp.stack([even, odd], axis=axis + 1).reshape(x.shape)


def _synthesise(half: np.ndarray, x: Array, axis: int) -> Array:
    """`x` times the transposed matrix along an axis: coefficients to samples."""
    even = _product(half[0::2].T, jax.lax.slice_in_dim(x, 0, 8, 2, axis), axis)
    odd = _product(half[1::2].T, jax.lax.slice_in_dim(x, 1, 8, 2, axis), axis)
    return jnp.concatenate([even + odd, jnp.flip(even - odd, axis)], axis)


def _product(matrix: np.ndarray, x: Array, axis: int) -> Array:
    shape = [4 if a == axis else 1 for a in range(3)]
    first, *others = (matrix[:, k].reshape(shape) * _part(x, k, k + 1, axis) for k in range(4))
    return sum(others, start=first)  # type: ignore[return-value]


def _part(x: Array, start: int, end: int, axis: int) -> Array:
    return jax.lax.slice_in_dim(x, start, end, axis=axis)


def _descale(x: Array, bits: int) -> Array:
    return (x + (1 << (bits - 1))) >> bits
