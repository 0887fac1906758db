"""Projected gradient descent towards a class: success is that class's prediction, not any wrong one."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from sensijax.attack._goal import Goal, Trace
from sensijax.attack._norm import along
from sensijax.attack._victim import Victim
from sensijax.attack.losses import Loss, targeted_cross_entropy
from sensijax.attack.pgd import PGD
from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static


def reaches(logits: Float[Array, "B K"], goal: Goal) -> Bool[Array, "B"]:
    """Whether the prediction is the target. Not where a logit is NaN."""
    return (jnp.argmax(logits, axis=1).astype(jnp.int32) == goal.target) & ~jnp.any(jnp.isnan(logits), axis=1)


class TargetedPGD(PGD):
    """PGD towards a chosen class, or towards the classes that the clean prediction ranks next.

    An example is broken when the model predicts the target; a prediction that is wrong in another way does not count.
    With several ranks, the first target that is reached ends the example.

    Attributes:
      eps, norm, box, step_size, steps, restarts, start: as in `PGD`.
      target: the class to reach, an integer or one for each example `[N]`, never the label; None: by rank.
      ranks: which classes to try where no target is given, by their clean logit: 2 is the runner-up, K the least likely
        class. One attempt each, times `restarts`.
      loss: what is raised.

    Raises:
      ArgumentError: when called, if a target is the label or no class, or a rank is not in [2, K].

    Reference:
      Kurakin, Goodfellow and Bengio, "Adversarial machine learning at scale", ICLR 2017 (the least likely class);
      Madry et al., ICLR 2018.

    Example:
      >>> import jax
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.eye(3), name="the largest value")
      >>> x, y = np.array([[0.6, 0.5, 0.3]], np.float32), np.array([0])
      >>> [TargetedPGD(eps=0.1, target=t)(jax.random.key(0), model, x, y).robust.item() for t in (1, 2)]
      [False, True]
    """

    target: Any = None
    ranks: tuple[int, ...] = static(default=(2,))
    loss: Loss = static(default=targeted_cross_entropy)

    @property
    def attempts(self) -> int:
        return self.restarts * (len(self.ranks) if self.target is None else 1)

    def targets(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        classes = logits.shape[1]
        if self.target is not None:
            target = np.broadcast_to(np.asarray(self.target), y.shape).astype(np.int32)
            if ((target < 0) | (target >= classes)).any():
                raise ArgumentError("target", f"{target.min()} to {target.max()}", f"classes in [0, {classes})")
            if (target == y).any():
                count = int((target == y).sum())
                raise ArgumentError("target", f"the label of {count} examples", "another class for these, or leave out")
            return np.repeat(target[:, None], self.restarts, axis=1)
        if not self.ranks or not all(2 <= rank <= classes for rank in self.ranks):
            raise ArgumentError("ranks", f"{self.ranks}", f"ranks in [2, {classes}]; 1 is the prediction itself")
        order = np.argsort(-logits, axis=1, kind="stable")
        return np.tile(order[:, [rank - 1 for rank in self.ranks]], (1, self.restarts)).astype(np.int32)

    def advance(self, victim: Victim, goal: Goal, state: Trace) -> Trace:
        gradient, loss, logits = victim.gradient(self.loss, state.x, goal.y, goal.target, goal.keys(state.step + 1))
        state = self.noted(goal, state, reaches(logits, goal), loss)
        size = self.eps * np.float32(2.5 / self.steps) if self.step_size is None else self.step_size
        x = self.within(goal, state.x + along(size, state.x) * self.norm.steepest(gradient))
        return dataclasses.replace(state, x=x)
