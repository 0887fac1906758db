"""Attacks through a perturbation: the worst fog, not the average one.

A perturbation on a severity scale draws its random field from a key, so that an adversary has two things to choose,
both within what the scale allows: the severity, along the gradient of the model's loss through the perturbation, and
the field, by trying addressed draws.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, Trace, fools
from sensijax.attack._norm import choose
from sensijax.attack._parameters import Parameters, is_new, pulled, slopes
from sensijax.attack._pursuit import Pursued
from sensijax.attack._result import AttackResult
from sensijax.attack._victim import Victim
from sensijax.attack.losses import Loss, cross_entropy
from sensijax.core.errors import ArgumentError
from sensijax.core.keys import GENERATOR
from sensijax.core.struct import static, struct
from sensijax.perturb import Perturbation
from sensijax.perturb.image.bounded import _Code

severity = Parameters("severity", 5.0)
"""The budget of an attack through a perturbation: the highest severity on its own scale."""


@struct
class SeverityTrace(Trace):
    """The state between two evaluations.

    Attributes:
      at: `[B, P]` the severities to evaluate next.
      field: uint32 `[B, 2]` the raw key of the perturbation's draws; the same through an attempt.
      found_at, found_field: those of `found`.
    """

    at: Float[Array, "B P"]
    field: UInt32[Array, "B 2"]
    found_at: Float[Array, "B P"]
    found_field: UInt32[Array, "B 2"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ThroughResult(AttackResult):
    """An `AttackResult` that knows how each adversarial example was made.

    `result.perturbation(i)(result.key(i), x[i])` is `x_adv[i]` again, but for last bits: another program rounds
    otherwise (below 1e-6 in everything measured).

    Attributes:
      severity: float32 `[N, P]`: of the whole scale (P = 1), or of each of its parameters (`apart`), for what is
        broken, and elsewhere of the strongest attempt.
      key_data: uint32 `[N, 2]`: the raw key of the draws.
      attack: the attack, which knows the scale.
    """

    severity: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 1), np.float32))
    key_data: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.uint32))
    attack: "Through | None" = None

    def perturbation(self, i: int) -> Perturbation:
        """The perturbation that row i was attacked with."""
        assert self.attack is not None
        return _perturbation(self.attack, jnp.asarray(self.severity[i]))

    def key(self, i: int) -> Array:
        """The typed key of its draws."""
        return jax.random.wrap_key_data(jnp.asarray(self.key_data[i]), impl=GENERATOR)


class Through(Attack):
    """The worst case of a perturbation within a severity: adversarial fog, blur, noise, or a chain of them.

    Each attempt draws a random field (an addressed key) and keeps it. It is tried at the severity `eps` first; then the
    severities ascend the loss from a random place in [0, eps], by the gradient through the model and the perturbation.
    Where that is 0, as of an operation that only rounds, the next severity is drawn at random instead. The first
    misclassification ends an example; how severe the perturbation was there is the result's `distance`.

    Works for everything with `.at(severity)` on a scale from 0 to 5: a perturbation's class, or
    `sensijax.perturb.chain(...)`. What is found is no accident of a random draw but one that the scale allows; the
    share that survives *some* draws is what a campaign measures.

    Attributes:
      eps: the highest severity, in (0, 5]: a curve over it is one sweep.
      box: the closed range of valid inputs; an output outside of it never counts.
      scale: the perturbation's class, or a chain of classes.
      options: what else its `at` is given, such as `{"size": 32}`.
      apart: whether each parameter of the perturbation has a severity of its own: all in [0, eps], so that each lies
        where the scale may put it, but together they may be where it never is (dense *and* fine-grained fog). Else
        they go along the scale together.
      draws: random fields that are tried, >= 1. More than one is waste where the perturbation is deterministic.
      steps: steps of ascent in each; 0: only the severity `eps` itself, the best of `draws` fields.
      step_size: in severities; 2.5 eps / steps unless given.
      loss: what is raised.

    Raises:
      ArgumentError: if there is no scale, or `draws` < 1; when called, if the budget is beyond the scale.

    Reference:
      The idea of worst-case corruptions: Kang, Sun, Hendrycks, Brown and Steinhardt, "Testing robustness against
      unforeseen adversaries", 2019 (there with corruptions rewritten for the purpose, fog among them).

    Example:
      >>> from sensijax.core import Model
      >>> from sensijax.perturb import image
      >>> model = Model(lambda w, x: jnp.stack([x.mean((1, 2, 3)), 0.7 + 0 * x[:, 0, 0, 0]], 1), 0, name="bright?")
      >>> x, y = np.full((1, 8, 8, 1), 0.5, np.float32), np.array([1])
      >>> attack = Through(eps=5.0, scale=image.Brightness)
      >>> result = attack(jax.random.key(0), model, x, y)
      >>> result.severity.tolist()
      [[5.0]]
      >>> bool(jnp.allclose(result.perturbation(0)(result.key(0), x[0]), result.x_adv[0], atol=1e-6))
      True
    """

    norm: Any = static(default=severity)
    scale: Any = static(default=None)
    options: Any = static(default=())
    apart: bool = static(default=False)
    draws: int = static(default=10)
    steps: int = static(default=10)
    step_size: Any = None
    loss: Loss = static(default=cross_entropy)
    carries: ClassVar = ("found_at", "found_field")

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.options, Mapping):
            object.__setattr__(self, "options", tuple(sorted(self.options.items())))
        if isinstance(self.scale, _Code):  # a copy of another attack
            return
        if not hasattr(self.scale, "at") or isinstance(self.scale, Perturbation):
            came = "none" if self.scale is None else type(self.scale).__name__
            raise ArgumentError(
                "scale", came, "a perturbation's class, or chain(...) of them: what has `.at(severity)`"
            )
        if self.draws < 1:
            raise ArgumentError("draws", self.draws, "at least one random field")
        if self.norm != severity:
            raise ArgumentError("norm", str(self.norm), "an attack through a perturbation is bounded by its severity")
        # A campaign's digests need a name for code in a static field.
        object.__setattr__(self, "scale", _Code(self.scale))

    @property
    def most_steps(self) -> int:
        return self.steps + 1

    @property
    def attempts(self) -> int:
        return self.draws

    def perturbation(self, at: Float[Array, "P"]) -> Perturbation:
        """The perturbation at severities: one for the whole scale, or one for each of its parameters."""
        if not self.apart:
            return self.scale.held.at(at[0], **dict(self.options))
        leaves = [jax.tree.leaves(self.scale.held.at(at[i], **dict(self.options)))[i] for i in range(len(at))]
        return jax.tree.unflatten(jax.tree.structure(self.scale.held.at(at[0], **dict(self.options))), leaves)

    def begin(self, goal: Goal) -> SeverityTrace:
        whole = jax.eval_shape(lambda: self.scale.held.at(jnp.float32(0), **dict(self.options)))
        parameters = len(jax.tree.leaves(whole)) if self.apart else 1
        at = jnp.broadcast_to(self.eps[:, None], (len(goal.y), parameters))
        field = jax.random.key_data(goal.keys(0))
        return SeverityTrace(**self.trace(goal, goal.x), at=at, field=field, found_at=at, found_field=field)

    def advance(self, victim: Victim, goal: Goal, state: SeverityTrace) -> SeverityTrace:
        fields = jax.random.wrap_key_data(state.field, impl=GENERATOR)

        def perturbed(at: Array) -> Array:
            return jax.vmap(lambda at, key, x: self.perturbation(at)(key, x))(at, fields, goal.x)

        keys = goal.keys(state.step + 1)
        x, tangents = slopes(perturbed, state.at)
        gradient, loss, logits = victim.gradient(self.loss, x, goal.y, goal.target, keys)
        low, high = self.box
        inside = jnp.all(((x >= low) & (x <= high)).reshape(len(x), -1), axis=1)
        before = dataclasses.replace(state, x=x)
        after = self.noted(goal, before, fools(logits, goal) & inside, loss, jnp.max(state.at, axis=1))
        new = is_new(after, before)

        slope = pulled(gradient, tangents)
        size = self.eps * np.float32(2.5 / max(1, self.steps)) if self.step_size is None else self.step_size
        ascended = jnp.clip(state.at + size[:, None] * jnp.sign(slope), 0.0, self.eps[:, None])
        drawn = self.eps[:, None] * jax.vmap(
            lambda key: jax.random.uniform(jax.random.fold_in(key, 0), state.at.shape[1:], jnp.float32)
        )(keys)
        lost = (state.step == 0) | jnp.all(slope == 0, axis=1)
        return dataclasses.replace(
            after,
            at=choose(lost, drawn, ascended),
            found_at=choose(new, state.at, state.found_at),
            found_field=choose(new, state.field, state.found_field),
        )

    def told(self, result: AttackResult, index: np.ndarray, pursued: list[Pursued]) -> ThroughResult:
        carried = pursued[0].carried
        width = carried["found_at"].shape[1] if carried else 1
        at, key_data = np.zeros((len(result), width), np.float32), np.zeros((len(result), 2), np.uint32)
        if carried:
            at[index], key_data[index] = carried["found_at"], carried["found_field"]
        fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
        return ThroughResult(**fields, severity=at, key_data=key_data, attack=self)


@jax.jit
def _perturbation(attack: Through, at: Float[Array, "P"]) -> Perturbation:
    return attack.perturbation(at)
