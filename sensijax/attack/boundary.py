"""The boundary attack: a random walk along the decision boundary, ever nearer to the original."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sensijax.attack._attack import Attack
from sensijax.attack._decision import FREE, Approach, approached, departed
from sensijax.attack._goal import Goal, fools
from sensijax.attack._norm import along, check_norm, choose, l2
from sensijax.attack._victim import Victim
from sensijax.core.struct import static, struct

_SPHERE, _NEARER = FREE, FREE + 1
_ADAPT = 1.5
# How many answers a share is taken over before the steps are adapted.
_SPHERE_WINDOW, _NEARER_WINDOW = 20, 10


@struct
class Walk(Approach):
    """The state between two queries; `far` is where the walk is.

    Attributes:
      delta: `[B]` the length of orthogonal steps, as a share of the distance.
      epsilon: `[B]` the length of steps towards the original, as a share of the distance.
      tried, held: int32 `[2, B]` recent orthogonal steps and steps nearer, and how many of them stayed adversarial.
    """

    delta: Float[Array, "B"]
    epsilon: Float[Array, "B"]
    tried: Int[Array, "B 2"]
    held: Int[Array, "B 2"]


class Boundary(Attack):
    """The boundary attack: a random step on the sphere around the original; where that still fools, one towards it.

    Both lengths follow the share of steps that stay adversarial: the boundary is flat at the scale at which half of the
    orthogonal ones do. Sees the predicted class of one input a query, nothing else; queries are counted exactly. Slower
    than `HopSkipJump`, and built on no estimate at all.

    Attributes:
      eps: only what is found within this distance counts; infinite unless given.
      norm: `l2`.
      box: the closed range of valid inputs.
      queries: for each example.
      delta, epsilon: the first lengths, as shares of the distance.
      tries: random starts.

    Reference:
      Brendel, Rauber and Bethge, "Decision-based adversarial attacks: reliable attacks against black-box machine
      learning models", ICLR 2018. Here every orthogonal step is asked about before one nearer is made from it, and the
      way from the random start to the boundary is halved first.

    Example:
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4]], np.float32), np.array([0])
      >>> distance = Boundary(queries=500)(jax.random.key(0), model, x, y).distance
      >>> bool(0.1414 < distance[0] < 0.15)  # 0.1 * sqrt(2), from above
      True
    """

    eps: Any = np.inf
    norm: Any = static(default=l2)
    delta: Any = 0.01
    epsilon: Any = 0.01
    queries: int = static(default=5000)
    tries: int = static(default=100)
    backwards: ClassVar[int] = 0
    minimal = True

    def __post_init__(self):
        super().__post_init__()
        check_norm(type(self), self.norm, l2)

    @property
    def most_steps(self) -> int:
        return self.queries

    def begin(self, goal: Goal) -> Walk:
        none = jnp.zeros((*goal.y.shape, 2), jnp.int32)
        return Walk(**departed(self, goal), delta=self.delta, epsilon=self.epsilon, tried=none, held=none)

    def advance(self, victim: Victim, goal: Goal, state: Walk) -> Walk:
        keys = goal.keys(state.step + 1)
        fooled = fools(victim.logits(state.x, keys), goal)
        state = self.noted(goal, state, fooled, jnp.zeros(goal.y.shape, goal.x.dtype))
        asked, sphere, nearer = state.x, state.phase == _SPHERE, state.phase == _NEARER
        state, arrived = approached(self, goal, state, fooled, tries=self.tries, width=1e-3)

        walking = jnp.stack([sphere, nearer], axis=1)
        tried = state.tried + walking.astype(jnp.int32)
        held = state.held + (walking & fooled[:, None]).astype(jnp.int32)
        share = held.astype(jnp.float32) / jnp.maximum(tried, 1).astype(jnp.float32)
        full = tried >= jnp.array([_SPHERE_WINDOW, _NEARER_WINDOW], jnp.int32)[None]
        on_sphere = _factor(full[:, 0], share[:, 0], 0.2, 0.5)
        delta = state.delta * on_sphere
        epsilon = state.epsilon * on_sphere * _factor(full[:, 1], share[:, 1], 0.1, 0.25)

        # On the sphere it still fools: from there, nearer. Nearer it still fools: the walk is there now.
        far = choose(nearer & fooled, asked, state.far)
        ahead = sphere & fooled
        way = goal.x - asked
        distance, left = self.norm.size(far - goal.x), self.norm.size(way)
        # Clipping may have changed the distance; that is made good too.
        length = jnp.maximum(epsilon * distance + left - distance, 0.0) / jnp.maximum(left, 1e-12)
        closer = self.clip(asked + along(length, way) * way)
        turned = self.clip(goal.x + _turn(keys, far - goal.x, delta))
        x = choose(ahead, closer, choose(sphere | nearer | arrived, turned, state.x))
        phase = jnp.where(ahead, _NEARER, jnp.where(sphere | nearer | arrived, _SPHERE, state.phase))
        return dataclasses.replace(
            state,
            x=x,
            phase=phase,
            far=far,
            delta=delta,
            epsilon=epsilon,
            tried=jnp.where(full, 0, tried),
            held=jnp.where(full, 0, held),
            # Nearer, rounding decides which side a point is on.
            done=state.done | (epsilon < 1e-5),
        )


def _factor(full: Array, share: Array, few: float, many: float) -> Array:
    """How much longer steps become when this share of them was adversarial."""
    return jnp.where(full & (share > many), _ADAPT, jnp.where(full & (share < few), 1 / _ADAPT, 1.0))


def _turn(keys: Array, way: Array, delta: Array) -> Array:
    """The way from the original, turned at random by the angle whose tangent is delta; as long as it was."""
    drawn = jax.vmap(lambda key: jax.random.normal(key, way.shape[1:], way.dtype))(keys)
    unit = l2.steepest(way)
    dot = jnp.sum((drawn * unit).reshape(len(way), -1), axis=1)
    across = l2.steepest(drawn - along(dot, unit) * unit)
    turned = way + along(delta * l2.size(way), across) * across
    return turned / along(jnp.sqrt(1 + delta**2), turned)
