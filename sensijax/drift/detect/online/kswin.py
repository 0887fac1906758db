"""KSWIN: the latest values of a window against a draw from the older ones, by Kolmogorov and Smirnov's test."""

import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static, struct
from sensijax.drift.detect.online._detector import Detector, Info, check_number, check_size, say


@struct
class KSWINState:
    """The window, the latest value last; how many of its places are in use; values so far; where draws come from."""

    window: Float[Array, "size"]
    count: Int32[Array, ""]
    n: Int32[Array, ""]
    key: Array


class KSWIN(Detector):
    """Kolmogorov-Smirnov windowing.

    Once the window is full, its latest `latest` values are compared at every value with as many that are drawn without
    replacement from the older ones. Drift where the two-sample p-value is at most alpha. It is exact (both samples have
    one size), and never too small where values are tied. The statistic is the distance D. After an alarm the window
    keeps its latest values, as published. The draw at a value is a function of (key, how many values came before).

    river 0.26.1 draws by another generator, and forgets the whole window after an alarm (`run(..., restart=True)`):
    with its draws in place of these, alarms are its alarms. It also asks for D > 0.1, which matters only where `latest`
    is some hundreds.

    alpha is the level of one test. Tests at neighbouring values see nearly the same window, so the false alarms of a
    stream are fewer than alpha per value; `bench/run_lengths.py` measures how many.

    Attributes:
      alpha: in (0, 1).
      size: values in the window, >= 2 * latest.
      latest: values in either sample, >= 2.

    Reference:
      Raab, Heusinger and Schleif, "Reactive soft prototype computing for concept drift streams", Neurocomputing 416
      (2020).

    Example:
      >>> from sensijax.drift.detect.online import run
      >>> stream = np.random.default_rng(0).normal(size=400) + np.repeat([0, 2], 200)
      >>> run(KSWIN(), stream, key=jax.random.key(0)).alarms.tolist()
      [215]
    """

    alpha: ArrayLike = 0.005
    size: int = static(default=100)
    latest: int = static(default=30)

    restarts: ClassVar[bool] = False
    random: ClassVar[bool] = True

    def __post_init__(self):
        check_number("alpha", self.alpha, 0, 1, open_low=True)
        check_size("latest", self.latest, 2)
        check_size("size", self.size, 2 * self.latest)

    def init(self, key: Array | None = None) -> KSWINState:
        if key is None:
            raise ArgumentError("key", None, "a typed PRNG key: KSWIN draws at random")
        return KSWINState(jnp.zeros(self.size), jnp.int32(0), jnp.int32(0), key)

    def check(self, stream: np.ndarray) -> None:
        if stream.shape[-1] < self.size:
            raise ArgumentError(
                "stream",
                f"{stream.shape[-1]} values",
                f"at least the {self.size} of the window, before which nothing is said",
            )

    def draw(self, state: KSWINState) -> Array:
        """Which of the older values are compared: int32 `[latest]`, places in the window, all different."""
        key = jax.random.fold_in(state.key, state.n)
        return jax.random.permutation(key, self.size - self.latest)[: self.latest]

    def update(self, state: KSWINState, value: Array) -> tuple[KSWINState, Info]:
        window = jnp.concatenate([state.window[1:], value.astype(jnp.float32)[None]])
        count = jnp.minimum(state.count + 1, self.size)
        older, latest = window[self.draw(state)], window[-self.latest :]
        places = jnp.concatenate([older, latest])
        up_to = [jnp.sum(x[None, :] <= places[:, None], axis=1) for x in (older, latest)]
        distance = jnp.max(jnp.abs(up_to[0] - up_to[1]))  # in steps of 1 / latest
        full = count == self.size
        p_value = jnp.asarray(_p_values(self.latest))[distance]
        drift = full & (p_value <= jnp.float32(self.alpha))
        statistic = jnp.where(full, distance.astype(jnp.float32) / self.latest, 0)
        count = jnp.where(drift, self.latest, count)
        return KSWINState(window, count, state.n + 1, state.key), say(drift, statistic, count)


@functools.cache
def _p_values(n: int) -> np.ndarray:
    """Exact two-sided p-values of two samples of n values: float32 `[n + 1]`, of the distances 0, 1/n, ..., 1.

    P(D >= h / n) = 2 sum over j >= 1 of (-1)^(j - 1) C(2n, n - j h) / C(2n, n): Gnedenko and Korolyuk (1951).
    """
    whole, p = math.comb(2 * n, n), [1.0]
    for h in range(1, n + 1):
        terms = ((-1) ** (j - 1) * math.comb(2 * n, n - j * h) for j in range(1, n // h + 1))
        p.append(2 * sum(terms) / whole)
    return np.array(p, np.float32)
