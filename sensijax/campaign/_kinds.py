"""The names that a spec's `kind` may have, and the classes that they stand for."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from sensijax import attack, drift, label, perturb


def kinds() -> dict[str, type]:
    """The names that a spec's `kind` may have for perturbations, and what they stand for."""
    return {_snake(cls.__name__): cls for cls in perturb.image.ALL}


def attack_kinds() -> dict[str, type]:
    """The names that a spec's `kind` may have for attacks, and what they stand for.

    Example:
      >>> attack_kinds()["pgd"].__name__
      'PGD'
    """
    public = vars(attack).values()
    found = [cls for cls in public if isinstance(cls, type) and issubclass(cls, attack.Attack)]
    return {cls.__name__.lower(): cls for cls in found if cls is not attack.Attack}


def drift_kinds() -> dict[str, type]:
    """The names that a spec's `kind` may have for drifts, and what they stand for.

    Example:
      >>> drift_kinds()["prior_shift"].__name__
      'PriorShift'
    """
    return _public(drift, drift.Drift)


def label_kinds() -> dict[str, type]:
    """The names that a spec's `kind` may have for annotation noise, and what they stand for.

    Example:
      >>> label_kinds()["symmetric"].__name__
      'Symmetric'
    """
    return _public(label, label.LabelNoise)


def shape_kinds() -> dict[str, type]:
    """The names that a part of a timeline's schedule may have, and what they stand for.

    Example:
      >>> shape_kinds()["gradual"].__name__
      'Gradual'
    """
    return {_snake(cls.__name__): cls for cls in (drift.Sudden, drift.Gradual, drift.Incremental, drift.Recurring)}


def detector_kinds() -> dict[str, type]:
    """The names that a monitor's `kind` may have for online detectors, and what they stand for.

    Example:
      >>> detector_kinds()["page_hinkley"].__name__
      'PageHinkley'
    """
    return _public(drift.detect, drift.detect.Detector)


def test_kinds() -> dict[str, Callable[..., drift.detect.Detection]]:
    """The names that a monitor's `kind` may have for tests of windows, and what they stand for.

    Example:
      >>> test_kinds()["mmd"].__name__
      'mmd'
    """
    functions = {name: f for name, f in vars(drift.detect).items() if inspect.isfunction(f)}
    returned = drift.detect.Detection, "Detection"
    takes = {name: inspect.signature(function) for name, function in functions.items()}
    return {
        name: functions[name]
        for name, s in takes.items()
        if list(s.parameters)[:2] == ["reference", "sample"] and s.return_annotation in returned
    }


def _public(room: Any, base: type) -> dict[str, type]:
    named = {name: cls for name, cls in vars(room).items() if isinstance(cls, type) and issubclass(cls, base)}
    return {_snake(name): cls for name, cls in named.items() if cls is not base}


def _snake(name: str) -> str:
    """`Gamma`, `JPEG`, `ISONoise`, `GaussianNoise` as `gamma`, `jpeg`, `iso_noise`, `gaussian_noise`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
