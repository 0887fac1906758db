"""What an attack's rows are to reach, and what every attack's state has."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from sensijax.core.keys import GENERATOR
from sensijax.core.struct import struct


@struct
class Goal:
    """What the rows of a batch are to reach; a row is one attempt on one example.

    Attributes:
      x: `[B, ...]` the original inputs.
      y: int32 `[B]` labels.
      target: int32 `[B]` the class to reach, for targeted attempts; -1: any but the label.
      key: uint32 `[B, 2]` raw key of each attempt: a function of (the attack's key, example id, attempt).
      attempt: int32 `[B]` which attempt on its example a row is; None: the first.
    """

    x: Array
    y: Int[Array, "B"]
    target: Int[Array, "B"]
    key: UInt32[Array, "B 2"]
    attempt: Int[Array, "B"] | None = None

    def keys(self, step: Int[Array, "B"] | int) -> Array:
        """Typed keys `[B]` of one step; a row's step counts its own evaluations, whatever the other rows do."""
        steps = jnp.broadcast_to(jnp.asarray(step, jnp.uint32), self.y.shape)
        return jax.vmap(jax.random.fold_in)(jax.random.wrap_key_data(self.key, impl=GENERATOR), steps)


@struct
class Trace:
    """What every attack's state has; an attack's own state derives from it. Made by `Attack.trace`.

    Attributes:
      x: `[B, ...]` the point that is evaluated next.
      step: int32 `[B]` evaluations so far; the loop counts them.
      found: `[B, ...]` the adversarial example; where there is none yet, the strongest attempt.
      broken: bool `[B]` whether `found` is adversarial and within the budget.
      distance: `[B]` of `found` in the attack's norm; infinite while not broken.
      strength: `[B]` how close the strongest attempt came: higher is closer, comparable between attempts.
      done: bool `[B]` nothing more will be tried: the row is frozen.
    """

    x: Array
    step: Int[Array, "B"]
    found: Array
    broken: Bool[Array, "B"]
    distance: Float[Array, "B"]
    strength: Float[Array, "B"]
    done: Bool[Array, "B"]


def fools(logits: Float[Array, "B K"], goal: Goal) -> Bool[Array, "B"]:
    """Whether the prediction is wrong. Not where a logit is NaN: no prediction is no wrong one."""
    return (jnp.argmax(logits, axis=1).astype(jnp.int32) != goal.y) & ~jnp.any(jnp.isnan(logits), axis=1)


def clearly_fools(logits: Float[Array, "B K"], goal: Goal) -> Bool[Array, "B"]:
    """Whether the prediction is wrong by more than the rounding of another batch's shape: by 1e-5 of the largest logit.

    For attacks that stop at the boundary: what lies on it to the last bit is right or wrong as the program pleases.
    """
    label = jax.nn.one_hot(goal.y, logits.shape[1], dtype=jnp.bool_)
    others = jnp.max(jnp.where(label, -jnp.inf, logits), axis=1)
    lead = others - jnp.max(jnp.where(label, logits, -jnp.inf), axis=1)
    return fools(logits, goal) & (lead > np.float32(1e-5) * jnp.max(jnp.abs(logits), axis=1))
