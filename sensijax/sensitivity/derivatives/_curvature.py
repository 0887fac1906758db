"""How a function bends along a direction."""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sensijax.core import ArgumentError
from sensijax.sensitivity.derivatives._nonfinite import NonFinite, located
from sensijax.sensitivity.derivatives._operators import like
from sensijax.sensitivity.derivatives._pure import forward_is_open, inputs, outputs, program, pure

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Curvature:
    """The first two derivatives of t -> f(x + t v) at 0.

    With them, f(x + t v) is `value + t first + t**2 / 2 second` up to t**3.

    Attributes:
      value: f(x), a pytree of arrays.
      first: J v, of the same structure.
      second: vᵀ H v for each output, of the same structure.
      zero: whether `second` is zero everywhere, as it is for piecewise linear functions (ReLU networks) almost
        everywhere, however much they bend at their kinks.
      nonfinite: what in `first` and `second` is not finite.
    """

    value: Any
    first: Any
    second: Any
    zero: bool
    nonfinite: NonFinite


def curvature(f: Callable, x: Any, v: Any) -> Curvature:
    """Slope and curvature of every output along a direction, by forward mode twice: one pass for all outputs.

    Args:
      f: pure; a pytree of floating arrays to one (a `Model` takes a batch).
      x: where.
      v: the direction: structure, shapes and dtypes of `x`. Its length counts: twice as long bends four times as much.

    Returns:
      A `Curvature`.

    Raises:
      ArgumentError: if inputs or outputs are not floating, `v` does not fit `x`, or a `custom_vjp` blocks forward mode
        (for a scalar function, `hvp` passes it).

    Example:
      >>> c = curvature(lambda x: jnp.sin(x).sum(), jnp.zeros(2), jnp.array([1.0, 0.0]))
      >>> float(c.first), abs(float(c.second))
      (1.0, 0.0)
    """
    function, x = pure(f), inputs(x)
    outputs(function, x)
    v = like(v, x, "v", "`x`")
    if not forward_is_open(function, x):
        raise ArgumentError("f", f"{function.name!r}, whose custom_vjp blocks forward mode", "`hvp`, for a scalar f")
    value, first, second = program(_twice, function)(function.params, x, v)
    zero = not any(bool(jnp.any(leaf)) for leaf in jax.tree.leaves(second))
    if zero:
        _log.warning("%s does not bend along this direction: it is linear here, as ReLU networks are", function.name)
    return Curvature(value, first, second, zero, located({"first": first, "second": second}, "the derivatives"))


def _twice(apply: Callable) -> Callable:
    def run(params: Any, x: Any, v: Any) -> tuple[Any, Any, Any]:
        g = functools.partial(apply, params)
        (value, first), (_, second) = jax.jvp(lambda x: jax.jvp(g, (x,), (v,)), (x,), (v,))
        return value, first, second

    return jax.jit(run)
