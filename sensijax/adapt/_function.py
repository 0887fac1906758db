"""A plain function as a model."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from sensijax.adapt._call import check_call
from sensijax.core.errors import ArgumentError
from sensijax.core.model import Model


def function(
    apply: Callable[..., Any],
    params: Any = None,
    *,
    name: str = "model",
    classes: Sequence[str] | None = None,
    batched: bool = True,
) -> Model:
    """Adapts a function, with or without parameters.

    Args:
      apply: pure; `apply(params, x)`, or `apply(x)` where `params` is None. For classification it returns logits.
      params: pytree of arrays, or None. Weights that a function without `params` closes over are constants of its
        program: pass them here to differentiate with respect to them, and to have them named by the model's digest.
      name: how reports call it.
      classes: optional names of the K classes.
      batched: True if `x` is a batch `[B, ...]`; False if it is one example, which `jax.vmap` then turns into a batch.

    Returns:
      A model; its `params` are `params`, or an empty dict.

    Raises:
      ArgumentError: if `apply` is not callable or does not take these arguments.

    Example:
      >>> model = function(lambda x: jax.numpy.stack([x.sum(), -x.sum()]), batched=False)
      >>> model(jax.numpy.ones((5, 3))).shape
      (5, 2)
    """
    if not callable(apply):
        raise ArgumentError("apply", type(apply).__name__, "a function apply(params, x), or apply(x) without params")
    right = "apply(x) where no `params` are given" if params is None else "apply(params, x) where `params` are given"
    check_call("apply", apply, 1 if params is None else 2, {}, right)

    def call(params: Any, x: jax.Array) -> Any:
        inputs = (x,) if params_free else (params, x)
        if batched:
            return apply(*inputs)
        return jax.vmap(apply, in_axes=(0,) if params_free else (None, 0))(*inputs)

    params_free = params is None
    return Model(call, {} if params_free else params, name=name, classes=None if classes is None else tuple(classes))
