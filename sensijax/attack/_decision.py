"""What attacks share that see nothing but the predicted class: a start that fools, and the way from it to the boundary.

One query a row and call. Random inputs are tried until one is misclassified; then the stretch between the original and
it is halved until the boundary is known closely enough.
"""

import dataclasses
from typing import TYPE_CHECKING, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sensijax.attack._goal import Goal, Trace
from sensijax.attack._norm import Norm, along, choose, linf
from sensijax.core.struct import struct

if TYPE_CHECKING:
    from sensijax.attack._attack import Attack

START, HALVE, FREE = 0, 1, 2
"""Phases: looking for a start; halving; what comes then is each attack's own."""


@struct
class Approach(Trace):
    """The state of the way to the boundary.

    Attributes:
      phase: int32 `[B]`.
      count: int32 `[B]` queries in this phase.
      far: `[B, ...]` a point that fools the model.
      low, high: `[B]` shares of the way from the original to `far`; at `high` the model is fooled.
    """

    phase: Int[Array, "B"]
    count: Int[Array, "B"]
    far: Array
    low: Float[Array, "B"]
    high: Float[Array, "B"]


A = TypeVar("A", bound=Approach)


def departed(attack: "Attack", goal: Goal) -> dict[str, Array]:
    """The fields of an `Approach` that begins."""
    start = noise(goal.keys(0), goal.x, attack.box)
    zero = jnp.zeros(goal.y.shape, goal.x.dtype)
    none = jnp.zeros(goal.y.shape, jnp.int32)
    return {**attack.trace(goal, start), "phase": none, "count": none, "far": start, "low": zero, "high": zero + 1}


def noise(keys: Array, x: Array, box: tuple[float, float]) -> Array:
    """Random inputs of random brightness: uniform values in the box, to a power whose logarithm is normal."""

    def one(key: Array) -> Array:
        values, brightness = jax.random.split(key)
        power = jnp.exp(jax.random.normal(brightness, (), x.dtype))
        return jax.random.uniform(values, x.shape[1:], x.dtype) ** power

    return box[0] + np.float32(box[1] - box[0]) * jax.vmap(one)(keys)


def between(norm: Norm, x: Array, far: Array, share: Float[Array, "B"]) -> Array:
    """A share of the way from x to `far`: on the straight line, in L-inf by clipping to a ball around x."""
    if norm == linf:
        return x + norm.project(far - x, share * norm.size(far - x))
    return x + along(share, x) * (far - x)


def approached(
    attack: "Attack", goal: Goal, state: A, fooled: Bool[Array, "B"], *, tries: int, width: float
) -> tuple[A, Bool[Array, "B"]]:
    """Takes note of the query of rows that are still on their way, and says in `x` where to look next.

    Args:
      attack: whose norm and box.
      goal: what is attacked.
      state: after `noted`.
      fooled: whether `state.x` fools the model.
      tries: random starts; a row that finds none is done.
      width: the stretch, as a share of the whole, that is short enough.

    Returns:
      The state, and which rows have arrived in this call: their `far` is at the boundary, on the adversarial side.
    """
    starting, halving = state.phase == START, state.phase == HALVE
    started = starting & fooled
    middle = (state.low + state.high) / 2
    high = jnp.where(started, 1.0, jnp.where(halving & fooled, middle, state.high))
    low = jnp.where(started, 0.0, jnp.where(halving & ~fooled, middle, state.low))
    far = choose(started, state.x, state.far)
    arrived = halving & (high - low <= width)
    far = choose(arrived & (high < 1), between(attack.norm, goal.x, far, high), far)
    count = jnp.where(starting, state.count + 1, state.count)
    lost = starting & ~fooled & (count >= tries)
    x = choose(
        starting & ~fooled,
        noise(goal.keys(state.step + 1), goal.x, attack.box),
        between(attack.norm, goal.x, far, (low + high) / 2),
    )
    phase = jnp.where(started, HALVE, state.phase)
    state = dataclasses.replace(
        state, x=x, phase=phase, count=count, far=far, low=low, high=high, done=state.done | lost
    )
    return state, arrived


def returned(norm: Norm, goal: Goal, state: A, rows: Bool[Array, "B"], far: Array) -> A:
    """Sends rows back to halving, from a new point that fools the model."""
    far = choose(rows, far, state.far)
    return dataclasses.replace(
        state,
        phase=jnp.where(rows, HALVE, state.phase),
        far=far,
        low=jnp.where(rows, 0.0, state.low),
        high=jnp.where(rows, 1.0, state.high),
        x=choose(rows, between(norm, goal.x, far, jnp.full(rows.shape, 0.5, far.dtype)), state.x),
    )
