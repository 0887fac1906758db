"""Named values inside a function, collected without global state."""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
from jax.ad_checkpoint import checkpoint_name

from sensijax.core import ArgumentError, Model

_PREFIX = "sensijax.tap/"
# Equations that hold one function and call it once: what is in there is looked into.
_CALLS = ("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")
_PRODUCTS = ("conv_general_dilated", "dot_general")


def tap(name: str, value: Any) -> Any:
    """The identity, which gives a value a name that `captured` and `component_gains` find.

    It changes nothing: derivatives, `vmap` and compiled programs are those of the value. The name travels in the traced
    program, not in a registry.

    Args:
      name: non-empty; one that occurs several times gets "#1", "#2", ... from its second occurrence on.
      value: a pytree of arrays, the batch axis first.

    Returns:
      The value.

    Raises:
      ArgumentError: if the name is no non-empty string.

    Example:
      >>> float(tap("hidden", jax.numpy.float32(2.0)))
      2.0
    """
    if not isinstance(name, str) or not name:
        raise ArgumentError("name", repr(name), "a non-empty name")
    return jax.tree.map(lambda leaf: checkpoint_name(leaf, _PREFIX + name), value)


def captured(f: Any, x: Any) -> tuple[Any, dict[str, jax.Array]]:
    """Outputs of a function together with its named intermediates.

    The function is traced and its program interpreted, so any function will do, jitted parts included. These are looked
    for, in this order:

    - in a Flax NNX module, the output of every submodule by its path, `"conv1"`, `"blocks.0.norm"`; the module itself
      is not changed;
    - in a bound Linen module (`module.bind(variables)`) likewise, as `capture_intermediates` gives them;
    - in any other function or `Model`, what was named by `tap`;
    - and where it has no tap, the output of every convolution and matrix product, `"conv_general_dilated"`,
      `"dot_general#1"`, numbered in the order of the program.

    Args:
      f: a function of one argument, a `Model`, an NNX module, or a bound Linen module.
      x: its argument.

    Returns:
      The outputs, and name to value in the order of the program.

    Raises:
      ArgumentError: if a tap stands inside a loop or a branch, where its name would stand for many values or for none.

    Example:
      >>> out, seen = captured(lambda x: tap("half", x / 2) + 1, jax.numpy.ones(2))
      >>> out.tolist(), seen["half"].tolist()
      ([1.5, 1.5], [0.5, 0.5])
    """
    if (linen := _linen(f)) is not None:
        return linen(x)
    f = _nnx(f)
    if isinstance(f, Model):
        model = f
        return _interpreted(lambda params, x: model.apply(params, x), model.params, x)
    if not callable(f):
        raise ArgumentError("f", type(f).__name__, "a function, a Model, an NNX module or a bound Linen module")
    return _interpreted(lambda _, x: f(x), (), x)


def _interpreted(apply: Callable, params: Any, x: Any) -> tuple[Any, dict[str, jax.Array]]:
    closed, shape = jax.make_jaxpr(apply, return_shape=True)(params, x)
    primitive_names = () if _holds_tap(closed.jaxpr) else _PRODUCTS
    seen: dict[str, jax.Array] = {}
    flat = _run(closed.jaxpr, closed.consts, jax.tree.leaves((params, x)), primitive_names, seen)
    return jax.tree.unflatten(jax.tree.structure(shape), flat), seen


