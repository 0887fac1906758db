"""Labels that a crowd has voted on: simulated annotators, and an aggregation of what they say."""

import dataclasses
from functools import partial
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import SHARED, check_key, keys_of
from sensijax.core.struct import static
from sensijax.core.values import has_value
from sensijax.label import annotators as profiles
from sensijax.label._margin import Margin, fit_margin, margins
from sensijax.label._noise import LEARNED, LabelNoise, LabelResult
from sensijax.label._uneven import uneven_rates
from sensijax.label._validate import check_rate
from sensijax.label.aggregation import Aggregation, Majority, as_aggregation
from sensijax.label.crowd import Crowd, draws
from sensijax.label.votes import Votes

_ASSIGNED, _ABSTAINS, _SLIPS, _SAYS = range(11, 15)  # purposes: folded into keys
_JOB = 0x6A6F62  # other jobs of the same annotators, for the transition matrix
JOBS = 8
"""How many jobs the transition matrix is estimated from."""


class CrowdVote(LabelNoise):
    """Several annotators label each item, and an aggregation makes one label of what they say.

    Careful annotators differ: each has an error rate of the own, drawn from the key, with the mean `rate`; who slips
    says any other class. Spammers say any class without looking. Adversaries know the class, and say the next one. The
    last two are as they are at every rate, so the labels near rate 0 are those of a crowd whose careful part is nearly
    perfect; rate 0 itself is no crowd at all, and every label is right.

    Who gets an item, who skips it, who slips on it and what is said then are functions of (key, id, annotator). A vote
    that is wrong stays, with a higher rate, the same wrong vote. So under `Majority` a label depends on its item alone,
    and one that is wrong stays wrong. Any other aggregation learns from all items who can be trusted: half of the
    items are another job, and a label that is wrong may be right at a higher rate.

    `probability` in the result is what the votes leave: 1 - the aggregation's posterior of the true class.

    Attributes:
      rate: the mean over the careful annotators of how often each is wrong, in [0, 1].
      spread: how much they differ, in [0, 1], as in `OneAnnotator`.
      abstain: how often an annotator skips an item, in [0, 1). What everybody skips goes to the one who came closest
        to labelling it.
      difficulty: in [0, 1], how unevenly the careful slip: at 1 never on the easiest item and twice as often on the
        hardest, by `label.difficulty`. A probability ends at 1, so above a rate of 1 / (1 + difficulty) the mean is
        lower than the rate.
      careful, spammers, adversaries: how many of each; at least one is careful.
      per_item: how many annotators each item goes to; all unless given.
      aggregate: an `Aggregation`: `Majority()`, `DawidSkene()`, `OneCoin()`, `GLAD()`, `MACE()`, your own, or the name
        of one, such as "dawid_skene".
      margin: where the classes lie; learned where the difficulty is above 0.
      hardness: the margins of the data, sorted; learned likewise.

    Raises:
      ArgumentError: if a rate is out of range, nobody is careful, or there is no such aggregation.

    Example:
      >>> noise = CrowdVote(rate=0.3, spammers=1, aggregate="dawid_skene", classes=4)
      >>> result = noise(jax.random.key(0), np.arange(400) % 4)
      >>> result.votes.shape, bool(result.wrong.mean() < 0.3)
      ((400, 6), True)
    """

    rate: Float[Array, ""]
    spread: Float[Array, ""] = 0.5  # type: ignore[assignment]
    abstain: Float[Array, ""] = 0.0  # type: ignore[assignment]
    difficulty: Float[Array, ""] = 0.0  # type: ignore[assignment]
    margin: Margin | None = dataclasses.field(default=None, metadata=LEARNED)
    hardness: Float[Array, "n"] | None = dataclasses.field(default=None, metadata=LEARNED)
    careful: int = static(default=5, kw_only=True)
    spammers: int = static(default=0, kw_only=True)
    adversaries: int = static(default=0, kw_only=True)
    per_item: int | None = static(default=None, kw_only=True)
    aggregate: Aggregation = static(default=Majority(), kw_only=True)

    drawn: ClassVar[bool] = True
    varies: ClassVar[bool] = True

    def __post_init__(self):
        for name in ("rate", "spread", "abstain", "difficulty"):
            check_rate(name, getattr(self, name))
        if has_value(self.abstain) and np.any(np.asarray(self.abstain) == 1):
            raise ArgumentError("abstain", 1, "below 1: somebody must say something")
        for name, least in (("careful", 1), ("spammers", 0), ("adversaries", 0)):
            count = getattr(self, name)
            if int(count) != count or count < least:
                raise ArgumentError(name, count, f"a whole number, {least} or more")
            object.__setattr__(self, name, int(count))
        if self.per_item is not None and not 1 <= self.per_item <= self.annotators:
            raise ArgumentError("per_item", self.per_item, f"1..{self.annotators}: an annotator sees an item once")
        object.__setattr__(self, "aggregate", as_aggregation(self.aggregate))

    @property
    def annotators(self) -> int:
        """A, their number."""
        return self.careful + self.spammers + self.adversaries

    @property
    def looks(self) -> bool:  # type: ignore[override]
        """Whether the annotators find some items harder than others."""
        return bool(np.any(np.asarray(self.difficulty) > 0))

    def fit(self, x: np.ndarray, y: np.ndarray, classes: int) -> Self:
        if not self.looks:
            return dataclasses.replace(self, classes=classes)  # type: ignore[type-var]
        margin = fit_margin(x, y, classes)
        hardness = np.sort(margins(margin, x, y))
        return dataclasses.replace(self, classes=classes, margin=margin, hardness=hardness)  # type: ignore[type-var]

    def is_identity(self) -> Any:
        return self.rate == 0

    def error_rates(self, key: Array) -> Float[Array, "a"]:
        """How often each annotator is wrong, the careful first, then spammers, then adversaries.

        Args:
          key: the key of the call.

        Returns:
          float32 `[A]` in [0, 1]; the mean of the careful is `rate`.
        """
        rate, spread = jnp.asarray(self.rate, jnp.float32), jnp.asarray(self.spread, jnp.float32)
        careful = uneven_rates(jax.random.fold_in(key, SHARED), rate, self.careful, spread)
        others = [1 - 1 / self.classes] * self.spammers + [1.0] * self.adversaries
        return jnp.concatenate([careful, jnp.asarray(others, jnp.float32)])

    def crowd(self, key: Array) -> Crowd:
        wrong = np.asarray(self.error_rates(key), np.float64)[: self.careful]
        matrices = [profiles.reliable(float(np.clip(1 - e, 0, 1)), self.classes) for e in wrong]
        matrices += [profiles.spammer(self.classes)] * self.spammers
        matrices += [profiles.adversary(1.0, self.classes)] * self.adversaries
        kinds = ("careful",) * self.careful + ("spammer",) * self.spammers + ("adversary",) * self.adversaries
        return Crowd(np.stack(matrices), self.abstain, per_item=self.per_item, kinds=kinds)  # type: ignore[arg-type]

    def votes(self, key: Array, y: Any, x: Any = None, *, ids: Any = None) -> Votes:
        key, (y, x, ids) = check_key(key), self._door(y, x, ids)
        return self._votes(key, key, y, x, ids)

    def transition(self, key: Array | None = None, y: Any = None, x: Any = None, *, ids: Any = None) -> np.ndarray:
        """How often each class is written down for each true one, as seen in 8 other jobs of the same annotators.

        What an aggregation makes of votes has no formula. So each entry is a share of 8 n labels, with n the examples
        of its class, and has the standard error of a share, at most 1 / (2 sqrt(8 n)).

        Args, Returns, Raises: as every noise's; key and true labels are needed.
        """
        if key is None:
            raise ArgumentError("key", None, "the key of the call: who the annotators are is drawn from it")
        if y is None:
            raise ArgumentError("y", None, "true labels: votes are known of examples alone")
        key, (y, x, ids) = check_key(key), self._door(y, x, ids)
        counts = np.bincount(y, minlength=self.classes)
        if not counts.all():
            raise ArgumentError("y", f"no example of class {np.argmin(counts)}", "examples of every class")
        total, other = np.zeros((self.classes, self.classes)), jax.random.fold_in(jax.random.fold_in(key, SHARED), _JOB)
        for job in range(JOBS):
            votes = self._votes(key, jax.random.fold_in(other, job), y, x, ids)
            np.add.at(total, (y, np.asarray(self.aggregate(votes.votes, self.classes).labels)), 1)
        return total / total.sum(axis=1, keepdims=True)

    def __call__(self, key: Array, y: Any, x: Any = None, *, ids: Any = None) -> LabelResult:
        votes = self.votes(key, y, x, ids=ids)
        truth, nobody = votes.truth, jnp.full(len(votes.truth), -1, jnp.int32)
        if np.all(self.is_identity()):
            return LabelResult(truth, truth, jnp.zeros(len(truth)), nobody, nobody, votes.votes, self.condition)
        found = self.aggregate(votes.votes, self.classes)
        doubt = _doubt(jnp.asarray(found.posterior), truth)
        labels = jnp.asarray(found.labels, jnp.int32)
        return LabelResult(labels, truth, doubt, nobody, nobody, votes.votes, self.condition)

    def check(self, x: np.ndarray | None) -> None:
        if self.looks and (self.margin is None or self.hardness is None):
            raise ArgumentError(
                "x", "a call before fit", "CrowdVote(...).fit(x, y, classes): items differ in difficulty"
            )

    def _votes(self, key: Array, job: Array, y: np.ndarray, x: np.ndarray | None, ids: np.ndarray) -> Votes:
        """The votes of the annotators that `key` drew, in the job that another key draws."""
        uneven = np.zeros(len(y), np.float32)
        if self.looks:
            assert x is not None and self.margin is not None and self.hardness is not None
            m, known = margins(self.margin, x, y), np.asarray(self.hardness)
            easier = len(known) - (np.searchsorted(known, m) + np.searchsorted(known, m, side="right")) / 2
            uneven = np.float32(self.difficulty) * (2 * easier / len(known) - 1).astype(np.float32)
        kinds = np.repeat([0, 1, 2], [self.careful, self.spammers, self.adversaries])
        numbers = self.error_rates(key), kinds, jnp.float32(self.abstain), np.float32(uneven)
        sizes = {"classes": self.classes, "per_item": self.per_item or self.annotators}
        votes, right = _said(job, y, ids, *numbers, **sizes)
        when = jnp.full(votes.shape, -1, jnp.int32)
        return Votes(votes, when, right, jnp.asarray(y), self.condition)


