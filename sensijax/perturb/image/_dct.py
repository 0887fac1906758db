"""The integer cosine transforms of the JPEG reference codec, bit for bit.

The codec's accurate transform is linear in integers up to one rounding after each pass over rows or columns, so a pass is a
product with a fixed integer matrix: exact, and so the same in any order, in any batch and on any device.

Reference:
  Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989, with the
  13-bit constants of libjpeg's `jfdctint.c` and `jidctint.c`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Row u: the weights of samples 0..7 in coefficient u, times 2**13 * sqrt(8). The second half mirrors the first.
_HALF = np.array([
    [8192, 8192, 8192, 8192],
    [11363, 9633, 6437, 2260],
    [10703, 4433, -4433, -10703],
    [9633, -2259, -11362, -6436],
    [8192, -8192, -8192, 8192],
    [6437, -11362, 2261, 9633],
    [4433, -10704, 10704, -4433],
    [2260, -6436, 9633, -11363],
], np.int32)
_MATRIX = np.concatenate([_HALF, _HALF[:, ::-1] * np.array([1, -1] * 4, np.int32)[:, None]], axis=1)


@jax.custom_jvp
def dct(samples: Float[Array, "8 8 N"]) -> Float[Array, "8 8 N"]:
    """Cosine transform of N blocks of whole numbers in -128..127.

    Args:
      samples: float32 `[8, 8, N]`: row, column, block.

    Returns:
      float32 `[8, 8, N]`, whole numbers: 8 times the orthonormal coefficients (vertical, horizontal frequency, block). The
      derivative is that of the exact transform.
    """
    rows = _descale(_product(_MATRIX, samples.astype(jnp.int32), 1), 11)
    return _descale(_product(_MATRIX, rows, 0), 15).astype(samples.dtype)


@dct.defjvp
def _(primals, tangents):
    exact = _MATRIX.astype(np.float32) / np.float32(2**13)
    return dct(*primals), _product(exact, _product(exact, tangents[0], 1), 0)


@jax.custom_jvp
def inverse_dct(coefficients: Float[Array, "8 8 N"]) -> Float[Array, "8 8 N"]:
    """Samples from the orthonormal coefficients of N blocks, in whole numbers.

    Args:
      coefficients: float32 `[8, 8, N]`, whole numbers: vertical, horizontal frequency, block.

    Returns:
      float32 `[8, 8, N]`, whole numbers: row, column, block. The derivative is that of the exact transform.
    """
    columns = _descale(_product(_MATRIX.T, coefficients.astype(jnp.int32), 0), 11)
    return _descale(_product(_MATRIX.T, columns, 1), 18).astype(coefficients.dtype)


@inverse_dct.defjvp
def _(primals, tangents):
    exact = _MATRIX.T.astype(np.float32) / np.float32(2**13 * 8**0.5)
    return inverse_dct(*primals), _product(exact, _product(exact, tangents[0], 0), 1)


def _product(matrix: np.ndarray, x: Array, axis: int) -> Array:
    total = None
    for k in range(8):
        column = matrix[:, k].reshape([8 if a == axis else 1 for a in range(3)])
        term = column * jax.lax.slice_in_dim(x, k, k + 1, axis=axis)
        total = term if total is None else total + term
    return total


def _descale(x: Array, bits: int) -> Array:
    return (x + (1 << (bits - 1))) >> bits
