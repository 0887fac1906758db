"""Transfer: adversarial examples are made on one model and put before another."""

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.attack._attack import Attack, rows_of
from sensijax.attack._door import admit, check_budget, clean_logits
from sensijax.attack._pursuit import Loop, Pursued
from sensijax.attack._result import AttackResult, gather
from sensijax.attack._setting import Setting
from sensijax.attack._victim import Victim, predictions
from sensijax.core import Model
from sensijax.core.errors import ArgumentError


@dataclasses.dataclass(frozen=True, eq=False)
class Transfer:
    """An attack on a surrogate, judged by the model in question: for models that show neither gradients nor logits.

    The model is asked once for each of the attack's parts; its gradient is never used. An attack within a budget does
    not end where the surrogate is fooled: it takes all of its steps, and the input with the surrogate's highest loss is
    the one that is put before the model (so every restart is carried out too). An attack that looks for the nearest
    adversarial example keeps the surrogate's, which lies at the surrogate's boundary and seldom fools another model.

    A model that withstands transfer and falls to a direct attack is not robust: this is a lower bar.

    Attributes:
      attack: what is carried out on the surrogate.
      surrogate: a model with the same inputs and classes.

    Reference:
      Papernot, McDaniel and Goodfellow, "Transferability in machine learning: from phenomena to black-box attacks using
      adversarial samples", 2016.

    Example:
      >>> import jax
      >>> from sensijax.attack import MIM
      >>> a = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="a")
      >>> b = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-0.9, 0.9]]), name="b")
      >>> x, y = np.array([[0.6, 0.4], [0.9, 0.1]], np.float32), np.array([0, 0])
      >>> result = Transfer(MIM(eps=0.2), surrogate=a)(jax.random.key(0), b, x, y)
      >>> result.robust.tolist(), result.queries.tolist()
      ([False, True], [1, 1])
    """

    attack: Attack
    surrogate: Model

    def __call__(
        self, key: Array, model: Model, x: Any, y: Any, *, ids: Any = None, loop: Loop | None = None
    ) -> AttackResult:
        """Attacks examples. Arguments and errors: see `Attack.__call__`.

        Returns:
          The model's verdicts. `forwards` counts the questions to the model; what the surrogate was asked is not in it.

        Raises:
          ArgumentError: also if the surrogate has another number of classes.
        """
        loop = loop or Loop.here()
        check_budget(self.attack, np.shape(x)[1:])
        victim, surrogate = Victim.of(model), Victim.of(self.surrogate)
        admitted = admit(victim, key, x, y, ids, self.attack.box, loop)
        examples, index = admitted.attacked, admitted.index
        pursued, broken = [], np.zeros(len(index), bool)
        logits = admitted.logits
        if len(index):
            logits = clean_logits(surrogate, examples.x, examples.keys, loop)
        if logits.shape[1:] != admitted.logits.shape[1:]:
            raise ArgumentError(
                "surrogate", f"{logits.shape[1]} classes", f"those of the model, {admitted.logits.shape[1]}"
            )
        for _, part in rows_of(self.attack, index).parts():
            (made,) = _persistent(part).carry_out(surrogate, examples, logits, loop)
            verdict = predictions(clean_logits(victim, made.found, examples.keys, loop)) if len(index) else examples.y
            fooled = (verdict != examples.y) & (verdict >= 0) & ~broken
            size = np.asarray(part.norm.size(jnp.asarray(made.found - examples.x)), np.float32)
            asked = (~broken).astype(np.int64)
            distance = np.where(fooled, size, np.float32(np.inf))
            pursued.append(Pursued(made.found, fooled, distance, made.attempt, asked, np.zeros_like(asked)))
            broken |= fooled
        names = tuple(f"{name} on {self.surrogate.name}" for name, _ in self.attack.parts())
        setting = Setting.of(self.attack, key, model)
        setting = dataclasses.replace(setting, attack=f"{setting.attack} transferred from {self.surrogate.name}")
        return gather(names, admitted, pursued, setting=setting)


class _Persistent:
    """Takes note of the highest loss only, whether or not the surrogate is fooled."""

    def noted(self, goal: Any, state: Any, fooled: Array, strength: Array, distance: Array | None = None) -> Any:
        return super().noted(goal, state, jnp.zeros_like(fooled), strength, distance)  # type: ignore[misc]


def _persistent(attack: Attack) -> Attack:
    """The attack as one that success does not stop; one that looks for the nearest stays as it is."""
    if attack.minimal:
        return attack
    fields = {field.name: getattr(attack, field.name) for field in dataclasses.fields(attack)}  # type: ignore[arg-type]
    return _persistent_class(type(attack))(**fields)


@functools.cache
def _persistent_class(cls: type[Attack]) -> type[Attack]:
    # Of the same name, so that the draws are those of the attack itself.
    return type(cls.__name__, (_Persistent, cls), {"__doc__": cls.__doc__, "__module__": __name__})
