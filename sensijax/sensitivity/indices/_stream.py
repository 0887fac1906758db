"""Sample, run the model, reduce: one program, one chunk of points at a time, sums that merge.

A `Design` says which rows of inputs belong to a point, and what is summed of their outputs. The program generates the
points of a chunk from their address, maps them to inputs, runs the function on all rows on one flat batch axis, and
adds the sums. Nothing of the length of the sample is ever held, so memory does not grow with n; the number of chunks is
data, so one compilation serves every n.

Digits: outputs are centred by the mean of the block's first chunk before anything is squared, and sums over chunks are
carried with their rounding errors (Knuth's two-sum), so that an output of 1e5 +- 3 in float32 loses what its own
rounding lost and no more. On the host the sums are float64, and are centred again, exactly.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jax.sharding import Mesh, PartitionSpec

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key
from sensijax.sensitivity.indices._points import Random, ScrambledSobol
from sensijax.sensitivity.indices._space import Space, Transform, float_dtype

Points = ScrambledSobol | Random


class Design(Protocol):
    """Which rows belong to a point, and what is summed of their outputs. Hashable: it is part of the program.

    Attributes:
      rows: rows of inputs for each point.
      draws: coordinates of the unit cube that each point takes.
      wide: whether `inputs` gives `[g, m, d]`, which is faster where d is large, or `[d, g, m]`.
    """

    @property
    def wide(self) -> bool: ...

    @property
    def rows(self) -> int: ...

    @property
    def draws(self) -> int: ...

    def prepare(self, transform: Transform, u: jax.Array, index: jax.Array) -> Any:
        """What the rows are made from: of points `[draws, m]` with numbers uint32 `[m]`."""
        ...

    def inputs(self, prepared: Any, numbers: jax.Array) -> jax.Array:
        """Inputs of the rows with these numbers, `[d, g, m]` or `[g, m, d]`."""
        ...

    def evaluate(self, function: Callable[[Any], Any], x: jax.Array) -> tuple[jax.Array, Any]:
        """Outputs `[k]` at one input `[d]`, and what else is needed of it."""
        ...

    def sums(self, y: jax.Array, other: Any, finite: jax.Array, prepared: Any) -> Any:
        """Sums over the points of a chunk: y `[rows, k, m]` is centred, and 0 where a point is not finite."""
        ...


class Streamed(NamedTuple):
    """What a run leaves: a pytree of float64 sums `[blocks, ...]`, and what was not finite.

    Attributes:
      sums: as the design's, with a leading axis of blocks.
      centre: float64 `[blocks, k]`, what was subtracted from the outputs.
      counted: float64 `[blocks]`, points that count.
      excluded: points that do not, because an output is not finite.
    """

    sums: Any
    centre: np.ndarray
    counted: np.ndarray
    excluded: int


def stream(
    function: Callable[[Any], Any],
    space: Space,
    design: Any,
    *,
    points: Points,
    key: jax.Array,
    n: int,
    exclude_nonfinite: bool = False,
    chunk: int | None = None,
    devices: Sequence[Any] | None = None,
) -> Streamed:
    """Runs a design over n points.

    Args:
      function: pure; takes one point `[d]`, returns a scalar or `[k]`.
      space: the inputs.
      design: a `Design`.
      points: which points of the unit cube.
      key: a typed Threefry key.
      n: points in all, a power of two.
      exclude_nonfinite: leave out points with an output that is not finite, instead of raising.
      chunk: points computed at once, a power of two; chosen by the memory of a row if absent.
      devices: to share the blocks among; all local ones if absent, as many as divide the number of blocks.

    Returns:
      The sums of each block.

    Raises:
      ArgumentError: if n does not fit, the function's result does not, or an output is not finite.
    """
    per_block = points_per_block(n, points)
    check_threefry(key)
    outputs = output_count(function, space.dimension)
    chunk, at_once = _plan(per_block, design.rows, max(space.dimension, outputs), chunk)
    transform, table = space.transform(), jnp.asarray(points.tables(design.draws))
    blocks = np.arange(points.blocks, dtype=np.uint32)
    arguments = (transform, table, key, blocks, np.int32(per_block // chunk))
    static = dict(function=function, design=design, points=points, chunk=chunk, at_once=at_once)
    hi, lo, centre, excluded, first = _program(*arguments, **static, devices=_share(points.blocks, devices))
    lost = int(np.asarray(excluded, np.int64).sum())
    if lost and not exclude_nonfinite:
        block = int(np.flatnonzero(excluded)[0])
        where = _locate(transform, table, key, block, int(first[block]), static, space)
        raise ArgumentError(
            "f",
            f"outputs that are not finite at {lost} of {n} points, first at {where}",
            "mend the model or the bounds there, or pass exclude_nonfinite=True to leave these points out",
        )
    sums = jax.tree.map(lambda h, low: np.asarray(h, np.float64) + np.asarray(low, np.float64), hi, lo)
    counted = per_block - np.asarray(excluded, np.float64)
    if not counted.all():
        raise ArgumentError("f", "no finite output in a whole block of points", "mend the model or the bounds")
    return Streamed(sums=sums, centre=np.asarray(centre, np.float64), counted=counted, excluded=lost)


@functools.partial(jax.jit, static_argnames=("function", "design", "points", "chunk", "at_once", "devices"))
def _program(
    transform: Transform,
    table: jax.Array,
    key: jax.Array,
    blocks: jax.Array,
    chunks: jax.Array,
    *,
    function: Callable[[Any], Any],
    design: Any,
    points: Points,
    chunk: int,
    at_once: int,
    devices: tuple[Any, ...],
) -> Any:
    """Sums of each block, with the errors of their rounding; centres; counts of what is not finite, and the first."""

    def run(transform: Transform, table: jax.Array, key: jax.Array, chunks: jax.Array, blocks: jax.Array) -> Any:
        one = functools.partial(
            accumulate, function, design, points, transform, table, key, chunks, chunk=chunk, at_once=at_once
        )
        return jax.lax.map(one, blocks)

    if len(devices) == 1:
        return run(transform, table, key, chunks, blocks)
    mesh, whole, part = Mesh(np.asarray(devices), ("blocks",)), PartitionSpec(), PartitionSpec("blocks")
    shared = jax.shard_map(run, mesh=mesh, in_specs=(whole, whole, whole, whole, part), out_specs=part, check_vma=False)
    return shared(transform, table, key, chunks, blocks)


def accumulate(
    function: Callable[[Any], Any],
    design: Any,
    points: Points,
    transform: Transform,
    table: jax.Array,
    key: jax.Array,
    chunks: jax.Array,
    block: jax.Array,
    *,
    chunk: int,
    at_once: int,
) -> Any:
    """The sums of one block; pure, so it may be mapped over blocks or keys."""
    seeds = points.seeds(key, block, design.draws)
    aligned = points.aligned(table, chunk)
    dtype = float_dtype()

    def values(i: jax.Array) -> tuple[jax.Array, Any, Any]:
        start = (i * chunk).astype(jnp.uint32)
        u = points.run(table, seeds, aligned, start, dtype)
        index = start + jnp.arange(chunk, dtype=jnp.uint32)
        prepared = apart(lambda u, index: design.prepare(transform, u, index))(u, index)
        y, other = apart(lambda prepared: evaluated(function, design, prepared, chunk, at_once, dtype))(prepared)
        return y, other, prepared

    def step(i: jax.Array, state: Any) -> Any:
        centre, hi, lo, excluded, first = state
        y, other, prepared = values(i)
        finite = functools.reduce(jnp.logical_and, [_finite(leaf) for leaf in (y, *jax.tree.leaves(other))])
        y, other = jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.zeros((), leaf.dtype)), (y, other))
        count = finite.sum(dtype=dtype)
        mean = y.sum(axis=(0, 2)) / (jnp.maximum(count, jnp.ones((), dtype)) * design.rows)
        centre = jnp.where(i == 0, mean, centre)
        centred = jnp.where(finite, y - centre[None, :, None], jnp.zeros((), dtype))
        hi, lo = add(hi, lo, design.sums(centred, other, finite, prepared))
        bad = ~finite
        at = jnp.where(bad.any(), i * chunk + jnp.argmax(bad).astype(jnp.int32), jnp.iinfo(jnp.int32).max)
        return centre, hi, lo, excluded + bad.sum(dtype=jnp.int32), jnp.minimum(first, at.astype(jnp.int32))

    def shapes() -> Any:
        y, other, prepared = values(jnp.int32(0))
        return y[0, :, 0], design.sums(y, other, y[0, 0] == y[0, 0], prepared)

    centre, sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(shapes))
    start = (centre, sums, sums, jnp.int32(0), jnp.int32(jnp.iinfo(jnp.int32).max))
    centre, hi, lo, excluded, first = jax.lax.fori_loop(0, chunks, step, start)
    return hi, lo, centre, excluded, first


def evaluated(
    function: Callable[[Any], Any], design: Any, prepared: Any, chunk: int, at_once: int, dtype: Any
) -> tuple[jax.Array, Any]:
    """Outputs `[rows, k, m]` of every row, `at_once` rows of m points on one flat batch axis at a time."""

    evaluate = functools.partial(design.evaluate, function)

    def some(numbers: jax.Array) -> Any:
        x = design.inputs(prepared, numbers)
        flat = x.reshape(-1, x.shape[-1]) if design.wide else x.reshape(x.shape[0], -1)
        y, other = jax.vmap(evaluate, in_axes=0 if design.wide else 1, out_axes=-1)(flat)

        def split(leaf: jax.Array) -> jax.Array:
            leaf = leaf.astype(dtype).reshape(*leaf.shape[:-1], len(numbers), chunk)
            return jnp.moveaxis(leaf, -2, 0)

        return jax.tree.map(split, (y, other))

    if design.rows <= at_once:
        return some(jnp.arange(design.rows, dtype=jnp.int32))
    groups = -(-design.rows // at_once)
    numbers = np.minimum(np.arange(groups * at_once, dtype=np.int32), design.rows - 1).reshape(groups, at_once)
    out = jax.lax.map(some, jnp.asarray(numbers))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[: design.rows], out)


def apart(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call that a CPU's compiler does not merge with its surroundings.

    Left to itself XLA makes points again for each row that uses them, and runs the function again for each sum of its
    outputs, because either looks cheap to it; measured, that costs a factor of 5. A compiler that does not know the
    attribute loses that speed and nothing else.
    """
    if jax.default_backend() != "cpu":
        return call
    return lambda *operands: set_xla_metadata(jax.jit(call)(*operands), inlineable="false")


