"""Shapes of drift in time: sudden, gradual, incremental, recurring, and one after another."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sensijax.core.errors import ArgumentError
from sensijax.drift.simulate._validate import check_numbers


class Level(NamedTuple):
    """How far a drift has come at some times, in units of its own strength.

    Attributes:
      before, after: float64 `[T]`, the two levels between which a time lies.
      probability: float64 `[T]` in [0, 1], how likely an example at that time is to come from after.
    """

    before: np.ndarray
    after: np.ndarray
    probability: np.ndarray


class Event(NamedTuple):
    """A change: from step `at` on, complete from step `until` on, between two levels."""

    at: int
    until: int
    kind: str
    before: float
    after: float


class Shape:
    """What all shapes in time can do. `a >> b` is a first and b later."""

    def level(self, t: Any, before: Any = 0.0) -> Level:
        """The level at times `t`, integers `[T]`, where it was `before` until the shape begins."""
        raise NotImplementedError

    def events(self, length: int, before: float = 0.0) -> tuple[Event, ...]:
        """The changes that begin within the first `length` steps."""
        raise NotImplementedError

    @property
    def span(self) -> tuple[float, float]:
        """The first step that it touches, and the first at which it has come to its end."""
        raise NotImplementedError

    @property
    def last(self) -> float | None:
        """The level that it leaves behind; None if it never ends."""
        raise NotImplementedError

    def __call__(self, t: Any) -> Float[np.ndarray, "..."]:
        """The mean level at times `t`: before + probability (after - before)."""
        before, after, probability = self.level(np.asarray(t))
        return before + probability * (after - before)

    def __rshift__(self, other: "Shape") -> "Schedule":
        mine = self.parts if isinstance(self, Schedule) else (self,)
        return Schedule((*mine, *(other.parts if isinstance(other, Schedule) else (other,))))


class _Once(Shape):
    """A change from one level to another, once."""

    to: float

    @property
    def last(self) -> float | None:
        return self.to

    def events(self, length: int, before: float = 0.0) -> tuple[Event, ...]:
        at, until = (int(step) for step in self.span)
        kind = type(self).__name__.lower()
        return (Event(at, until, kind, float(before), float(self.to)),) if at < length else ()


@dataclasses.dataclass(frozen=True)
class Sudden(_Once):
    """From step `at` on, another level.

    Attributes:
      at: the first step of the new distribution, 0 or more.
      to: the new level.

    Example:
      >>> Sudden(at=2)(np.arange(4)).tolist()
      [0.0, 0.0, 1.0, 1.0]
    """

    at: int
    to: float = 1.0

    def __post_init__(self):
        _check(self, at=self.at)

    @property
    def span(self) -> tuple[float, float]:
        return self.at, self.at

    def level(self, t: Any, before: Any = 0.0) -> Level:
        t = np.asarray(t)
        level = np.where(t >= self.at, self.to, before)
        return Level(level, level, np.ones(t.shape))


@dataclasses.dataclass(frozen=True)
class Gradual(_Once):
    """A mixture: over `width` steps examples of the new distribution become likelier, on a straight line.

    Attributes:
      start: the first step that may be of the new distribution.
      width: over how many steps, 1 or more; from start + width on, all are.
      to: the new level.

    Example:
      >>> Gradual(start=0, width=4)(np.arange(5)).tolist()
      [0.2, 0.4, 0.6, 0.8, 1.0]
    """

    start: int
    width: int
    to: float = 1.0

    def __post_init__(self):
        _check(self, start=self.start, width=self.width)

    @property
    def span(self) -> tuple[float, float]:
        return self.start, self.start + self.width

    def level(self, t: Any, before: Any = 0.0) -> Level:
        t = np.asarray(t)
        probability = np.clip((t - self.start + 1) / (self.width + 1), 0, 1)
        return Level(np.full(t.shape, before, np.float64), np.full(t.shape, float(self.to)), probability)


@dataclasses.dataclass(frozen=True)
class Incremental(_Once):
    """The level itself rises, in small steps, over `width` steps of time.

    Attributes:
      start: the first step above the old level.
      width: over how many steps, 1 or more; from start + width on, the new level is reached.
      to: the new level.
      levels: in how many equal rises, at most.

    Example:
      >>> Incremental(start=1, width=3)(np.arange(5)).tolist()
      [0.0, 0.25, 0.5, 0.75, 1.0]
    """

    start: int
    width: int
    to: float = 1.0
    levels: int = 100

    def __post_init__(self):
        _check(self, start=self.start, width=self.width, levels=self.levels)

    @property
    def span(self) -> tuple[float, float]:
        return self.start, self.start + self.width

    def level(self, t: Any, before: Any = 0.0) -> Level:
        t = np.asarray(t)
        levels = min(self.levels, self.width + 1)
        # In integers, so that a level is the same number wherever it is computed.
        risen = np.clip(np.ceil(np.clip(t - self.start + 1, 0, None) * levels / (self.width + 1)), 0, levels)
        level = before + (self.to - before) * (risen / levels)
        return Level(level, level, np.ones(t.shape))


@dataclasses.dataclass(frozen=True)
class Recurring(Shape):
    """A level that comes and goes: in each period away from the old one for a part of it, then back.

    Attributes:
      period: steps from one coming to the next, 2 or more.
      duty: the part of the period that is spent at the new level, in (0, 1).
      start: the first step of the first coming.
      to: the new level.

    Example:
      >>> Recurring(period=4, duty=0.5, start=1)(np.arange(8)).tolist()
      [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    """

    period: int
    duty: float = 0.5
    start: int = 0
    to: float = 1.0

    def __post_init__(self):
        _check(self, start=self.start, period=self.period)
        if not 0 < self.duty < 1 or not 0 < self._away < self.period:
            raise ArgumentError("duty", self.duty, f"a part of a period of {self.period} steps: some at each level")

    @property
    def _away(self) -> int:
        return round(self.period * self.duty)

    @property
    def span(self) -> tuple[float, float]:
        return self.start, np.inf

    @property
    def last(self) -> float | None:
        return None

    def level(self, t: Any, before: Any = 0.0) -> Level:
        t = np.asarray(t)
        away = (t >= self.start) & ((t - self.start) % self.period < self._away)
        level = np.where(away, self.to, before)
        return Level(level, level, np.ones(t.shape))

    def events(self, length: int, before: float = 0.0) -> tuple[Event, ...]:
        found = []
        for at in range(self.start, length, self.period):
            found.append(Event(at, at, "recurring", float(before), float(self.to)))
            if (back := at + self._away) < length:
                found.append(Event(back, back, "recurring", float(self.to), float(before)))
        return tuple(found)


@dataclasses.dataclass(frozen=True)
class Schedule(Shape):
    """Shapes one after another, each beginning where the one before has come to its end.

    Attributes:
      parts: shapes in the order of time; `a >> b` makes them.

    Raises:
      ArgumentError: if a part begins before the one before it has ended.

    Example:
      >>> there_and_back = Sudden(at=1) >> Incremental(start=3, width=1, to=0.0)
      >>> there_and_back(np.arange(5)).tolist()
      [0.0, 1.0, 1.0, 0.5, 0.0]
    """

    parts: tuple[Shape, ...]

    def __post_init__(self):
        if not self.parts:
            raise ArgumentError("parts", "none", "at least one shape")
        for i, (first, second) in enumerate(zip(self.parts, self.parts[1:], strict=False)):
            if second.span[0] < first.span[1] or second.span[0] <= first.span[0]:
                raise ArgumentError(
                    f"parts[{i + 1}]",
                    f"a start at {second.span[0]:g}",
                    f"after {first}, which ends at {first.span[1]:g}",
                )

    @property
    def span(self) -> tuple[float, float]:
        return self.parts[0].span[0], self.parts[-1].span[1]

    @property
    def last(self) -> float | None:
        return self.parts[-1].last

    def level(self, t: Any, before: Any = 0.0) -> Level:
        level = self.parts[0].level(t, before)
        for first, second in zip(self.parts, self.parts[1:], strict=False):
            here = np.asarray(t) >= second.span[0]
            later = second.level(t, first.last)
            level = Level(*(np.where(here, b, a) for a, b in zip(level, later, strict=True)))
        return level

    def events(self, length: int, before: float = 0.0) -> tuple[Event, ...]:
        found: list[Event] = []
        for part in self.parts:
            found += part.events(length, before)
            before = before if part.last is None else part.last
        return tuple(found)


def _check(shape: Any, **steps: Any) -> None:
    for name, value in steps.items():
        least = 0 if name in ("at", "start") else 2 if name == "period" else 1
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
            raise ArgumentError(name, repr(value), f"an integer of at least {least}")
    check_numbers("to", shape.to)
