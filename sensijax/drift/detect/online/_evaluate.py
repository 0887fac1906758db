"""How good alarms are, beside those of detectors that do nothing but fire, and nothing at all."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.drift.detect.online._run import Alarms


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Alarms against the changes that there were.

    A change opens an episode: the values from it up to the next change, or up to `horizon` values. The first alarm in
    an episode finds the change, later ones there are repeats, and alarms outside of episodes are false.

    Attributes:
      changes: how many there were.
      found: how many episodes have an alarm.
      alarms: how many there were.
      repeats: alarms in an episode after its first.
      false_alarms: alarms outside of episodes.
      quiet: values outside of episodes.
      mean_delay: values from a change to the alarm that finds it, on average over those found; NaN if none was.
      median_delay: likewise.
      chance: the recall of a detector that knows nothing, and fires anywhere with the probability with which this one
        does outside of episodes; NaN if there are no such values.
      baselines: the same numbers for a detector that always fires, and one that never does.
    """

    changes: int
    found: int
    alarms: int
    repeats: int
    false_alarms: int
    quiet: int
    mean_delay: float
    median_delay: float
    chance: float
    baselines: Mapping[str, "Evaluation"] = dataclasses.field(default_factory=dict)

    @property
    def missed(self) -> int:
        """How many changes were not found."""
        return self.changes - self.found

    @property
    def recall(self) -> float:
        """The fraction of changes that were found; NaN if there were none."""
        return self.found / self.changes if self.changes else float("nan")

    @property
    def false_per_10k(self) -> float:
        """False alarms in 10,000 values without a change; NaN if there are no such values."""
        return 1e4 * self.false_alarms / self.quiet if self.quiet else float("nan")

    @property
    def time_between_false_alarms(self) -> float:
        """Values without a change for each false alarm; infinite if there was none."""
        return self.quiet / self.false_alarms if self.false_alarms else float("inf")

    @property
    def f1(self) -> float:
        """2 found / (2 found + false alarms + missed): beside the baselines, as it alone can favour one that fires."""
        everything = 2 * self.found + self.false_alarms + self.missed
        return 2 * self.found / everything if everything else float("nan")

    def summary(self) -> str:
        """A table of the detector and both baselines."""
        lines = ["            recall  (by chance)  mean delay  repeats  false per 10,000      F1"]
        for name, e in {"detector": self, **self.baselines}.items():
            lines.append(
                f"{name:10}  {e.recall:6.2f}  {e.chance:11.2f}  {e.mean_delay:10.1f}  {e.repeats:7d}  "
                f"{e.false_per_10k:16.1f}  {e.f1:6.2f}"
            )
        return "\n".join(lines)


def evaluate(
    alarms: Alarms | Any,
    changes: Sequence[Any] | np.ndarray,
    *,
    horizon: int | None = None,
    ignore: Any = None,
) -> Evaluation:
    """Delay, false alarms and recall, with the same of a detector that always fires and of one that never does.

    Args:
      alarms: from `run`, or booleans `[T]` or `[S, T]`.
      changes: indices of the first values after each change, `[C]`, the same for all streams; or a list of S of them.
      horizon: how many values an episode lasts at most; up to the next change unless given. Without it there is nothing
        quiet after the first change, and an alarm at any time after counts as found.
      ignore: booleans `[T]` or of the alarms' shape, values that count neither way: alarms there are not counted, and
        the values belong to no episode and are not quiet. None unless given.

    Returns:
      Sums over streams, means over the changes that were found.

    Raises:
      ArgumentError: if an index lies outside the stream, indices do not rise, the horizon is not 1 or more, or
        `ignore` has another shape.

    Example:
      >>> fired = np.zeros(1000, bool)
      >>> fired[[200, 510]] = True
      >>> print(evaluate(fired, [500], horizon=100).summary())
                  recall  (by chance)  mean delay  repeats  false per 10,000      F1
      detector      1.00         0.11        10.0        0              11.1    0.67
      always        1.00         1.00         0.0       99           10000.0    0.00
      never         0.00         0.00         nan        0               0.0    0.00
    """
    drift = np.atleast_2d(np.asarray(alarms.drift if isinstance(alarms, Alarms) else alarms))
    if drift.dtype != bool or drift.ndim != 2:
        raise ArgumentError("alarms", f"{drift.dtype}{list(drift.shape)}", "Alarms, or booleans [T] or [S, T]")
    number = isinstance(horizon, (int, float, np.number)) and not isinstance(horizon, bool)
    if horizon is not None and not (number and horizon >= 1 and horizon // 1 == horizon):
        raise ArgumentError("horizon", repr(horizon), "a number of values, 1 or more")
    each = list(changes) if len(changes) and np.ndim(changes[0]) else [changes] * len(drift)
    if len(each) != len(drift):
        raise ArgumentError("changes", f"those of {len(each)} streams", f"those of {len(drift)}, or one list for all")
    starts = [_starts(one, drift.shape[1]) for one in each]
    left_out = np.zeros(drift.shape, bool) if ignore is None else np.asarray(ignore)
    if left_out.dtype != bool or left_out.shape not in (drift.shape, drift.shape[1:]):
        raise ArgumentError("ignore", f"{left_out.dtype}{list(left_out.shape)}", f"booleans {list(drift.shape[1:])}")
    counted = np.broadcast_to(~left_out, drift.shape)
    always, never = (_count(np.full_like(drift, fires), starts, horizon, counted) for fires in (True, False))
    return dataclasses.replace(_count(drift, starts, horizon, counted), baselines={"always": always, "never": never})


def _starts(changes: Any, length: int) -> np.ndarray:
    starts = np.asarray(changes)
    if starts.size == 0:
        return np.zeros(0, np.int64)
    if starts.ndim != 1 or starts.dtype.kind not in "iu" or (np.diff(starts) <= 0).any():
        raise ArgumentError("changes", f"{starts.dtype}{list(starts.shape)}", "indices that rise")
    if starts[0] < 0 or starts[-1] >= length:
        raise ArgumentError("changes", f"{starts[0]} to {starts[-1]}", f"indices in 0..{length - 1}")
    return starts.astype(np.int64)


def _count(drift: np.ndarray, starts: list[np.ndarray], horizon: int | None, counted: np.ndarray) -> Evaluation:
    length, delays, lengths, repeats, false, quiet = drift.shape[1], [], [], 0, 0, 0
    drift = drift & counted
    for fired, begins, counts in zip(drift, starts, counted, strict=True):
        ends = np.append(begins, length)[1:]
        ends = ends if horizon is None else np.minimum(ends, begins + int(horizon))
        outside = counts.copy()
        for begin, end in zip(begins, ends, strict=True):
            hits = np.flatnonzero(fired[begin:end])
            delays += hits[:1].tolist()
            repeats += max(len(hits) - 1, 0)
            outside[begin:end] = False
            lengths.append(int(counts[begin:end].sum()))
        false += int((fired & outside).sum())
        quiet += int(outside.sum())
    mean, median = (float(np.mean(delays)), float(np.median(delays))) if delays else (float("nan"),) * 2
    silent = 1 - false / quiet if quiet else float("nan")
    chance = float(np.mean(1 - silent ** np.array(lengths))) if lengths else float("nan")
    return Evaluation(sum(map(len, starts)), len(delays), int(drift.sum()), repeats, false, quiet, mean, median, chance)
