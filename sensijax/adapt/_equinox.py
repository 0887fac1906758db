"""Equinox modules as models."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax

from sensijax.adapt._call import check_call
from sensijax.core.errors import ArgumentError, MissingExtraError
from sensijax.core.model import Model


def equinox(
    module: Any,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    state: Any = None,
    batched: bool = False,
    **kwargs: Any,
) -> Model:
    """Adapts an Equinox module in inference mode.

    Args:
      module: a callable `equinox.Module`, after `equinox.nn.inference_mode(module)` if it has dropout or batch
        normalisation.
      name: how reports call it; the module's class unless given.
      classes: optional names of the K classes.
      state: the `equinox.nn.State` of a module with batch normalisation; such a module is called as `module(x, state)`
        and returns (outputs, new state), of which the outputs are kept.
      batched: False if the module takes one example, which is Equinox's custom and is done for a batch by `jax.vmap`;
        True if it takes a batch `[B, ...]`.
      **kwargs: passed to every call, the same for all examples.

    Returns:
      A model; its `params` are the module with only its arrays left, or (that, state). Integer arrays are among them,
      so that the digest names them: where there are some, differentiate with `jax.grad(..., allow_int=True)`.

    Raises:
      MissingExtraError: if Equinox is not installed.
      ArgumentError: if it is not a callable Equinox module, if a submodule is in training mode (the message has its
        path), if it keeps state and none is given, or if the arguments do not fit.

    Example:
      >>> import equinox as eqx
      >>> model = equinox(eqx.nn.Linear(4, 3, key=jax.random.key(0)), name="linear")
      >>> model(jax.numpy.ones((2, 4))).shape
      (2, 3)
    """
    try:
        import equinox as eqx
    except ImportError as error:
        raise MissingExtraError("equinox", "equinox", "adapting an Equinox module") from error

    if not isinstance(module, eqx.Module) or not callable(module):
        came = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise ArgumentError("module", came, "an instance of equinox.Module with a __call__")
    training = [
        f"{path or 'the module itself'} ({type(part).__name__}.inference=False)"
        for path, part in _with_mode(module)
        if part.inference is False
    ]
    if training:
        raise ArgumentError(
            "module",
            f"training mode in {', '.join(training)}",
            "adapt `equinox.nn.inference_mode(module)`: a model has no dropout",
        )
    stateful = any(
        isinstance(leaf, eqx.nn.StateIndex)
        for leaf in jax.tree.leaves(module, is_leaf=lambda node: isinstance(node, eqx.nn.StateIndex))
    )
    if stateful and state is None:
        raise ArgumentError("state", None, "this module has state: pass what equinox.nn.make_with_state returned")
    check_call(
        "module",
        module,
        1 if state is None else 2,
        kwargs,
        "called as module(x, **kwargs), or module(x, state, **kwargs) with a state: give what is missing",
    )

    arrays, rest = eqx.partition((module, state), eqx.is_array)

    def apply(params: Any, x: jax.Array) -> Any:
        module, state = eqx.combine(params if stateful_params else (params, None), rest)

        def call(x: jax.Array) -> Any:
            return module(x, **kwargs) if state is None else module(x, state, **kwargs)[0]

        return call(x) if batched else jax.vmap(call)(x)

    stateful_params = state is not None
    params = arrays if stateful_params else arrays[0]
    name = type(module).__name__ if name is None else name
    return Model(apply, params, name=name, classes=None if classes is None else tuple(classes))


def _with_mode(node: Any, at: tuple = ()) -> Iterator[tuple[str, Any]]:
    """Every part of a tree that has an `inference` flag, with its path; parts of such parts too."""
    if hasattr(node, "inference"):
        yield jax.tree_util.keystr(at).lstrip("."), node
    inner = jax.tree_util.tree_leaves_with_path(
        node, is_leaf=lambda part: part is not node and hasattr(part, "inference")
    )
    for path, part in inner:
        if part is not node and hasattr(part, "inference"):
            yield from _with_mode(part, at + path)
