"""The door of monitors: each is tried on a little noise of the shape that it will meet."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from sensijax.campaign._scenario import STAGE_NAME
from sensijax.campaign.timeline._address import noise, width_of
from sensijax.campaign.timeline._signals import TAKES, Signal, signals_of
from sensijax.campaign.timeline._timeline import Monitor, Timeline, Windowed
from sensijax.campaign.timeline._watching import kind_of, takes_key
from sensijax.core import ArgumentError, Dataset, Fault, Model
from sensijax.core.errors import did_you_mean
from sensijax.drift.detect import Detection, Detector

ROWS = 1024  # on which a test is tried at most, and fewer where a row is long; below, its program is the run's own
NUMBERS = 4_000_000


def monitor_faults(path: str, timeline: Timeline, data: Any, model: Any) -> Iterator[Fault]:
    """What is wrong with the monitors of a timeline whose length is sound."""
    monitors = timeline.monitors
    if monitors is None:
        return
    if not isinstance(monitors, Mapping) or not monitors:
        came = "none" if isinstance(monitors, Mapping) else type(monitors).__name__
        yield Fault(f"{path}.monitors", came, "monitors by name; leave it out for the usual ones")
        return
    for name, monitor in monitors.items():
        here = f"{path}.monitors.{name}"
        if not isinstance(name, str) or not STAGE_NAME.fullmatch(name):
            yield Fault(here, repr(name), "a name of letters, digits, _ . - that starts with a letter")
        if not isinstance(monitor, Monitor | Windowed):
            yield Fault(here, type(monitor).__name__, "a sensijax.Monitor or a sensijax.Windowed")
        elif isinstance(data, Dataset):
            yield from _faults(here, monitor, timeline.length, data, model)


def _faults(path: str, monitor: Monitor | Windowed, length: int, data: Dataset, model: Any) -> Iterator[Fault]:
    signals = signals_of(data.is_classification)
    if monitor.signal not in signals:
        of = "" if data.is_classification else " (of a regression)"
        yield Fault(f"{path}.signal", repr(monitor.signal), did_you_mean(str(monitor.signal), signals) + of)
        return
    signal, width = signals[monitor.signal], None
    if signal.dimensions:
        if not isinstance(model, Model):
            return
        try:
            width = width_of(model, data, monitor.signal)
        except ArgumentError:  # the model's own fault, and known
            return
    if isinstance(monitor, Windowed):
        yield from _windowed_faults(path, monitor, signal, width, length, data)
    else:
        yield from _online_faults(path, monitor, signal, width, length, data)


# --- online detectors ------------------------------------------------------------------------------------------------


def _online_faults(
    path: str, monitor: Monitor, signal: Signal, width: int | None, length: int, data: Dataset
) -> Iterator[Fault]:
    detector = monitor.detector
    if not isinstance(detector, Detector):
        right = "a detector of sensijax.drift.detect, such as ADWIN(); tests of samples go into a sensijax.Windowed"
        yield Fault(f"{path}.detector", repr(detector), right)
        return
    kind = kind_of(monitor)
    if signal.domain == "classes":
        right = 'numbers; for classes a windowed test: sensijax.Windowed("prediction", detect.chi2, size=250)'
        yield Fault(f"{path}.signal", f"{monitor.signal!r}, classes, for {kind}", right)
    elif signal.dimensions != detector.dimensions:
        right = "one that is a vector: outputs, inputs" if detector.dimensions else "one that is a number at each step"
        yield Fault(f"{path}.signal", f"{monitor.signal!r} for {kind}", right)
    elif signal.domain not in TAKES[detector.domain]:
        right = {"binary": "0 and 1: error", "unit": "numbers in [0, 1]: error, confidence"}[detector.domain]
        yield Fault(f"{path}.signal", f"{monitor.signal!r} for {kind}", right)
    else:
        yield from _run_time_faults(path, monitor)
        try:
            fitted = detector.fit(noise(len(data), width))
            fitted.check(np.zeros((1, length) if width is None else (1, length, width), np.float32))
        except ArgumentError as error:
            yield Fault(path, f"{kind}: {error.argument} is {error.came}", error.right)


def _run_time_faults(path: str, monitor: Monitor) -> Iterator[Fault]:
    detector, field = monitor.detector, monitor.detector.threshold_field
    if monitor.ert is None:
        if field is not None and not np.isfinite(getattr(detector, field)).all():
            yield Fault(
                f"{path}.detector",
                f"a {field} of infinity: it would never fire",
                "another, or ert=5000 (say) to find it",
            )
        return
    least = max(10, 2 * getattr(detector, "window", 0))
    number = isinstance(monitor.ert, (int, float, np.number)) and not isinstance(monitor.ert, bool)
    if field is None:
        right = "a detector with a threshold to calibrate: CUSUM, PageHinkley, OnlineMMD; or leave ert out"
        yield Fault(f"{path}.ert", f"{monitor.ert!r} for {kind_of(monitor)}", right)
    elif not number or not least < monitor.ert < np.inf:
        yield Fault(f"{path}.ert", repr(monitor.ert), f"a number of steps above {least}")


# --- windowed tests --------------------------------------------------------------------------------------------------


def _windowed_faults(
    path: str, monitor: Windowed, signal: Signal, width: int | None, length: int, data: Dataset
) -> Iterator[Fault]:
    size, alpha, faulty = monitor.size, monitor.alpha, False
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 2 <= size <= length:
        yield Fault(f"{path}.size", repr(size), f"steps in a window, from 2 to the {length} of the stream")
        faulty = True
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float, np.number)) or not 0 < alpha < 1:
        yield Fault(f"{path}.alpha", repr(alpha), "a level strictly between 0 and 1")
        faulty = True
    if not callable(monitor.test) or isinstance(monitor.test, type):
        right = "a test of sensijax.drift.detect, such as detect.mmd; detectors go into a sensijax.Monitor"
        yield Fault(f"{path}.test", repr(monitor.test), right)
        faulty = True
    if faulty:
        return
    kind, options = kind_of(monitor), {"alpha": alpha, **monitor.options}
    if takes_key(monitor):
        options["key"] = jax.random.key(0)
    try:
        inspect.signature(monitor.test).bind(None, None, **options)
    except TypeError as error:
        known = [p for p in inspect.signature(monitor.test).parameters if p not in ("reference", "sample", "key")]
        yield Fault(path, f"{kind}: {error}", f"its arguments: {', '.join(known)}")
        return
    rows = ROWS if width is None else min(ROWS, max(8, NUMBERS // width))
    reference, sample = (_tried(signal, width, min(n, rows)) for n in (len(data), size))
    try:
        found = monitor.test(reference, sample, **options)
    except ArgumentError as error:
        yield Fault(path, f"{kind} on {monitor.signal!r}: {error.argument} is {error.came}", error.right)
    except Exception as error:  # a user's own
        shown = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        yield Fault(
            path, f"{kind} fails on {monitor.signal!r}: {shown}", "a test that takes two samples of this signal"
        )
    else:
        if not isinstance(found, Detection) and not all(hasattr(found, name) for name in ("p_value", "drift")):
            yield Fault(path, f"{kind} returns a {type(found).__name__}", "a sensijax.drift.detect.Detection")


def _tried(signal: Signal, width: int | None, rows: int) -> np.ndarray:
    """Noise of the kind that a signal is."""
    values = noise(rows, width)
    return (
        (3 * values).astype(np.int32)
        if signal.domain == "classes"
        else ((values < 0.5).astype(np.int8) if signal.domain == "binary" else values)
    )
