"""One annotator for each item: labels whose errors come in the shares of the people who made them."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import SHARED, check_key, keys_of
from sensijax.core.struct import static
from sensijax.label._noise import LabelNoise, draw_labels, places
from sensijax.label._uneven import uneven_rates
from sensijax.label._validate import check_rate
from sensijax.label.crowd import Crowd
from sensijax.label.votes import Votes

_WHO, _ORDER = 1, 2  # purposes: folded into an item's key


class OneAnnotator(LabelNoise):
    """Each item is labelled once, by one of A annotators; some are wrong more often than others.

    An item goes to each annotator with the same probability. Annotator a is wrong with a probability of the own, and
    then writes any other class, each as likely. These probabilities are drawn from the key and have the mean `rate`;
    each grows with it, so what is wrong stays wrong. Averaged over who might get an item, this is symmetric noise;
    given who did, errors come in clusters, which `annotator` in the result shows.

    Who labels an item is a function of (key, id). `when`, the place in that annotator's work, depends on which other
    items there are: half of the items are another job.

    Attributes:
      rate: the mean over the annotators of how often each is wrong, in [0, 1].
      spread: how much they differ, in [0, 1]; at 0 all are wrong as often, at 1 their shares of the errors are uniform
        on the simplex (below the bound that nobody is wrong more often than always).
      annotators: A, 1 or more.

    Raises:
      ArgumentError: if a rate is out of range, or there is no annotator.

    Example:
      >>> noise = OneAnnotator(rate=0.3, annotators=3, classes=4)
      >>> result = noise(jax.random.key(0), jnp.zeros(6, jnp.int32))
      >>> result.annotator.tolist(), result.when.tolist()
      ([0, 2, 0, 1, 2, 0], [1, 1, 2, 0, 0, 0])
    """

    rate: Float[Array, ""]
    spread: Float[Array, ""] = 1.0  # type: ignore[assignment]
    annotators: int = static(default=5, kw_only=True)

    drawn: ClassVar[bool] = True
    varies: ClassVar[bool] = True

    def __post_init__(self):
        check_rate("rate", self.rate)
        check_rate("spread", self.spread)
        if int(self.annotators) != self.annotators or self.annotators < 1:
            raise ArgumentError("annotators", self.annotators, "a whole number, 1 or more")
        object.__setattr__(self, "annotators", int(self.annotators))

    def is_identity(self) -> Any:
        return self.rate == 0

    def error_rates(self, key: Array) -> Float[Array, "a"]:
        """How often each annotator is wrong.

        Args:
          key: the key of the call.

        Returns:
          float32 `[A]` in [0, 1], with the mean `rate`.
        """
        rate, spread = jnp.asarray(self.rate, jnp.float32), jnp.asarray(self.spread, jnp.float32)
        return uneven_rates(jax.random.fold_in(key, SHARED), rate, self.annotators, spread)

    def crowd(self, key: Array) -> Crowd:
        right = np.clip(1 - np.asarray(self.error_rates(key), np.float64), 0, 1)
        return Crowd.of_accuracy(right.tolist(), self.classes)

    def votes(self, key: Array, y: Any, x: Any = None, *, ids: Any = None) -> Votes:
        """What all annotators would have said, had each labelled every item; where one did, it is that label.

        Args, Raises: as for a call.

        Returns:
          The votes of the A annotators.
        """
        key, (y, x, ids) = check_key(key), self._door(y, x, ids)
        votes, right = _all(self, key, y, ids)
        return Votes(votes, jnp.full(votes.shape, -1, jnp.int32), right, jnp.asarray(y), self.condition)

    def distributions(self, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
        wrong = self.error_rates(key)[self._who(key, ids)][:, None]
        own = y[:, None] == jnp.arange(self.classes)[None]
        return jnp.where(own, 1 - wrong, wrong / (self.classes - 1))

    def provenance(self, key: Array, ids: Array) -> tuple[Int32[Array, "n"], Int32[Array, "n"]]:
        who = self._who(key, ids)
        # By annotator, then by a draw of the item's own; the id parts equal draws, so that the rows' order does not.
        order = jnp.lexsort((ids[:, 1], ids[:, 0], _uniform(key, ids, _ORDER), who))
        counts = jnp.zeros(self.annotators, jnp.int32).at[who].add(1)
        first = jnp.cumsum(counts) - counts
        place = jnp.arange(len(ids), dtype=jnp.int32) - first[who[order]]
        return who, jnp.zeros(len(ids), jnp.int32).at[order].set(place)

    def _who(self, key: Array, ids: Array) -> Int32[Array, "n"]:
        """The annotator of each item."""
        place = jnp.floor(_uniform(key, ids, _WHO) * self.annotators).astype(jnp.int32)
        return jnp.minimum(place, self.annotators - 1)  # rounding may lift the largest draw to A


@jax.jit
def _all(noise: OneAnnotator, key: Array, y: Array, ids: Array) -> tuple[Array, Array]:
    """Votes, and the chance that each is right: `[N, A]` twice."""
    rates, who = noise.error_rates(key), noise._who(key, ids)
    own = y[:, None] == jnp.arange(noise.classes)[None]
    theirs = jax.random.fold_in(key, SHARED)

    def one(row: tuple[Array, Array]) -> Array:
        a, wrong = row
        p = jnp.where(own, 1 - wrong, wrong / (noise.classes - 1))
        place = jnp.where(who == a, places(key, ids), places(jax.random.fold_in(theirs, a + 1), ids))
        return draw_labels(place, p, y)

    votes = jax.lax.map(one, (jnp.arange(noise.annotators, dtype=jnp.int32), rates)).T
    return votes, jnp.broadcast_to(1 - rates[None], votes.shape)


def _uniform(key: Array, ids: Array, purpose: int) -> Float[Array, "n"]:
    def one(own: Array) -> Array:
        return jax.random.uniform(jax.random.fold_in(own, purpose), (), jnp.float32)

    return jax.vmap(one)(keys_of(key, ids))
