"""A sweep is what a stage may be set to; a scenario is a choice of settings."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from sensijax.core import ArgumentError
from sensijax.core.errors import did_you_mean
from sensijax.perturb import ChainScale, Perturbation

STAGE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """The settings of one stage. Made by `sweep`.

    Attributes:
      target: a perturbation class, or anything with `.at(severity)`.
      axis: the name of what varies: "severity", or a parameter of `target`.
      values: the settings, in the order given.
      options: fixed keyword arguments (`size=32`).
    """

    target: Any
    axis: str
    values: tuple[float, ...]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The target's name, for tables."""
        return getattr(self.target, "__name__", type(self.target).__name__)

    def at(self, value: Any) -> Any:
        """The perturbation at a setting, made once; an array of settings gives a stack."""
        if not isinstance(value, (int, float)):
            return self._at(value)
        address = type(value), value
        if address not in self._made:
            found = self._at(value)
            if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(found)):
                return found  # within a program that is being traced: it lives no longer than that
            self._made[address] = found
        return self._made[address]

    def _at(self, value: Any) -> Any:
        if self.axis == "severity":
            return self.target.at(value, **self.options)
        return self.target(**{self.axis: np.asarray(value, np.float32), **self.options})

    @functools.cached_property
    def _made(self) -> dict[tuple[type, float], Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_made"}


def sweep(target: Any, /, **settings: Any) -> Sweep:
    """The settings of a stage: a perturbation at several severities, or at several values of one of its parameters.

    Args:
      target: a perturbation class, a `perturb.chain(...)`, anything with `.at(severity)`, or a class of attacks,
        drifts or annotation noises.
      **settings: exactly one sequence or array, the axis that is swept: `severity=[0, 1, 2]`, or a parameter's name
        (`std=[0.0, 0.1]`); everything else is a fixed option of every variant (`size=32`). Of an attack the axis is its
        budget (`eps=[0, 2/255, 8/255]`). An attack meets the model and what the stages before it have left; it does
        not know of those that come after it.

    Returns:
      A `Sweep`. Its faults (a severity above the scale, a missing 0, ...) are reported by the campaign, together.

    Raises:
      ArgumentError: if there is not exactly one axis, or the target cannot be swept.

    Example:
      >>> from sensijax.perturb import image
      >>> sweep(image.Fog, severity=[0, 1, 2], size=32).values
      (0.0, 1.0, 2.0)
      >>> from sensijax import attack
      >>> sweep(attack.PGD, eps=[0, 0.1], norm="l2", steps=10).axis
      'eps'
    """
    # A parameter that is an array or a tuple itself is an option, not an axis.
    whole = {
        *(target.ranks if isinstance(target, type) and issubclass(target, Perturbation) else ()),
        *(name for name in statics(target) if isinstance(settings.get(name), tuple)),
    }
    axes = {name: value for name, value in settings.items() if _rank(name, value) == 1 and name not in whole}
    if "severity" in settings and _rank("severity", settings["severity"]) == 0:
        axes = {"severity": np.atleast_1d(settings["severity"])}
    if len(axes) != 1:
        raise ArgumentError(
            "settings", f"{sorted(axes) or 'no axis'}", "exactly one axis to sweep, such as severity=[0, 1, 2]"
        )
    ((axis, values),) = axes.items()
    if axis == "severity" and not hasattr(target, "at"):
        raise ArgumentError("target", repr(target), "a class with a severity scale (`.at(severity)`)")
    if axis != "severity":
        known = [p for p in inspect.signature(target).parameters] if callable(target) else []
        if axis not in known:
            raise ArgumentError(
                axis, "an unknown parameter", f"severity, or a parameter of {target!r}: {', '.join(known)}"
            )
    options = {k: v for k, v in settings.items() if k != axis}
    for name in options:
        known = options_of(target, axis)
        if name not in known:
            raise ArgumentError(
                name, "an unknown option", did_you_mean(name, known) if known else f"{target.__name__} has none"
            )
    array = np.asarray(values)
    if array.size and not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise ArgumentError(axis, repr(values), "numbers")
    return Sweep(target, axis, tuple(float(v) for v in array.tolist()), options)


def statics(target: Any) -> set[str]:
    """The parameters of a class that decide its code, and cannot be swept."""
    fields = dataclasses.fields(target) if dataclasses.is_dataclass(target) else ()
    return {field.name for field in fields if field.metadata.get("static")}


def _rank(name: str, value: Any) -> int:
    try:
        return np.ndim(value)
    except ValueError:  # lists of different lengths
        raise ArgumentError(name, repr(value), "numbers") from None


def options_of(target: Any, axis: str) -> list[str]:
    """What may be fixed beside the axis: for a chain, what every link takes."""
    if axis != "severity":
        return [name for name in inspect.signature(target).parameters if name != axis]
    scales = target.scales if isinstance(target, ChainScale) else (target,)
    accepted = [[name for name in inspect.signature(scale.at).parameters if name != "severity"] for scale in scales]
    return [name for name in accepted[0] if all(name in names for names in accepted)]


def missing_options(sweep: Sweep) -> list[str]:
    """The parameters that have no default and were not given."""
    made = getattr(sweep.target, "at", None) if sweep.axis == "severity" else sweep.target
    if isinstance(sweep.target, ChainScale) or not callable(made):
        return []
    empty, by_name = inspect.Parameter.empty, (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(made).parameters.values()
    needed = [p.name for p in parameters if p.default is empty and p.kind in by_name]
    return [name for name in needed if name not in (sweep.axis, *sweep.options)]


class Setting(NamedTuple):
    """One stage at one value."""

    stage: str
    value: float

    def __str__(self) -> str:
        return f"{self.stage}@{self.value:.7g}"


@dataclasses.dataclass(frozen=True)
class Scenario:
    """An ordered tuple of stages, each at a setting; no setting at all is the clean baseline.

    Attributes:
      settings: in the order in which the stages are applied.
    """

    settings: tuple[Setting, ...] = ()

    @functools.cached_property
    def name(self) -> str:
        """`noise@3+fog@2`, or `clean`."""
        return "+".join(map(str, self.settings)) or "clean"

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(setting.stage for setting in self.settings)

    @property
    def severity(self) -> float | None:
        """The value that all stages share (0 for clean), or None where they differ."""
        values = {setting.value for setting in self.settings} or {0.0}
        return values.pop() if len(values) == 1 else None
