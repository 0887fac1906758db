"""The timelines of a spec: `[[timeline]]`, and `[[timeline.monitor]]` below each.

[[timeline]]
name = "outbreak"
stage = "drift"
length = 4000
schedule = [{kind = "gradual", start = 1000, width = 500}, {kind = "sudden", at = 3000, to = 0}]
beside = {labels = 0.2}

[[timeline.monitor]]
name = "errors"
signal = "error"
kind = "adwin"
delta = 0.01
"""

import functools
import inspect
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from sensijax.campaign._importing import ImportFault, import_target
from sensijax.campaign._kinds import detector_kinds, shape_kinds, test_kinds
from sensijax.campaign.timeline._timeline import Monitor, Timeline, Windowed
from sensijax.core import ArgumentError
from sensijax.core.errors import did_you_mean
from sensijax.drift.detect import Detector

Fail = Callable[[tuple, str, str], None]
"""`fail(path, came, right)` takes note of a fault."""

KEYS = ("name", "stage", "length", "schedule", "at", "beside", "horizon", "monitor")
GIVEN = ("reference", "sample", "key", "alpha")  # what a test is given by its monitor


def read_timelines(tables: Any, folder: pathlib.Path, fail: Fail) -> dict[str, Timeline]:
    """The timelines of a spec by name; what cannot be made is left out, and its faults are told.

    Args:
      tables: what the spec says.
      folder: where its modules are looked for.
      fail: called with each fault.
    """
    if tables is None:
        return {}
    if not isinstance(tables, list) or not all(isinstance(raw, dict) for raw in tables):
        fail(("timeline",), _shown(tables), "tables [[timeline]], in double brackets")
        return {}
    found: dict[str, Timeline] = {}
    for i, raw in enumerate(tables):
        name, made = raw.get("name"), _timeline(i, raw, folder, fail)
        if not isinstance(name, str):
            came = "missing" if name is None else repr(name)
            fail(("timeline", i, "name"), came, "a name of its own")
        elif name in found:
            fail(("timeline", i, "name"), repr(name), "a name of its own: another timeline has it already")
        elif made is not None:
            found[name] = made
    return found


def placed(rest: str, tables: list[dict[str, Any]]) -> tuple[str, tuple]:
    """How a spec calls what a campaign calls `timelines.REST`, and the path to it."""
    i, rest = _longest([raw.get("name") for raw in tables], rest)
    if i is None:
        return "timeline", ("timeline",)
    written, path = f"timeline.{tables[i]['name']}", ("timeline", i)
    head, _, rest = rest.partition(".")
    if head == "monitors":
        below = tables[i].get("monitor", [])
        j, rest = _longest([raw.get("name") for raw in below], rest)
        if j is not None:
            written, path = f"{written}.monitor.{below[j]['name']}", (*path, "monitor", j)
        else:
            written, path = f"{written}.monitor", (*path, "monitor")
        head = {"test": "kind", "detector": "kind"}.get(rest, rest)
    elif rest:
        return f"{written}.{head}.{rest}", (*path, head, rest)
    return (f"{written}.{head}", (*path, head)) if head else (written, path)


def _longest(names: list[Any], rest: str) -> tuple[int | None, str]:
    """The place of the longest of some names that a path begins with, and what remains of the path."""
    fitting = [name for name in names if isinstance(name, str) and f"{rest}.".startswith(f"{name}.")]
    if not fitting:
        return None, rest
    name = max(fitting, key=len)
    return names.index(name), rest[len(name) + 1 :]


def _timeline(i: int, raw: dict[str, Any], folder: pathlib.Path, fail: Fail) -> Timeline | None:
    here, faulty = ("timeline", i), False

    def wrong(key: str, came: str, right: str) -> None:
        nonlocal faulty
        faulty = True
        fail((*here, key), came, right)

    for key in raw:
        if key not in KEYS:
            wrong(key, "an unknown key", did_you_mean(key, KEYS))
    for key, right in (
        ("stage", "the name of a drift stage"),
        ("length", "a number of steps"),
        ("schedule", 'parts such as {kind = "sudden", at = 500}'),
    ):
        if key not in raw:
            wrong(key, "missing", right)
    schedule = _schedule(here, raw["schedule"], fail) if "schedule" in raw else None
    beside = raw.get("beside", {})
    if not isinstance(beside, dict):
        wrong("beside", _shown(beside), "settings by stage, such as {labels = 0.2}")
        beside = {}
    monitors = _monitors(here, raw["monitor"], folder, fail) if "monitor" in raw else None
    if faulty or schedule is None:
        return None
    at, beside = _number(raw.get("at")), {stage: _number(value) for stage, value in beside.items()}
    return Timeline(raw["stage"], schedule, raw["length"], at, beside, monitors or None, raw.get("horizon"))


