"""The elastic-net attack: sparse changes, by shrinking steps on a trade-off that a binary search finds."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, clearly_fools
from sensijax.attack._norm import along, check_norm, choose, l1, l2
from sensijax.attack._victim import Victim
from sensijax.attack.carlini_wagner import Search, begun
from sensijax.attack.losses import margin
from sensijax.core.struct import static, struct


@struct
class ShrinkingTrace(Search):
    """Attributes: `slack`, `[B, ...]` the point ahead of x where the gradient is taken (the paper's y)."""

    slack: Array


class EAD(Attack):
    """The elastic-net attack: minimises `c f(x') + beta ||x' - x||_1 + ||x' - x||_2^2`, `f` the margin above -kappa.

    Fast iterative shrinkage-thresholding: changes below `beta` are set to 0, so that few values change. Of everything
    that fools the model the nearest in `norm` counts (the paper's decision rule "L1", if that is the norm).

    Attributes:
      eps: only what is found within this distance counts; infinite unless given.
      norm: `l1` or `l2`.
      box: the closed range of valid inputs.
      beta: the weight of the L1 norm, and the threshold of shrinking.
      kappa: the margin by which the prediction is to be wrong.
      c: the weight of f in the first round.
      learning_rate: the first step's; falls with the square root of the steps that remain.
      rounds: of the binary search over c; 9 as published.
      steps: in each round; 1000 as published. A round ends when a tenth of them has lowered the objective by less than
        0.01 %.

    Reference:
      Chen, Sharma, Zhang, Yi and Hsieh, "EAD: elastic-net attacks to deep neural networks via adversarial examples",
      AAAI 2018, algorithm 1.

    Example:
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[2.0, -2.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.5, 0.6]], np.float32), np.array([0])
      >>> attack = EAD(c=1.0, rounds=5, steps=100)
      >>> attack(jax.random.key(0), model, x, y).distance.round(2).tolist()  # the first value alone, by 0.2
      [0.20000000298023224]
    """

    eps: Any = np.inf
    norm: Any = static(default=l1)
    beta: Any = 0.01
    kappa: Any = 0.0
    c: Any = 1e-3
    learning_rate: Any = 0.01
    rounds: int = static(default=9)
    steps: int = static(default=1000)
    forwards: ClassVar[int] = 2  # the judged point, and the one ahead of it
    minimal = True
    deterministic = True

    def __post_init__(self):
        super().__post_init__()
        check_norm(type(self), self.norm, l1, l2)

    @property
    def most_steps(self) -> int:
        return self.rounds * self.steps

    def begin(self, goal: Goal) -> ShrinkingTrace:
        return ShrinkingTrace(**self.trace(goal, goal.x), **begun(goal, self.c), slack=goal.x)

    def advance(self, victim: Victim, goal: Goal, state: ShrinkingTrace) -> ShrinkingTrace:
        def minus_f(logits: Array, y: Array, target: Array) -> Array:
            return jnp.minimum(margin(logits, y, target) - self.kappa, 0.0)

        keys = goal.keys(state.step + 1)
        logits = victim.logits(state.x, keys)
        each = minus_f(logits, goal.y, goal.target)
        fooled = clearly_fools(logits, goal)
        state = self.noted(goal, state, fooled, each)
        change = state.x - goal.x
        objective = l2.size(change) ** 2 + self.beta * l1.size(change) - state.c * each

        gradient, _, _ = victim.gradient(minus_f, state.slack, goal.y, goal.target, keys)
        k = state.inner.astype(jnp.float32)
        alpha = self.learning_rate * jnp.sqrt(1 - k * np.float32(1 / self.steps))
        slope = 2 * (state.slack - goal.x) - along(state.c, gradient) * gradient
        x = goal.x + shrink(state.slack - along(alpha, slope) * slope - goal.x, self.beta)
        x = self.clip(x)
        slack = x + along(k / (k + 3), x) * (x - state.x)

        inner = state.inner + 1
        looked = inner % max(1, self.steps // 10) == 0
        stuck = looked & (objective > np.float32(0.9999) * state.worst)
        over = (inner >= self.steps) | stuck
        state = dataclasses.replace(
            state,
            inner=inner,
            reached=state.reached | fooled & (each >= 0),
            worst=jnp.where(looked, objective, state.worst),
        ).weighed(over)
        return dataclasses.replace(state, x=choose(over, goal.x, x), slack=choose(over, goal.x, slack))


def shrink(delta: Array, beta: Array) -> Array:
    """Every change smaller by beta, those below it 0: `[B, ...]` and `[B]`.

    Example:
      >>> shrink(jnp.array([[0.5, -0.1]]), jnp.array([0.2])).round(1).tolist()
      [[0.30000001192092896, -0.0]]
    """
    return jnp.sign(delta) * jax.nn.relu(jnp.abs(delta) - along(beta, delta))
