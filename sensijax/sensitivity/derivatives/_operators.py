"""Products with the Jacobian and the Hessian, neither of which is ever formed."""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sensijax.core import ArgumentError
from sensijax.sensitivity.derivatives._nonfinite import NonFinite, located
from sensijax.sensitivity.derivatives._pure import (
    Pure,
    forward_is_open,
    forward_way,
    inputs,
    outputs,
    program,
    pure,
    pushforward,
    reverse_refusal,
    size,
)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Product:
    """A derivative's product with one direction.

    Attributes:
      value: f(x), a pytree of arrays.
      product: J v (of the outputs' structure), Jᵀ u or H v (of the inputs' structure).
      mode: how it was computed: "forward", "reverse", or for H v "forward over reverse" and "reverse over reverse".
      nonfinite: what in `product` is not finite.
    """

    value: Any
    product: Any
    mode: str
    nonfinite: NonFinite


def jvp(f: Callable, x: Any, v: Any) -> Product:
    """J v: how the outputs move when the inputs move along `v`; one pass.

    A `custom_vjp` on the way blocks forward mode. Then the product is computed by two reverse passes, a warning is
    logged, and `mode` says so.

    Args:
      f: pure; a pytree of floating arrays to one (a `Model` takes a batch).
      x: where.
      v: the direction: structure, shapes and dtypes of `x`.

    Returns:
      A `Product` of the outputs' structure.

    Raises:
      ArgumentError: if inputs or outputs are not floating, or `v` does not fit `x`.

    Example:
      >>> jvp(lambda x: x * x, jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0])).product.tolist()
      [2.0, 0.0]
    """
    function, x = pure(f), inputs(x)
    outputs(function, x)
    v, way = like(v, x, "v", "`x`"), forward_way(function, x)
    value, product = program(_jvp, function, way)(function.params, x, v)
    return Product(value, product, way, located(product, "J v"))


def vjp(f: Callable, x: Any, u: Any) -> Product:
    """Jᵀ u: the gradient of the outputs weighted by `u` with respect to every input; one reverse pass.

    Args:
      f: pure; a pytree of floating arrays to one (a `Model` takes a batch).
      x: where.
      u: weights of the outputs: structure, shapes and dtypes of `f(x)`.

    Returns:
      A `Product` of the inputs' structure.

    Raises:
      ArgumentError: if inputs or outputs are not floating, `u` does not fit `f(x)`, or reverse mode does not pass.

    Example:
      >>> vjp(lambda x: x * x, jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])).product.tolist()
      [2.0, 4.0]
    """
    function, x = pure(f), inputs(x)
    spec = outputs(function, x)
    u = like(u, spec, "u", "`f(x)`")
    require_reverse(function, x, spec)
    value, product = program(_vjp, function)(function.params, x, u)
    return Product(value, product, "reverse", located(product, "J^T u"))


def hvp(f: Callable, x: Any, v: Any) -> Product:
    """H v: how the gradient of a scalar function moves along `v`; about the cost of two gradients.

    The Hessian of a piecewise linear function, such as a ReLU network's logit, is zero almost everywhere; that is said
    in a warning where the whole product is zero.

    Args:
      f: pure; a pytree of floating arrays to a scalar.
      x: where.
      v: the direction: structure, shapes and dtypes of `x`.

    Returns:
      A `Product` of the inputs' structure; its `value` is f(x).

    Raises:
      ArgumentError: if `f` is not scalar, inputs are not floating, or `v` does not fit `x`.

    Reference:
      Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994).

    Example:
      >>> hvp(lambda x: (x**3).sum(), jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])).product.tolist()
      [6.0, 12.0]
    """
    function, x = pure(f), inputs(x)
    spec = outputs(function, x)
    require_scalar(function, spec)
    v = like(v, x, "v", "`x`")
    require_reverse(function, x, spec)
    gradient = Pure(jax.grad(function.apply, argnums=1), function.params, False, function.name)
    forward = forward_is_open(gradient, x)
    if not forward:
        _log.warning("forward mode cannot pass the gradient of %s: H v by reverse over reverse", function.name)
    value, product = program(_hvp, function, forward)(function.params, x, v)
    mode = "forward over reverse" if forward else "reverse over reverse"
    if not any(bool(jnp.any(leaf)) for leaf in jax.tree.leaves(product)):
        _log.warning(
            "H v of %s is zero: the function is linear here (as ReLU networks are, piece by piece)", function.name
        )
    return Product(value, product, mode, located(product, "H v"))


