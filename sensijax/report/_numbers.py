"""How the report writes numbers: the same digits, signs and units everywhere."""

import dataclasses
import math
from collections.abc import Sequence

_MOST_NAMES = 6


@dataclasses.dataclass(frozen=True)
class Units:
    """How scores and losses are written.

    Attributes:
      score_name: of the score, in a sentence.
      scale: what a fraction is multiplied by.
      decimals: of numbers in tables and sentences.
      score_unit: after a score.
      short: after a loss in a table.
      long: after a loss in a sentence.
    """

    score_name: str
    scale: float
    decimals: int
    score_unit: str
    short: str
    long: str

    def number(self, value: float) -> str:
        """A score or a loss without its unit, such as "31.4"; a dash where there is none."""
        return number(value * self.scale, self.decimals)

    def signed(self, value: float) -> str:
        """The same with a plus sign where it is above 0."""
        text = self.number(value)
        return text if text[0] in "−–" or not text.strip("0.") else f"+{text}"

    def score(self, value: float) -> str:
        return self.number(value) + ("" if math.isnan(value) else self.score_unit)

    def loss(self, value: float) -> str:
        return self.number(value) + ("" if math.isnan(value) else self.short)

    def interval(self, low: float, high: float) -> str:
        """Such as "27.0 to 35.2"; a dash where too few examples give none."""
        return "–" if math.isnan(low) or math.isnan(high) else f"{self.number(low)} to {self.number(high)}"

    def tolerance(self, value: float) -> str:
        """Such as "5 points": without decimals that say nothing."""
        return f"{value * self.scale:.6g}{self.long.removesuffix(f' of {self.score_name}')}"


ACCURACY = Units("accuracy", 100, 1, "%", " pts", " points of accuracy")
R2 = Units("R²", 1, 3, "", "", " of R²")


def number(value: float, decimals: int) -> str:
    """A number as a reader expects it: a true minus, no negative zero, commas, a dash for NaN.

    Example:
      >>> [number(v, 1) for v in (-0.04, -1.26, 1234.5, float("nan"))]
      ['0.0', '−1.3', '1,234.5', '–']
    """
    if math.isnan(value):
        return "–"
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text.replace("-", "−")


def p_value(value: float) -> str:
    """A p-value with the digits that matter."""
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def listed(names: Sequence[str], most: int = _MOST_NAMES) -> str:
    """Names in a sentence.

    Example:
      >>> listed(["fog", "snow", "frost"]), listed(["a", "b", "c"], most=2)
      ('fog, snow and frost', 'a, b and 1 more')
    """
    names = list(names)
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def count(n: int, noun: str) -> str:
    """Such as "1 stage", "12 stages", "1,797 rows"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def setting(axis: str, value: float) -> str:
    """Such as "severity 3", or "std = 0.2" on an axis of its own."""
    return f"severity {value:g}" if axis == "severity" else f"{axis} = {value:g}"


def percent(fraction: float) -> str:
    """A fraction as a percentage with one decimal."""
    return number(100 * fraction, 1) + ("" if math.isnan(fraction) else "%")


def fixed(value: float) -> str:
    """Three decimals."""
    return number(value, 3)


def digits(value: float, significant: int) -> str:
    """So many significant digits, and none that say nothing."""
    return "–" if math.isnan(value) else f"{value:.{significant}g}"
