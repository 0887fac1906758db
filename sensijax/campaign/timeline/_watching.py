"""Watching: a stream through the model, and its signals through the monitors."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from sensijax.campaign._structure import Link
from sensijax.campaign.timeline._course import Course, course_of, links_of, reference_of
from sensijax.campaign.timeline._timeline import Monitor, Timeline, Windowed
from sensijax.core import ArgumentError, key_for
from sensijax.drift.detect import calibrate, run

if TYPE_CHECKING:
    from sensijax.campaign._campaign import Campaign
    from sensijax.campaign._engine import Engine
    from sensijax.campaign._plan import Plan

CALIBRATED_ON = 512  # streams: a run length is then known to about 4 %


def timeline_exhibits(
    campaign: "Campaign", plan: "Plan"
) -> Iterator[tuple[str, Callable[["Engine"], dict[str, np.ndarray]]]]:
    """The exhibits of the timelines, one for each seed: their addresses, and what makes them."""
    for name in campaign.timelines:
        for seed in campaign.seeds:  # type: ignore[union-attr]
            yield campaign.addresses.of(plan, name, seed), functools.partial(watched, campaign, name, seed)


class Verdicts(NamedTuple):
    """What a monitor said along a stream.

    Attributes:
      alarms, warnings: bool `[T]`.
      p_values: float64 `[W]`, one for each window; None for an online detector.
    """

    alarms: np.ndarray
    warnings: np.ndarray
    p_values: np.ndarray | None = None


def watched(campaign: "Campaign", name: str, seed: int, engine: "Engine") -> dict[str, np.ndarray]:
    """The exhibit of a timeline under a seed.

    Args:
      campaign: the campaign.
      name: the timeline's.
      seed: one of the campaign's.
      engine: what computes.

    Returns:
      Arrays by name: `strength` `[T]`, `signals/NAME` `[T]`, `reference/NAME` (a mean), `alarms/MONITOR` and
      `warnings/MONITOR` `[T]`, `p_values/MONITOR` `[W]`.

    Raises:
      ArgumentError: if outputs are not finite, or a monitor cannot work with what it is to watch.
    """
    timeline: Timeline = campaign.timelines[name]  # type: ignore[assignment]
    course, reference = course_of(campaign, timeline, seed), reference_of(campaign, timeline, seed)
    now, before = (_signals(campaign, name, seed, one, engine) for one in (course, reference))
    found: dict[str, np.ndarray] = {"strength": np.asarray(timeline.schedule(np.arange(timeline.length)), np.float32)}
    for signal, values in now.items():
        if values.ndim == 1:
            found[f"signals/{signal}"] = values.astype(np.float32)
            found[f"reference/{signal}"] = before[signal].mean(dtype=np.float64)
    assert timeline.monitors is not None  # the campaign has filled them in
    for monitor, watches in timeline.monitors.items():
        key = key_for(seed, f"{timeline.stage}/{monitor}", 0)
        try:
            verdicts = _verdicts(watches, before[watches.signal], now[watches.signal], key)
        except ArgumentError as error:
            path = f"timelines.{name}.monitors.{monitor}.{error.argument}"
            raise ArgumentError(path, error.came, f"{error.right} (the tiles are finished and stay)") from error
        found[f"alarms/{monitor}"], found[f"warnings/{monitor}"] = verdicts.alarms, verdicts.warnings
        if verdicts.p_values is not None:
            found[f"p_values/{monitor}"] = verdicts.p_values
    return found


def _signals(campaign: "Campaign", name: str, seed: int, course: Course, engine: "Engine") -> dict[str, np.ndarray]:
    """The signals of a course by name, `[n]` or `[n, d]`; beside them `correct`, which no monitor can watch."""
    timeline, examples = campaign.timelines[name], campaign.examples
    inputs = any(monitor.signal == "inputs" for monitor in (timeline.monitors or {}).values())
    columns, outputs, x = _answers(course, links_of(campaign, timeline, seed, course), engine, inputs)
    _refuse_nan(name, seed, outputs, columns["status"] != 0, examples.ids[course.positions])
    found = {"loss": columns["loss"], "outputs": outputs.astype(np.float32).reshape(len(outputs), -1)}
    if x is not None:
        found["inputs"] = x.reshape(len(x), -1)
    if examples.is_classification:
        found["error"] = (columns["prediction"] != course.observed).astype(np.int8)
        found["correct"] = (columns["prediction"] == course.target).astype(np.int8)
        found |= {signal: columns[signal] for signal in ("confidence", "entropy", "prediction")}
        found["label"] = course.observed
    return found


def _answers(course: Course, links: list[Link], engine: "Engine", keep_inputs: bool) -> Any:
    """What the model says to the rows of a course; where nothing moves them, once to each that is another one."""
    rows, again = np.arange(len(course.positions)), None
    if not links:
        what = [course.positions, course.observed] if course.observed.ndim == 1 else [course.positions]
        _, rows, again = np.unique(np.stack(what), axis=1, return_index=True, return_inverse=True)
    each = (course.positions[rows], course.draws[rows], course.observed[rows])
    found = engine.answers(*each, links, keep_inputs=keep_inputs)
    return found if again is None else jax.tree.map(lambda leaf: leaf[again.ravel()], found)


def _refuse_nan(name: str, seed: int, outputs: np.ndarray, bad: np.ndarray, ids: np.ndarray) -> None:
    if bad.any():
        raise ArgumentError(
            f"timelines.{name}",
            f"outputs that are no finite numbers in {bad.sum()} of {len(outputs)} rows under seed {seed}, the first of "
            f"example {ids[bad][0]}",
            "a model whose outputs are finite under this drift: of others no detector can say anything (the tiles are "
            "finished and stay)",
        )


def _verdicts(monitor: Monitor | Windowed, reference: np.ndarray, signal: np.ndarray, key: jax.Array) -> Verdicts:
    """What a monitor says along a signal `[T]` or `[T, d]`."""
    if isinstance(monitor, Windowed):
        return _by_windows(monitor, reference, signal, key)
    detector = monitor.detector
    if monitor.ert is not None:
        calibration = calibrate(key, detector, reference, ert=monitor.ert, streams=CALIBRATED_ON)
        detector = calibration.detector
    else:
        detector = detector.fit(reference.astype(np.float32))
    said = run(detector, signal, key=key, trace=False)
    return Verdicts(said.drift, said.warning)


def _by_windows(monitor: Windowed, reference: np.ndarray, signal: np.ndarray, key: jax.Array) -> Verdicts:
    size, drawn = monitor.size, takes_key(monitor)
    alarms, p_values = np.zeros(len(signal), bool), []
    for k in range(len(signal) // size):
        options = {**monitor.options, "key": jax.random.fold_in(key, k)} if drawn else monitor.options
        found = monitor.test(reference, signal[k * size : (k + 1) * size], alpha=monitor.alpha, **options)
        alarms[(k + 1) * size - 1] = found.drift
        p_values.append(found.p_value)
    return Verdicts(alarms, np.zeros_like(alarms), np.array(p_values, np.float64))


def takes_key(monitor: Windowed) -> bool:
    """Whether a test draws, and so takes a key."""
    return "key" in inspect.signature(monitor.test).parameters and "key" not in monitor.options


def kind_of(monitor: Monitor | Windowed) -> str:
    """What watches: the detector's class, or the test's name."""
    if isinstance(monitor, Monitor):
        return type(monitor.detector).__name__
    named: Any = monitor.test
    return getattr(named, "__name__", type(named).__name__)
