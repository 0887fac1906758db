"""Errors that say what came, where, and what would be right."""

import dataclasses
import difflib
from collections.abc import Iterable, Sequence


class SensijaxError(Exception):
    """Base of every error that sensijax raises on purpose."""


class ArgumentError(SensijaxError, ValueError):
    """A value that a function cannot work with.

    The message names the argument, what came, and what would be right; they are attributes too.
    """

    def __init__(self, argument: str, came: object, right: str):
        self.argument, self.came, self.right = argument, came, right
        super().__init__(f"`{argument}`: got {came}; {right}")


class MissingExtraError(SensijaxError, ImportError):
    """An optional dependency is needed and absent; names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(f"{purpose} needs the package `{package}`: pip install 'sensijax[{extra}]'")


class StoreError(SensijaxError):
    """The campaign folder cannot be written, read or trusted. What was acknowledged before stays."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a campaign.

    Attributes:
      path: where, in the words of the spec (`stage.fog.severity[2]`).
      came: what was found there.
      right: what would be right.
      location: `file:line` when the campaign came from a file.
    """

    path: str
    came: str
    right: str
    location: str | None = None

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        return f"{where}{self.path}: {self.came}; {self.right}"


class CampaignError(SensijaxError, ValueError):
    """Everything that is wrong with a campaign, at once."""

    def __init__(self, faults: Sequence[Fault]):
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''}"
        super().__init__("\n".join([f"the campaign has {count}:", *(f"  {fault}" for fault in self.faults)]))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Advice for a name that is not known: the closest one, or the whole list.

    Example:
      >>> did_you_mean("gausian_noise", ["gaussian_noise", "fog"])
      "did you mean 'gaussian_noise'?"
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
