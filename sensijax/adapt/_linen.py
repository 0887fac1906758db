"""Flax Linen modules as models."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from sensijax.adapt._call import check_call
from sensijax.core.errors import ArgumentError
from sensijax.core.model import Model


def linen(
    module: Any,
    variables: Mapping[str, Any],
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    method: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> Model:
    """Adapts a Flax Linen module and its variables; called without random streams and with every collection immutable.

    Linen decides between training and evaluation when a module is called, under a name that the module's author chose:
    pass it on, `linen(net, variables, train=False)`. A call in training mode is refused when the model is first traced
    (`Model.output_spec`, which a campaign asks before it starts), since nothing tells the two apart before.

    Args:
      module: a `linen.Module` that maps a batch `[B, ...]` to outputs `[B, ...]`.
      variables: what `module.init` returned, trained: a mapping of collections, `{"params": ..., "batch_stats": ...}`.
      name: how reports call it; the module's class unless given.
      classes: optional names of the K classes.
      method: the method to call instead of `__call__`, as in `Net.logits`.
      **kwargs: passed to every call.

    Returns:
      A model; its `params` are `variables` as plain nested dicts.

    Raises:
      ArgumentError: if it is not a Linen module, or the arguments do not fit its method; and, once the model is traced,
        if the call needs a random stream (dropout), changes a collection (batch statistics), or misses a variable.

    Example:
      >>> import flax.linen as nn
      >>> net = nn.Dense(3)
      >>> model = linen(net, net.init(jax.random.key(0), jax.numpy.ones((1, 4))), name="linear")
      >>> model(jax.numpy.ones((2, 4))).shape
      (2, 3)
    """
    import flax.core
    import flax.errors
    import flax.linen

    if not isinstance(module, flax.linen.Module):
        came = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise ArgumentError("module", came, "an instance of flax.linen.Module")
    right = 'the collections that module.init returned, {"params": ...}'
    if not isinstance(variables, Mapping) or not all(isinstance(value, Mapping) for value in variables.values()):
        raise ArgumentError("variables", _outline(variables), right)
    kind = type(module).__name__
    forward = type(module).__call__ if method is None else method
    check_call(
        "module",
        forward,
        2,
        kwargs,
        "called as module(x, **kwargs): give what is missing as keywords, linen(module, variables, train=False)",
    )
    params = flax.core.unfreeze(flax.core.meta.unbox(variables))

    def apply(params: Any, x: jax.Array) -> Any:
        try:
            return module.apply(params, x, method=method, **kwargs)
        except flax.errors.InvalidRngError as error:
            raise ArgumentError("module", f"{kind} in training mode ({_brief(error)})", _EVALUATION) from error
        except flax.errors.ModifyScopeVariableError as error:
            raise ArgumentError("module", f"{kind} in training mode ({_brief(error)})", _EVALUATION) from error
        except (
            flax.errors.ScopeCollectionNotFound,
            flax.errors.ScopeParamNotFoundError,
            flax.errors.ScopeVariableNotFoundError,
        ) as error:
            raise ArgumentError("variables", f"{_outline(params)} ({_brief(error)})", right) from error

    name = kind if name is None else name
    return Model(apply, params, name=name, classes=None if classes is None else tuple(classes))


_EVALUATION = (
    "adapt it in evaluation mode: pass the keyword that turns dropout and the update of statistics off, "
    "such as train=False or deterministic=True"
)


def _outline(variables: Any) -> str:
    return f"collections {sorted(map(str, variables))}" if isinstance(variables, Mapping) else type(variables).__name__


def _brief(error: Exception) -> str:
    # Flax ends its messages with the address of a help page, in brackets.
    return str(error).strip().splitlines()[0].split(" (https://")[0]