def add(hi: Any, lo: Any, new: Any) -> tuple[Any, Any]:
    """Adds to sums kept as two floats, the second of which is what rounding took from the first (Knuth's two-sum)."""

    def two(h: jax.Array, low: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = h + x
        part = total - h
        low = low + ((h - (total - part)) + (x - part))
        whole = total + low  # so that the second stays small, and its own rounding smaller still
        return whole, low - (whole - total)

    leaves, tree = jax.tree.flatten(hi)
    pairs = [two(*t) for t in zip(leaves, jax.tree.leaves(lo), jax.tree.leaves(new), strict=True)]
    return tree.unflatten([p[0] for p in pairs]), tree.unflatten([p[1] for p in pairs])


def as_vector(result: Any) -> jax.Array:
    """A function's result as `[k]`."""
    return jnp.reshape(jnp.asarray(result), (-1,))


def output_count(function: Callable[[Any], Any], dimension: int) -> int:
    """How many outputs a function has, k; 1 for a scalar.

    Raises:
      ArgumentError: if it is no function of one point `[d]` to a real scalar or `[k]`.
    """
    if not callable(function):
        raise ArgumentError("f", repr(function), "a function of one point [d]")
    shape = output_shape(function, dimension)
    return shape[0] if shape else 1


def output_shape(function: Callable[[Any], Any], dimension: int) -> tuple[int, ...]:
    out = jax.eval_shape(function, jax.ShapeDtypeStruct((dimension,), float_dtype()))
    if not hasattr(out, "shape") or len(out.shape) > 1 or jnp.issubdtype(out.dtype, jnp.complexfloating):
        raise ArgumentError("f", f"a result of {out}", "a real scalar or [k] for one point [d]: it is vmapped here")
    if out.shape == (0,):
        raise ArgumentError("f", "a result of no outputs", "a real scalar or [k] for one point [d]")
    return out.shape


def points_per_block(n: Any, points: Points) -> int:
    """How many points each block has.

    Raises:
      ArgumentError: if n is not a power of two, or too small or large.
    """
    if not isinstance(points, (ScrambledSobol, Random)):
        raise ArgumentError("points", repr(points), "ScrambledSobol(...) or Random(...)")
    least = 2 * points.blocks
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 or n & (n - 1):
        near = (
            "" if not isinstance(n, (int, np.integer)) or n < 1 else f" ({1 << (int(n).bit_length() - 1)} or the next)"
        )
        raise ArgumentError(
            "n",
            n,
            f"a power of two{near}: only 2^k points of Sobol's sequence fill the cube evenly, and blocks are equal",
        )
    if not least <= n <= points.blocks << 31:
        raise ArgumentError("n", n, f"at least {least}, two points for each of the {points.blocks} blocks of {points}")
    return int(n) // points.blocks


def check_threefry(key: Any) -> None:
    """Refuses what is no typed key of the generator that points are made with."""
    if str(jax.random.key_impl(check_key(key))) != "threefry2x32":
        raise ArgumentError("key", str(jax.random.key_impl(key)), "one Threefry key")


def _plan(per_block: int, rows: int, width: int, chunk: int | None) -> tuple[int, int]:
    """Points in a chunk and rows at once, so that a batch of inputs stays in a cache, or fills an accelerator."""
    host = jax.default_backend() == "cpu"
    elements, most, least = (1 << 19, 4096, 128) if host else (1 << 26, 1 << 16, 2048)
    if chunk is None:
        fitting = 1 << max(0, (elements // (rows * width)).bit_length() - 1)
        chunk = min(per_block, most, max(least, fitting))
    elif not isinstance(chunk, int) or chunk < 1 or chunk & (chunk - 1):
        raise ArgumentError("chunk", chunk, "a power of two")
    chunk = min(chunk, per_block)
    groups = -(-rows // max(1, elements // (chunk * width)))
    return chunk, -(-rows // groups)  # groups of one size, so that little of the last is thrown away


def _share(blocks: int, devices: Sequence[Any] | None) -> tuple[Any, ...]:
    chosen = tuple(jax.local_devices() if devices is None else devices)
    if not chosen:
        raise ArgumentError("devices", "none", "at least one device")
    return chosen[: max(k for k in range(1, len(chosen) + 1) if blocks % k == 0)]


def _finite(leaf: jax.Array) -> jax.Array:
    return jnp.isfinite(leaf).all(axis=tuple(range(leaf.ndim - 1)))


def _locate(
    transform: Transform, table: jax.Array, key: jax.Array, block: int, index: int, static: dict[str, Any], space: Space
) -> str:
    """The inputs of the first row that is not finite, in words: computed again from its address."""
    design, points, chunk = static["design"], static["points"], static["chunk"]

    @jax.jit
    def again(transform: Transform, table: jax.Array, key: jax.Array, block: jax.Array, start: jax.Array) -> Any:
        seeds = points.seeds(key, block, design.draws)
        u = points.run(table, seeds, points.aligned(table, chunk), start, float_dtype())
        prepared = design.prepare(transform, u, start + jnp.arange(chunk, dtype=jnp.uint32))
        y, other = evaluated(static["function"], design, prepared, chunk, static["at_once"], float_dtype())
        good = [jnp.isfinite(y).all(axis=1), *(_by_row(leaf) for leaf in jax.tree.leaves(other))]
        row = jnp.argmin(functools.reduce(jnp.logical_and, good)[:, index % chunk]).astype(jnp.int32)
        x = design.inputs(prepared, row[None])
        return x[0, index % chunk] if design.wide else x[:, 0, index % chunk]

    x = np.asarray(again(transform, table, key, np.uint32(block), np.uint32(index - index % chunk)))
    shown = [f"{name} = {value:.6g}" for name, value in zip(space.names[:8], x[:8], strict=False)]
    return ", ".join([*shown, *(["..."] if len(x) > 8 else [])])


def _by_row(leaf: jax.Array) -> jax.Array:
    return jnp.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim - 1)))
