"""Load generators under MLPerf's scenario names, and percentiles that the number of queries can carry.

- offline: all of the work is there at the start; what counts is throughput.
- single-stream: a query is issued when the one before it is answered. A closed loop: while the system stalls nothing is
  asked, so a stall is seen by one query. It says how long an answer takes, not how long users wait.
- server: queries arrive when they do, as a Poisson process of a stated rate, whether or not the system is ready. Their
  latency runs from the scheduled arrival to the answer, so all that arrive during a stall have waited for it.

Reference:
  Reddi et al., "MLPerf inference benchmark", ISCA 2020; early stopping: mlcommons/inference_policies #237.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from scipy.stats import binom

from sensijax.core import ArgumentError

PERCENTS = (50, 90, 99)
CONFIDENCE = 0.99
SPIN = 5e-4  # seconds: a sleeping process wakes up late, so the end of a wait is spent awake


class Clock(Protocol):
    """What tells the time, in seconds from anywhere."""

    def now(self) -> float: ...

    def wait_until(self, at: float) -> None:
        """Returns at a time, or at once if that has passed."""


class WallClock:
    """The computer's own monotonic clock."""

    def now(self) -> float:
        return time.perf_counter()

    def wait_until(self, at: float) -> None:
        if (left := at - time.perf_counter() - SPIN) > 0:
            time.sleep(left)
        while time.perf_counter() < at:
            pass


@dataclasses.dataclass(frozen=True)
class Load:
    """What a load generator saw.

    Attributes:
      scenario: "single-stream" or "server".
      latencies: float64 `[n]` seconds, in the order of the queries.
      service: float64 `[n]` seconds from when the system turned to a query until it had answered it.
      seconds: from the first scheduled moment to the last answer.
      lag: the most by which the generator itself was late with a query for which the system was free, seconds.
      offered: queries a second that arrived; None for single-stream.
    """

    scenario: str
    latencies: np.ndarray
    service: np.ndarray
    seconds: float
    lag: float = 0.0
    offered: float | None = None

    @property
    def busy(self) -> float:
        """The share of the time in which the system was answering."""
        return float(self.service.sum() / self.seconds)


def poisson(rate: float, queries: int, seed: int) -> np.ndarray:
    """Arrival times of a Poisson process.

    Args:
      rate: arrivals a second, > 0.
      queries: n, how many.
      seed: of the draws.

    Returns:
      Float64 `[n]`, seconds from the start, ascending.
    """
    if not (rate > 0 and math.isfinite(rate)):
        raise ArgumentError("rate", rate, "a positive number of queries a second")
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, queries))


def offline(job: Callable[[], float | None], repeats: int, clock: Clock | None = None) -> np.ndarray:
    """Times the whole work.

    Args:
      job: does all of it, and returns when everything is done; with the seconds that count, if these are not all.
      repeats: how often.
      clock: what tells the time.

    Returns:
      Float64 `[2, repeats]`: the seconds that count, and those by the clock.
    """
    clock = clock or WallClock()
    counted, passed = np.empty((2, repeats))
    for i in range(repeats):
        started = clock.now()
        own = job()
        passed[i] = clock.now() - started
        counted[i] = passed[i] if own is None else own
    return np.stack([counted, passed])


def single_stream(query: Callable[[int], Any], queries: int, clock: Clock | None = None) -> Load:
    """Asks one query after the other.

    Args:
      query: answers the query of the given index before it returns.
      queries: n.
      clock: what tells the time.

    Returns:
      The load: each latency runs from when the query was issued.
    """
    clock = clock or WallClock()
    times = [clock.now()]
    for i in range(queries):
        query(i)
        times.append(clock.now())
    latencies = np.diff(times)
    return Load("single-stream", latencies, latencies, times[-1] - times[0])


def server(query: Callable[[int], Any], arrivals: np.ndarray, clock: Clock | None = None) -> Load:
    """Answers queries that arrive by a schedule, first come first served, one at a time.

    The schedule is the queue: when the system is behind, the next query is the one that has waited longest, and its
    latency began when it was due. Nothing that the system does moves an arrival.

    Args:
      query: answers the query of the given index before it returns.
      arrivals: float64 `[n]`, seconds from the start, ascending: `poisson(...)`.
      clock: what tells the time.

    Returns:
      The load: each latency runs from the scheduled arrival.
    """
    if len(arrivals) == 0 or (np.diff(arrivals) < 0).any():
        raise ArgumentError("arrivals", f"{len(arrivals)} times", "at least one, in ascending order")
    clock = clock or WallClock()
    started = clock.now()
    due = started + arrivals
    begun, done = np.empty((2, len(due)))
    for i, at in enumerate(due):
        clock.wait_until(at)
        begun[i] = clock.now()
        query(i)
        done[i] = clock.now()
    free = np.concatenate([[started], done[:-1]]) < due
    lag = float((begun - due)[free].max(initial=0.0))
    return Load("server", done - due, done - begun, float(done[-1] - started), lag, len(due) / float(arrivals[-1]))


def needed(percent: float) -> int:
    """The least number of queries from which a percentile can be estimated by MLPerf's early stopping.

    So many that, with 99 % confidence, more than one query is above the percentile: 11 for p50, 64 for p90, 662 for
    p99, 6,636 for p99.9.

    Args:
      percent: in (0, 100).

    Reference:
      mlcommons/inference_policies #237 (the rule), mlcommons/inference #1629 (64 and 662).

    Example:
      >>> needed(90), needed(99)
      (64, 662)
    """
    low, high = 1, 2
    while _above(high, percent) < 1:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _above(middle, percent) >= 1 else (middle, high)
    return high


def discarded(queries: int, percent: float) -> int:
    """How many of the slowest queries MLPerf's early stopping leaves out; the slowest of the rest is its estimate.

    Raises:
      ArgumentError: if there are fewer queries than `needed`.
    """
    above = _above(queries, percent)
    if above < 1:
        raise ArgumentError(
            "queries", queries, f"at least {needed(percent)} for p{percent:g} (MLPerf's early stopping)"
        )
    return above - 1


def percentile(latencies: np.ndarray, percent: float) -> tuple[float, float]:
    """A percentile, and what it is at most.

    Args:
      latencies: `[n]` seconds.
      percent: in (0, 100).

    Returns:
      The percentile of what was seen (the nearest rank), and MLPerf's early-stopping estimate, which the true
      percentile of independent queries does not exceed with 99 % confidence.

    Raises:
      ArgumentError: if the queries are too few for it.
    """
    ordered = np.sort(latencies)
    n, left_out = len(ordered), discarded(len(ordered), percent)
    return float(ordered[math.ceil(percent * n / 100 - 1e-9) - 1]), float(ordered[n - 1 - left_out])


def _above(queries: int, percent: float) -> int:
    """The largest t for which at most t of n queries are above the percentile with a probability of at most 1 %."""
    share, least = 1 - percent / 100, 1 - CONFIDENCE
    t = int(binom.ppf(least, queries, share))
    return t if binom.cdf(t, queries, share) <= least else t - 1
