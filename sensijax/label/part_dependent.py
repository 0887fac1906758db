"""Part-dependent noise: each example has a flip rate of its own, and its features say towards which class."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import SHARED, keys_of
from sensijax.core.values import has_value
from sensijax.label._noise import LabelNoise
from sensijax.label._validate import check_rate

MOST_NUMBERS = 1 << 28
"""Of all projections together: 1 GiB of float32."""
_FLIP_RATE = 1  # folded into an example's key


class PartDependent(LabelNoise):
    """Instance-dependent noise as published: random projections of an example's features choose its wrong label.

    The flip rate q of each example is drawn from a normal distribution of mean `rate` and standard deviation `spread`,
    truncated to [0, 1]. One standard normal matrix W[y] for each class projects the features x `[D]` to K scores; the
    softmax of x W[y] over the classes other than y, times q, says which label is written down.

    As published, `rate` is the centre before truncation: with a spread of 0.1 the mean flip rate is 0.129 at a rate of
    0.1, 0.206 at 0.2, and 0.4 at 0.4. At 0 there would be 0.08 left: rate 0 is no noise by definition here, so a curve
    over rates has a step there. `InstanceDependent` has the mean that it says. Features are projected as they come:
    give them a scale as you would for a network.

    An example's place in the distribution of q, and W, are the same at all rates: what is wrong stays wrong.

    Attributes:
      rate: in [0, 1].
      spread: the standard deviation before truncation, above 0.

    Raises:
      ArgumentError: if a parameter is out of range, or K^2 D is so large that W does not fit into 1 GiB.

    Reference:
      Xia, Liu, Han, Wang, Gong, Liu, Niu, Tao and Sugiyama, "Part-dependent label noise: towards instance-dependent
      label noise", NeurIPS 2020, algorithm 2.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(1000, 5))
      >>> y = np.zeros(1000, int)
      >>> noise = PartDependent(rate=0.4, classes=3)
      >>> round(float(noise(jax.random.key(0), y, x).wrong.mean()), 1)
      0.4
    """

    rate: Float[Array, ""]
    spread: Float[Array, ""] = 0.1  # type: ignore[assignment]

    looks: ClassVar[bool] = True
    drawn: ClassVar[bool] = True

    def __post_init__(self):
        check_rate("rate", self.rate)
        check_rate("spread", self.spread, np.inf)
        if has_value(self.spread) and not np.all(np.asarray(self.spread) > 0):
            raise ArgumentError("spread", 0, "above 0: for one flip rate for all, see Symmetric or Transition")

    def is_identity(self) -> Any:
        return self.rate == 0

    def check(self, x: np.ndarray | None) -> None:
        assert x is not None
        numbers = self.classes**2 * x.shape[1]
        if numbers > MOST_NUMBERS:
            raise ArgumentError(
                "x",
                f"{x.shape[1]} features and {self.classes} classes: projections of {numbers:.2g} numbers",
                f"at most {MOST_NUMBERS:.2g} (K K D): features of fewer dimensions, such as those of a layer",
            )

    def features(self, x: Array) -> Array:
        """What is projected: float32 `[N, D]`; here the examples as they come."""
        return x

    def flip_rates(self, place: Array) -> Array:
        """The flip rate of an example: the quantile at its place in (0, 1), which grows with `rate`."""
        rate, spread = jnp.asarray(self.rate, jnp.float32), jnp.asarray(self.spread, jnp.float32)
        return jnp.where(rate > 0, truncated_quantile(place, rate, spread), 0)

    def distributions(self, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
        assert x is not None
        k, x = self.classes, self.features(x)
        own_keys = jax.vmap(lambda example: jax.random.fold_in(example, _FLIP_RATE))(keys_of(key, ids))
        q = self.flip_rates(jax.vmap(lambda own: jax.random.uniform(own, (), jnp.float32))(own_keys))
        # Flat: a generator over a short last axis is unrolled by the compiler, which takes it ten times as long.
        W = jax.random.normal(jax.random.fold_in(key, SHARED), (k * x.shape[1] * k,), jnp.float32)
        W = W.reshape(k, x.shape[1], k)

        def towards(row: tuple[Array, Array]) -> Array:
            """One example at a time: so that no sum, and hence no label, depends on the batch."""
            example, true = row
            scores = jnp.matmul(example, W[true], precision=jax.lax.Precision.HIGHEST)
            return jax.nn.softmax(jnp.where(jnp.arange(k) == true, -jnp.inf, scores))

        others = jax.lax.map(towards, (x, y))
        own = y[:, None] == jnp.arange(k)[None]
        return jnp.where(own, 1 - q[:, None], q[:, None] * others)


def truncated_quantile(place: Array, centre: Array, spread: Array) -> Array:
    """The quantile of the normal distribution (centre, spread) truncated to [0, 1].

    Args:
      place: float32 `[N]` in [0, 1).
      centre: scalar in [0, 1]; the quantile grows with it.
      spread: scalar above 0.

    Returns:
      float32 `[N]` in [0, 1].

    Example:
      >>> truncated_quantile(jnp.array([0.5]), jnp.float32(0.5), jnp.float32(0.1)).round(6).tolist()
      [0.5]
    """
    low, high = ndtr(-centre / spread), ndtr((1 - centre) / spread)
    below_one = jnp.float32(1 - 2**-24)  # the largest float32 below 1, so that the quantile is finite
    return jnp.clip(centre + spread * ndtri(jnp.minimum(low + place * (high - low), below_one)), 0, 1)


def truncated_mean(centre: Array, spread: Array) -> Array:
    """The mean of the normal distribution (centre, spread) truncated to [0, 1].

    Example:
      >>> round(float(truncated_mean(jnp.float32(0.1), jnp.float32(0.1))), 4)
      0.1288
    """
    a, b = -centre / spread, (1 - centre) / spread
    return centre + spread * (norm.pdf(a) - norm.pdf(b)) / (ndtr(b) - ndtr(a))
