"""A universal perturbation: one change that fools the model on most inputs."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.attack._door import admit, check_budget, clean_logits
from sensijax.attack._norm import as_norm, linf
from sensijax.attack._pursuit import Loop, Pursued
from sensijax.attack._result import AttackResult, gather
from sensijax.attack._setting import Setting
from sensijax.attack._victim import Victim, predictions
from sensijax.attack.losses import Loss, cross_entropy
from sensijax.core import Model
from sensijax.core.errors import ArgumentError
from sensijax.core.keys import GENERATOR, stage_words


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class UniversalResult(AttackResult):
    """An `AttackResult` with the perturbation: `x_adv` of what is broken is `clip(x + delta, *box)`.

    Attributes:
      delta: float32 `[...]`, of one example's shape; within the budget.
      fooled: the share of correctly classified examples that it fools.
    """

    delta: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    fooled: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Universal:
    """One perturbation for all examples, by projected gradient steps on minibatches.

    Unlike in every other attack the examples are coupled: another set of examples gives another perturbation. It is a
    function of (key, the examples with their ids, `batch`): the examples are taken in the order of their ids and
    shuffled by addressed draws, so the order in which they are given changes nothing. To measure how it generalises,
    make it on one set and apply `delta` to another (`judge`).

    Attributes:
      eps: the budget, in the norm's unit, > 0.
      norm: `linf`, `l2` or `l1`, or its name.
      box: the closed range of valid inputs.
      epochs: passes over the examples; after each, the perturbation is judged on all of them, and the best is kept.
      batch: examples in a step.
      step_size: in the norm's unit; eps / 10 unless given, or what crosses the ball where the steps are few.
      beta: an example's loss counts up to here: what is fooled already must not outweigh the others.
      loss: what is raised.

    Reference:
      Moosavi-Dezfooli, Fawzi, Fawzi and Frossard, "Universal adversarial perturbations", CVPR 2017 (the problem);
      Shafahi, Najibi, Xu, Dickerson, Davis and Goldstein, "Universal adversarial training", AAAI 2020, algorithm 1
      (this method).

    Example:
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4], [0.7, 0.5], [0.9, 0.1]], np.float32), np.array([0, 0, 0])
      >>> result = Universal(eps=0.2, epochs=4)(jax.random.key(0), model, x, y)
      >>> result.robust.tolist(), result.delta.round(2).tolist()
      ([False, False, True], [-0.20000000298023224, 0.20000000298023224])
    """

    eps: float
    norm: Any = linf
    box: tuple[float, float] = (0.0, 1.0)
    epochs: int = 10
    batch: int = 64
    step_size: float | None = None
    beta: float = 9.0
    loss: Loss = cross_entropy
    minimal = False

    def __post_init__(self):
        object.__setattr__(self, "norm", as_norm(self.norm))
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, getattr(self, name), "at least 1")

    def __call__(
        self, key: Array, model: Model, x: Any, y: Any, *, ids: Any = None, loop: Loop | None = None
    ) -> UniversalResult:
        """Makes the perturbation, and judges it on the examples that it was made on.

        Arguments and errors: see `Attack.__call__`. Misclassified examples take no part.
        """
        loop = loop or Loop.here()
        check_budget(self, np.shape(x)[1:])
        victim = Victim.of(model)
        admitted = admit(victim, key, x, y, ids, self.box, loop)
        examples, order = admitted.attacked, np.argsort(admitted.ids[admitted.index], kind="stable")
        if jax.random.key_impl(key) != GENERATOR:
            key = jax.random.wrap_key_data(jax.random.bits(key, (2,), jnp.uint32), impl=GENERATOR)
        for word in stage_words("universal"):
            key = jax.random.fold_in(key, word)
        n, shape = len(examples), examples.x.shape[1:]
        delta, best, best_rank = np.zeros(shape, np.float32), np.zeros(shape, np.float32), (-1, -np.inf)
        judged = Pursued(examples.x.copy(), *_nothing(n))
        passes, steps = 0, self.epochs * -(-n // self.batch)
        step_size = self.eps * max(0.1, 2.5 / max(1, steps)) if self.step_size is None else self.step_size
        for epoch in range(self.epochs if n else 0):
            shuffled = order[np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), n))]
            # Every batch is full: the last one goes on at the epoch's beginning.
            rows = np.resize(shuffled, (-(-n // self.batch), self.batch))
            for step, chosen in enumerate(rows):
                keys = jnp.asarray(examples.keys[chosen])
                stepped = _step(
                    (self.norm, self.loss, self.box),
                    victim,
                    jnp.asarray(delta),
                    jnp.asarray(examples.x[chosen]),
                    jnp.asarray(examples.y[chosen]),
                    keys,
                    jnp.uint32(epoch * len(rows) + step),
                    jnp.float32(self.eps),
                    jnp.float32(step_size),
                    jnp.float32(self.beta),
                )
                delta = np.asarray(stepped)
            outcome, strength = self._judged(victim, delta, examples, loop)
            passes += 2
            rank = (int(outcome.broken.sum()), strength)
            if rank > best_rank:
                best, best_rank, judged = delta, rank, outcome
        cost = np.full(n, passes, np.int64)
        judged = dataclasses.replace(judged, forwards=cost, backwards=cost // 2)
        result = gather(("Universal",), admitted, [judged], setting=Setting.of(self, key, model))  # type: ignore[arg-type]
        fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
        return UniversalResult(**fields, delta=best, fooled=float(judged.broken.mean()) if n else 0.0)

    def judge(self, delta: Any, model: Model, x: Any, y: Any, *, loop: Loop | None = None) -> np.ndarray:
        """Whether examples are misclassified under a perturbation: bool `[N]`. NaN logits are no wrong prediction.

        Args:
          delta: float32, of one example's shape.
          model: logits `[B, K]` of a batch.
          x: float32 `[N, ...]` in the box.
          y: integer labels `[N]`.
          loop: how to run.
        """
        moved = np.clip(np.asarray(x) + np.asarray(delta)[None], *self.box).astype(np.float32)
        keys = np.zeros((len(moved), 2), np.uint32)
        verdict = predictions(clean_logits(Victim.of(model), moved, keys, loop or Loop.here()))
        return (verdict != np.asarray(y)) & (verdict >= 0)

    def _judged(self, victim: Victim, delta: np.ndarray, examples: Any, loop: Loop) -> tuple[Pursued, float]:
        moved = np.clip(examples.x + delta[None], *self.box).astype(np.float32)
        logits = clean_logits(victim, moved, examples.keys, loop)
        verdict = predictions(logits)
        broken = (verdict != examples.y) & (verdict >= 0)
        measured = _measure((self.norm, self.loss), jnp.asarray(moved - examples.x), jnp.asarray(logits), examples.y)
        size, each = (np.asarray(value) for value in measured)
        n = len(examples)
        outcome = Pursued(moved, broken, np.where(broken, size, np.float32(np.inf)), *_nothing(n)[2:])
        return outcome, float(np.minimum(each, self.beta).mean())


def _nothing(n: int) -> tuple[Any, ...]:
    return (
        np.zeros(n, bool),
        np.full(n, np.inf, np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )


def _step_once(
    fixed: tuple[Any, Loss, tuple[float, float]],
    victim: Victim,
    delta: Array,
    x: Array,
    y: Array,
    keys: Array,
    step: Array,
    eps: Array,
    step_size: Array,
    beta: Array,
) -> Array:
    norm, loss, (low, high) = fixed

    def clipped(logits: Array, y: Array, target: Array) -> Array:
        each = loss(logits, y, target)
        return jnp.minimum(each, jnp.broadcast_to(beta, each.shape))

    moved = x + delta[None]
    typed = jax.vmap(lambda key: jax.random.fold_in(jax.random.wrap_key_data(key, impl=GENERATOR), step))(keys)
    gradient, _, _ = victim.gradient(clipped, jnp.clip(moved, low, high), y, jnp.full_like(y, -1), typed)
    # Values that the box holds back do not follow delta.
    total = jnp.sum(jnp.where((moved >= low) & (moved <= high), gradient, 0.0), axis=0)
    after = norm.project(delta[None] + step_size * norm.steepest(total[None]), eps[None])
    # Beyond the box's width it would never matter, and in L1 and L2 it would waste the budget.
    return jnp.clip(after[0], low - high, high - low)


_step = jax.jit(_step_once, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def _measure(fixed: tuple[Any, Loss], delta: Array, logits: Array, y: Array) -> tuple[Array, Array]:
    """The sizes of the changes, and the losses: `[N]` each."""
    norm, loss = fixed
    return norm.size(delta), loss(logits, y, y)
