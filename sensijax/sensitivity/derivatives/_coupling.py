"""Whether the examples of a batch influence each other, as batch normalisation in training mode makes them."""

import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError
from sensijax.sensitivity.derivatives._pure import Pure, batch, program, pure

_log = logging.getLogger(__name__)
# Rounding may differ between rows of a reduction; a coupling that matters is far above.
_ROUNDING = 1e-4


def batch_coupling(f: Callable, x: Any) -> float:
    """How far outputs of some examples move when only *other* examples of the batch change.

    Every second example is replaced by its neighbour, and the outputs of the rest are compared with what they were;
    then the other way round. A model whose examples are independent gives 0 up to rounding. Batch normalisation in
    training mode does not, and then the derivative of one example's output with respect to its own input is not the
    whole story: per-example derivatives, critical severities and curves depend on who else is in the batch.

    Args:
      f: a `Model`, or a function of a batch `[B, ...]` to outputs `[B, ...]`; B >= 2.
      x: the batch. If all its examples are equal, nothing can be seen.

    Returns:
      The largest change, relative to the largest output; above 1e-4 the batch is coupled.

    Raises:
      ArgumentError: if `x` is not a batch that `f` keeps, or holds fewer than two examples.

    Example:
      >>> x = jnp.arange(12.0).reshape(4, 3)
      >>> batch_coupling(jnp.tanh, x), batch_coupling(lambda x: x - x.mean(axis=0, keepdims=True), x) > 0.1
      (0.0, True)
    """
    function = pure(f)
    x, _ = batch(function, x)
    if len(x) < 2:
        raise ArgumentError("x", f"{len(x)} example", "at least two: one alone is not coupled to anything")
    return coupling(function, x)


def coupling(function: Pure, x: jax.Array) -> float:
    """`batch_coupling` of a `Pure`; 0 for a batch of one."""
    if len(x) < 2:
        return 0.0
    call = program(_apply, function)
    clean = np.asarray(call(function.params, x), np.float64)
    scale = np.max(np.abs(clean), initial=0, where=np.isfinite(clean)) or 1.0
    odd = np.arange(len(x)) % 2 == 1
    largest = 0.0
    for changed in (odd, ~odd):
        rows = np.where(changed, (np.arange(len(x)) + 1) % len(x), np.arange(len(x)))
        moved = np.asarray(call(function.params, x[jnp.asarray(rows)]), np.float64) - clean
        kept = moved[~changed]
        largest = max(largest, float(np.max(np.abs(kept), initial=0, where=np.isfinite(kept))))
    return largest / float(scale)


def refuse_coupling(function: Pure, x: jax.Array) -> None:
    """Refuses a model whose examples influence each other."""
    if (found := coupling(function, x)) > _ROUNDING:
        raise ArgumentError(
            "f",
            f"{function.name!r}, whose outputs for one example move by {found:.2g} of the largest output when other "
            "examples of the batch change",
            "independent examples: put batch normalisation into evaluation mode",
        )


def _apply(apply: Callable) -> Callable:
    return jax.jit(apply)
