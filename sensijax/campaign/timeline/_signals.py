"""Signals: what monitors can watch of a model, and what each of them is made of."""

from collections.abc import Mapping
from typing import NamedTuple


class Signal(NamedTuple):
    """What a signal is, step by step.

    Attributes:
      domain: "binary" (0 and 1), "unit" (numbers in [0, 1]), "numbers", or "classes".
      dimensions: 0 if it is a number, 1 if it is a vector.
      labels: whether it needs what annotators write.
    """

    domain: str
    dimensions: int = 0
    labels: bool = False


OF_A_CLASSIFIER: Mapping[str, Signal] = {
    "error": Signal("binary", labels=True),
    "loss": Signal("numbers", labels=True),
    "label": Signal("classes", labels=True),
    "confidence": Signal("unit"),
    "entropy": Signal("numbers"),
    "prediction": Signal("classes"),
    "outputs": Signal("numbers", dimensions=1),
    "inputs": Signal("numbers", dimensions=1),
}
OF_A_REGRESSION: Mapping[str, Signal] = {
    "loss": Signal("numbers", labels=True),
    "outputs": Signal("numbers", dimensions=1),
    "inputs": Signal("numbers", dimensions=1),
}

TAKES = {"binary": ("binary",), "unit": ("binary", "unit"), "numbers": ("binary", "unit", "numbers")}
"""Which domains of signals an online detector of each domain can work with."""


def signals_of(classification: bool) -> Mapping[str, Signal]:
    """The signals of a classifier, or those of a regression."""
    return OF_A_CLASSIFIER if classification else OF_A_REGRESSION
