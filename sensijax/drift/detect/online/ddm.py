"""DDM and EDDM: an error rate that rises above its best, errors that come closer together than they did."""

from typing import ClassVar

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static, struct
from sensijax.drift.detect.online._detector import Detector, Info, check_number, check_size, choose, say
from sensijax.drift.detect.online._sums import Mean, add, no_values


@struct
class DDMState:
    """Values and errors so far, the rate and deviation where their sum was least, values since the warning began."""

    n: Int32[Array, ""]
    errors: Int32[Array, ""]
    p_min: Float[Array, ""]
    s_min: Float[Array, ""]
    since: Int32[Array, ""]


class DDM(Detector):
    """Drift detection method, for a stream of errors: 1 where the model was wrong.

    p is the error rate so far, s = sqrt(p (1 - p) / n). Where p + s is least they are kept; drift where
    p + s > p_min + drift * s_min. The statistic is (p + s - p_min) / s_min. It starts anew after an alarm. Errors are
    counted in integers, so no digit is lost. Alarms and warnings are those of river 0.26.1, which compares with > where
    the paper has >=; the two differ on a stream without any error, where >= would fire at once.

    No threshold promises a run time without drift: p_min is the smallest of many estimates, and so lies below the true
    rate. `bench/run_lengths.py` measures it.

    Attributes:
      drift: how many s_min above p_min is drift, > 0.
      warning: how many are a warning, > 0.
      minimum: how many values come before the first verdict, >= 1.

    Reference:
      Gama, Medas, Castillo and Rodrigues, "Learning with drift detection", SBIA 2004.

    Example:
      >>> import numpy as np
      >>> from sensijax.drift.detect import run
      >>> run(DDM(), np.concatenate([np.tile([0, 0, 0, 1], 50), np.tile([0, 1], 50)])).alarms.tolist()
      [263]
    """

    drift: ArrayLike = 3.0
    warning: ArrayLike = 2.0
    minimum: int = static(default=30)

    domain: ClassVar[str] = "binary"

    def __post_init__(self):
        check_number("drift", self.drift, 0, open_low=True)
        check_number("warning", self.warning, 0, open_low=True)
        check_size("minimum", self.minimum, 1)

    def init(self, key: Array | None = None) -> DDMState:
        zero = jnp.int32(0)
        return DDMState(zero, zero, jnp.float32(jnp.inf), jnp.float32(jnp.inf), zero)

    def update(self, state: DDMState, value: Array) -> tuple[DDMState, Info]:
        n, errors = state.n + 1, state.errors + (value > 0).astype(jnp.int32)
        count = n.astype(jnp.float32)
        p = errors.astype(jnp.float32) / count
        s = jnp.sqrt(p * (1 - p) / count)
        ready = n > self.minimum
        better = ready & (p + s <= state.p_min + state.s_min)
        p_min, s_min = jnp.where(better, p, state.p_min), jnp.where(better, s, state.s_min)
        drift = ready & (p + s > p_min + jnp.float32(self.drift) * s_min)
        warning = ready & (p + s > p_min + jnp.float32(self.warning) * s_min)
        since = jnp.where(warning, state.since + 1, 0)
        above = jnp.where(ready, p + s - jnp.where(ready, p_min, 0), 0)
        statistic = jnp.where(above > 0, above / jnp.where(ready, s_min, 1), 0)
        return DDMState(n, errors, p_min, s_min, since), say(drift, statistic, since, warning)


@struct
class EDDMState:
    """Values so far, the last error, distances (their mean and squared deviations), the largest level, warnings."""

    n: Int32[Array, ""]
    last: Int32[Array, ""]
    distances: Mean
    squares: Mean
    most: Float[Array, ""]
    level: Float[Array, ""]
    warned: Bool[Array, ""]
    since: Int32[Array, ""]


class EDDM(Detector):
    """Early drift detection method, for a stream of errors: 1 where the model was wrong.

    p' and s' are mean and standard deviation of the distances between errors. The level is p' + 2 s' over the largest
    that it was; drift where it falls below `drift`. The statistic is the level, and drift lies *below* the threshold.
    It starts anew after an alarm. Sums of distances and of their squared deviations (Welford's) are compensated.
    Alarms are those of river 0.26.1; a warning lasts until the next error, and ends at the alarm.

    Without any drift it fires often: at an error rate of 0.2 once in 425 values (`bench/run_lengths.py`), so that it
    finds a change hardly more often than as many alarms at random would. It is here because people compare with it.

    Attributes:
      drift: beta in (0, 1).
      warning: alpha in [beta, 1).
      minimum: how many errors come before the first verdict, >= 1.

    Reference:
      Baena-Garcia, del Campo-Avila, Fidalgo, Bifet, Gavalda and Morales-Bueno, "Early drift detection method", 4th
      International Workshop on Knowledge Discovery from Data Streams (2006).

    Example:
      >>> import numpy as np
      >>> from sensijax.drift.detect import run
      >>> stream = np.concatenate([np.tile([0] * 9 + [1, 0, 1], 50), np.tile([0, 1], 50)])
      >>> run(EDDM(), stream).alarms.tolist()
      [601]
    """

    drift: ArrayLike = 0.9
    warning: ArrayLike = 0.95
    minimum: int = static(default=30)

    domain: ClassVar[str] = "binary"

    def __post_init__(self):
        check_number("drift", self.drift, 0, 1, open_low=True)
        check_number("warning", self.warning, 0, 1, open_low=True)
        check_size("minimum", self.minimum, 1)
        if isinstance(self.drift, float) and isinstance(self.warning, float) and self.warning < self.drift:
            raise ArgumentError("warning", self.warning, f"a level of at least that of drift, {self.drift:g}")

    def init(self, key: Array | None = None) -> EDDMState:
        zero, one = jnp.int32(0), jnp.float32(1)
        return EDDMState(zero, zero, no_values(), no_values(), -one, one, jnp.bool_(False), zero)

    def update(self, state: EDDMState, value: Array) -> tuple[EDDMState, Info]:
        n, error = state.n + 1, value > 0
        distance = (n - state.last).astype(jnp.float32)
        before = state.distances.value
        distances = add(state.distances, distance)
        squares = add(state.squares, (distance - before) * (distance - distances.value))
        errors = distances.n
        variance = squares.value * errors.astype(jnp.float32) / jnp.maximum(errors - 1, 1).astype(jnp.float32)
        spread = distances.value + 2 * jnp.sqrt(jnp.maximum(jnp.where(errors > 1, variance, 0), 0))
        ready = error & (n > self.minimum)
        larger = ready & (spread > state.most)
        judged = ready & ~larger & (errors > self.minimum)
        level = jnp.where(judged, spread / jnp.where(judged, state.most, 1), state.level)
        drift = judged & (level < jnp.float32(self.drift))
        warned = jnp.where(judged, level < jnp.float32(self.warning), state.warned)
        since = jnp.where(warned, state.since + 1, 0)
        last = jnp.where(error, n, state.last)
        distances = choose(error, distances, state.distances)
        squares = choose(error, squares, state.squares)
        most = jnp.where(larger, spread, state.most)
        return EDDMState(n, last, distances, squares, most, level, warned, since), say(drift, level, since, warned)
