"""Class-conditional noise: a random transition matrix with a given trace."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import SHARED
from sensijax.core.struct import static
from sensijax.label._noise import LabelNoise
from sensijax.label._uneven import uneven_rates
from sensijax.label._validate import check_rate


class ClassConditional(LabelNoise):
    """Labels flip by a transition matrix that is drawn from the key, with the trace K (1 - rate).

    So `rate` is the mean over the classes of how often each is wrong, and the fraction of wrong labels in data whose
    classes are as frequent. The matrix of a seed is the same for all rates but for its scale: what class is confused
    how much more than others, and with which, stays.

    Attributes:
      rate: 1 - trace / K, in [0, 1].
      spread: how much the classes differ, in [0, 1]; at 0 all are wrong as often, at 1 their shares of the errors are
        uniform on the simplex (below the bound that no class is wrong more often than always).
      sparsity: the fraction of off-diagonal entries of each row that are zero, in [0, 1); at least one is not.

    Reference:
      Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70 (2021), whose
      benchmarks draw matrices of a given trace and sparsity.

    Example:
      >>> noise = ClassConditional(rate=0.25, classes=4)
      >>> T = noise.transition(jax.random.key(0))
      >>> round(float(T.trace()), 5), T.sum(1).round(6).tolist()
      (3.0, [1.0, 1.0, 1.0, 1.0])
    """

    rate: Float[Array, ""]
    spread: Float[Array, ""] = 1.0  # type: ignore[assignment]
    sparsity: float = static(default=0.0)

    drawn: ClassVar[bool] = True

    def __post_init__(self):
        check_rate("rate", self.rate)
        check_rate("spread", self.spread)
        check_rate("sparsity", self.sparsity)
        if self.sparsity == 1:
            raise ArgumentError("sparsity", 1, "below 1: a wrong label needs a class to go to")

    def is_identity(self) -> Any:
        return self.rate == 0

    def distributions(self, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
        k = self.classes
        rate, spread = jnp.asarray(self.rate, jnp.float32), jnp.asarray(self.spread, jnp.float32)
        for_rates, for_shares, for_zeros = jax.random.split(jax.random.fold_in(key, SHARED), 3)
        wrong = uneven_rates(for_rates, rate, k, spread)
        own = jnp.eye(k, dtype=bool)
        share = jnp.where(own, 0, jax.random.exponential(for_shares, (k, k), jnp.float32))
        place = jnp.where(own, jnp.inf, jax.random.uniform(for_zeros, (k, k), jnp.float32))
        kept = max(1, round((1 - self.sparsity) * (k - 1)))
        share = jnp.where(jnp.argsort(jnp.argsort(place, axis=1), axis=1) < kept, share, 0)
        share = share / share.sum(axis=1, keepdims=True)
        return jnp.where(own, 1 - wrong[:, None], wrong[:, None] * share)[y]
