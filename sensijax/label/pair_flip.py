"""Pair flip: each class has one other that it is taken for."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.label._noise import LabelNoise
from sensijax.label._validate import check_rate


class PairFlip(LabelNoise):
    """With probability `rate` the label is the next class, and class 0 comes after the last.

    The hardest settings are those just below 0.5 (0.45 in most papers): the right class is hardly more frequent than
    the one it is taken for. Which class is taken for which is fixed; for other pairs see `Transition`.

    Attributes:
      rate: the fraction of labels that are wrong, in [0, 1].

    Reference:
      Han, Yao, Yu, Niu, Xu, Hu, Tsang and Sugiyama, "Co-teaching: robust training of deep neural networks with
      extremely noisy labels", NeurIPS 2018.

    Example:
      >>> import jax
      >>> noise = PairFlip(rate=1.0, classes=3)
      >>> noise(jax.random.key(0), jnp.array([0, 1, 2])).labels.tolist()
      [1, 2, 0]
    """

    rate: Float[Array, ""]

    def __post_init__(self):
        check_rate("rate", self.rate)

    def is_identity(self) -> Any:
        return self.rate == 0

    def distributions(self, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
        rate = jnp.asarray(self.rate, jnp.float32)
        k, true = jnp.arange(self.classes)[None], y[:, None]
        return jnp.where(k == true, 1 - rate, jnp.where(k == (true + 1) % self.classes, rate, 0))
