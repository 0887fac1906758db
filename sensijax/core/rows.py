"""One flat batch axis: variants x examples as rows, in chunks of one fixed, padded shape.

A nested `vmap` over variants runs a model several times slower than its bare forward on a CPU; a flat batch axis does
not. And a result's last bit depends on the shape of the batch it was computed in: so every chunk, the last too,
has the same shape, and a row's place in it is a function of the row's number.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core.errors import ArgumentError


class Chunk(NamedTuple):
    """A run of rows, padded to a fixed length by repeating the last one.

    Attributes:
      rows: int64 `[size]`, row numbers; only the first `valid` count.
      valid: how many of them are real.
    """

    rows: np.ndarray
    valid: int


def chunks(total: int, size: int) -> Iterator[Chunk]:
    """Cuts rows `0..total-1` into chunks of exactly `size`, the last one padded.

    Args:
      total: number of rows, >= 0.
      size: rows in a chunk, >= 1.

    Yields:
      `Chunk`s that cover every row once, in order.

    Example:
      >>> [(c.rows.tolist(), c.valid) for c in chunks(5, 3)]
      [([0, 1, 2], 3), ([3, 4, 4], 2)]
    """
    if size < 1:
        raise ArgumentError("size", size, "a chunk holds at least one row")
    for start in range(0, total, size):
        yield Chunk(np.minimum(np.arange(start, start + size), total - 1), min(size, total - start))


def map_variants(function: Callable[[Any, Any], Any], variants: Any, examples: Any, *, chunk: int = 256) -> Any:
    """Applies a function to every (variant, example) pair on one flat batch axis, in bounded memory.

    Compiles one program, whatever the numbers of variants and examples.

    Args:
      function: pure; takes one variant and one example (pytrees without leading axes), returns a pytree of arrays.
      variants: a stack of V variants (every leaf `[V, ...]`).
      examples: a stack of N examples (every leaf `[N, ...]`).
      chunk: rows computed at once; memory grows with it, results' last bits may depend on it.

    Returns:
      The pytree that `function` returns, every leaf `[V, N, ...]`, as NumPy arrays.

    Raises:
      ArgumentError: if either stack is empty or ragged, or `chunk` < 1.

    Example:
      >>> out = map_variants(lambda v, x: v * x, jnp.arange(2.0), jnp.arange(3.0), chunk=4)
      >>> out.tolist()
      [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]]
    """
    from sensijax.core.stack import stack_size, take

    v, n = stack_size(variants, "variants"), stack_size(examples, "examples")
    if not v or not n:
        raise ArgumentError("variants" if not v else "examples", "an empty stack", "at least one is needed")
    if chunk < 1:
        raise ArgumentError("chunk", chunk, "a chunk holds at least one row")

    @jax.jit
    def program(variants: Any, examples: Any, v_index: jax.Array, n_index: jax.Array) -> Any:
        return jax.vmap(function)(take(variants, v_index), take(examples, n_index))

    variants, examples = jax.tree.map(jnp.asarray, (variants, examples))
    parts = []
    for rows, valid in chunks(v * n, chunk):
        v_index, n_index = np.divmod(rows, n)
        out = program(variants, examples, v_index.astype(np.int32), n_index.astype(np.int32))
        parts.append(jax.tree.map(lambda leaf, valid=valid: np.asarray(leaf)[:valid], out))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves).reshape(v, n, *leaves[0].shape[1:]), *parts)
