"""The door of timelines: everything that is wrong with them, before anything runs."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sensijax.campaign._scenario import STAGE_NAME, Sweep
from sensijax.campaign._standing import Standing, after, classes_of, data_fault, fitted, stands
from sensijax.campaign.timeline._defaults import SHORTEST, farthest
from sensijax.campaign.timeline._door_of_monitors import monitor_faults
from sensijax.campaign.timeline._timeline import Timeline, Windowed
from sensijax.core import ArgumentError, Dataset, Fault, stage_key_data
from sensijax.core.errors import did_you_mean
from sensijax.drift import Drift, Schedule
from sensijax.drift.simulate.schedule import Shape

MOST_STEPS = 10_000_000


def timeline_faults(
    timelines: Any, data: Any, model: Any, stages: Mapping[str, Any], sound: Mapping[str, Sweep]
) -> Iterator[Fault]:
    """What is wrong with a campaign's timelines.

    Args:
      timelines: what was given.
      data, model: the campaign's; no `Dataset` and no `Model` where they have faults of their own.
      stages: all of its stages.
      sound: those that can be constructed at every setting.

    Yields:
      One `Fault` for each thing that is wrong.
    """
    if not isinstance(timelines, Mapping):
        yield Fault("timelines", type(timelines).__name__, "timelines by name")
        return
    for name, timeline in timelines.items():
        path = f"timelines.{name}"
        if not isinstance(name, str) or not STAGE_NAME.fullmatch(name):
            yield Fault(path, repr(name), "a name of letters, digits, _ . - that starts with a letter")
        if isinstance(timeline, Timeline):
            yield from _faults(path, timeline, data, model, stages, sound)
        else:
            yield Fault(path, type(timeline).__name__, "a sensijax.Timeline")
    if timelines and isinstance(data, Dataset) and np.issubdtype(data.x.dtype, np.floating):
        bad = ~np.isfinite(data.x).reshape(len(data), -1).all(axis=1)
        if bad.any():
            came = f"{bad.sum()} examples with NaN or infinity, the first with id {data.ids[bad][0]}"
            yield Fault("timelines", came, "finite examples, which a stream draws from: leave those out by data.take")


def _faults(
    path: str, timeline: Timeline, data: Any, model: Any, stages: Mapping[str, Any], sound: Mapping[str, Sweep]
) -> Iterator[Fault]:
    timed = yield from _time_faults(path, timeline)
    if not isinstance(timeline.stage, str) or timeline.stage not in stages:
        yield Fault(f"{path}.stage", repr(timeline.stage), did_you_mean(str(timeline.stage), map(str, stages)))
    elif timeline.stage in sound:
        sweep = sound[timeline.stage]
        if not isinstance(sweep.at(sweep.values[0]), Drift):
            yield Fault(f"{path}.stage", f"{timeline.stage!r}, {sweep.kind}", "a stage that is a drift")
        elif timed:
            yield from _drift_faults(path, timeline, sweep, data, model)
    yield from _beside_faults(path, timeline, stages, sound)
    if _is_length(timeline.length):
        yield from monitor_faults(path, timeline, data, model)


def _is_length(length: Any) -> bool:
    return isinstance(length, (int, np.integer)) and not isinstance(length, bool) and 1 <= int(length) <= MOST_STEPS


def _time_faults(path: str, timeline: Timeline) -> Any:
    """Faults of length, schedule and horizon; returns whether the first two are sound."""
    length, timed = timeline.length, True
    if not _is_length(length):
        yield Fault(f"{path}.length", repr(length), f"a number of steps, from 1 to {MOST_STEPS:,}")
        timed = False
    if not isinstance(timeline.schedule, Shape):
        right = "a shape in time, such as sensijax.drift.Sudden(at=500)"
        yield Fault(f"{path}.schedule", type(timeline.schedule).__name__, right)
        timed = False
    elif timed:
        if timeline.monitors is None and length < SHORTEST:
            yield Fault(f"{path}.length", str(length), f"{SHORTEST} steps or more for the usual monitors, or others")
        shape = timeline.schedule
        for part in shape.parts if isinstance(shape, Schedule) else (shape,):
            if part.span[0] >= length:
                yield Fault(f"{path}.schedule", f"{part}", f"changes that begin within the {length} steps")
                timed = False
    horizon, monitors = timeline.horizon, timeline.monitors if isinstance(timeline.monitors, Mapping) else {}
    windows = [monitor.size for monitor in monitors.values() if isinstance(monitor, Windowed)]
    sizes = [
        size for size in windows if isinstance(size, int) and timed and size <= length
    ]  # others are refused anyway
    least = max(sizes, default=1)
    if horizon is not None and (
        isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or horizon < least
    ):
        longest = ", the longest window: what it says stands at its end" if sizes else ""
        yield Fault(f"{path}.horizon", repr(horizon), f"a number of steps of at least {least}{longest}")
    return timed


def _drift_faults(path: str, timeline: Timeline, sweep: Sweep, data: Any, model: Any) -> Iterator[Fault]:
    if timeline.at is not None and not is_number(timeline.at):
        yield Fault(f"{path}.at", repr(timeline.at), f"a setting of {timeline.stage!r}: a finite number")
        return
    at = farthest(sweep) if timeline.at is None else float(timeline.at)
    try:
        drift = sweep.at(at)
    except ArgumentError as error:
        yield Fault(f"{path}.at", str(error.came), error.right)
        return
    if np.all(drift.is_identity()):
        yield Fault(f"{path}.at", f"{at:g}, which is no drift", f"another setting of {timeline.stage!r}")
        return
    levels = timeline.schedule.level(np.arange(timeline.length))
    reached = np.unique(np.concatenate([levels.after, levels.before]))
    strengths = {float(level): np.float32(float(drift.strength) * level) for level in (reached[0], reached[-1])}
    for level, strength in strengths.items():
        try:
            dataclasses.replace(drift, strength=strength)
        except ArgumentError as error:
            yield Fault(f"{path}.schedule", f"level {level:g}: {error.argument} is {error.came}", error.right)
            return
    if isinstance(data, Dataset):
        yield from _data_faults(path, timeline.stage, drift, list(strengths.values()), data, model)


def _data_faults(
    path: str, stage: str, drift: Drift, strengths: list[np.float32], data: Dataset, model: Any
) -> Iterator[Fault]:
    """Whether the data allow the drift, at its extremes."""
    data, kind = data.take(np.argsort(data.ids, kind="stable")), type(drift).__name__
    before = Standing(data.y, data.y, np.ones(len(data), np.float32))
    try:
        knowing = fitted(drift, data, classes_of(data, model))
        for strength in strengths:
            at = dataclasses.replace(knowing, strength=strength)
            if stands(at) and not np.all(at.is_identity()):
                after(at, stage_key_data(0, stage), data, before)
    except Exception as error:  # a user's own may raise anything
        yield data_fault(f"{path}.stage", kind, error)


def _beside_faults(
    path: str, timeline: Timeline, stages: Mapping[str, Any], sound: Mapping[str, Sweep]
) -> Iterator[Fault]:
    if not isinstance(timeline.beside, Mapping):
        yield Fault(f"{path}.beside", type(timeline.beside).__name__, "settings by stage, such as {'labels': 0.2}")
        return
    for stage, value in timeline.beside.items():
        here = f"{path}.beside.{stage}"
        if stage not in stages:
            yield Fault(here, f"stage {stage!r}", did_you_mean(str(stage), map(str, stages)))
        elif stage == timeline.stage:
            yield Fault(here, "the timeline's own drift", "other stages; `at` and the schedule are for this one")
        elif not is_number(value):
            yield Fault(here, repr(value), "a setting: a finite number")
        elif stage in sound:
            try:
                made = sound[stage].at(float(value))
            except ArgumentError as error:
                yield Fault(here, str(error.came), error.right)
                continue
            if isinstance(made, Drift):
                right = "label noise, a perturbation or an attack: a timeline has one drift"
                yield Fault(here, f"a second drift, {sound[stage].kind}", right)


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)
