"""Budgets of attacks that move an operation's parameters, where others move the values of the input."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.attack._goal import Trace
from sensijax.attack._norm import Norm


@dataclasses.dataclass(frozen=True)
class Parameters(Norm):
    """The largest of the parameters, in the unit of their budget; not a distance between inputs.

    Attributes:
      top: the largest budget there is.
    """

    top: float

    def diameter(self, shape: tuple[int, ...], low: float, high: float) -> float:
        return self.top


def slopes(function: Any, parameters: Float[Array, "B P"]) -> tuple[Array, Float[Array, "P B ..."]]:
    """What a batch of operations makes, and its derivative with respect to each of their parameters.

    Forward mode: the parameters are few, the values many, and every perturbation has a forward derivative.

    Args:
      function: `[B, P] -> [B, ...]`, row by row.
      parameters: where.
    """
    columns = np.eye(parameters.shape[1], dtype=np.float32)
    made, tangents = None, []
    for column in columns:
        tangent = jnp.broadcast_to(jnp.asarray(column)[None], parameters.shape)
        made, moved = jax.jvp(function, (parameters,), (tangent,))
        tangents.append(moved)
    return made, jnp.stack(tangents)  # type: ignore[return-value]


def pulled(gradient: Array, tangents: Array) -> Float[Array, "B P"]:
    """The chain rule: a loss's gradient with respect to the parameters, 0 where it is not finite."""
    slope = jnp.sum((gradient[None] * tangents).reshape(*tangents.shape[:2], -1), axis=2).T
    return jnp.where(jnp.isfinite(slope), slope, 0.0)


def is_new(after: Trace, before: Trace) -> Array:
    """bool `[B]`: whether this step changed what was found, whose parameters are then to be kept."""
    return (after.distance != before.distance) | (after.strength != before.strength)
