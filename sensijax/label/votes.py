"""Votes: what each annotator of a crowd said about each item."""

import numpy as np
from jaxtyping import Array, Float, Int32

from sensijax.core.struct import static, struct


@struct
class Votes:
    """Votes of A annotators on N items, with what a simulator knows of them.

    Attributes:
      votes: int32 `[N, A]`, the class that was written down; -1 where there is no vote.
      when: int32 `[N, A]`, which of the annotator's votes it was, from 0; -1 where there is no vote, or no order.
      accuracy: float32 `[N, A]`, the chance that this annotator is right about this item at that moment; where there is
        no vote, what it would have been.
      truth: int32 `[N]`, the true classes.
      condition: of which crowd, in words.

    Example:
      >>> import jax
      >>> from sensijax.label import Crowd
      >>> crowd = Crowd.of_accuracy([1.0, 1.0], classes=2, abstain=[0.0, 1.0])
      >>> votes = crowd(jax.random.key(0), [0, 1, 1])
      >>> votes.votes.tolist(), votes.right.tolist(), votes.silent.tolist()
      ([[0, -1], [1, -1], [1, -1]], [1.0, nan], [])
    """

    votes: Int32[Array, "n a"]
    when: Int32[Array, "n a"]
    accuracy: Float[Array, "n a"]
    truth: Int32[Array, "n"]
    condition: str = static(default="")

    @property
    def voted(self) -> Array:
        """bool `[N, A]`, where there is a vote."""
        return self.votes >= 0

    @property
    def silent(self) -> np.ndarray:
        """int `[M]`, the positions of the items that nobody voted on: they have no label, whatever the aggregation."""
        return np.flatnonzero(~np.asarray(self.voted).any(axis=1))

    @property
    def right(self) -> np.ndarray:
        """float64 `[A]`, the fraction of each annotator's votes that is right; NaN for one who never voted."""
        voted = np.asarray(self.voted)
        hits = (np.asarray(self.votes) == np.asarray(self.truth)[:, None]).sum(axis=0)
        return np.where(voted.any(axis=0), hits / np.maximum(voted.sum(axis=0), 1), np.nan)
