"""Aggregations as values: what turns votes into labels, with its settings, to be handed on and written down."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError, did_you_mean
from sensijax.label.aggregation.dawid_skene import DawidSkeneResult, dawid_skene
from sensijax.label.aggregation.glad import GLADResult, glad
from sensijax.label.aggregation.mace import MACEResult, mace
from sensijax.label.aggregation.majority import MajorityResult, majority
from sensijax.label.aggregation.one_coin import OneCoinResult, one_coin


class Aggregated(Protocol):
    """What every aggregation finds at least.

    Attributes:
      labels: int32 `[N]`, -1 for an item without votes.
      posterior: float32 `[N, K]`, how likely each class is held to be.
    """

    @property
    def labels(self) -> Int32[Array, "n"]: ...
    @property
    def posterior(self) -> Float[Array, "n k"]: ...


@runtime_checkable
class Aggregation(Protocol):
    """From votes to labels: called with the votes `[N, A]`, -1 for no vote, and the number of classes."""

    def __call__(self, votes: Any, classes: int) -> Aggregated: ...


@dataclasses.dataclass(frozen=True)
class Majority:
    """`label.majority` as a value: the label that most annotators gave, the smallest of equals."""

    def __call__(self, votes: Any, classes: int) -> MajorityResult:
        return majority(votes, classes)


@dataclasses.dataclass(frozen=True)
class DawidSkene:
    """`label.dawid_skene` as a value.

    Attributes:
      iterations, tolerance: its stopping rule.

    Example:
      >>> DawidSkene(iterations=50)([[1, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0]], classes=2).labels.tolist()
      [1, 0, 1, 0]
    """

    iterations: int = 100
    tolerance: float = 1e-5

    def __call__(self, votes: Any, classes: int) -> DawidSkeneResult:
        return dawid_skene(votes, classes, iterations=self.iterations, tolerance=self.tolerance)


@dataclasses.dataclass(frozen=True)
class OneCoin:
    """`label.one_coin` as a value.

    Attributes:
      iterations, tolerance: its stopping rule.
    """

    iterations: int = 100
    tolerance: float = 1e-5

    def __call__(self, votes: Any, classes: int) -> OneCoinResult:
        return one_coin(votes, classes, iterations=self.iterations, tolerance=self.tolerance)


@dataclasses.dataclass(frozen=True)
class GLAD:
    """`label.glad` as a value.

    Attributes:
      iterations, tolerance: its stopping rule.
    """

    iterations: int = 100
    tolerance: float = 1e-5

    def __call__(self, votes: Any, classes: int) -> GLADResult:
        return glad(votes, classes, iterations=self.iterations, tolerance=self.tolerance)


@dataclasses.dataclass(frozen=True)
class MACE:
    """`label.mace` as a value.

    Attributes:
      seed: of the starts.
      restarts, iterations: how many starts, and how many iterations of each.
    """

    seed: int = 0
    restarts: int = 10
    iterations: int = 50

    def __call__(self, votes: Any, classes: int) -> MACEResult:
        key = jax.random.key(self.seed, impl="threefry2x32")
        return mace(votes, classes, key=key, restarts=self.restarts, iterations=self.iterations)


AGGREGATIONS = {
    "majority": Majority(),
    "dawid_skene": DawidSkene(),
    "one_coin": OneCoin(),
    "glad": GLAD(),
    "mace": MACE(),
}


def as_aggregation(aggregate: Any) -> Aggregation:
    """The aggregation that is meant: an object, or the name of one with its defaults, as a spec has it.

    Raises:
      ArgumentError: if there is no such aggregation.

    Example:
      >>> as_aggregation("dawid_skene")
      DawidSkene(iterations=100, tolerance=1e-05)
    """
    if isinstance(aggregate, str):
        if aggregate not in AGGREGATIONS:
            raise ArgumentError("aggregate", repr(aggregate), did_you_mean(aggregate, AGGREGATIONS))
        return AGGREGATIONS[aggregate]
    if isinstance(aggregate, type) or not isinstance(aggregate, Aggregation):
        raise ArgumentError("aggregate", repr(aggregate), "an aggregation, such as label.DawidSkene(), or its name")
    return aggregate
