"""Ordinal noise: a grade is taken for a neighbouring one."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.label._noise import LabelNoise
from sensijax.label._validate import check_rate


class Ordinal(LabelNoise):
    """With probability `rate` the grade is another one, the nearer the likelier: in proportion to decay^(distance - 1).

    Grades are classes in their order (stages of a disease, stars). Every grade is mistaken as often: at the ends of
    the scale all mistakes go inwards.

    Attributes:
      rate: the fraction of labels that are wrong, in [0, 1].
      decay: how much less likely each further step is, in [0, 1]: at 0 mistakes are to adjacent grades alone, at 1 to
        all grades alike.

    Example:
      >>> Ordinal(rate=0.3, decay=0.5, classes=3).transition().round(3).tolist()
      [[0.7, 0.2, 0.1], [0.15, 0.7, 0.15], [0.1, 0.2, 0.7]]
    """

    rate: Float[Array, ""]
    decay: Float[Array, ""] = 0.5  # type: ignore[assignment]

    def __post_init__(self):
        check_rate("rate", self.rate)
        check_rate("decay", self.decay)

    def is_identity(self) -> Any:
        return self.rate == 0

    def distributions(self, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
        rate, decay = jnp.asarray(self.rate, jnp.float32), jnp.asarray(self.decay, jnp.float32)
        distance = jnp.abs(y[:, None] - jnp.arange(self.classes)[None])
        powers = decay ** jnp.arange(self.classes, dtype=jnp.float32)  # 0^0 = 1: the adjacent grade
        share = jnp.where(distance == 0, 0, powers[jnp.maximum(distance - 1, 0)])
        return jnp.where(distance == 0, 1 - rate, rate * share / share.sum(axis=1, keepdims=True))
