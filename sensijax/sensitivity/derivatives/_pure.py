"""What every derivative here begins with: a function, its inputs, and which ways through it are open."""

import functools
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError, Model

_log = logging.getLogger(__name__)


class Pure(NamedTuple):
    """A function as `apply(params, x)`.

    Attributes:
      apply: pure.
      params: pytree, passed to programs as an argument, so that they can be kept for other parameters.
      kept: whether programs compiled from `apply` may serve later calls. So it is for a `Model`, whose contract is
        purity, and for what the user has jitted; any other callable may close over something that has changed since.
      name: for messages.
    """

    apply: Callable[[Any, Any], Any]
    params: Any
    kept: bool
    name: str


def pure(f: Callable, argument: str = "f") -> Pure:
    """A `Model` or a function of one argument as a `Pure`."""
    if isinstance(f, Model):
        return Pure(f.apply, f.params, True, f.name)
    if not callable(f):
        raise ArgumentError(argument, type(f).__name__, "a function of one argument, or a Model")
    jitted = hasattr(f, "lower") and hasattr(f, "trace")
    name = getattr(f, "__name__", type(f).__name__)
    if jitted:
        return Pure(_of_jitted(f), (), True, name)
    return Pure(lambda params, x: f(x), (), False, name)


@functools.lru_cache(maxsize=64)
def _of_jitted(f: Callable) -> Callable:
    return lambda params, x: f(x)


def program(build: Callable[..., Any], function: Pure, *options: Any) -> Any:
    """`build(apply, *options)`, once for each `apply` that may be kept.

    Args:
      build: makes a jitted program from `apply` and options.
      function: what `pure` made.
      *options: whatever else decides the program; with one that has no hash, nothing is kept.
    """
    try:
        hash(options)
    except TypeError:
        return _fresh(build, function.apply, options)
    return (_kept if function.kept else _fresh)(build, function.apply, options)


def _fresh(build: Callable, apply: Callable, options: tuple) -> Any:
    return build(apply, *options)


_kept = functools.lru_cache(maxsize=128)(_fresh)


def inputs(x: Any, argument: str = "x") -> Any:
    """A pytree of floating arrays on the device; anything else is refused with its place."""
    leaves = jax.tree_util.tree_leaves_with_path(x)
    if not leaves:
        raise ArgumentError(argument, "no arrays", "a pytree with at least one floating array")
    for path, leaf in leaves:
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            where = jax.tree_util.keystr(path)
            right = "floating inputs; close over what has no derivative: lambda x: f(x, ids)"
            raise ArgumentError(f"{argument}{where}", f"dtype {dtype}", right)
    return jax.tree.map(jnp.asarray, x)


def outputs(function: Pure, x: Any) -> Any:
    """Shapes and dtypes of the outputs, which must be floating."""
    spec = jax.eval_shape(function.apply, function.params, x)
    leaves = jax.tree_util.tree_leaves_with_path(spec)
    if not leaves:
        raise ArgumentError("f", f"{function.name!r} returns no arrays", "floating outputs")
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            came = f"{function.name!r} returns {leaf.dtype} {jax.tree_util.keystr(path)}"
            raise ArgumentError("f", came.rstrip(), "floating outputs: logits, not classes")
    return spec


class Batch(NamedTuple):
    """One `[B, ...]` array and what the model makes of it."""

    x: jax.Array
    spec: jax.ShapeDtypeStruct


def batch(function: Pure, x: Any) -> Batch:
    """One floating batch `[B, ...]`, and its outputs' spec `[B, ...]`; anything else is refused."""
    x = inputs(x)
    if not isinstance(x, jax.Array) or x.ndim < 1 or x.shape[0] < 1:
        raise ArgumentError("x", jax.tree.map(jnp.shape, x), "one batch [B, ...] with B >= 1")
    spec = outputs(function, x)
    if not isinstance(spec, jax.ShapeDtypeStruct) or not spec.shape or spec.shape[0] != x.shape[0]:
        came = f"{function.name!r} maps a batch {list(x.shape)} to {jax.tree.map(lambda s: list(s.shape), spec)}"
        raise ArgumentError("f", came, "one array of outputs that keeps the batch axis first: [B, ...]")
    return Batch(x, spec)


def size(tree: Any) -> int:
    """How many numbers a pytree of arrays or shapes holds."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def forward_is_open(function: Pure, x: Any) -> bool:
    """Whether JVPs go through: not if there is a `custom_vjp` on the way that the tangent reaches.

    JAX traces such a JVP and refuses only to lower it, so the trace is searched for the place-holder.
    """

    def push(x: Any) -> Any:
        return jax.jvp(lambda x: function.apply(function.params, x), (x,), (x,))

    try:
        return not _holds(jax.make_jaxpr(push)(x).jaxpr, "custom_lin")
    except TypeError as error:
        if "custom_vjp" in str(error):
            return False
        raise


def reverse_refusal(function: Pure, x: Any, spec: Any) -> str | None:
    """Why VJPs do not go through (a `while_loop` of unknown length), or None if they do."""

    def pull(x: Any, u: Any) -> Any:
        return jax.vjp(lambda x: function.apply(function.params, x), x)[1](u)

    try:
        jax.eval_shape(pull, x, spec)
    except (ValueError, NotImplementedError, TypeError) as error:
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__
    return None


def _holds(jaxpr: Any, primitive: str) -> bool:
    return any(eqn.primitive.name == primitive for eqn in jaxpr.eqns) or any(
        _holds(inner, primitive) for inner in jex.subjaxprs(jaxpr)
    )


def pushforward(apply: Callable, params: Any, x: Any, v: Any, way: str) -> tuple[Any, Any]:
    """f(x) and J v: by one JVP, or (`way` "reverse") by the VJP of the VJP, which is linear in its cotangent."""
    g = functools.partial(apply, params)
    if way == "forward":
        return jax.jvp(g, (x,), (v,))
    value, pull = jax.vjp(g, x)
    _, transpose = jax.vjp(pull, jax.tree.map(jnp.zeros_like, value))
    return value, transpose((v,))[0]


def forward_way(function: Pure, x: Any) -> str:
    """ "forward" where JVPs go through; else "reverse", and says so."""
    if forward_is_open(function, x):
        return "forward"
    _log.warning(
        "%s has a custom_vjp, which forward mode cannot pass: J v is computed by two reverse passes instead",
        function.name,
    )
    return "reverse"