@jax.jit
def _doubt(posterior: Array, truth: Array) -> Array:
    """1 - the posterior of the true class: `[N]` in [0, 1]."""
    return jnp.clip(1 - jnp.take_along_axis(posterior, truth[:, None], axis=1)[:, 0], 0, 1)


@partial(jax.jit, static_argnames=("classes", "per_item"))
def _said(
    key: Array,
    y: Array,
    ids: Array,
    rates: Array,
    kinds: Array,
    abstain: Array,
    uneven: Array,
    *,
    classes: int,
    per_item: int,
) -> tuple[Array, Array]:
    """Votes and the chance that each is right: `[N, A]` twice."""
    own, annotators = keys_of(key, ids), jnp.arange(len(rates), dtype=jnp.uint32)

    def one(row: tuple[Array, ...]) -> tuple[Array, ...]:
        a, rate, kind = row
        place, stays, slips, says = draws(own, a, (_ASSIGNED, _ABSTAINS, _SLIPS, _SAYS))
        wrong = jnp.where(kind == 0, jnp.clip(rate * (1 + uneven), 0, 1), rate)
        away = 1 + jnp.minimum(jnp.floor(says * (classes - 1)).astype(jnp.int32), classes - 2)
        said = jnp.where(slips < wrong, (y + jnp.where(kind == 2, 1, away)) % classes, y)
        return place, stays, said, 1 - wrong

    place, stays, said, right = jax.lax.map(one, (annotators, rates, kinds))
    assigned = jnp.argsort(jnp.argsort(place, axis=0), axis=0) < per_item
    voted = assigned & (stays >= abstain)
    nearest = jnp.arange(len(rates))[:, None] == jnp.argmax(jnp.where(assigned, stays, -1), axis=0)[None]
    voted = voted | nearest & ~voted.any(axis=0, keepdims=True)
    return jnp.where(voted, said, -1).astype(jnp.int32).T, right.T