def _schedule(here: tuple, parts: Any, fail: Fail) -> Any:
    path = (*here, "schedule")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        fail(path, _shown(parts), 'a list of parts, such as [{kind = "sudden", at = 500}]')
        return None
    shapes = []
    for k, part in enumerate(parts):
        kind, known = part.get("kind"), shape_kinds()
        if kind not in known:
            fail((*path, k, "kind"), "missing" if kind is None else repr(kind), did_you_mean(str(kind), known))
            continue
        made = _made(known[kind], (*path, k), {key: v for key, v in part.items() if key != "kind"}, ("kind",), fail)
        shapes.append(made)
    if len(shapes) < len(parts) or None in shapes:
        return None
    try:
        return functools.reduce(lambda earlier, later: earlier >> later, shapes)
    except ArgumentError as error:
        fail(path, str(error.came), error.right)
        return None


def _monitors(here: tuple, tables: Any, folder: pathlib.Path, fail: Fail) -> dict[str, Monitor | Windowed] | None:
    if not isinstance(tables, list) or not all(isinstance(raw, dict) for raw in tables):
        fail((*here, "monitor"), _shown(tables), "tables [[timeline.monitor]], in double brackets")
        return None
    found: dict[str, Monitor | Windowed] = {}
    for j, raw in enumerate(tables):
        path = (*here, "monitor", j)
        missing = [key for key in ("name", "signal", "kind") if not isinstance(raw.get(key), str)]
        for key in missing:
            fail((*path, key), "missing" if key not in raw else _shown(raw[key]), "a name")
        if missing:
            continue
        if raw["name"] in found:
            fail((*path, "name"), repr(raw["name"]), "a name of its own: another monitor has it already")
        elif (made := _monitor(path, raw, folder, fail)) is not None:
            found[raw["name"]] = made
    return found


def _monitor(path: tuple, raw: dict[str, Any], folder: pathlib.Path, fail: Fail) -> Monitor | Windowed | None:
    target, common = _kind(path, raw["kind"], folder, fail), ("name", "signal", "kind")
    if target is None:
        return None
    options = {key: value for key, value in raw.items() if key not in common}
    if isinstance(target, type):
        ert = options.pop("ert", None)
        detector = _made(target, path, options, (*common, "ert"), fail)
        return None if detector is None else Monitor(raw["signal"], detector, ert)
    known = [*common, "size", "alpha", *(name for name in inspect.signature(target).parameters if name not in GIVEN)]
    unknown = [key for key in options if key not in known]
    for key in unknown:
        fail((*path, key), "an unknown key", did_you_mean(key, known))
    if "size" not in options:
        fail((*path, "size"), "missing", f"the steps in a window: {raw['kind']} is a test of windows")
    return None if unknown or "size" not in options else Windowed(raw["signal"], target, **options)


def _kind(path: tuple, kind: str, folder: pathlib.Path, fail: Fail) -> Any:
    """A class of detectors, or a test."""
    known = {**detector_kinds(), **test_kinds()}
    if ":" not in kind:
        if kind not in known:
            fail((*path, "kind"), repr(kind), f"{did_you_mean(kind, known)} (or module:name for your own)")
        return known.get(kind)
    try:
        found = import_target(kind, folder)
    except ImportFault as fault:
        fail((*path, "kind"), repr(kind), str(fault))
        return None
    if isinstance(found, type) and issubclass(found, Detector) or callable(found) and not isinstance(found, type):
        return found
    fail((*path, "kind"), f"{kind} is of type {type(found).__name__}", "a class of detectors, or a test of two samples")
    return None


def _made(target: Any, path: tuple, settings: Mapping[str, Any], beside: tuple[str, ...], fail: Fail) -> Any:
    """An object of a class with these settings, or None and its faults told."""
    parameters = inspect.signature(target).parameters
    faulty = False
    for key in settings:
        if key not in parameters:
            fail((*path, key), "an unknown key", did_you_mean(key, [*parameters, *beside]))
            faulty = True
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in settings:
            fail((*path, name), "missing", f"a value: {target.__name__} has no default for it")
            faulty = True
    if faulty:
        return None
    try:
        return target(**settings)
    except ArgumentError as error:
        fail((*path, error.argument), str(error.came), error.right)
        return None


def _number(value: Any) -> Any:
    """A fraction that is written as one, such as "8/255", as a number; what is neither, the campaign refuses."""
    from sensijax.campaign._spec import fraction

    try:
        return fraction(value) if isinstance(value, str) and "/" in value else value
    except ValueError:
        return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
