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

MEMORY = 32 * 2**20
"""Bytes that a chunk chosen for you may hold at once."""

LARGEST = 256
"""Rows in the longest chunk chosen for you."""


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


def fitting_chunk(
    compile_rows: Callable[[int], Any], rows: int, memory: int = MEMORY, most: int = LARGEST
) -> tuple[int, Any]:
    """The largest chunk whose compiled program keeps within a budget, as the compiler itself counts it.

    Counted are the program's temporary arrays and its results, not its inputs, which the caller holds. Some libraries
    that a CPU's compiler calls allocate beside that and are not counted.

    Args:
      compile_rows: from a number of rows to a compiled program (what `jax.jit(f).lower(...).compile()` returns).
      rows: how many there are in all; a chunk is never longer.
      memory: the budget, bytes.
      most: the longest chunk that is tried.

    Returns:
      The number of rows in a chunk and its program.

    Raises:
      ArgumentError: if a single row needs more than the budget, and how much it needs.

    Example:
      >>> x = jnp.zeros((100, 1000))
      >>> program = jax.jit(lambda x: x + 1)
      >>> fitting_chunk(lambda n: program.lower(x[:n]).compile(), rows=100, memory=40_000)[0]
      10
    """
    chunk = min(rows, most)
    while True:
        program = compile_rows(chunk)
        used = _bytes_held(program)
        if used <= memory:
            return chunk, program
        if chunk == 1:
            raise ArgumentError("memory", f"{memory:,} bytes", f"one row needs {used:,} bytes at once")
        chunk = max(1, min(chunk - 1, chunk * memory // used))


def _bytes_held(program: Any) -> int:
    analysis = program.memory_analysis()
    return 0 if analysis is None else analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def map_variants(
    function: Callable[[Any, Any], Any],
    variants: Any,
    examples: Any,
    *,
    chunk: int | None = None,
    memory: int = MEMORY,
) -> Any:
    """Applies a function to every (variant, example) pair on one flat batch axis, in bounded memory.

    Compiles one program, whatever the numbers of variants and examples; where `chunk` is chosen for you, the programs
    of chunks that turned out too large as well (usually one).

    Args:
      function: pure; takes one variant and one example (pytrees without leading axes), returns a pytree of arrays.
      variants: a stack of V variants (every leaf `[V, ...]`).
      examples: a stack of N examples (every leaf `[N, ...]`).
      chunk: rows computed at once; memory grows with it, results' last bits may depend on it. None takes the longest
        chunk up to 256 that keeps within `memory`.
      memory: bytes that the compiled program may hold at once in temporary arrays and results of a chunk; what is
        stacked and returned comes on top. The default suits a CPU, whose allocator returns larger blocks to the system
        after every call. Not looked at where `chunk` is given.

    Returns:
      The pytree that `function` returns, every leaf `[V, N, ...]`, as NumPy arrays.

    Raises:
      ArgumentError: if either stack is empty or ragged, `chunk` < 1, or one row needs more than `memory`.

    Example:
      >>> out = map_variants(lambda v, x: v * x, jnp.arange(2.0), jnp.arange(3.0))
      >>> out.tolist()
      [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]]
    """
    from sensijax.core.stack import stack_size, take

    v, n = stack_size(variants, "variants"), stack_size(examples, "examples")
    if not v or not n:
        raise ArgumentError("variants" if not v else "examples", "an empty stack", "at least one is needed")
    if chunk is not None and chunk < 1:
        raise ArgumentError("chunk", chunk, "a chunk holds at least one row")

    @jax.jit
    def program(variants: Any, examples: Any, v_index: jax.Array, n_index: jax.Array) -> Any:
        return jax.vmap(function)(take(variants, v_index), take(examples, n_index))

    variants, examples = jax.tree.map(jnp.asarray, (variants, examples))

    def compile_rows(count: int) -> Any:
        index = jax.ShapeDtypeStruct((count,), np.int32)
        return program.lower(variants, examples, index, index).compile()

    if chunk is None:
        chunk, compiled = fitting_chunk(compile_rows, v * n, memory)
    else:
        compiled = compile_rows(chunk)
    parts = []
    for rows, valid in chunks(v * n, chunk):
        v_index, n_index = np.divmod(rows, n)
        out = compiled(variants, examples, v_index.astype(np.int32), n_index.astype(np.int32))
        parts.append(jax.tree.map(lambda leaf, valid=valid: np.asarray(leaf)[:valid], out))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves).reshape(v, n, *leaves[0].shape[1:]), *parts)
