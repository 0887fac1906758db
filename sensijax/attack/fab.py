"""Fast adaptive boundary attack: back and forth across the boundary, ever nearer to the original."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, Trace, fools
from sensijax.attack._likely import likely_targets
from sensijax.attack._norm import along, check_norm, choose, l1, l2, linf
from sensijax.attack._plane import nearest, to_plane
from sensijax.attack._victim import Victim
from sensijax.attack.losses import margin, targeted_margin
from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static


class FAB(Attack):
    """Projects onto the linearised boundary, from the iterate and from the original, and mixes the two.

    The step onto the boundary is exact: the nearest point, in the norm, of the hyperplane within the box. What is
    misclassified is drawn back towards the original, and the nearest of such points counts; it breaks an example if it
    is within the budget.

    Attributes:
      eps: the budget, in the norm's unit, > 0; infinite where `minimal`, if any distance will do.
      norm: `linf`, `l2` or `l1`, or its name.
      box: the closed range of valid inputs.
      steps: iterations, each with one gradient and two evaluations.
      restarts: attempts; the first starts at the example, others at random within half of the budget.
      target_classes: boundaries towards that many of the most likely wrong classes, an attempt each; 0: in each step
        the nearest boundary to any of the `candidates`.
      candidates: without targets, how many logits are differentiated in each step, the label's and the highest others
        (the reference takes all).
      minimal: whether to look for the nearest adversarial example; else the first within the budget ends an example.
      alpha_max: the largest share of the point near the original.
      eta: the overshoot beyond the boundary.
      beta: what is left of the perturbation of a misclassified point.

    Reference:
      Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020.

    Example:
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4], [0.9, 0.1]], np.float32), np.array([0, 0])
      >>> FAB(eps=0.2, steps=10)(jax.random.key(0), model, x, y).distance.round(2).tolist()
      [0.10000000149011612, inf]
    """

    steps: int = static(default=100)
    restarts: int = static(default=1)
    target_classes: int = static(default=9)
    candidates: int = static(default=10)
    minimal: bool = static(default=True)  # type: ignore[misc]
    alpha_max: float = static(default=0.1)
    eta: float = static(default=1.05)
    beta: float = static(default=0.9)

    forwards = 2

    def __post_init__(self):
        super().__post_init__()
        check_norm(type(self), self.norm, linf, l2, l1)
        for name, least in (("steps", 1), ("restarts", 1), ("target_classes", 0), ("candidates", 2)):
            if getattr(self, name) < least:
                raise ArgumentError(name, getattr(self, name), f"at least {least}")

    @property
    def backwards(self) -> int:  # type: ignore[override]
        return 1 if self.target_classes else self.candidates

    @property
    def most_steps(self) -> int:
        return self.steps

    @property
    def attempts(self) -> int:
        return max(self.target_classes, 1) * self.restarts

    def targets(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        return likely_targets(logits, y, self.target_classes, self.restarts)

    def begin(self, goal: Goal) -> Trace:
        x = goal.x
        if self.restarts > 1 and goal.attempt is not None:
            diameter = self.norm.diameter(x.shape[1:], *self.box)
            delta = self.norm.draw(goal.keys(0), x, jnp.ones_like(self.eps))
            half = 0.5 * jnp.minimum(self.eps, diameter) / jnp.maximum(self.norm.size(delta), np.float32(1e-12))
            x = choose(goal.attempt % self.restarts == 0, x, self.clip(x + along(half, delta) * delta))
        return Trace(**self.trace(goal, x))

    def advance(self, victim: Victim, goal: Goal, state: Trace) -> Trace:
        x = state.x
        f, w = self._boundary(victim, goal, state)
        w = jnp.where(jnp.isfinite(w), w, 0.0)
        offset = jnp.sum((w * (x - goal.x)).reshape(len(x), -1), axis=1)
        both = to_plane(
            self.norm,
            jnp.concatenate([x, goal.x]),
            jnp.concatenate([w, w]),
            jnp.concatenate([f, f - offset]),
            self.box,
        )
        d, d_original = both[: len(x)], both[len(x) :]
        a = jnp.maximum(self.norm.size(d), np.float32(1e-8))
        a_original = jnp.maximum(self.norm.size(d_original), np.float32(1e-8))
        alpha = along(jnp.minimum(a / (a + a_original), np.float32(self.alpha_max)), x)
        moved = self.clip((1 - alpha) * (x + self.eta * d) + alpha * (goal.x + self.eta * d_original))

        logits = victim.logits(moved, goal.keys(state.step + 1))
        fooled = fools(logits, goal)
        within = self.norm.size(moved - goal.x) <= self.eps
        strength = jnp.where(within, margin(logits, goal.y, goal.target), -jnp.inf)
        state = self.noted(goal, dataclasses.replace(state, x=moved), fooled & within, strength)
        return dataclasses.replace(state, x=choose(fooled, goal.x + self.beta * (moved - goal.x), moved))

    def _boundary(self, victim: Victim, goal: Goal, state: Trace) -> tuple[Array, Array]:
        """Logit of the other class minus that of the label, `[B]`, and its gradient."""
        if self.target_classes:
            keys = goal.keys(state.step + 1)
            w, f, _ = victim.gradient(targeted_margin, state.x, goal.y, goal.target, keys)
            return f, w

        def classes(logits: Array) -> Array:
            label = jax.nn.one_hot(goal.y, logits.shape[1], dtype=jnp.bool_)
            others = jax.lax.top_k(jnp.where(label, -jnp.inf, logits), min(self.candidates, logits.shape[1]) - 1)[1]
            return jnp.concatenate([goal.y[:, None], others.astype(jnp.int32)], axis=1)

        gradients, chosen, logits = victim.jacobian(state.x, classes)
        z = jnp.take_along_axis(logits, chosen, axis=1)
        return nearest(self.norm, z[:, 1:] - z[:, :1], gradients[1:] - gradients[:1])
