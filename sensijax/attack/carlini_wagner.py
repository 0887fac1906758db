"""Carlini and Wagner's attack: the smallest L2 change, by Adam on a trade-off that a binary search finds."""

import dataclasses
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, Trace, clearly_fools
from sensijax.attack._norm import along, check_norm, choose, l2
from sensijax.attack._victim import Victim
from sensijax.attack.losses import margin
from sensijax.core.struct import static, struct

# Keeps arctanh finite at the box's faces; as in the authors' code.
_INSIDE = 0.999999
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@struct
class Search(Trace):
    """A descent, and the binary search around it.

    Attributes:
      c: `[B]` the weight of the misclassification in this round.
      low, high: `[B]` the weights between which it is sought; `high` is infinite until one has succeeded.
      inner: int32 `[B]` steps of this round.
      reached: bool `[B]` whether this round has fooled the model.
      worst: `[B]` the objective when it was last looked at, to end a round that makes no progress.
    """

    c: Float[Array, "B"]
    low: Float[Array, "B"]
    high: Float[Array, "B"]
    inner: Int[Array, "B"]
    reached: Bool[Array, "B"]
    worst: Float[Array, "B"]

    def weighed(self, over: Bool[Array, "B"]) -> Self:
        """The next round where this one is over: the weight halfway, or tenfold while none has succeeded."""
        low, high = jnp.where(self.reached, self.low, self.c), jnp.where(self.reached, self.c, self.high)
        c = jnp.where(jnp.isinf(high), self.c * 10, (low + jnp.where(jnp.isinf(high), 0.0, high)) / 2)
        return dataclasses.replace(
            self,
            c=jnp.where(over, c, self.c),
            low=jnp.where(over, low, self.low),
            high=jnp.where(over, high, self.high),
            inner=jnp.where(over, 0, self.inner),
            reached=self.reached & ~over,
            worst=jnp.where(over, jnp.inf, self.worst),
        )


def begun(goal: Goal, c: Float[Array, "B"]) -> dict[str, Array]:
    """The fields of a `Search` before its first round."""
    zero = jnp.zeros_like(c)
    return {
        "c": c,
        "low": zero,
        "high": zero + jnp.inf,
        "inner": jnp.zeros(goal.y.shape, jnp.int32),
        "reached": jnp.zeros(goal.y.shape, jnp.bool_),
        "worst": zero + jnp.inf,
    }


@struct
class DescentTrace(Search):
    """Attributes: `w`, `[B, ...]` the point in tanh space; `m`, `v` its Adam moments."""

    w: Array
    m: Array
    v: Array


class CarliniWagner(Attack):
    """Minimises `||x' - x||_2^2 + c f(x')` over `x' = tanh(w)`, scaled to the box, with `f` the margin above -kappa.

    Binary search over c, each round by Adam from the example itself. Slow, and hard to beat. The tanh keeps x' in the
    box without clipping; pixels exactly on a face start a hair inside, where they can move.

    Attributes:
      eps: only what is found within this distance counts; infinite unless given.
      norm: `l2`.
      box: the closed range of valid inputs.
      kappa: the margin by which the prediction is to be wrong; 0 unless given.
      c: the weight of the first round.
      learning_rate: Adam's.
      rounds: of the binary search; 9 as published.
      steps: of Adam, in each round. A round ends when a tenth of them has lowered the objective by less than 0.01 %.

    Reference:
      Carlini and Wagner, "Towards evaluating the robustness of neural networks", IEEE Symposium on Security and Privacy
      2017 (10,000 steps a round there).

    Example:
      >>> import jax
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4]], np.float32), np.array([0])
      >>> attack = CarliniWagner(c=1.0, rounds=5, steps=100)
      >>> attack(jax.random.key(0), model, x, y).distance.round(2).tolist()
      [0.14000000059604645]
    """

    eps: Any = np.inf
    norm: Any = static(default=l2)
    kappa: Any = 0.0
    c: Any = 1e-3
    learning_rate: Any = 0.01
    rounds: int = static(default=9)
    steps: int = static(default=1000)
    minimal = True
    deterministic = True

    def __post_init__(self):
        super().__post_init__()
        check_norm(type(self), self.norm, l2)

    @property
    def most_steps(self) -> int:
        return self.rounds * self.steps

    def begin(self, goal: Goal) -> DescentTrace:
        w = self._to_tanh(goal.x)
        zero = jnp.zeros_like(w)
        return DescentTrace(**self.trace(goal, self._from_tanh(w)), **begun(goal, self.c), w=w, m=zero, v=zero)

    def advance(self, victim: Victim, goal: Goal, state: DescentTrace) -> DescentTrace:
        def minus_f(logits: Array, y: Array, target: Array) -> Array:
            return jnp.minimum(margin(logits, y, target) - self.kappa, 0.0)

        gradient, each, logits = victim.gradient(minus_f, state.x, goal.y, goal.target, goal.keys(state.step + 1))
        state = self.noted(goal, state, clearly_fools(logits, goal), each)
        change = state.x - goal.x
        objective = l2.size(change) ** 2 - state.c * each

        scale = np.float32((self.box[1] - self.box[0]) / 2)
        slope = (2 * change - along(state.c, gradient) * gradient) * scale * (1 - jnp.tanh(state.w) ** 2)
        inner = state.inner + 1
        t = inner.astype(jnp.float32)
        m = _BETA1 * state.m + (1 - _BETA1) * slope
        v = _BETA2 * state.v + (1 - _BETA2) * slope**2
        m_hat = m / along(1 - jnp.float32(_BETA1) ** t, m)
        v_hat = v / along(1 - jnp.float32(_BETA2) ** t, v)
        w = state.w - along(self.learning_rate, m) * m_hat / (jnp.sqrt(v_hat) + _EPSILON)

        looked = inner % max(1, self.steps // 10) == 0
        stuck = looked & (objective > np.float32(0.9999) * state.worst)
        over = (inner >= self.steps) | stuck
        reached = clearly_fools(logits, goal) & (each >= 0)
        state = dataclasses.replace(
            state,
            inner=inner,
            reached=state.reached | reached,
            worst=jnp.where(looked, objective, state.worst),
        ).weighed(over)
        w = choose(over, self._to_tanh(goal.x), w)
        zero = jnp.zeros_like(m)
        return dataclasses.replace(state, x=self._from_tanh(w), w=w, m=choose(over, zero, m), v=choose(over, zero, v))

    def _to_tanh(self, x: Array) -> Array:
        low, high = self.box
        return jnp.arctanh(((x - low) * np.float32(2 / (high - low)) - 1) * np.float32(_INSIDE))

    def _from_tanh(self, w: Array) -> Array:
        low, high = self.box
        return self.clip(low + (jnp.tanh(w) + 1) * np.float32((high - low) / 2))
