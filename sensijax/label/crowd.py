"""A crowd: annotators with confusion matrices who skip, tire, deceive, and find some items harder than others."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key, keys_of, words
from sensijax.core.struct import static, struct
from sensijax.label._noise import draw_labels
from sensijax.label._validate import as_rows, check_labels, check_rate
from sensijax.label.annotators import adversary, reliable, spammer
from sensijax.label.votes import Votes

_ASSIGNED, _ABSTAINS, _ORDER, _VOTE, _PROFILE = range(1, 6)  # purposes: folded into keys


@struct
class Crowd:
    """A simulator of annotators, a frozen pytree: `(key, y) -> Votes`.

    Annotator a sees an item of true class y and votes for class j with probability s C[a, y, j] + (1 - s) g[a, j]. C is
    a's confusion matrix. The skill s = (1 - difficulty of the item) exp(-fatigue_a n) falls with the difficulty and
    with the number n of votes that a has given before. What is left is guessing: g[a] is how often a says each class
    over all classes alike, so that nothing makes a spammer worse.

    Every item goes to `per_item` annotators at random. Each works through the own items in an order of the own, and
    skips some. Who gets an item, who skips it, in which order and what is voted are functions of (key, item's id,
    annotator). A change of accuracy or difficulty keeps every other draw; so does an annotator who joins, where
    everyone gets every item. How tired an annotator is depends on the job as a whole: with fatigue, half of the items
    are another job.

    Attributes:
      confusion: C, `[A, K, K]`, rows true, columns voted, each row sums to 1.
      abstain: `[A]` or scalar in [0, 1], how often an annotator skips an item.
      fatigue: `[A]` or scalar, 0 or more, the relative loss of skill with each vote; 0.01 halves it in 69 votes.
      per_item: how many annotators each item goes to, 1..A; all unless given.
      kinds: what each annotator is, A words, for reports.

    Raises:
      ArgumentError: if a row does not sum to one, a rate is out of range, or numbers of annotators differ.

    Reference:
      Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", Applied
      Statistics 28 (1979), for the confusion matrices.

    Example:
      >>> crowd = Crowd.of_accuracy([0.9, 0.8, 0.6], classes=4, per_item=2)
      >>> votes = crowd(jax.random.key(0), jnp.zeros(500, jnp.int32))
      >>> votes.votes.shape, (votes.votes >= 0).sum(axis=1).tolist()[:3]
      ((500, 3), [2, 2, 2])
    """

    confusion: Float[Array, "a k k"]
    abstain: Float[Array, "..."] = 0.0  # type: ignore[assignment]
    fatigue: Float[Array, "..."] = 0.0  # type: ignore[assignment]
    per_item: int | None = static(default=None, kw_only=True)
    kinds: tuple[str, ...] = static(default=(), kw_only=True)

    def __post_init__(self):
        for name, most in (("abstain", 1.0), ("fatigue", np.inf)):
            check_rate(name, getattr(self, name), most)
            if isinstance(getattr(self, name), (list, tuple)):  # one leaf, not one for each annotator
                object.__setattr__(self, name, np.asarray(getattr(self, name), np.float32))
        confusion = as_rows("confusion", self.confusion)
        object.__setattr__(self, "confusion", confusion)
        if np.ndim(confusion) < 3:
            if isinstance(confusion, np.ndarray):
                raise ArgumentError("confusion", f"shape {list(confusion.shape)}", "one matrix for each: [A, K, K]")
            return  # a placeholder of JAX's
        annotators = np.shape(confusion)[-3]
        for name in ("abstain", "fatigue"):
            shape = np.shape(getattr(self, name))
            if isinstance(confusion, np.ndarray) and shape not in ((), (annotators,)):
                raise ArgumentError(name, f"shape {list(shape)}", f"one number, or one for each of {annotators}")
        if self.per_item is not None and not 1 <= self.per_item <= annotators:
            raise ArgumentError("per_item", self.per_item, f"1..{annotators}: an annotator sees an item once")
        if self.kinds and len(self.kinds) != annotators:
            raise ArgumentError("kinds", f"{len(self.kinds)} words", f"one for each of {annotators} annotators")

    @classmethod
    def of_accuracy(cls, accuracy: Sequence[float], classes: int, **options: Any) -> "Crowd":
        """Annotators who are right with given probabilities, and else say any other class, each as likely.

        Args:
          accuracy: A numbers in [0, 1].
          classes: K >= 2.
          **options: the other fields of a crowd.
        """
        if not len(accuracy):
            raise ArgumentError("accuracy", "no annotator", "at least one")
        return cls(np.stack([reliable(float(a), classes) for a in accuracy]), **options)  # type: ignore[arg-type]

    @classmethod
    def mixture(
        cls,
        key: Array,
        classes: int,
        *,
        careful: int = 5,
        spammers: int = 0,
        constants: int = 0,
        adversaries: int = 0,
        accuracy: tuple[float, float] = (0.6, 0.95),
        **options: Any,
    ) -> "Crowd":
        """A crowd of several kinds, in this order; `kinds` says who is what.

        Args:
          key: a typed PRNG key; the n-th of a kind is the same whatever the numbers of the others.
          classes: K >= 2.
          careful: how many are right with an accuracy drawn uniformly from the range.
          spammers: how many vote at random.
          constants: how many always vote for one class, drawn.
          adversaries: how many know the truth as the careful do, and say the next class.
          accuracy: the range, in [0, 1].
          **options: the other fields of a crowd.

        Example:
          >>> Crowd.mixture(jax.random.key(0), classes=3, careful=2, spammers=1, adversaries=1).kinds
          ('careful', 'careful', 'spammer', 'adversary')
        """
        counts = {"careful": careful, "spammer": spammers, "constant": constants, "adversary": adversaries}
        if min(counts.values()) < 0 or not sum(counts.values()):
            raise ArgumentError("careful", f"{counts}", "numbers of annotators, at least one in all")
        low, high = accuracy
        check_rate("accuracy", np.asarray(accuracy))
        if low > high:
            raise ArgumentError("accuracy", f"{accuracy}", "(lowest, highest)")
        matrices = []
        for purpose, (kind, count) in enumerate(counts.items()):
            of_kind = jax.random.fold_in(jax.random.fold_in(key, _PROFILE), purpose)
            for n in range(count):
                u = float(jax.random.uniform(jax.random.fold_in(of_kind, n), (), jnp.float32))
                known = min(low + u * (high - low), high)
                if kind in ("careful", "adversary"):
                    matrices.append((reliable if kind == "careful" else adversary)(known, classes))
                else:
                    matrices.append(spammer(classes, int(u * classes) if kind == "constant" else None))
        kinds = tuple(kind for kind, count in counts.items() for _ in range(count))
        return cls(np.stack(matrices), kinds=kinds, **options)  # type: ignore[arg-type]

    @property
    def annotators(self) -> int:
        """A, their number."""
        return np.shape(self.confusion)[0]

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return np.shape(self.confusion)[-1]

    def __call__(self, key: Array, y: Any, difficulty: Any = None, *, ids: Any = None) -> Votes:
        """Lets the crowd vote.

        Args:
          key: a typed PRNG key, scalar.
          y: integers `[N]` in [0, K), the true classes.
          difficulty: `[N]` or scalar in [0, 1], how much of the skill an item takes away; 0 unless given.
            `label.difficulty(x, y)` has one from the data.
          ids: integers `[N]` in [0, 2**63); 0..N-1 unless given.

        Returns:
          The votes. Items that every annotator skipped have none: `votes.silent`.

        Raises:
          ArgumentError: if the labels are no classes, lengths differ, ids repeat, or a difficulty is out of range.
        """
        y = check_labels(y, self.classes)
        hard = np.asarray(0.0 if difficulty is None else difficulty, np.float32)
        check_rate("difficulty", hard)
        if hard.shape not in ((), y.shape):
            raise ArgumentError("difficulty", f"shape {list(hard.shape)}", f"one number for each of the {len(y)} items")
        ids = np.arange(len(y)) if ids is None else np.asarray(ids)
        if ids.shape != y.shape:
            raise ArgumentError("ids", f"shape {list(ids.shape)}", f"one id for each of the {len(y)} labels")
        if len(np.unique(ids)) != len(ids):
            raise ArgumentError("ids", "an id more than once", "every item has its own id")
        votes, when, accuracy = _vote(self, check_key(key), y, np.broadcast_to(hard, y.shape), words(ids, "ids"))
        return Votes(votes, when, accuracy, jnp.asarray(y), self.condition)

    @property
    def condition(self) -> str:
        """The crowd in words: `Crowd(5 annotators, 3 classes, 2 per item)`."""
        parts = [f"{self.annotators} annotators", f"{self.classes} classes"]
        parts += [f"{self.per_item} per item"] if self.per_item else []
        for name in ("abstain", "fatigue"):
            value = np.asarray(getattr(self, name))
            parts += [f"{name}={float(value.mean()):.4g}{' on average' if value.ndim else ''}"] if value.any() else []
        parts += [f"{self.kinds.count(k)} {k}" for k in dict.fromkeys(self.kinds)]
        return f"Crowd({', '.join(parts)})"


def draws(own: Array, annotator: Array, purposes: tuple[int, ...]) -> Array:
    """One uniform number for each purpose and item: float32 `[P, N]`, a function of (key, id, annotator, purpose).

    Args:
      own: typed keys `[N]`, the items', from `keys_of`.
      annotator: uint32 scalar.
      purposes: P numbers.
    """
    theirs = jax.vmap(jax.random.fold_in, in_axes=(0, None))(own, annotator + 1)
    for_purpose = jax.vmap(jax.vmap(jax.random.fold_in, in_axes=(0, None)), in_axes=(None, 0))
    keys = for_purpose(theirs, jnp.asarray(purposes, jnp.uint32))
    return jax.vmap(jax.vmap(lambda k: jax.random.uniform(k, (), jnp.float32)))(keys)


def order_within(chosen: Array, place: Array) -> Array:
    """How many chosen items come before each, in the order of `place`: int32 `[N]`; ties keep the order of the rows.

    Example:
      >>> jax.jit(order_within)(jnp.array([True, False, True]), jnp.array([0.9, 0.5, 0.1])).tolist()
      [1, 1, 0]
    """
    order = jnp.argsort(place, stable=True)
    sorted_chosen = chosen[order].astype(jnp.int32)
    before = jnp.cumsum(sorted_chosen) - sorted_chosen
    return jnp.zeros(len(place), jnp.int32).at[order].set(before)


@jax.jit
def _vote(crowd: Crowd, key: Array, y: Array, difficulty: Array, ids: Array) -> tuple[Array, Array, Array]:
    annotators, own = jnp.arange(crowd.annotators, dtype=jnp.uint32), keys_of(key, ids)
    abstain = jnp.broadcast_to(jnp.asarray(crowd.abstain, jnp.float32), annotators.shape)
    fatigue = jnp.broadcast_to(jnp.asarray(crowd.fatigue, jnp.float32), annotators.shape)
    if crowd.per_item is None or crowd.per_item == crowd.annotators:
        assigned = jnp.ones((crowd.annotators, len(y)), bool)
    else:
        place = jax.lax.map(lambda a: draws(own, a, (_ASSIGNED,))[0], annotators)
        assigned = jnp.argsort(jnp.argsort(place, axis=0), axis=0) < crowd.per_item

    def one(row: tuple[Array, ...]) -> tuple[Array, Array, Array]:
        """One annotator's work: memory does not grow with A K."""
        a, C, skips, tires, assigned = row
        stays, order, place = draws(own, a, (_ABSTAINS, _ORDER, _VOTE))
        voted = assigned & (stays >= skips)
        n = order_within(voted, order)
        skill = ((1 - difficulty) * jnp.exp(-tires * n.astype(jnp.float32)))[:, None]
        p = skill * C[y] + (1 - skill) * C.mean(axis=0)[None]
        said = draw_labels(place, p, y)
        right = jnp.take_along_axis(p, y[:, None], axis=1)[:, 0]
        return jnp.where(voted, said, -1), jnp.where(voted, n, -1), right

    rows = (annotators, jnp.asarray(crowd.confusion, jnp.float32), abstain, fatigue, assigned)
    votes, when, accuracy = jax.lax.map(one, rows)
    return votes.T, when.T, accuracy.T
