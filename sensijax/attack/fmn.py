"""Fast minimum-norm: a projected gradient step in a ball whose radius follows the boundary."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, Trace, clearly_fools
from sensijax.attack._norm import along, check_norm, l1, l2, linf
from sensijax.attack._victim import Victim
from sensijax.attack.ddn import cosine, farthest
from sensijax.attack.losses import margin
from sensijax.core.struct import static, struct


@struct
class FMNTrace(Trace):
    """Attributes: `epsilon`, `[B]` the radius of the ball that the next step is projected into."""

    epsilon: Float[Array, "B"]


class FMN(Attack):
    """Fast minimum-norm attack: gradient steps on the margin, each projected into a ball that shrinks and grows.

    Until the model is first fooled the radius is the distance at which the linearised margin is 0; then it shrinks by
    1 - gamma_k while the model is fooled and grows by 1 + gamma_k while it is not. Gamma and the step size fall along
    half a cosine. The margin is that to the strongest other class: where another class is nearer, `DDN` or `DeepFool`
    may find it. Starts at the example itself; no random number is drawn.

    Attributes:
      eps: only what is found within this distance counts; infinite unless given.
      norm: `l2`, `linf` or `l1`. (The paper's L0 is not here.)
      box: the closed range of valid inputs.
      alpha: the first step's size, in L2 whatever the norm; falls to a hundredth.
      gamma: by how much the radius changes at first, in (0, 1).
      gamma_last: and at the end.
      steps: gradient steps.

    Reference:
      Pintor, Roli, Brendel and Biggio, "Fast minimum-norm adversarial attacks through adaptive norm constraints",
      NeurIPS 2021, algorithm 1.

    Example:
      >>> import jax
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4]], np.float32), np.array([0])
      >>> FMN(norm="linf")(jax.random.key(0), model, x, y).distance.round(2).tolist()
      [0.10000000149011612]
    """

    eps: Any = np.inf
    norm: Any = static(default=l2)
    alpha: Any = 1.0
    gamma: Any = 0.05
    gamma_last: Any = 0.001
    steps: int = static(default=100)
    minimal = True
    deterministic = True

    def __post_init__(self):
        super().__post_init__()
        check_norm(type(self), self.norm, l2, linf, l1)

    @property
    def most_steps(self) -> int:
        return self.steps + 1

    def begin(self, goal: Goal) -> FMNTrace:
        return FMNTrace(**self.trace(goal, goal.x), epsilon=farthest(self, goal))

    def advance(self, victim: Victim, goal: Goal, state: FMNTrace) -> FMNTrace:
        gradient, f, logits = victim.gradient(margin, state.x, goal.y, goal.target, goal.keys(state.step + 1))
        fooled = clearly_fools(logits, goal)
        state = self.noted(goal, state, fooled, f)
        k = state.step.astype(jnp.float32)
        alpha = self.alpha * cosine(k, self.steps, 1.0, 0.01)
        gamma = self.gamma_last + (self.gamma - self.gamma_last) * cosine(k, self.steps, 1.0, 0.0)
        delta = state.x - goal.x
        # What lies on a face of the box and would leave it cannot move (the paper lets it, and clips).
        low, high = self.box
        held = (state.x <= low) & (gradient < 0) | (state.x >= high) & (gradient > 0)
        gradient = jnp.where(held, 0.0, gradient)
        # How fast the margin can rise with the distance in this norm is the gradient's dual norm.
        dual = {l2: l2, linf: l1, l1: linf}[self.norm]
        linear = self.norm.size(delta) + jnp.abs(f) / jnp.maximum(dual.size(gradient), 1e-12)
        # A hair farther, or rounding may end just before the boundary of a linear model for ever.
        linear = linear * (1 + self.gamma_last)
        outside = jnp.where(state.broken, state.epsilon * (1 + gamma), linear)
        inside = jnp.minimum(state.epsilon * (1 - gamma), state.distance)
        epsilon = jnp.minimum(jnp.where(fooled, inside, outside), farthest(self, goal))
        delta = delta + along(alpha, delta) * l2.steepest(gradient)
        return dataclasses.replace(state, x=self.clip(goal.x + self.norm.project(delta, epsilon)), epsilon=epsilon)
