"""The label that most annotators gave."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from sensijax.core.struct import struct
from sensijax.label.aggregation._votes import LongVotes, read_votes


@struct
class MajorityResult:
    """What most annotators said.

    Attributes:
      labels: int32 `[N]`; of equals the smallest class; -1 for an item without votes.
      posterior: float32 `[N, K]`, the share of each class in an item's votes; 1/K for an item without votes.
      tie: bool `[N]`, whether another class has as many votes.
      votes: int32 `[N]`, how many votes the item has.
    """

    labels: Int32[Array, "n"]
    posterior: Float[Array, "n k"]
    tie: Bool[Array, "n"]
    votes: Int32[Array, "n"]


def majority(votes: Any, classes: int) -> MajorityResult:
    """Aggregates labels by plurality.

    Args:
      votes: integers `[N, A]`, -1 for no vote; the `Votes` of a `Crowd`; or `(item, worker, label)`, integers `[M]`.
      classes: K >= 2.

    Returns:
      The plurality's label; where classes tie, the smallest of them, with `tie` set. (crowd-kit takes the class that
      comes first in its table, which is the same one when all labels are sorted.)

    Raises:
      ArgumentError: if there is no vote, or a label is no class.

    Example:
      >>> found = majority([[0, 1, 1], [0, 1, -1], [-1, -1, -1]], classes=2)
      >>> found.labels.tolist(), found.tie.tolist()
      ([1, 0, -1], [False, True, False])
    """
    return _count(read_votes(votes, classes))


@jax.jit
def _count(votes: LongVotes) -> MajorityResult:
    shares = votes.shares()
    tie = (votes.per_item > 0) & ((shares == shares.max(axis=1, keepdims=True)).sum(axis=1) > 1)
    return MajorityResult(votes.most_likely(shares), shares, tie, votes.per_item.astype(jnp.int32))