def _run(jaxpr: Any, consts: Any, args: Any, products: tuple[str, ...], seen: dict[str, jax.Array]) -> list[Any]:
    """Evaluates a program equation by equation, and keeps what is asked for."""
    values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jex.Literal) else values[atom]

    for eqn in jaxpr.eqns:
        given, kind = [read(atom) for atom in eqn.invars], eqn.primitive.name
        inner = _called(eqn) if kind in _CALLS else None
        if inner is not None and _holds(inner[0], products):
            out = _run(*inner, given, products, seen)
        elif inner is None and any(_holds_tap(sub) for sub in jex.jaxprs_in_params(eqn.params)):
            raise ArgumentError("f", f"a tap inside a {kind}", "taps outside of loops and branches: return the value")
        else:
            # As a program of one equation, JAX runs it by its own rules, which differ between versions.
            variables = list(dict.fromkeys(atom for atom in eqn.invars if not isinstance(atom, jex.Literal)))
            alone = jaxpr.replace(constvars=[], invars=variables, outvars=eqn.outvars, eqns=[eqn])
            out = jex.jaxpr_as_fun(jex.ClosedJaxpr(alone, ()))(*(values[v] for v in variables))
        if (name := _tapped(eqn)) or (name := kind if kind in products else None):
            _keep(seen, name, out[0])
        values.update((var, v) for var, v in zip(eqn.outvars, out, strict=True) if not isinstance(var, jex.DropVar))
    return [read(atom) for atom in jaxpr.outvars]


def _called(eqn: Any) -> tuple[Any, Any] | None:
    """(program, constants) of an equation that calls one function."""
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    if isinstance(inner, jex.ClosedJaxpr):
        return inner.jaxpr, inner.consts
    return None if inner is None else (inner, ())


def _tapped(eqn: Any) -> str | None:
    name = eqn.params.get("name") if eqn.primitive.name == "name" else None
    return name.removeprefix(_PREFIX) if isinstance(name, str) and name.startswith(_PREFIX) else None


def _holds_tap(jaxpr: Any) -> bool:
    return _holds(jaxpr, ())


def _holds(jaxpr: Any, products: tuple[str, ...]) -> bool:
    """Whether anything to be kept is in a program, however deep."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    return any(_tapped(eqn) or eqn.primitive.name in products for eqn in jaxpr.eqns) or any(
        _holds(inner, products) for inner in jex.subjaxprs(jaxpr)
    )


def _keep(seen: dict[str, jax.Array], name: str, value: jax.Array) -> None:
    number, unique = 0, name
    while unique in seen:
        number += 1
        unique = f"{name}#{number}"
    seen[unique] = value


def _nnx(f: Any) -> Any:
    """An NNX module as a function whose submodules tap their outputs; anything else as it is.

    Each call merges a module of its own, whose submodules get a subclass of their class for as long as the call lasts:
    Python finds `__call__` on the class, and the caller's module keeps its own.
    """
    try:
        from flax import nnx
    except ImportError:  # pragma: no cover
        return f
    if not isinstance(f, nnx.Module):
        return f
    graphdef, state = nnx.split(f)

    def tapped(cls: type, name: str) -> type:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            return tap(name, cls.__call__(self, *args, **kwargs))

        return type(cls.__name__, (cls,), {"__call__": call})

    def run(x: Any) -> Any:
        module = nnx.merge(graphdef, state)
        for path, part in list(nnx.iter_modules(module)):
            if path and callable(part):
                part.__class__ = tapped(type(part), ".".join(map(str, path)))
        return module(x)

    return run


def _linen(f: Any) -> Callable | None:
    """A bound Linen module as a function to outputs and intermediates; None for anything else."""
    try:
        import flax.linen
    except ImportError:  # pragma: no cover
        return None
    if not isinstance(f, flax.linen.Module):
        return None
    if f.scope is None:
        raise ArgumentError("f", f"{type(f).__name__} without variables", "a bound module: module.bind(variables)")
    module, variables = f.unbind()

    def run(x: Any) -> tuple[Any, dict[str, jax.Array]]:
        out, state = module.apply(variables, x, capture_intermediates=True, mutable=["intermediates"])
        seen: dict[str, jax.Array] = {}
        found, _ = jax.tree_util.tree_flatten_with_path(state["intermediates"])
        for path, value in found:
            names = [entry.key for entry in path if isinstance(entry, jax.tree_util.DictKey)]
            if names[:-1]:  # the module itself is the output
                _keep(seen, ".".join(names[:-1] if names[-1] == "__call__" else names), value)
        return out, seen

    return run
