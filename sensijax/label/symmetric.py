"""Symmetric noise: a wrong label is any other class, each as likely."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.label._noise import LabelNoise
from sensijax.label._validate import check_rate


class Symmetric(LabelNoise):
    """With probability `rate` the label is one of the K - 1 other classes, uniformly.

    Attributes:
      rate: the fraction of labels that are wrong, in [0, 1]. (Some papers draw uniformly among all K classes, the true
        one included: their rate is K / (K - 1) times this one.)

    Reference:
      van Rooyen, Menon and Williamson, "Learning with symmetric label noise: the importance of being unhinged",
      NeurIPS 2015.

    Example:
      >>> import jax
      >>> noise = Symmetric(rate=0.5, classes=10)
      >>> float(noise(jax.random.key(0), jnp.zeros(1000, jnp.int32)).wrong.mean())      # doctest: +ELLIPSIS
      0.4...
    """

    rate: Float[Array, ""]

    def __post_init__(self):
        check_rate("rate", self.rate)

    def is_identity(self) -> Any:
        return self.rate == 0

    def distributions(self, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
        own = y[:, None] == jnp.arange(self.classes)[None]
        return jnp.where(own, 1 - self.rate, self.rate / (self.classes - 1)).astype(jnp.float32)
