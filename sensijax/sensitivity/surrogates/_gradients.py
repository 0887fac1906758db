"""The design of one point and its exact gradient: what derivative-based measures and active subspaces are made of."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._space import Transform, float_dtype
from sensijax.sensitivity.indices._stream import as_vector

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class GradientDesign:
    """A `Design` of the function's value and Jacobian at each point.

    Attributes:
      dimension: d.
      forward: whether the Jacobian is taken column by column, by forward mode.
      logarithmic: for each input, whether its derivative is with respect to its logarithm.
      outer: whether products of pairs of derivatives are summed, or squares only.
    """

    dimension: int
    forward: bool
    logarithmic: tuple[bool, ...]
    outer: bool

    rows = 1
    wide = False

    @property
    def draws(self) -> int:
        return self.dimension

    def prepare(self, transform: Transform, u: jax.Array, index: jax.Array) -> Any:
        return transform(u)

    def inputs(self, prepared: Any, numbers: jax.Array) -> jax.Array:
        return prepared[:, None, :]

    def evaluate(self, function: Callable[[Any], Any], x: jax.Array) -> tuple[jax.Array, Any]:
        return value_and_jacobian(function, x, self.forward)

    def sums(self, y: jax.Array, other: Any, finite: jax.Array, prepared: Any) -> Any:
        value, slope = y[0], other[0]  # [k, m], [k, d, m]
        sums = {"n": finite.sum(dtype=y.dtype), "y": value.sum(-1), "yy": (value * value).sum(-1)}
        if any(self.logarithmic):
            slope = slope * jnp.where(jnp.asarray(self.logarithmic)[:, None], prepared, jnp.ones((), y.dtype))[None]
        if self.outer:
            return sums | {"gg": jnp.einsum("kim,kjm->kij", slope, slope, precision="highest")}
        return sums | {"g": slope.sum(-1), "gg": (slope * slope).sum(-1)}


def value_and_jacobian(function: Callable[[Any], Any], x: jax.Array, forward: bool) -> tuple[jax.Array, jax.Array]:
    """Outputs `[k]` and their Jacobian `[k, d]` at one point, from one linearisation."""
    if forward:
        y, push = jax.linearize(lambda at: as_vector(function(at)), x)
        return y, jax.vmap(push, out_axes=-1)(jnp.eye(len(x), dtype=x.dtype))
    y, pull = jax.vjp(lambda at: as_vector(function(at)), x)
    return y, jax.vmap(pull)(jnp.eye(len(y), dtype=y.dtype))[0]


def forward_is_right(function: Callable[[Any], Any], dimension: int, outputs: int) -> bool:
    """Forward mode where inputs are few against outputs, reverse otherwise; the other one where a rule is missing.

    Raises:
      ArgumentError: if neither mode goes through, or outputs are not floating.
    """
    point = jax.ShapeDtypeStruct((dimension,), float_dtype())
    out = jax.eval_shape(function, point)
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise ArgumentError("f", f"{out.dtype} outputs", "floating outputs: logits, not classes; or use `sobol`")
    preferred, reasons = 2 * dimension <= outputs, []
    for forward in (preferred, not preferred):
        try:
            jax.eval_shape(lambda x, forward=forward: value_and_jacobian(function, x, forward), point)
        except (TypeError, ValueError, NotImplementedError) as error:
            reasons.append(str(error).splitlines()[0])
            _log.warning("f has no %s derivative (%s)", "forward" if forward else "reverse", reasons[-1])
        else:
            return forward
    raise ArgumentError(
        "f", f"no derivative in either mode ({reasons[0]})", "a function JAX can differentiate; or `sobol`"
    )


def refuse_flat(squares: np.ndarray) -> None:
    """Raises for an output `[..., k]` whose gradient was zero at every point, though the output varies."""
    flat = ~(squares.reshape(-1, squares.shape[-1]).max(axis=0) > 0)
    if flat.any():
        raise ArgumentError(
            "f",
            f"a gradient of zero at every point (output {int(np.argmax(flat))}), though the output varies",
            "steps, rounding and integer codes have no derivative: use `sobol` or `morris`",
        )
