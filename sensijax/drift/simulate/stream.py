"""Streams: examples in time, drawn while their distribution drifts, with a log of what is true."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key, words
from sensijax.drift.simulate._drift import Drift, check_weights, labels_of, weights_of
from sensijax.drift.simulate.resample import coupled, draw_keys, draws
from sensijax.drift.simulate.schedule import Shape


@dataclasses.dataclass(frozen=True)
class Change:
    """What truly happened to a stream.

    Attributes:
      at: the first step that may differ from those before.
      until: the first step at which the change is complete; `at` if it is sudden.
      kind: "sudden", "gradual", "incremental" or "recurring".
      drift: the drift's class, such as "PriorShift".
      before, after: its strength before `at` and from `until` on.
    """

    at: int
    until: int
    kind: str
    drift: str
    before: float
    after: float


class Window(NamedTuple):
    """Some steps of a stream: their numbers int64 `[n]`, inputs `[n, ...]` and labels `[n]`."""

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """Examples in time. Nothing is copied: inputs are made when they are asked for.

    Attributes:
      data: the examples it draws from.
      drift: the drift, fitted.
      key: the key.
      positions: int64 `[T]`, which example comes at each step, as positions in `data`.
      y: `[T]`, what it is called at that step.
      strength: float32 `[T]`, the drift's strength under which it was drawn.
      changes: the ground truth, in the order of time.
    """

    data: Dataset
    drift: Drift
    key: Array
    positions: np.ndarray
    y: np.ndarray
    strength: np.ndarray
    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def ids(self) -> np.ndarray:
        """int64 `[T]`, the ids of the examples."""
        return self.data.ids[self.positions]

    def x(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """The inputs at steps start..stop-1, `[stop - start, ...]`; all steps unless given.

        What happens to an input is a function of (key, t): an example that comes twice is measured twice.
        """
        t = np.arange(*slice(start, stop).indices(len(self)))
        x = self.data.x[self.positions[t]]
        if "inputs" not in self.drift.changes or not len(t):
            return x
        return np.asarray(_inputs(self.drift, self.strength[t], self.key, words(t), x))

    def batches(self, size: int) -> Iterator[Window]:
        """Windows of `size` steps, the last one shorter; one program serves all of them.

        Args:
          size: steps in a window, 1 or more.

        Yields:
          `Window`s that cover every step once, in order.
        """
        if size < 1:
            raise ArgumentError("size", size, "at least one step")
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            begin = max(stop - size, 0)  # the last window is computed as long as the others
            yield Window(np.arange(start, stop), self.x(begin, stop)[start - begin :], self.y[start:stop])


@jax.jit
def _inputs(drift: Drift, strength: Array, key: Array, times: Array, x: Array) -> Array:
    keys = draw_keys(key, times)[:, 1]

    def one(strength: Array, key: Array, x: Array) -> Array:
        return dataclasses.replace(drift, strength=strength).inputs(key, x)  # type: ignore[type-var]

    return jax.vmap(one)(strength, keys, x)


def stream(key: Array, data: Dataset, drift: Drift, schedule: Shape, length: int) -> Stream:
    """Draws examples in time while a drift comes and goes.

    Step t is a function of (key, t, strength at t). Two streams of one key under two schedules differ only where the
    strengths do, and there as seldom as their distributions allow (`resample`). What an example is called is a function
    of (key, id, strength): a concept, and so the same whenever the example comes.

    Args:
      key: a typed PRNG key, scalar.
      data: the examples, drawn with replacement.
      drift: at the strength that level 1 of the schedule stands for.
      schedule: a shape in time, such as `Sudden(at=500)` or `Gradual(100, 50) >> Sudden(400, to=0.0)`.
      length: T, 1 or more.

    Returns:
      The stream, with its changes.

    Raises:
      ArgumentError: if the data do not allow the drift, a level takes its strength out of range, or no example is left.

    Reference:
      Gama et al., "A survey on concept drift adaptation", ACM Computing Surveys 46 (2014), figure 2: the shapes.

    Example:
      >>> from sensijax.drift import ConceptShift, Sudden
      >>> data = Dataset(np.arange(6, dtype=np.float32)[:, None], np.array([0, 0, 0, 1, 1, 1]))
      >>> drawn = stream(jax.random.key(0), data, ConceptShift(strength=1.0), Sudden(at=50), length=100)
      >>> changed = drawn.y != data.y[drawn.positions]
      >>> bool(changed[:50].any()), bool(changed[50:].all()), drawn.changes[0].at
      (False, True, 50)
    """
    key = check_key(key)
    if length < 1:
        raise ArgumentError("length", length, "at least one step")
    if np.ndim(drift.strength):
        raise ArgumentError("drift.strength", f"shape {list(np.shape(drift.strength))}", "one strength, not a stack")
    drift, full = drift.fit(data), float(drift.strength)
    u = draws(key, length)
    before, after, probability = schedule.level(np.arange(length))
    strength = (full * np.where(u.mixture < probability, after, before)).astype(np.float32)
    order, ids = np.argsort(data.ids), words(data.ids)
    positions, y = np.zeros(length, np.int64), None
    for value in np.unique(strength):
        now = strength == value
        at: Any = dataclasses.replace(drift, strength=value)  # type: ignore[type-var]  # checks its range
        weights = np.ones(len(data), np.float32)
        if "weights" in drift.changes and value != 0:
            weights = np.asarray(weights_of(at, key, data.x, data.y, ids))
            check_weights(at, weights)
        positions[now] = coupled(weights, order, u.base[now], u.keep[now], u.excess[now])
        y = np.empty((length, *data.y.shape[1:]), data.y.dtype) if y is None else y
        labels = data.y
        if "labels" in drift.changes and value != 0:
            labels = np.asarray(labels_of(at, key, data.x, data.y, ids))
        y[now] = labels[positions[now]]
    changes = tuple(
        Change(e.at, e.until, e.kind, type(drift).__name__, full * e.before, full * e.after)
        for e in schedule.events(length)
    )
    assert y is not None  # there is at least one step
    return Stream(data, drift, key, positions, y, strength, changes)
