"""Functions that are one compiled program wherever they are called."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.core import Tracer

F = TypeVar("F", bound=Callable[..., Any])


def one_program(function: F | None = None, *, static: tuple[str, ...] = ()) -> F:
    """Compiles a function where its arguments have values; else it is part of the program that is traced.

    Called by itself, a function of arrays runs primitive by primitive, and JAX compiles each alone: seconds for the
    first call, and in later calls most of the time goes into handing arrays from one to the next.

    Args:
      function: pure; of pytrees of arrays, and of what `static` names. What it asks of values, rather than of shapes,
        has to be asked before: inside, no value is known.
      static: names of arguments that decide shapes or code.

    Returns:
      The function. Where `jit` traces an argument, or `vmap` maps it, it is the function as it was: the program around
      it stays the same. `jvp` and `grad` alone differentiate the one program.

    Example:
      >>> @one_program(static=("times",))
      ... def repeated(x, times):
      ...     print("traced")
      ...     return sum(x for _ in range(times))
      >>> [int(repeated(x, 3)) for x in (1, 2)]
      traced
      [3, 6]
    """
    if function is None:
        return functools.partial(one_program, static=static)  # type: ignore[return-value]
    program = jax.jit(function, static_argnames=static)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        known = all(_is_known(leaf) for leaf in jax.tree.leaves((args, kwargs)))
        return (program if known else function)(*args, **kwargs)

    return called  # type: ignore[return-value]


def _is_known(leaf: Any) -> bool:
    """Whether a leaf has a value: also under `jvp` and `grad`, where no `jit` is around them."""
    return not isinstance(leaf, Tracer) or leaf.to_concrete_value() is not None
