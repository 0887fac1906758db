"""Thresholds for an expected run time, by simulation without drift."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key
from sensijax.drift.detect.online._detector import Detector, check_size

_LENGTH = 3  # of the simulated streams, in expected run times
_CALIBRATE, _VERIFY = 0x0CA1, 0x0CA2


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """A detector with its threshold, and the run length that it was then seen to have.

    Attributes:
      detector: fitted to the reference, with the threshold.
      threshold: what the statistic must exceed.
      ert: the expected run time that was asked for, in values.
      run_length: the mean number of values up to a false alarm, in streams that the threshold has not seen.
      standard_error: of `run_length`.
    """

    detector: Any
    threshold: float
    ert: float
    run_length: float
    standard_error: float


def calibrate(key: jax.Array, detector: Detector, reference: Any, *, ert: float, streams: int = 2048) -> Calibration:
    """The threshold with which a detector gives a false alarm once in `ert` values, on average.

    The detector is fitted to the reference, and stepped through streams that are drawn from its rows. For a detector of
    windows the rows in a window differ and are compared with the others alone, as new values are with a reference that
    they are no part of: compared with all of it, they are too much alike, and thresholds come out low. Streams are cut
    off at 3 ert values; the mean run length is the time watched over the alarms seen, the maximum likelihood estimate
    where alarms are memoryless, as they are after the first few values. Then other streams tell what it has become.

    This holds for streams that are like the reference, whose values are independent, and a reference of N rows knows
    its own distribution only so well. On new data (`bench/run_lengths.py`, a target of 500) CUSUM and Page-Hinkley ran
    for 1.00 to 1.06 times the target with 10,000 rows, but with 300 rows for 0.5 to 1.4 times. `OnlineMMD` ran for 0.95
    to 1.13 times with 2,000 rows, on average for 1.01 (standard error 0.02), and for 0.61 to 1.24 times with 300, on
    average for 0.97 (0.06). Give it thousands of rows.

    Args:
      key: a typed PRNG key, scalar.
      detector: one with a threshold that its statistic does not depend on: `CUSUM`, `PageHinkley`, `OnlineMMD`.
      reference: `[N]`, for `OnlineMMD` `[N, d]`, finite numbers: the stream as it is without drift.
      ert: > 10; for a detector of windows also above twice its window.
      streams: S, how many are simulated, >= 100; about 12 ert S bytes of memory. The threshold's run length is known to
        about 1 / sqrt(S), 2 % as it is by default.

    Returns:
      The detector with its threshold, and its run length in new simulations.

    Raises:
      ArgumentError: if the detector has no such threshold, or the reference is too short, constant or not finite.

    Example:
      >>> reference = np.random.default_rng(0).normal(size=5000)
      >>> from sensijax.drift.detect.online import PageHinkley
      >>> found = calibrate(jax.random.key(0), PageHinkley(minimum=1), reference, ert=200, streams=512)
      >>> abs(found.run_length / 200 - 1) < 0.2
      True
    """
    if not isinstance(detector, Detector) or detector.threshold_field is None:
        raise ArgumentError(
            "detector", type(detector).__name__, "one with a threshold to find: CUSUM, PageHinkley, OnlineMMD"
        )
    key = check_key(key)
    x, d = np.asarray(reference), detector.dimensions
    if x.dtype.kind not in "biuf" or x.ndim != 1 + d or len(x) < 20:
        raise ArgumentError("reference", f"{x.dtype}{list(x.shape)}", f"numbers {'[N, d]' if d else '[N]'}, N >= 20")
    if not np.isfinite(x).all():
        raise ArgumentError("reference", f"{int((~np.isfinite(x)).sum())} values that are no numbers", "finite numbers")
    if not (x != x[:1]).any():
        raise ArgumentError("reference", "constant values", "values that vary")
    least = max(10, 2 * getattr(detector, "window", 0))
    if isinstance(ert, bool) or not isinstance(ert, (int, float, np.number)) or not least < ert < np.inf:
        raise ArgumentError("ert", repr(ert), f"a number of values above {least}")
    check_size("streams", streams, 100)
    fitted = detector.fit(x.astype(np.float32))
    simulated = dataclasses.replace(fitted, **{fitted.threshold_field: np.float32(np.inf)})  # type: ignore[type-var]
    length, values = int(np.ceil(_LENGTH * ert)), jnp.asarray(x, jnp.float32)
    peaks, others = (
        _highest(simulated, jax.random.fold_in(key, purpose), values, length, streams)
        for purpose in (_CALIBRATE, _VERIFY)
    )
    low, high = np.float32(0), peaks[:, -1].max()
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _run_length(peaks, middle)[0] < ert else (low, middle)
    threshold = float(high)
    mean, alarms = _run_length(others, high)
    calibrated = dataclasses.replace(fitted, **{fitted.threshold_field: threshold})  # type: ignore[type-var]
    return Calibration(calibrated, threshold, float(ert), mean, mean / max(alarms, 1) ** 0.5)


def _run_length(peaks: np.ndarray, threshold: Any) -> tuple[float, int]:
    """Time watched over alarms seen, and the alarms; `peaks` `[S, T]` are the highest statistics so far."""
    before = (peaks <= threshold).sum(axis=1)
    alarms = int((before < peaks.shape[1]).sum())
    watched = np.minimum(before + 1, peaks.shape[1]).sum()
    return (float(watched) / alarms if alarms else np.inf), alarms


def _highest(detector: Any, key: jax.Array, values: jax.Array, length: int, streams: int) -> np.ndarray:
    return np.maximum.accumulate(np.asarray(_simulate(detector, key, values, length, streams)).T, axis=1)


@partial(jax.jit, static_argnames=("length", "streams"))
def _simulate(detector: Any, key: jax.Array, values: jax.Array, length: int, streams: int) -> jax.Array:
    """Statistics `[T, S]` of streams drawn from `values`; a stream's draws are a function of (key, its number)."""
    n, keys = len(values), jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(streams))
    state = detector.init()
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (streams, *leaf.shape)), state)
    prepared = detector.prepare(values)
    apart = detector.window - 1 if detector.distinct else 0  # a row is not drawn while it is among so many latest ones

    def draw(key: jax.Array, time: jax.Array, recent: jax.Array) -> jax.Array:
        place = jax.random.randint(jax.random.fold_in(key, time), (), 0, n - jnp.minimum(time, apart))
        return place + jnp.sum(jnp.sort(recent) - jnp.arange(apart) <= place)  # among the rows that are not recent

    def step(carry: Any, time: jax.Array) -> tuple[Any, jax.Array]:
        state, recent = carry
        row = jax.vmap(draw, (0, None, 0))(keys, time, recent)
        state, info = jax.vmap(detector.replay)(state, values[row], prepared[row])
        return (state, jnp.concatenate([recent, row[:, None]], axis=1)[:, 1:]), info.statistic

    recent = jnp.full((streams, apart), 2 * n)  # none yet
    return jax.lax.scan(step, (state, recent), jnp.arange(length))[1]
