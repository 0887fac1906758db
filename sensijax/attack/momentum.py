"""The momentum iterative method: PGD whose direction remembers the earlier gradients."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, Trace, fools
from sensijax.attack._norm import along, l1
from sensijax.attack._victim import Victim
from sensijax.attack.losses import Loss, cross_entropy
from sensijax.core.struct import static, struct


@struct
class MomentumTrace(Trace):
    """Attributes: `g`, `[B, ...]` the accumulated gradient."""

    g: Array


class MIM(Attack):
    """The momentum iterative method: `g <- mu g + gradient / ||gradient||_1`, a step of constant size along it.

    Momentum keeps the direction where gradients change from step to step, so that what is found on one model more often
    fools another (`Transfer`). Starts at the example itself; no random number is drawn.

    Attributes:
      eps: the budget, in the norm's unit, > 0.
      norm: `linf`, `l2` or `l1`, or its name. In L1 a step moves one value.
      box: the closed range of valid inputs.
      mu: how much of the accumulated gradient is kept; 1 as published, 0 is the iterative method without momentum.
      alpha: the step size, in the norm's unit; eps / steps unless given.
      steps: gradient steps; 10 as published.
      loss: what is raised.

    Reference:
      Dong, Liao, Pang, Su, Zhu, Hu and Li, "Boosting adversarial attacks with momentum", CVPR 2018, algorithm 1.

    Example:
      >>> import jax
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4], [0.9, 0.1]], np.float32), np.array([0, 0])
      >>> MIM(eps=0.2)(jax.random.key(0), model, x, y).robust.tolist()
      [False, True]
    """

    mu: Any = 1.0
    alpha: Any = None
    steps: int = static(default=10)
    loss: Loss = static(default=cross_entropy)
    deterministic = True

    @property
    def most_steps(self) -> int:
        return self.steps + 1

    def begin(self, goal: Goal) -> MomentumTrace:
        return MomentumTrace(**self.trace(goal, goal.x), g=jnp.zeros_like(goal.x))

    def advance(self, victim: Victim, goal: Goal, state: MomentumTrace) -> MomentumTrace:
        gradient, loss, logits = victim.gradient(self.loss, state.x, goal.y, goal.target, goal.keys(state.step + 1))
        state = self.noted(goal, state, fools(logits, goal), loss)
        unit = gradient / along(jnp.maximum(l1.size(gradient), 1e-12), gradient)
        g = along(self.mu, unit) * state.g + unit
        alpha = self.eps * np.float32(1 / self.steps) if self.alpha is None else self.alpha
        x = self.within(goal, state.x + along(alpha, g) * self.norm.steepest(g))
        return dataclasses.replace(state, x=x, g=g)
