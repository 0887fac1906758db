"""Flax NNX modules as models."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax

from sensijax.adapt._call import check_call
from sensijax.core.errors import ArgumentError
from sensijax.core.model import Model

# What `Module.eval()` sets to True.
_MODES = ("deterministic", "use_running_average")


def nnx(
    module: Any,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    method: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> Model:
    """Adapts a Flax NNX module in evaluation mode.

    The model holds the values that the module's variables have now: training the module further does not move it, and
    the module is not changed. Random streams (`nnx.Rngs` kept by dropout layers) are not parameters and do not count in
    the digest, because in evaluation mode nothing is drawn from them.

    Args:
      module: an `nnx.Module` that maps a batch `[B, ...]` to outputs `[B, ...]`, after `module.eval()`.
      name: how reports call it; the module's class unless given.
      classes: optional names of the K classes.
      method: the method to call instead of `__call__`, as in `Net.logits`.
      **kwargs: passed to every call.

    Returns:
      A model; its `params` are nested dicts of arrays, `params["conv"]["kernel"]`: trainable ones and statistics alike.

    Raises:
      ArgumentError: if it is not an NNX module, if a submodule is in training mode (the message has its path), or if
        the arguments do not fit; and, once the model is traced, if the call draws random numbers or updates statistics.

    Example:
      >>> from flax import nnx as flax_nnx
      >>> model = nnx(flax_nnx.Linear(4, 3, rngs=flax_nnx.Rngs(0)), name="linear")
      >>> sorted(model.params), model(jax.numpy.ones((2, 4))).shape
      (['bias', 'kernel'], (2, 3))
    """
    from flax import nnx as flax_nnx

    if not isinstance(module, flax_nnx.Module):
        came = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise ArgumentError("module", came, "an instance of flax.nnx.Module")
    training = [
        f"{_dotted(path) or 'the module itself'} ({type(part).__name__}.{mode}=False)"
        for path, part in flax_nnx.iter_modules(module)
        for mode in _MODES
        if getattr(part, mode, None) is False
    ]
    if training:
        raise ArgumentError(
            "module",
            f"training mode in {', '.join(sorted(training))}",
            "call `module.eval()` first: a model has no dropout and does not update statistics",
        )
    forward = type(module).__call__ if method is None else method
    check_call("module", forward, 2, kwargs, "called as module(x, **kwargs): give what is missing as keyword arguments")

    graphdef, random, state = flax_nnx.split(module, flax_nnx.RngState, ...)
    # A state's leaves are the module's own variables: their values are taken out now, or training would move the model.
    streams = [(path, leaf, _value(flax_nnx, leaf)) for path, leaf in flax_nnx.to_flat_state(random)]
    leaves = list(flax_nnx.to_flat_state(state))
    params = flax_nnx.to_pure_dict(state)
    evaluated = flax_nnx.Any(flax_nnx.RngState, flax_nnx.BatchStat)  # what a call in evaluation mode leaves alone

    def apply(params: Any, x: jax.Array) -> Any:
        given = streams + [(path, leaf, functools.reduce(operator.getitem, path, params)) for path, leaf in leaves]
        merged = flax_nnx.merge(
            graphdef,
            flax_nnx.from_flat_state([(path, _with_value(flax_nnx, leaf, value)) for path, leaf, value in given]),
        )
        out = forward(merged, x, **kwargs)
        after = dict(flax_nnx.to_flat_state(flax_nnx.state(merged, evaluated)))
        changed = [
            _dotted(path) for path, _, value in given if path in after and _value(flax_nnx, after[path]) is not value
        ]
        if changed:
            raise ArgumentError(
                "module",
                f"a call that changes {', '.join(changed)}",
                "a model draws nothing and updates no statistics: switch it to evaluation mode",
            )
        return out

    name = type(module).__name__ if name is None else name
    return Model(apply, params, name=name, classes=None if classes is None else tuple(classes))


def _dotted(path: tuple) -> str:
    return ".".join(map(str, path))


def _value(flax_nnx: Any, leaf: Any) -> Any:
    return leaf.get_value() if isinstance(leaf, flax_nnx.Variable) else leaf


def _with_value(flax_nnx: Any, leaf: Any, value: Any) -> Any:
    return leaf.replace(value) if isinstance(leaf, flax_nnx.Variable) else value
