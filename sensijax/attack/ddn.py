"""Decoupled direction and norm: the gradient gives the direction, whether the model is fooled the length."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, Trace, clearly_fools
from sensijax.attack._norm import along, check_norm, l2
from sensijax.attack._victim import Victim
from sensijax.attack.losses import Loss, cross_entropy
from sensijax.core.struct import static, struct


@struct
class DDNTrace(Trace):
    """Attributes: `epsilon`, `[B]` the length of the perturbation that is evaluated next."""

    epsilon: Float[Array, "B"]


class DDN(Attack):
    """Decoupled direction and norm: steps along the gradient, then rescales the perturbation to the length epsilon.

    Epsilon shrinks by a factor of 1 - gamma while the model is fooled and grows by 1 + gamma while it is not, so the
    iterates cross the boundary again and again, ever nearer to its closest point. Starts at the example itself; no
    random number is drawn. The paper's rounding to grey levels is left out.

    Attributes:
      eps: only what is found within this distance counts; infinite unless given.
      norm: `l2`.
      box: the closed range of valid inputs.
      epsilon: the first length.
      gamma: by how much the length changes, in (0, 1).
      alpha: the first step's size; falls to a hundredth along half a cosine.
      steps: gradient steps.
      loss: what is raised.

    Reference:
      Rony, Hafemann, Oliveira, Ben Ayed, Sabourin and Granger, "Decoupling direction and norm for efficient
      gradient-based L2 adversarial attacks and defenses", CVPR 2019, algorithm 1.

    Example:
      >>> import jax
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4]], np.float32), np.array([0])
      >>> DDN()(jax.random.key(0), model, x, y).distance.round(2).tolist()
      [0.14000000059604645]
    """

    eps: Any = np.inf
    norm: Any = static(default=l2)
    epsilon: Any = 1.0
    gamma: Any = 0.05
    alpha: Any = 1.0
    steps: int = static(default=100)
    loss: Loss = static(default=cross_entropy)
    minimal = True
    deterministic = True

    def __post_init__(self):
        super().__post_init__()
        check_norm(type(self), self.norm, l2)

    @property
    def most_steps(self) -> int:
        return self.steps + 1

    def begin(self, goal: Goal) -> DDNTrace:
        return DDNTrace(**self.trace(goal, goal.x), epsilon=self.epsilon)

    def advance(self, victim: Victim, goal: Goal, state: DDNTrace) -> DDNTrace:
        gradient, loss, logits = victim.gradient(self.loss, state.x, goal.y, goal.target, goal.keys(state.step + 1))
        fooled = clearly_fools(logits, goal)
        state = self.noted(goal, state, fooled, loss)
        k = state.step.astype(jnp.float32)
        alpha = self.alpha * cosine(k, self.steps, 1.0, 0.01)
        delta = state.x - goal.x + along(alpha, gradient) * self.norm.steepest(gradient)
        # The original itself is not fooled: the first length is tried as it is.
        factor = jnp.where(state.step == 0, 1.0, jnp.where(fooled, 1 - self.gamma, 1 + self.gamma))
        epsilon = jnp.minimum(state.epsilon * factor, farthest(self, goal))
        unit = delta / along(jnp.maximum(self.norm.size(delta), 1e-12), delta)
        return dataclasses.replace(state, x=self.clip(goal.x + along(epsilon, unit) * unit), epsilon=epsilon)


def cosine(k: Float[Array, "B"], steps: int, first: float, last: float) -> Float[Array, "B"]:
    """From `first` at step 0 to `last` at `steps`, along half a cosine.

    Example:
      >>> cosine(jnp.arange(3.0), 2, 1.0, 0.0).round(2).tolist()
      [1.0, 0.5, 0.0]
    """
    return last + (first - last) * np.float32(0.5) * (1 + jnp.cos(k * np.float32(np.pi / steps)))


def farthest(attack: Attack, goal: Goal) -> Float[Array, "B"]:
    """The distance of the box's farthest point from each original: no perturbation is longer."""
    low, high = attack.box
    return attack.norm.size(jnp.maximum(goal.x - low, high - goal.x))
