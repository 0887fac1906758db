"""Projected gradient descent, and its first step alone."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, Trace, fools
from sensijax.attack._norm import along
from sensijax.attack._victim import Victim
from sensijax.attack.losses import Loss, cross_entropy
from sensijax.core.struct import static


class PGD(Attack):
    """Projected gradient descent: steps of constant size along the steepest direction, back into the ball.

    Ends an example at its first misclassified iterate, the start included. Where none is found, the iterate with the
    highest loss is the strongest attempt.

    Attributes:
      eps: the budget, in the norm's unit, > 0.
      norm: `linf`, `l2` or `l1`, or its name. In L1 a step moves one value. What the box holds back takes no part.
      box: the closed range of valid inputs.
      step_size: in the norm's unit; 2.5 eps / steps unless given, so that steps can cross the ball.
      steps: gradient steps.
      restarts: attempts from other random starts.
      start: whether to start at random in the ball; else at the example, and restarts are the same.
      loss: what is raised; see `sensijax.attack.losses`.

    Reference:
      Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards deep learning models resistant to adversarial attacks",
      ICLR 2018.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4], [0.9, 0.1]], np.float32), np.array([0, 0])
      >>> PGD(eps=0.2)(jax.random.key(0), model, x, y).robust.tolist()
      [False, True]
    """

    step_size: Any = None
    steps: int = static(default=40)
    restarts: int = static(default=1)
    start: bool = static(default=True)
    loss: Loss = static(default=cross_entropy)

    @property
    def most_steps(self) -> int:
        return self.steps + 1

    @property
    def attempts(self) -> int:
        return self.restarts

    def begin(self, goal: Goal) -> Trace:
        x = goal.x
        if self.start:
            x = self.clip(x + self.norm.draw(goal.keys(0), x, self.eps))
        return Trace(**self.trace(goal, x))

    def advance(self, victim: Victim, goal: Goal, state: Trace) -> Trace:
        gradient, loss, logits = victim.gradient(self.loss, state.x, goal.y, goal.target, goal.keys(state.step + 1))
        state = self.noted(goal, state, fools(logits, goal), loss)
        # A value at the box's edge cannot go on outwards: a step in L1, which moves one value, would stick at it.
        stuck = ((state.x <= self.box[0]) & (gradient < 0)) | ((state.x >= self.box[1]) & (gradient > 0))
        gradient = jnp.where(stuck, 0.0, gradient)
        size = self.eps * np.float32(2.5 / self.steps) if self.step_size is None else self.step_size
        return dataclasses.replace(
            state, x=self.within(goal, state.x + along(size, state.x) * self.norm.steepest(gradient))
        )


class FGSM(PGD):
    """The fast gradient sign method: one step of the whole budget from the example itself.

    In L2 the step goes along the gradient; in L1 into one value. An attack for comparison: it says little about
    robustness.

    Attributes:
      eps, norm, box, loss: as in `PGD`.

    Reference:
      Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015.
    """

    steps: int = static(default=1)
    start: bool = static(default=False)
    deterministic = True

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "step_size", self.eps)
