"""A detector over a whole stream, or over thousands of them in one program."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key
from sensijax.drift.detect.online._detector import Detector

_GROUP = 512  # streams: the histograms of ADWIN for so many take 0.3 MB


@dataclasses.dataclass(frozen=True, eq=False)
class Alarms:
    """What a detector said along a stream `[T]`, or along S streams `[S, T]`.

    Attributes:
      drift: bool `[T]` or `[S, T]`, where it called drift.
      warning: bool, of the same shape, where it was on its guard.
      statistic: float32, of the same shape; None if it was not kept.
      width: int32, of the same shape: how many of the latest values it took for the present regime; None likewise.
      state: after the last value; `run(..., state=alarms.state)` goes on from there.
    """

    drift: np.ndarray
    warning: np.ndarray
    statistic: np.ndarray | None
    width: np.ndarray | None
    state: Any

    def __iter__(self) -> Iterator["Alarms"]:
        """Of several streams, each alone."""
        if self.drift.ndim == 1:
            raise ArgumentError("alarms", "one stream", "alarms of several streams, [S, T], to go through")
        for i in range(len(self.drift)):
            some = None if self.statistic is None else self.statistic[i]
            width = None if self.width is None else self.width[i]
            yield Alarms(self.drift[i], self.warning[i], some, width, jax.tree.map(lambda leaf: leaf[i], self.state))  # noqa: B023

    @property
    def alarms(self) -> np.ndarray:
        """int64, the indices of alarms: of one stream `[A]`, of several pairs (stream, index) `[A, 2]`."""
        return _indices(self.drift)

    @property
    def warnings(self) -> np.ndarray:
        """int64, the indices of warnings, likewise."""
        return _indices(self.warning)

    @property
    def changes(self) -> np.ndarray:
        """int64 `[A]`, for each alarm where the detector thinks that the change was: index + 1 - width."""
        if self.width is None:
            raise ArgumentError("alarms", "no widths", "run(..., trace=True), which keeps them")
        return np.nonzero(self.drift)[-1] + 1 - self.width[self.drift]


def _indices(flags: np.ndarray) -> np.ndarray:
    return np.flatnonzero(flags) if flags.ndim == 1 else np.argwhere(flags)


def run(
    detector: Detector,
    stream: Any,
    *,
    key: jax.Array | None = None,
    state: Any = None,
    restart: bool | None = None,
    trace: bool = True,
) -> Alarms:
    """Steps a detector through a stream, or through S streams at once.

    Args:
      detector: the detector. A threshold that is an array `[S]` is not meant here: map over detectors for that.
      stream: `[T]` or `[S, T]` numbers, booleans or integers; for a detector of vectors `[T, d]` or `[S, T, d]`.
        Worked on in float32: subtract a large offset first.
      key: a typed PRNG key, scalar, for a detector that draws; the draws of stream i are a function of (key, i).
      state: where to go on: `state` of the alarms of the values before. From the beginning unless given.
      restart: whether the detector starts anew after an alarm; as published unless given.
      trace: whether to keep statistics and widths.

    Returns:
      Alarms and warnings at each value, statistics and widths, and the state after the last.

    Raises:
      ArgumentError: if the stream has another shape, is empty, or holds what the detector cannot work with: NaN and
        infinities, numbers outside [0, 1], or others than 0 and 1.

    Example:
      >>> from sensijax.drift.detect import CUSUM
      >>> found = run(CUSUM(), np.repeat([0.0, 2.0], 50))
      >>> found.alarms[:1].tolist(), found.changes[:1].tolist()
      ([53], [50])
    """
    values = _values(detector, stream)
    several = values.ndim == 2 + detector.dimensions
    values = values if several else values[None]
    detector.check(values)
    fresh = _fresh(detector, key, len(values))
    begin = fresh if state is None else (state if several else jax.tree.map(lambda leaf: leaf[None], state))
    if _form(begin) != _form(fresh):
        raise ArgumentError("state", "another tree or other shapes", "the state of as many streams, by this detector")
    detector.check_state(begin)
    again = detector.restarts if restart is None else bool(restart)
    state, drift, warning, rest = _in_groups(detector, begin, fresh, values, again, trace)
    drift, warning, *rest = (np.asarray(leaf) for leaf in (drift, warning, *rest))
    statistic, width = rest or (None, None)
    if several:
        return Alarms(drift, warning, statistic, width, state)
    one = (None, None) if statistic is None or width is None else (statistic[0], width[0])
    return Alarms(drift[0], warning[0], *one, jax.tree.map(lambda leaf: leaf[0], state))


def _in_groups(detector: Detector, begin: Any, fresh: Any, values: np.ndarray, again: bool, trace: bool) -> tuple:
    """All streams in one program; on a CPU in groups whose state stays in cache, a core each."""
    streams = len(values)
    groups = -(-streams // _GROUP) if jax.default_backend() == "cpu" else 1
    if groups == 1:
        return _steps(detector, begin, fresh, values, np.bool_(again), trace=trace)
    size = -(-streams // groups)  # of one shape: the last group goes over some streams of the one before again
    starts = [min(k * size, streams - size) for k in range(groups)]

    def one(start: int) -> tuple:
        some = jax.tree.map(lambda leaf: leaf[start : start + size], (begin, fresh))
        found = _steps(detector, *some, values[start : start + size], np.bool_(again), trace=trace)
        return jax.tree.map(np.asarray, found)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(one, starts))
    fresh_rows = [slice(k * size - start, None) for k, start in enumerate(starts)]
    return jax.tree.map(
        lambda *leaves: np.concatenate([leaf[rows] for leaf, rows in zip(leaves, fresh_rows, strict=True)]), *parts
    )


@partial(jax.jit, static_argnames=("trace",))
def _steps(detector: Detector, begin: Any, fresh: Any, values: jax.Array, restart: jax.Array, *, trace: bool) -> tuple:
    state, info = detector.steps(begin, values, fresh, restart)
    return state, info.drift, info.warning, (info.statistic, info.width) if trace else ()


def _fresh(detector: Detector, key: jax.Array | None, streams: int) -> Any:
    if detector.random:
        if key is None:
            raise ArgumentError("key", None, f"a typed PRNG key: {type(detector).__name__} draws at random")
        key = check_key(key)
        return jax.vmap(lambda i: detector.init(jax.random.fold_in(key, i)))(np.arange(streams, dtype=np.uint32))
    state = detector.init()
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (streams, *leaf.shape)), state)


def _form(state: Any) -> tuple:
    leaves, structure = jax.tree.flatten(state)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _values(detector: Detector, stream: Any) -> np.ndarray:
    given, name, d = np.asarray(stream), type(detector).__name__, detector.dimensions
    shape = "[T, d] or [S, T, d]" if d else "[T] or [S, T]"
    if given.dtype.kind not in "biuf" or given.ndim not in (1 + d, 2 + d) or not given.size:
        raise ArgumentError("stream", f"{given.dtype}{list(given.shape)}", f"numbers {shape}, at least one value")
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused
        values = given.astype(np.float32, copy=False)
    low, high = values.min(), values.max()  # NaN if there is one
    if not (np.isfinite(low) and np.isfinite(high)):
        wrong, right = ~np.isfinite(values), "finite numbers: leave such values out, or impute them"
    elif detector.domain == "binary" and given.dtype != bool:
        wrong, right = (values != 0) & (values != 1), f"0 and 1 only: {name} watches errors"
    elif detector.domain == "unit" and (low < 0 or high > 1):
        wrong, right = (values < 0) | (values > 1), f"values in [0, 1], for which the bounds of {name} hold"
    else:
        return values
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ArgumentError("stream", f"{given[at]} at {list(at)}", right)
    return values
