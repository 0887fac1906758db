"""What the device can do at most, measured: multiply large matrices, and copy large arrays.

A fraction of these is a fraction of what this machine did today, in this process, with this JAX; no data sheet.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.models import DTYPES

MATMUL = {"cpu": 2048}  # side of the square matrices; elsewhere:
MATMUL_ELSEWHERE = 8192
COPY = {"cpu": 2**26}  # bytes that are read, and as many written; elsewhere:
COPY_ELSEWHERE = 2**30
REPEATS = 5


def measure(dtype: str, repeats: int = REPEATS, side: int | None = None, size: int | None = None) -> dict[str, Any]:
    """Times a jitted matrix product and a jitted pass over an array.

    Args:
      dtype: of the matrices: "float32" or "bfloat16". On GPUs and TPUs JAX's default precision of float32 products may
        be less than float32's; the models that are measured get the same.
      repeats: timed runs, after one that compiles; the best counts, for a ceiling is what can be reached.
      side: of the matrices; by the platform unless given.
      size: bytes of the array that is copied; by the platform unless given.

    Returns:
      Operations and bytes a second (the copy reads and writes: both count), the sizes, and the raw seconds.
    """
    platform = jax.devices()[0].platform
    side = side or MATMUL.get(platform, MATMUL_ELSEWHERE)
    size = size or COPY.get(platform, COPY_ELSEWHERE)
    left, right = (jax.random.normal(jax.random.key(i), (side, side), DTYPES[dtype]) for i in (0, 1))
    product = _timed(jax.jit(jnp.matmul), repeats, left, right)
    copy = _timed(jax.jit(lambda x: x + np.float32(1)), repeats, jnp.zeros(size // 4, jnp.float32))
    return {
        "matmul_flops_per_second": 2 * side**3 / min(product),
        "copy_bytes_per_second": 2 * size / min(copy),
        "matmul_side": side,
        "copy_bytes": size,
        "dtype": dtype,
        "matmul_seconds": product,
        "copy_seconds": copy,
    }


def _timed(program: Any, repeats: int, *arguments: jax.Array) -> list[float]:
    jax.block_until_ready(program(*arguments))
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        seconds.append(time.perf_counter() - started)
    return seconds
