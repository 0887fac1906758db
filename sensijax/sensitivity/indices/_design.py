"""Designs that are stored: points of a space, and what a function is there.

The global methods stream their points and keep none. A surrogate needs them back, and needs few: here they are made,
the function runs on them in chunks of one fixed shape, and all is handed out in float64.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.core.rows import chunks
from sensijax.sensitivity.indices._points import Random, ScrambledSobol
from sensijax.sensitivity.indices._space import Space, float_dtype
from sensijax.sensitivity.indices._stream import as_vector, check_threefry


def unit_points(points: ScrambledSobol | Random | None, key: jax.Array, n: int, dimension: int) -> np.ndarray:
    """The first n points of one scramble (or of one block of random points), float64 `[n, d]` in (0, 1)."""
    check_threefry(key)
    points = ScrambledSobol() if points is None else points
    if not isinstance(points, (ScrambledSobol, Random)):
        raise ArgumentError("points", repr(points), "ScrambledSobol(...) or Random(...)")
    size = 1 << max(1, (n - 1).bit_length())
    table = jnp.asarray(points.tables(dimension))
    return np.asarray(_cube(points, dimension, size, table, key), np.float64).T[:n]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _cube(points: ScrambledSobol | Random, dimension: int, size: int, table: jax.Array, key: jax.Array) -> jax.Array:
    seeds = points.seeds(key, jnp.uint32(0), dimension)
    return points.run(table, seeds, points.aligned(table, size), jnp.uint32(0), float_dtype())


def sample(space: Space, points: ScrambledSobol | Random | None, key: jax.Array, n: int) -> np.ndarray:
    """n points of a space, float64 `[n, d]`: exactly the numbers that the function is given."""
    return np.asarray(space.from_unit(unit_points(points, key, n, space.dimension)), np.float64)


def values(f: Callable[[Any], Any], x: np.ndarray, space: Space, chunk: int = 256) -> np.ndarray:
    """Outputs float64 `[n, k]` at points `[n, d]`; refuses what is not finite, with its place."""
    return _run(_values, f, x, space, chunk)[0]


def values_and_gradients(
    f: Callable[[Any], Any], x: np.ndarray, space: Space, chunk: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs `[n, k]` and their exact derivatives `[n, k, d]`, by reverse mode where it goes through."""
    point = jax.ShapeDtypeStruct((space.dimension,), float_dtype())
    try:
        jax.eval_shape(functools.partial(_reverse, f), point)
    except (TypeError, ValueError, NotImplementedError):  # a `while_loop` of unknown length
        return _run(_forward, f, x, space, chunk)
    return _run(_reverse, f, x, space, chunk)


def _run(call: Callable, f: Callable, x: np.ndarray, space: Space, chunk: int) -> Any:
    chunk = min(chunk, len(x))
    given = jnp.asarray(x, float_dtype())
    parts = []
    for rows, valid in chunks(len(x), chunk):
        out = _program(call, f, given[rows])
        parts.append([np.asarray(leaf, np.float64)[:valid] for leaf in out])
    found = [np.concatenate(column) for column in zip(*parts, strict=True)]
    for what, value in zip(("outputs", "derivatives"), found, strict=False):
        bad = ~np.isfinite(value).reshape(len(value), -1).all(axis=1)
        if bad.any():
            first = x[np.argmax(bad)]
            where = ", ".join(f"{name} = {v:.6g}" for name, v in zip(space.names[:8], first[:8], strict=False))
            raise ArgumentError(
                "f", f"{what} that are not finite at {bad.sum()} of {len(x)} points, first at {where}",
                "a function that is finite on the whole space: mend it, or the bounds",
            )  # fmt: skip
    return found


@functools.partial(jax.jit, static_argnames=("call", "f"))
def _program(call: Callable, f: Callable, x: jax.Array) -> Any:
    return jax.vmap(functools.partial(call, f))(x)


def _values(f: Callable, x: jax.Array) -> tuple[jax.Array]:
    return (as_vector(f(x)),)


def _reverse(f: Callable, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y, pull = jax.vjp(lambda x: as_vector(f(x)), x)
    return y, jax.vmap(lambda u: pull(u)[0])(jnp.eye(len(y), dtype=y.dtype))


def _forward(f: Callable, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y, push = jax.linearize(lambda x: as_vector(f(x)), x)
    return y, jax.vmap(push, out_axes=1)(jnp.eye(len(x), dtype=x.dtype))
