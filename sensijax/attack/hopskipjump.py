"""HopSkipJump: a gradient at the decision boundary, estimated from predicted classes alone."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sensijax.attack._attack import Attack
from sensijax.attack._decision import FREE, Approach, approached, departed, returned
from sensijax.attack._goal import Goal, fools
from sensijax.attack._norm import along, check_norm, choose, l2, linf
from sensijax.attack._victim import Victim
from sensijax.core.struct import static, struct

_ESTIMATE, _STEP = FREE, FREE + 1
# A step that is halved so often goes nowhere: the next estimate is made at the same place.
_HALVINGS = 12


@struct
class Hop(Approach):
    """The state between two queries.

    Attributes:
      t: int32 `[B]` the iteration, from 1.
      delta: `[B]` how far from the boundary the queries of an estimate are.
      phi: `[B]` the sum of the answers, +1 or -1.
      phi_u, u: `[B, ...]` the sums of the directions, with their answers and without.
      xi: `[B]` the length of the step.
      v: `[B, ...]` its direction.
    """

    t: Int[Array, "B"]
    delta: Float[Array, "B"]
    phi: Float[Array, "B"]
    phi_u: Array
    u: Array
    xi: Float[Array, "B"]
    v: Array


class HopSkipJump(Attack):
    """HopSkipJump: to the boundary, an estimate of the gradient there, a step along it, and to the boundary again.

    Sees the predicted class of one input a query, nothing else: for models without gradients, or whose gradients are
    masked. Queries are counted exactly; every one that fools the model may be the nearest.

    Attributes:
      eps: only what is found within this distance counts; infinite unless given.
      norm: `l2` or `linf`.
      box: the closed range of valid inputs.
      queries: for each example; 1,000 to 25,000 in the paper.
      first: queries of the first estimate; grows with the square root of the iteration.
      tries: random starts.

    Reference:
      Chen, Jordan and Wainwright, "HopSkipJumpAttack: a query-efficient decision-based attack", IEEE Symposium on
      Security and Privacy 2020, algorithms 1 and 2.

    Example:
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4]], np.float32), np.array([0])
      >>> HopSkipJump(queries=500, first=20)(jax.random.key(0), model, x, y).distance.round(2).tolist()
      [0.14000000059604645]
    """

    eps: Any = np.inf
    norm: Any = static(default=l2)
    queries: int = static(default=5000)
    first: int = static(default=100)
    tries: int = static(default=100)
    backwards: ClassVar[int] = 0
    minimal = True

    def __post_init__(self):
        super().__post_init__()
        check_norm(type(self), self.norm, l2, linf)

    @property
    def most_steps(self) -> int:
        return self.queries

    def begin(self, goal: Goal) -> Hop:
        zero, none = jnp.zeros(goal.y.shape, goal.x.dtype), jnp.zeros_like(goal.x)
        return Hop(
            **departed(self, goal),
            t=jnp.ones(goal.y.shape, jnp.int32),
            delta=zero,
            phi=zero,
            phi_u=none,
            u=none,
            xi=zero,
            v=none,
        )

    def advance(self, victim: Victim, goal: Goal, state: Hop) -> Hop:
        keys = goal.keys(state.step + 1)
        fooled = fools(victim.logits(state.x, keys), goal)
        state = self.noted(goal, state, fooled, jnp.zeros(goal.y.shape, goal.x.dtype))
        d = int(np.prod(goal.x.shape[1:]))
        theta = d**-1.5 if self.norm == l2 else d**-2.0
        estimating, stepping, asked = state.phase == _ESTIMATE, state.phase == _STEP, state.x
        state, arrived = approached(self, goal, state, fooled, tries=self.tries, width=theta)

        # The answer to one query of an estimate.
        unit = (asked - state.far) / along(jnp.maximum(state.delta, 1e-12), asked)
        answer = jnp.where(fooled, 1.0, -1.0)
        phi = jnp.where(estimating, state.phi + answer, state.phi)
        phi_u = choose(estimating, state.phi_u + along(answer, unit) * unit, state.phi_u)
        u = choose(estimating, state.u + unit, state.u)
        count = jnp.where(estimating | stepping, state.count + 1, state.count)
        t = state.t.astype(jnp.float32)
        size = jnp.floor(self.first * jnp.sqrt(t)).astype(jnp.int32)
        estimated = estimating & (count >= size)

        # An estimate is complete: the mean answer is taken off, unless all were the same.
        mean = phi / jnp.maximum(count, 1).astype(jnp.float32)
        same = jnp.abs(mean) > np.float32(1 - 1e-6)
        estimate = choose(same, phi_u, phi_u - along(mean, u) * u)
        v = choose(estimated, self.norm.steepest(estimate), state.v)
        distance = self.norm.size(state.far - goal.x)
        xi = jnp.where(estimated, distance / jnp.sqrt(t), jnp.where(stepping, state.xi / 2, state.xi))

        # A step has landed on the adversarial side, or is given up.
        landed = stepping & fooled
        given_up = stepping & ~fooled & (count >= _HALVINGS)
        begins = arrived | given_up
        t_next = jnp.where(landed | given_up, state.t + 1, state.t)
        scale = np.float32(d**0.5 * theta if self.norm == l2 else d * theta)
        near = jnp.where(t_next == 1, np.float32(0.1 * (self.box[1] - self.box[0])), scale * distance)
        delta = jnp.where(begins, near, state.delta)

        still = (estimating & ~estimated) | begins
        drawn = self.clip(state.far + along(delta, u) * self._directions(keys, goal.x))
        tried = self.clip(state.far + along(xi, v) * v)
        x = choose(still, drawn, choose(estimated | (stepping & ~landed & ~given_up), tried, state.x))
        fresh = begins | estimated
        state = dataclasses.replace(
            state,
            x=x,
            phase=jnp.where(begins, _ESTIMATE, jnp.where(estimated, _STEP, state.phase)),
            count=jnp.where(fresh, 0, count),
            t=t_next,
            delta=delta,
            phi=jnp.where(begins, 0.0, phi),
            phi_u=choose(begins, jnp.zeros_like(u), phi_u),
            u=choose(begins, jnp.zeros_like(u), u),
            xi=xi,
            v=v,
        )
        return returned(self.norm, goal, state, landed, asked)

    def _directions(self, keys: Array, x: Array) -> Array:
        """Random directions of length 1 in L2: uniform on the sphere, in L-inf from the cube."""

        def one(key: Array) -> Array:
            if self.norm == linf:
                return jax.random.uniform(key, x.shape[1:], x.dtype, -1.0, 1.0)
            return jax.random.normal(key, x.shape[1:], x.dtype)

        return l2.steepest(jax.vmap(one)(keys))
