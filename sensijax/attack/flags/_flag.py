"""A flag: something about a model or an attack that makes a robust accuracy look better than it is."""

import dataclasses
from collections.abc import Iterable, Mapping

SEVERITIES = ("caution", "distrust")
"""`caution`: more effort may well lower the number; `distrust`: the attack could not do its work, or what was attacked
is no fixed function of its input."""


@dataclasses.dataclass(frozen=True)
class Flag:
    """What was seen, why it matters and what to do.

    Attributes:
      name: a word to look up, such as "saturated_loss"; the same for the same finding, always.
      severity: one of `SEVERITIES`.
      saw: a sentence with the numbers in it.
      why: what it means for the robust accuracy.
      remedy: what to do.
      numbers: what was measured, by name.

    Example:
      >>> print(Flag("random", "distrust", "two calls differ by 0.3", "a verdict is a draw", "attack the expectation"))
      random (distrust): two calls differ by 0.3; a verdict is a draw. Do: attack the expectation.
    """

    name: str
    severity: str
    saw: str
    why: str
    remedy: str
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} ({self.severity}): {self.saw}; {self.why}. Do: {self.remedy}."


def worst_first(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """Each name once (its worst), those that say `distrust` before the others; else in the order in which they came."""
    found: dict[str, Flag] = {}
    for flag in flags:
        if flag.name not in found or SEVERITIES.index(flag.severity) > SEVERITIES.index(found[flag.name].severity):
            found[flag.name] = flag
    return tuple(sorted(found.values(), key=lambda flag: -SEVERITIES.index(flag.severity)))
