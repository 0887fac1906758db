"""What an attack found out about every example."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sensijax.attack._pursuit import Pursued

if TYPE_CHECKING:
    from sensijax.attack._door import Admitted

STATUSES = ("robust", "broken", "misclassified", "nonfinite")
"""What an example may be: withstood every attempt; broken by one; wrong without an attack; logits not finite."""


@dataclasses.dataclass(frozen=True, eq=False)
class AttackResult:
    """The outcome of an attack, example by example, on the host.

    Attributes:
      x_adv: float32 `[N, ...]` the adversarial example of what is broken; elsewhere the input itself.
      status: uint8 `[N]`, an index into `STATUSES`.
      distance: float32 `[N]` of the adversarial example in the attack's norm: 0 for what is misclassified without an
        attack, infinite where none was found.
      broken_by: int32 `[N]`, an index into `attacks`; -1 where nothing broke it.
      attacks: the names of the attacks, in their order.
      forwards, backwards: int64 `[N]` passes through the model that the attack took.
      ids: int64 `[N]` the examples' ids.
      strongest: float32 `[N, ...]` like `x_adv`, and where none was found, the attempt that came closest.
    """

    x_adv: np.ndarray
    status: np.ndarray
    distance: np.ndarray
    broken_by: np.ndarray
    attacks: tuple[str, ...]
    forwards: np.ndarray
    backwards: np.ndarray
    ids: np.ndarray
    strongest: np.ndarray

    def __len__(self) -> int:
        return len(self.status)

    @property
    def robust(self) -> np.ndarray:
        """bool `[N]`: correct, and withstood every attempt."""
        return self.status == STATUSES.index("robust")

    @property
    def queries(self) -> np.ndarray:
        """int64 `[N]`: forward passes."""
        return self.forwards

    @property
    def clean_accuracy(self) -> float:
        """The share of examples that are correct without an attack."""
        return float(np.isin(self.status, (STATUSES.index("robust"), STATUSES.index("broken"))).mean())

    @property
    def robust_accuracy(self) -> float:
        """The share of examples that are robust: an upper bound, for a better attack may break more."""
        return float(self.robust.mean())


def gather(attacks: Sequence[str], admitted: "Admitted", pursued: Sequence[Pursued]) -> AttackResult:
    """The result of attacks that were made one after another, each on what the earlier ones had left.

    Args:
      attacks: their names.
      admitted: all examples.
      pursued: for each attack, the outcome of all examples that are attacked (`admitted.index`); those that it was not
        asked about are not broken, at a cost of 0.
    """
    x, index = admitted.examples.x, admitted.index
    status = np.where(admitted.finite, STATUSES.index("misclassified"), STATUSES.index("nonfinite")).astype(np.uint8)
    status[index] = STATUSES.index("robust")
    distance = np.where(admitted.finite & ~admitted.correct, np.float32(0), np.float32(np.inf))
    broken_by = np.full(len(x), -1, np.int32)
    x_adv, strongest = x.copy(), x.copy()
    forwards, backwards = np.zeros(len(x), np.int64), np.zeros(len(x), np.int64)
    for i, outcome in enumerate(pursued):
        forwards[index] += outcome.forwards
        backwards[index] += outcome.backwards
        new = outcome.broken & (outcome.distance < distance[index])
        tried = outcome.forwards > 0
        open_ = tried & ~outcome.broken & (broken_by[index] < 0)
        strongest[index[open_ | new]] = outcome.found[open_ | new]
        rows = index[new]
        x_adv[rows], distance[rows], broken_by[rows] = outcome.found[new], outcome.distance[new], i
        status[rows] = STATUSES.index("broken")
    return AttackResult(
        x_adv, status, distance, broken_by, tuple(attacks), forwards, backwards, admitted.ids, strongest
    )
