"""Votes in long form: one row for each label that somebody gave, sorted by item."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static, struct
from sensijax.label.votes import Votes

_LENGTHS = 16


@struct
class LongVotes:
    """Who said what about which item.

    Attributes:
      item, worker, label: int32 `[M]`, one entry for each vote, sorted by item. Entries with the item N and the worker
        A are no votes: every sum leaves them out.
      per_item: float32 `[N]`, votes on each item.
      per_worker: float32 `[A]`, votes by each annotator.
      items, annotators, classes: N, A, K.
    """

    item: Int32[Array, "m"]
    worker: Int32[Array, "m"]
    label: Int32[Array, "m"]
    per_item: Float[Array, "n"]
    per_worker: Float[Array, "a"]
    items: int = static()
    annotators: int = static()
    classes: int = static()

    @property
    def count(self) -> Float[Array, ""]:
        """How many votes there are."""
        return self.per_item.sum()

    def by_item(self, values: Array) -> Array:
        """Sums `[M, ...]` over the votes of each item: `[N, ...]`."""
        return jax.ops.segment_sum(values, self.item, self.items, indices_are_sorted=True)

    def by_worker(self, values: Array) -> Array:
        """Sums `[M, ...]` over the votes of each annotator: `[A, ...]`."""
        return jax.ops.segment_sum(values, self.worker, self.annotators)

    @property
    def worker_label(self) -> Array:
        """int32 `[M]`, the cell (annotator, label) of each vote in a table of A * K cells."""
        return self.worker * self.classes + self.label

    def chosen(self, probability: Array) -> Array:
        """The probability `[N, K]` of the label that each vote gave: `[M]`."""
        return probability[self.item, self.label]

    def shares(self) -> Array:
        """float32 `[N, K]`, the share of each class in an item's votes; 1/K where there is none."""
        cell = self.item * self.classes + self.label
        counts = jax.ops.segment_sum(jnp.ones_like(cell, jnp.float32), cell, self.items * self.classes)
        counts = counts.reshape(self.items, self.classes)
        some = self.per_item[:, None] > 0
        return jnp.where(some, counts / jnp.maximum(self.per_item, 1)[:, None], jnp.float32(1 / self.classes))

    def most_likely(self, posterior: Array) -> Array:
        """int32 `[N]`, the most likely class, the smallest of equals; -1 for an item without votes."""
        return jnp.where(self.per_item > 0, jnp.argmax(posterior, axis=1), -1).astype(jnp.int32)

    def mean_over_voted(self, posterior: Array) -> Array:
        """float32 `[K]`, the mean over the items that have votes."""
        voted = (self.per_item > 0).astype(jnp.float32)
        return voted @ posterior / voted.sum()


def read_votes(votes: Any, classes: int) -> LongVotes:
    """Checks votes and brings them to long form.

    Args:
      votes: integers `[N, A]`, -1 where there is no vote; what a `Crowd` returns; or a tuple `(item, worker, label)` of
        integers `[M]`, with N and A one more than the largest item and worker.
      classes: K >= 2.

    Returns:
      The votes, sorted by item.

    Raises:
      ArgumentError: if there is no vote, a label is no class, an index is negative, or somebody votes twice on an item.
    """
    if not isinstance(classes, (int, np.integer)) or classes < 2:
        raise ArgumentError("classes", classes, "an integer of 2 or more")
    if isinstance(votes, Votes):
        votes = votes.votes
    places = 0
    if isinstance(votes, tuple):
        item, worker, label = _triples(votes)
        items, annotators = int(item.max()) + 1, int(worker.max()) + 1
    else:
        dense = np.asarray(votes)
        if dense.ndim != 2 or dense.dtype.kind not in "iu":
            came = f"{dense.dtype}{list(dense.shape)}"
            raise ArgumentError("votes", came, "integers [items, annotators], or a tuple (item, worker, label)")
        if (wrong := dense[dense < -1]).size:
            raise ArgumentError("votes", int(wrong[0]), "a class, or -1 for no vote")
        item, worker = np.nonzero(dense >= 0)
        label, (items, annotators), places = dense[item, worker], dense.shape, dense.size
        if not item.size:
            raise ArgumentError("votes", f"no vote on any of {items} items", "at least one label")
    if (wrong := label[(label < 0) | (label >= classes)]).size:
        raise ArgumentError("votes", f"label {int(wrong[0])}", f"a class in 0..{classes - 1}")
    if max(items, annotators) * classes >= 2**31:
        raise ArgumentError("votes", f"{items} items, {annotators} annotators", "fewer than 2^31 cells with a class")
    # Tables of one shape with gaps in other places share a program: what follows is compiled for a few lengths only.
    rest = min(-len(item) % max(1, places // _LENGTHS), max(0, places - len(item)))
    return LongVotes(
        *(
            jnp.asarray(np.pad(index, (0, rest), constant_values=none), jnp.int32)
            for index, none in ((item, items), (worker, annotators), (label, 0))
        ),
        per_item=jnp.asarray(np.bincount(item, minlength=items), jnp.float32),
        per_worker=jnp.asarray(np.bincount(worker, minlength=annotators), jnp.float32),
        items=int(items),
        annotators=int(annotators),
        classes=int(classes),
    )


def _triples(votes: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    columns = [np.asarray(column) for column in votes]
    if len(columns) != 3 or any(c.ndim != 1 or c.dtype.kind not in "iu" for c in columns):
        came = f"a tuple of {', '.join(f'{c.dtype}{list(c.shape)}' for c in columns)}"
        raise ArgumentError("votes", came, "three arrays of integers [M]: item, worker, label")
    if len({len(c) for c in columns}) > 1 or not len(columns[0]):
        raise ArgumentError("votes", f"columns of {[len(c) for c in columns]}", "as many of each, and at least one")
    item, worker, label = (c.astype(np.int64) for c in columns)
    for name, index in (("item", item), ("worker", worker)):
        if (wrong := index[index < 0]).size:
            raise ArgumentError("votes", f"{name} {int(wrong[0])}", "an index from 0")
    # By item: sums over an item's votes read memory in order, and a second vote stands beside the first.
    cell = item * (worker.max() + 1) + worker
    if (cell[1:] < cell[:-1]).any():
        order = np.argsort(cell, kind="stable")
        item, worker, label, cell = item[order], worker[order], label[order], cell[order]
    twice = np.flatnonzero(cell[1:] == cell[:-1])
    if twice.size:
        i = twice[0]
        raise ArgumentError("votes", f"two by worker {worker[i]} on item {item[i]}", "one for each worker and item")
    return item, worker, label
