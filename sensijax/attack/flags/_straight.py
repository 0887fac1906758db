"""The straight-through twin of a model: the same outputs, with derivatives where the model has lost them.

Backward pass differentiable approximation (BPDA), made from the model's jaxpr: what rounds gets the derivative of the
identity, and what stops the gradient lets it pass. Athalye, Carlini and Wagner, "Obfuscated gradients give a false
sense of security", ICML 2018.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array

from sensijax.attack._victim import Victim
from sensijax.attack.flags._lint import traced
from sensijax.attack.flags._path import inner_program

_ROUNDING = {"round", "floor", "ceil", "sign"}
# Arithmetic on whole numbers that came from floats is done on the floats beside it, for their derivative.
_WHOLE = {
    *("add", "sub", "mul", "neg", "max", "min", "clamp"),
    *("reshape", "broadcast_in_dim", "transpose", "squeeze", "slice", "rev", "copy"),
}


def straight_through(victim: Victim, x: Any) -> Callable[[Victim, Array], Array] | None:
    """The twin: `twin(victim, x[B, ...]) -> logits [B, K]`, for batches of the shape of `x`.

    None where nothing in the model can be replaced. In loops nothing is.
    """
    closed = traced(victim, x)
    if not _replaceable(closed.jaxpr):
        return None

    def twin(victim: Victim, x: Array) -> Array:
        (out,) = _run(closed.jaxpr, closed.consts, [*jax.tree.leaves(victim), x])
        return out

    return twin


def _replaceable(jaxpr: Any) -> bool:
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in _ROUNDING or eqn.primitive.name == "stop_gradient" or _to_whole(eqn):
            return True
        inner = _inlined(eqn)
        if inner is not None and _replaceable(inner[0]):
            return True
    return False


def _inlined(eqn: Any) -> tuple[Any, Sequence[Any]] | None:
    """The program that an equation calls, with its constants, where it can be written in its place."""
    return None if eqn.primitive.name == "scan" else inner_program(eqn)


def _to_whole(eqn: Any) -> bool:
    return (
        eqn.primitive.name == "convert_element_type"
        and jnp.issubdtype(eqn.invars[0].aval.dtype, jnp.floating)
        and jnp.issubdtype(eqn.params["new_dtype"], jnp.integer)
    )


def _run(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, args, strict=True))
    beside: dict[Any, Array] = {}  # of a whole number, the float it stands for

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else env[atom]

    def float_of(atom: Any) -> Any:
        known = None if isinstance(atom, core.Literal) else beside.get(atom)
        return jnp.asarray(value(atom), jnp.float32) if known is None else known

    for eqn in jaxpr.eqns:
        ins, name = [value(atom) for atom in eqn.invars], eqn.primitive.name
        inner = _inlined(eqn)
        if name == "stop_gradient":
            outs = ins
        elif inner is not None and _replaceable(inner[0]):
            outs = _run(*inner, ins)
        else:
            outs = _bound(eqn, ins)
        if name in _ROUNDING:
            outs = [_with_derivative(outs[0], ins[0])]
        elif _to_whole(eqn):
            beside[eqn.outvars[0]] = ins[0].astype(jnp.float32)
        elif any(not isinstance(atom, core.Literal) and atom in beside for atom in eqn.invars):
            if name == "convert_element_type" and jnp.issubdtype(eqn.params["new_dtype"], jnp.floating):
                outs = [_with_derivative(outs[0], beside[eqn.invars[0]].astype(outs[0].dtype))]
            elif name == "convert_element_type":
                beside[eqn.outvars[0]] = beside[eqn.invars[0]]
            elif name in _WHOLE:
                (beside[eqn.outvars[0]],) = _bound(eqn, [float_of(atom) for atom in eqn.invars])
        env.update(zip(eqn.outvars, outs, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _bound(eqn: Any, ins: Sequence[Any]) -> Sequence[Any]:
    """The results of an equation on these values."""
    found = eqn.primitive.get_bind_params(eqn.params)
    programs, params = found if isinstance(found, tuple) else ((), found)  # by version of JAX
    outs = eqn.primitive.bind(*programs, *ins, **params)
    return outs if eqn.primitive.multiple_results else [outs]


def _with_derivative(value: Array, surrogate: Array) -> Array:
    """`value`, with the derivative of `surrogate`: x - x is 0."""
    finite = jnp.where(jnp.isfinite(surrogate), surrogate, jnp.zeros_like(surrogate))
    return value + (finite - jax.lax.stop_gradient(finite))
