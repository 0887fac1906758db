"""The contract of an attack: state in, state out, one evaluation of the model for each row at a time."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from sensijax.attack._door import admit, check_budget
from sensijax.attack._goal import Goal, Trace
from sensijax.attack._norm import as_norm, choose, linf
from sensijax.attack._pursuit import Examples, Loop, Pursued, pursue
from sensijax.attack._result import AttackResult, gather
from sensijax.attack._setting import Setting
from sensijax.attack._victim import Victim
from sensijax.attack.flags._diagnose import flagged
from sensijax.core import Model
from sensijax.core.struct import static, struct

S = TypeVar("S", bound=Trace)


@struct
@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, dataclasses.field))
class Attack:
    """A frozen pytree, like a perturbation: budgets are leaves (a robustness curve is one sweep), counts are static.

    A subclass states its fields, `begin` and `advance`; the loop around them, restarts, batches and bookkeeping are
    everybody's (`pursue`). Both work on rows `[B, ...]` that know nothing of each other, so a row's outcome does not
    depend on the batch it is in. Inside of them every leaf is `[B]`.

    Attributes:
      eps: the budget, in the norm's unit, > 0; 0 is no attack at all.
      norm: a `Norm`, or its name.
      box: the closed range of valid inputs.

    Class attributes:
      forwards, backwards: passes through the model that one `advance` costs a row.
      minimal: True if the attack looks for the nearest adversarial example: a row goes on after the first one, and of
        several attempts the nearest counts. False: the first one ends the row.
      deterministic: True if no random number is drawn.
      carries: fields of the state that are handed back for every example beside `found`, numbers `[B, ...]`.
    """

    eps: Any
    norm: Any = static(default=linf)
    box: tuple[float, float] = static(default=(0.0, 1.0))

    forwards: ClassVar[int] = 1
    backwards: ClassVar[int] = 1
    minimal: ClassVar[bool] = False
    deterministic: ClassVar[bool] = False
    carries: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        struct(cls)

    def __post_init__(self):
        object.__setattr__(self, "norm", as_norm(self.norm))

    # --- what a subclass states --------------------------------------------------------------------------------------

    @property
    def most_steps(self) -> int:
        """No attempt takes more evaluations."""
        raise NotImplementedError

    @property
    def attempts(self) -> int:
        """Attempts on each example: restarts, or targets, or both."""
        return 1

    def targets(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The target class of each attempt, int32 `[N, attempts]`, from clean logits `[N, K]`; -1: any other."""
        return np.full((len(y), self.attempts), -1, np.int32)

    def begin(self, goal: Goal) -> Any:
        """The state of attempts that start now; without a look at the model."""
        raise NotImplementedError

    def advance(self, victim: Victim, goal: Goal, state: Any) -> Any:
        """Evaluates the model at `state.x`, takes note (`noted`), and says in `x` where to look next.

        The loop counts `step`, ends rows at `most_steps` or when they are broken (unless `minimal`), and freezes rows
        that are done; an attack may set `done` earlier.
        """
        raise NotImplementedError

    def is_identity(self) -> Any:
        """Whether the budget is 0: a (traced) boolean."""
        return jnp.asarray(self.eps) == 0

    def against(self, classes: int) -> "Attack":
        """The attack on a model of so many classes: itself, unless a count of its own must not exceed that."""
        return self

    def parts(self) -> tuple[tuple[str, "Attack"], ...]:
        """The attacks that this one consists of, by name, in the order in which they are made: itself, alone."""
        return ((type(self).__name__, self),)

    # --- what subclasses share ---------------------------------------------------------------------------------------

    def trace(self, goal: Goal, x: Array) -> dict[str, Array]:
        """The common fields of a state that starts at `x`: `State(**self.trace(goal, x), ...)`."""
        rows = goal.y.shape
        return {
            "x": x,
            "step": jnp.zeros(rows, jnp.int32),
            "found": goal.x,
            "broken": jnp.zeros(rows, jnp.bool_),
            "distance": jnp.full(rows, jnp.inf, goal.x.dtype),
            "strength": jnp.full(rows, -jnp.inf, goal.x.dtype),
            "done": jnp.zeros(rows, jnp.bool_),
        }

    def clip(self, x: Array) -> Array:
        """Into the box."""
        return jnp.clip(x, *self.box)

    def within(self, goal: Goal, x: Array) -> Array:
        """The points moved into the ball around the originals, and into the box.

        Clipping to the box makes no change larger, for originals lie in it: the ball still holds them.
        """
        return self.clip(goal.x + self.norm.project(x - goal.x, self.eps))

    def noted(
        self,
        goal: Goal,
        state: S,
        fooled: Bool[Array, "B"],
        strength: Float[Array, "B"],
        distance: Float[Array, "B"] | None = None,
    ) -> S:
        """The state that remembers `state.x`, if it is the first adversarial example (`minimal`: the nearest, within
        the budget), or while there is none, the strongest attempt. NaN is never the strongest. The distance is that in
        the norm, unless the attack measures another."""
        far = self.norm.size(state.x - goal.x) if distance is None else distance
        nearer = (far < state.distance) & (far <= self.eps)
        better = fooled & nearer if self.minimal else fooled & ~state.broken
        stronger = ~state.broken & ~fooled & (strength > state.strength)
        return dataclasses.replace(
            state,
            found=choose(better | stronger, state.x, state.found),
            broken=state.broken | better,
            distance=jnp.where(better, far, state.distance),
            strength=jnp.where(stronger, strength, state.strength),
        )

    # --- what a user calls -------------------------------------------------------------------------------------------

    def __call__(
        self,
        key: Array,
        model: Model,
        x: Any,
        y: Any,
        *,
        ids: Any = None,
        loop: Loop | None = None,
        diagnose: bool = True,
    ) -> AttackResult:
        """Attacks examples.

        Args:
          key: a typed PRNG key. Every draw is addressed by (key, example id, attempt, step).
          model: logits `[B, K]` of a batch.
          x: float32 `[N, ...]` in the box.
          y: integer labels `[N]`.
          ids: distinct integers `[N]`; 0..N-1 unless given. With the same ids, a verdict depends neither on the order
            of the examples nor on which others are attacked in the same call.
          loop: how to run; `Loop.here()` unless given.
          diagnose: whether to look for flags too (`sensijax.attack.flags._diagnose`, which says what that costs).

        Returns:
          The outcome of every example. Misclassified ones are counted and not attacked; those with logits that are not
          finite have a status of their own, and are never counted robust.

        Raises:
          ArgumentError: if x leaves the box or is not finite, labels are out of range, shapes do not fit, or the
            budget is none.
        """
        loop = loop or Loop.here()
        victim = Victim.of(model)
        check_budget(self, np.shape(x)[1:])
        admitted = admit(victim, key, x, y, ids, self.box, loop)
        pursued = rows_of(self, admitted.index).carry_out(victim, admitted.attacked, admitted.logits, loop)
        names = tuple(name for name, _ in self.parts())
        result = gather(names, admitted, pursued, setting=Setting.of(self, key, model))
        result = self.told(result, admitted.index, pursued)
        return flagged(result, key, model, self) if diagnose else result

    def told(self, result: AttackResult, index: np.ndarray, pursued: list[Pursued]) -> AttackResult:
        """The result with what else the attack has to tell: its `carries` are in `pursued[0].carried`, one row for each
        example that was attacked, whose numbers are `index`."""
        return result

    def carry_out(
        self,
        victim: Victim,
        examples: Examples,
        logits: np.ndarray,
        loop: Loop,
        progress: Callable[[int, int], None] = lambda ended, total: None,
    ) -> list[Pursued]:
        """Makes every part on what the earlier ones have left.

        Args:
          victim: the model.
          examples: N that are correct; leaves of the attack are scalars or `[N]`.
          logits: `[N, K]` of them.
          loop: how to run.
          progress: as in `pursue`, once for every part.

        Returns:
          An outcome of all N examples for each part; those that were broken before are not broken, at no cost.
        """
        outcomes, left = [], np.arange(len(examples))
        for name, part in self.against(logits.shape[1]).parts():
            chosen = rows_of(part, left)
            found = pursue(
                chosen,
                victim,
                examples.take(left).under(name),
                chosen.targets(logits[left], examples.y[left]),
                loop,
                progress=progress,
            )
            outcomes.append(found.spread(left, examples))
            left = left[~found.broken]
        return outcomes


def rows_of(attack: Attack, index: Any) -> Attack:
    """The attack on some examples: leaves `[N]` are taken at `index`, scalars stay."""
    return jax.tree.map(lambda leaf: leaf if np.ndim(leaf) == 0 else leaf[index], attack)
