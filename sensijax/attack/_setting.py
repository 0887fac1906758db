"""Under what a result was found: the model, the attack, its budget and its key."""

import dataclasses
import functools
import importlib.metadata
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from sensijax.core import Model

if TYPE_CHECKING:
    from sensijax.attack._attack import Attack


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """What a verdict holds under.

    Attributes:
      attack: the attack with its fields, in words.
      norm: the name of its norm.
      eps: float32, a scalar or `[N]`: the budget.
      box: the closed range of valid inputs.
      key: the words of the PRNG key.
      model: the model's name.
      model_digest: the digest of its parameters.
      versions: of what computed it.
    """

    attack: str
    norm: str
    eps: np.ndarray
    box: tuple[float, float]
    key: tuple[int, ...]
    model: str
    model_digest: str
    versions: dict[str, str]

    @classmethod
    def of(cls, attack: "Attack", key: jax.Array, model: Model) -> "Setting":
        low, high = attack.box
        return cls(
            attack=describe(attack),
            norm=str(attack.norm),
            eps=np.asarray(attack.eps, np.float32),
            box=(float(low), float(high)),
            key=tuple(np.asarray(jax.random.key_data(key)).ravel().tolist()),
            model=model.name,
            model_digest=model.digest,
            versions={**_versions(), "backend": jax.default_backend()},
        )

    def __str__(self) -> str:
        return f"{self.attack} on {self.model}"


@functools.cache  # reading metadata takes longer than a step of an attack
def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("sensijax", "jax", "jaxlib", "numpy")}


def describe(value: Any) -> str:
    """An attack, or one of its fields, in words that are the same in every process.

    Example:
      >>> from sensijax.attack import PGD
      >>> describe(PGD(eps=0.5, norm="l2"))[:36]
      'PGD(eps=0.5, norm=l2, box=(0, 1), st'
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "project"):  # a norm goes by its name
            return str(value)
        fields = ", ".join(
            f"{field.name}={describe(getattr(value, field.name))}" for field in dataclasses.fields(value)
        )
        return f"{type(value).__name__}({fields})"
    return _plainly(value)


def _plainly(value: Any) -> str:
    if value is None or isinstance(value, (str, bool)):
        return str(value)
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(describe, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {describe(v)}' for name, v in value.items())}}}"
    if isinstance(value, (int, float, np.number)):
        return f"{float(value):.9g}"
    if isinstance(value, (np.ndarray, jax.Array)):
        array = np.asarray(value)
        if array.ndim == 0:
            return f"{array.item():.9g}"
        return f"{array.dtype}{list(array.shape)} from {array.min():.9g} to {array.max():.9g}"
    return getattr(value, "__name__", type(value).__name__)