@dataclasses.dataclass(frozen=True, eq=False)
class JacobianOperator:
    """The Jacobian at one point as a linear operator on pytrees, compiled once; made by `linear_operator`.

    Attributes:
      value: f(x).
      shape: (m, n): how many numbers go out and in.
      mode: how `jvp` is computed: "forward", or "reverse" where a `custom_vjp` blocks forward mode.
      jvp: `v -> J v`, of the inputs' structure to the outputs'.
      vjp: `u -> Jᵀ u`, the other way round.
    """

    value: Any
    shape: tuple[int, int]
    mode: str
    jvp: Callable[[Any], Any]
    vjp: Callable[[Any], Any]


def linear_operator(f: Callable, x: Any) -> JacobianOperator:
    """The Jacobian at `x` as an operator, for many products and for iterative solvers.

    Args:
      f: pure; a pytree of floating arrays to one (a `Model` takes a batch).
      x: where.

    Returns:
      A `JacobianOperator`.

    Raises:
      ArgumentError: if inputs or outputs are not floating, or reverse mode does not pass.

    Example:
      >>> a = linear_operator(lambda x: jnp.array([[1.0, 2.0], [3.0, 4.0]]) @ x, jnp.zeros(2))
      >>> a.jvp(jnp.array([1.0, 0.0])).tolist(), a.vjp(jnp.array([1.0, 0.0])).tolist()
      ([1.0, 3.0], [1.0, 2.0])
    """
    function, x = pure(f), inputs(x)
    spec = outputs(function, x)
    require_reverse(function, x, spec)
    way = forward_way(function, x)
    push, pull = program(_jvp, function, way), program(_vjp, function)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), spec)
    return JacobianOperator(
        value=pull(function.params, x, zero)[0],
        shape=(size(spec), size(x)),
        mode=way,
        jvp=lambda v: push(function.params, x, like(v, x, "v", "`x`"))[1],
        vjp=lambda u: pull(function.params, x, like(u, spec, "u", "`f(x)`"))[1],
    )


def require_reverse(function: Pure, x: Any, spec: Any) -> None:
    """Refuses a function that reverse mode cannot pass."""
    if refusal := reverse_refusal(function, x, spec):
        raise ArgumentError(
            "f", f"{function.name!r}, which reverse mode cannot pass: {refusal}", "a loop of known length, or `jvp`"
        )


def require_scalar(function: Pure, spec: Any) -> None:
    """Refuses a function whose output is not one number."""
    if not isinstance(spec, jax.ShapeDtypeStruct) or spec.shape != ():
        came = f"{function.name!r} returns {jax.tree.map(lambda s: list(s.shape), spec)}"
        raise ArgumentError("f", came, "a scalar: pick an output, or sum")


def like(direction: Any, of: Any, argument: str, named: str) -> Any:
    """The direction as arrays, if it has the structure, shapes and dtypes of `of`."""
    direction = jax.tree.map(jnp.asarray, direction)
    came, right = ([f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(tree)] for tree in (direction, of))
    if jax.tree.structure(direction) != jax.tree.structure(of) or came != right:
        raise ArgumentError(
            argument,
            f"{jax.tree.structure(direction)} of {', '.join(came)}",
            f"structure, shapes and dtypes of {named}: {jax.tree.structure(of)} of {', '.join(right)}",
        )
    return direction


def _jvp(apply: Callable, way: str) -> Callable:
    return jax.jit(functools.partial(pushforward, apply, way=way))


def _vjp(apply: Callable) -> Callable:
    def pull(params: Any, x: Any, u: Any) -> tuple[Any, Any]:
        value, pullback = jax.vjp(functools.partial(apply, params), x)
        return value, pullback(u)[0]

    return jax.jit(pull)


def _hvp(apply: Callable, forward: bool) -> Callable:
    def product(params: Any, x: Any, v: Any) -> tuple[Any, Any]:
        gradient = jax.value_and_grad(functools.partial(apply, params))
        if forward:
            (value, _), (_, hv) = jax.jvp(gradient, (x,), (v,))
            return value, hv

        def along(x: Any) -> tuple[Any, jax.Array]:
            value, slope = gradient(x)
            return sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (slope, v)), strict=True)), value

        hv, value = jax.grad(along, has_aux=True)(x)
        return value, hv

    return jax.jit(product)
