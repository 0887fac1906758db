"""Any transition matrix, from none of it to the whole."""

import dataclasses
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.label._noise import LabelNoise
from sensijax.label._validate import as_rows, check_rate


class Transition(LabelNoise):
    """A label of class i is written down as j with probability ((1 - strength) I + strength T)[i, j].

    `sweep(Transition, strength=[0, 0.5, 1], matrix=T)` goes from clean labels to those of T.

    Attributes:
      matrix: T, `[K, K]` or nested sequences, rows true, columns observed, each row sums to 1.
      strength: in [0, 1], how much of T.

    Raises:
      ArgumentError: if T is not square, an entry is no probability, a row does not sum to one, the strength is outside
        [0, 1], or the data have another number of classes than T.

    Example:
      >>> noise = Transition(matrix=[[0.5, 0.5], [0.0, 1.0]], strength=0.5)
      >>> noise.transition().tolist()
      [[0.75, 0.25], [0.0, 1.0]]
    """

    matrix: Float[Array, "k k"]
    strength: Float[Array, ""] = 1.0  # type: ignore[assignment]

    def __post_init__(self):
        check_rate("strength", self.strength)
        object.__setattr__(self, "matrix", as_rows("matrix", self.matrix))
        if not self.classes and np.ndim(self.matrix) >= 2:
            object.__setattr__(self, "classes", np.shape(self.matrix)[-1])
        if np.ndim(self.matrix) >= 2 and self.classes != np.shape(self.matrix)[-1]:
            raise ArgumentError("matrix", f"shape {list(np.shape(self.matrix))}", f"[K, K] for {self.classes} classes")

    def fit(self, x: np.ndarray, y: np.ndarray, classes: int) -> Self:
        return dataclasses.replace(self, classes=classes)  # type: ignore[type-var]  # which is refused if it is not K

    def is_identity(self) -> Any:
        return self.strength == 0

    def distributions(self, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
        strength = jnp.asarray(self.strength, jnp.float32)
        identity = jnp.eye(self.classes, dtype=jnp.float32)
        return ((1 - strength) * identity + strength * jnp.asarray(self.matrix, jnp.float32))[y]
