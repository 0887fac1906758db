"""Stacks: many values of one structure as one value with a leading axis on its leaves."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from sensijax.core.errors import ArgumentError

T = TypeVar("T")


def stack(values: Sequence[T]) -> T:
    """Stacks pytrees of one structure along a new leading axis.

    Args:
      values: at least one pytree; all with the same structure, and leaves of the same shapes and dtypes.

    Returns:
      One pytree of that structure; every leaf `[len(values), ...]`.

    Raises:
      ArgumentError: if there is none, or if their structures (static fields count), leaf shapes or dtypes differ.

    Example:
      >>> stack([{"a": 1.0}, {"a": 2.0}])["a"].tolist()
      [1.0, 2.0]
    """
    if not values:
        raise ArgumentError("values", "none", "a stack needs at least one value")
    first = jax.tree.structure(values[0])
    for i, value in enumerate(values):
        if jax.tree.structure(value) != first:
            raise ArgumentError(
                f"values[{i}]", jax.tree.structure(value), f"all must have the structure of the first: {first}"
            )

    def join(*leaves: Any) -> jax.Array:
        shapes = {jnp.shape(leaf) for leaf in leaves}
        if len(shapes) > 1:
            raise ArgumentError("values", f"leaf shapes {sorted(shapes)}", "leaves that are stacked have one shape")
        dtypes = {str(jnp.result_type(leaf)) for leaf in leaves}
        if len(dtypes) > 1:
            raise ArgumentError("values", f"leaf dtypes {sorted(dtypes)}", "leaves that are stacked have one dtype")
        return jnp.stack([jnp.asarray(leaf) for leaf in leaves])

    return jax.tree.map(join, *values)


def take(stacked: T, index: Any) -> T:
    """Takes one value (an integer) or several (an index array `[m]`) out of a stack, leaf by leaf."""
    return jax.tree.map(lambda leaf: leaf[index], stacked)


def stack_size(stacked: Any, argument: str = "stacked") -> int:
    """The number of values in a stack: the common length of its leaves' leading axes.

    Args:
      stacked: the stack.
      argument: the name to use in an error.

    Raises:
      ArgumentError: if it has no leaves, a scalar leaf, or leaves of different lengths.
    """
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(stacked)]
    sizes = {shape[0] if shape else None for shape in shapes}
    if len(sizes) != 1 or None in sizes:
        raise ArgumentError(argument, f"leaf shapes {shapes}", "a stack's leaves share one leading axis")
    return sizes.pop()  # type: ignore[return-value]
