"""DeepFool: step by step to the nearest face of the linearised decision region."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, Trace, fools
from sensijax.attack._norm import along, check_norm, l1, l2, linf
from sensijax.attack._victim import Victim
from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static, struct

_PATIENCE = 10
# As in the authors' code: or steps that end just before the boundary would shrink to nothing there.
_HAIR = 1e-4


@struct
class DeepFoolTrace(Trace):
    """Attributes: `r`, `[B, ...]` the perturbation so far, before the overshoot."""

    r: Array


class DeepFool(Attack):
    """DeepFool: moves onto the nearest of the linearised boundaries to other classes, until the prediction is wrong.

    Fast, and close to the smallest distance; on a linear model without a box it is that distance, times
    1 + `overshoot`. Ends at the first misclassified iterate. Iterates are clipped to the box, which the paper
    does not know; from the tenth on, values on a face that would leave it are held, so that the others take over.

    Attributes:
      eps: only what is found within this distance counts; infinite unless given.
      norm: `l2` or `linf`.
      box: the closed range of valid inputs.
      overshoot: how far beyond the boundary, as a fraction of the way; > 0.
      steps: linearisations.
      candidates: how many classes are looked at, the label and those with the highest other logits; each costs a
        backward pass.

    Reference:
      Moosavi-Dezfooli, Fawzi and Frossard, "DeepFool: a simple and accurate method to fool deep neural networks", CVPR
      2016, algorithm 2; its candidates are picked once, from the clean logits, here from those of each iterate.

    Example:
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4]], np.float32), np.array([0])
      >>> DeepFool()(jax.random.key(0), model, x, y).distance.round(3).tolist()  # 0.1 * sqrt(2) * 1.02
      [0.14399999380111694]
    """

    eps: Any = np.inf
    norm: Any = static(default=l2)
    overshoot: Any = 0.02
    steps: int = static(default=50)
    candidates: int = static(default=10)
    minimal = True
    deterministic = True

    def __post_init__(self):
        super().__post_init__()
        check_norm(type(self), self.norm, l2, linf)
        if self.candidates < 2:
            raise ArgumentError("candidates", self.candidates, "at least 2: the label and another class")

    @property
    def backwards(self) -> int:  # type: ignore[override]
        return self.candidates

    @property
    def most_steps(self) -> int:
        return self.steps + 1

    def against(self, classes: int) -> "DeepFool":
        # No more candidates than there are classes, so that the backward passes are counted right.
        return dataclasses.replace(self, candidates=min(self.candidates, classes))

    def begin(self, goal: Goal) -> DeepFoolTrace:
        return DeepFoolTrace(**self.trace(goal, goal.x), r=jnp.zeros_like(goal.x))

    def advance(self, victim: Victim, goal: Goal, state: DeepFoolTrace) -> DeepFoolTrace:
        def classes(logits: Array) -> Array:
            others = jnp.where(jax.nn.one_hot(goal.y, logits.shape[1], dtype=jnp.bool_), -jnp.inf, logits)
            top = jax.lax.top_k(others, min(self.candidates, logits.shape[1]) - 1)[1].astype(jnp.int32)
            return jnp.concatenate([goal.y[:, None], top], axis=1)

        gradients, chosen, logits = victim.jacobian(state.x, classes)
        z = jnp.take_along_axis(logits, chosen, axis=1)
        f = z[:, 1:] - z[:, :1]  # [B, C - 1]
        fooled = fools(logits, goal)
        state = self.noted(goal, state, fooled, jnp.max(f, axis=1))
        w = gradients[1:] - gradients[:1]  # [C - 1, B, ...]
        # Where clipping has held the paper's steps back for some time, what lies on a face and would leave the box is
        # taken out, so that the others make up for it.
        low, high = self.box
        base = (goal.x + state.r)[None]
        held = ((base <= low) & (w < 0) | (base >= high) & (w > 0)) & along(state.step >= _PATIENCE, state.x)[None]
        w = jnp.where(held, 0.0, w)
        dual = l2 if self.norm == l2 else l1
        steepness = jnp.maximum(jax.vmap(dual.size)(w), 1e-12).T
        distance = jnp.abs(f) / steepness
        nearest = jnp.argmin(distance, axis=1)
        length = jnp.take_along_axis(distance, nearest[:, None], axis=1)[:, 0]
        w_nearest = jax.vmap(lambda w, i: w[i], in_axes=(1, 0))(w, nearest)
        step = along(length + np.float32(_HAIR * (high - low)), state.x) * self.norm.steepest(w_nearest)
        r = self.clip(goal.x + state.r + step) - goal.x
        x = self.clip(goal.x + along(1 + self.overshoot, r) * r)
        return dataclasses.replace(state, x=x, r=r, done=state.done | fooled)
