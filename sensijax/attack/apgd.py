"""Auto-PGD: gradient ascent that chooses its own step size."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from sensijax.attack._ascent import MomentumRule, SparseRule
from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, fools
from sensijax.attack._likely import likely_targets
from sensijax.attack._norm import l1
from sensijax.attack._victim import Victim
from sensijax.attack.losses import Loss, cross_entropy, targeted_dlr
from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static

_RULES = {l1: SparseRule}  # every other norm: `MomentumRule`


class APGD(Attack):
    """Projected gradient ascent whose step size halves, from the best point found, when the loss stops rising.

    Starts at random on the surface of the ball. In L-infinity and L2 steps have momentum, and are checked after 22 % of
    them and then ever more often. In L1 steps are sparse, the projection is onto ball and box together, and the ball
    shrinks from three times the budget.

    Ends an example at its first misclassified iterate within the budget, where the reference goes on to the last step
    and hands back the last one: the verdicts are the same. What is not a number in a gradient counts as 0.

    Attributes:
      eps: the budget, in the norm's unit, > 0.
      norm: `linf`, `l2` or `l1`, or its name.
      box: the closed range of valid inputs.
      steps: gradient steps, >= 1; one evaluation more (L1: three).
      restarts: attempts from other random starts; with targets, towards each.
      loss: what is raised: `losses.cross_entropy`, `losses.dlr`, `losses.targeted_dlr`, or any other.
      target_classes: 0 for attempts towards no class in particular; else that many, towards those with the highest
        clean logits after the label's (all there are, if fewer). Any misclassification counts.
      rho: the share of steps between two checks that must raise the loss.

    Reference:
      Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
      attacks", ICML 2020, algorithm 1; for L1, "Mind the box: l1-APGD for sparse adversarial attacks on image
      classifiers", ICML 2021. Agrees with the authors' code, including that the first check counts the first loss as
      a rise if it is above 0; draws are other ones. For models with randomness the authors' code judges by the last
      of its draws, `RandomModel` by its mean.

    Example:
      >>> import jax
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4], [0.9, 0.1]], np.float32), np.array([0, 0])
      >>> APGD(eps=0.2, steps=10)(jax.random.key(0), model, x, y).robust.tolist()
      [False, True]
    """

    steps: int = static(default=100)
    restarts: int = static(default=1)
    loss: Loss = static(default=cross_entropy)
    target_classes: int = static(default=0)
    rho: float = static(default=0.75)

    def __post_init__(self):
        super().__post_init__()
        for name, least in (("steps", 1), ("restarts", 1), ("target_classes", 0)):
            if getattr(self, name) < least:
                raise ArgumentError(name, getattr(self, name), f"at least {least}")

    @property
    def most_steps(self) -> int:
        return self._rule.evaluations(self.steps)

    @property
    def attempts(self) -> int:
        return max(self.target_classes, 1) * self.restarts

    @property
    def _rule(self) -> Any:
        return _RULES.get(self.norm, MomentumRule)

    def targets(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        return likely_targets(logits, y, self.target_classes, self.restarts)

    def begin(self, goal: Goal) -> Any:
        return self._rule.begin(self, goal)

    def advance(self, victim: Victim, goal: Goal, state: Any) -> Any:
        gradient, loss, logits = victim.gradient(self.loss, state.x, goal.y, goal.target, goal.keys(state.step + 1))
        gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
        return self._rule.advance(self, goal, state, gradient, loss, fools(logits, goal))


class APGDT(APGD):
    """Auto-PGD towards the nine most likely wrong classes, one after the other, on the targeted ratio of logits.

    Needs 4 classes, for `losses.targeted_dlr`.

    Attributes:
      eps, norm, box, steps, restarts, loss, target_classes, rho: as in `APGD`.
    """

    loss: Loss = static(default=targeted_dlr)
    target_classes: int = static(default=9)
