"""The noise that is left when several annotators vote: symmetric, at an exact rate."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaln

from sensijax.core.errors import ArgumentError
from sensijax.core.one_program import one_program
from sensijax.core.struct import static
from sensijax.label._noise import LabelNoise
from sensijax.label._validate import check_rate
from sensijax.label.symmetric import Symmetric
from sensijax.label.votes import Votes

MOST_VOTERS = 500
"""Beyond it a probability of float64 may be smaller than the smallest number."""


class CrowdMajority(LabelNoise):
    """The majority of m annotators who are each wrong with the same probability, with ties broken at random.

    Each of the m says any of the wrong classes, each as likely. Then the majority is wrong with a probability that is
    known exactly, `effective_rate`, and is any of the wrong classes, each as likely: symmetric noise. So a sweep over
    `error` asks what annotators of that quality are worth who vote; no crowd is simulated. For annotators who differ,
    skip or deceive, see `Crowd`.

    Attributes:
      error: how often each annotator is wrong, in [0, 1].
      voters: m, in 1..500. With two classes an even m is worth as much as m - 1.

    Raises:
      ArgumentError: if the error is out of range, or `voters` is no number in 1..500.

    Example:
      >>> noise = CrowdMajority(error=0.25, voters=3, classes=2)
      >>> float(noise.effective_rate())  # 3 (1/4)^2 (3/4) + (1/4)^3
      0.15625
    """

    error: Float[Array, ""]
    voters: int = static(default=3, kw_only=True)

    def __post_init__(self):
        check_rate("error", self.error)
        if int(self.voters) != self.voters or not 1 <= self.voters <= MOST_VOTERS:
            raise ArgumentError("voters", self.voters, f"a whole number in 1..{MOST_VOTERS}")
        object.__setattr__(self, "voters", int(self.voters))

    def is_identity(self) -> Any:
        return self.error == 0

    @one_program
    def effective_rate(self) -> Float[Array, ""]:
        """How often the majority is wrong: float32, of the shape of `error`.

        With c of m votes right the majority is wrong with probability h[c], and c is Binomial(m, 1 - error). The mean
        of h is summed by de Casteljau's scheme: only means of numbers that are not negative, so no digit is lost.
        """
        if self.classes < 2:
            raise ArgumentError("classes", self.classes, "2 or more: CrowdMajority(..., classes=K), or fit")
        h = jnp.asarray(1 - win_shares(self.voters, self.classes), jnp.float32)
        error = jnp.asarray(self.error, jnp.float32)[..., None]
        h = jnp.broadcast_to(h, (*error.shape[:-1], len(h)))

        def step(_: int, h: Array) -> Array:
            # The last entry has no neighbour left, and is not used.
            return error * h + (1 - error) * jnp.concatenate([h[..., 1:], h[..., -1:]], axis=-1)

        return jax.lax.fori_loop(0, self.voters, step, h)[..., 0]

    def votes(self, key: Array, y: Any, x: Any = None, *, ids: Any = None) -> Votes:
        """What 5 of the annotators would say, who are each wrong as often as `error` says: not what majorities would.

        Args, Raises: as for a call.

        Returns:
          Their votes.
        """
        return Symmetric(rate=self.error, classes=self.classes).votes(key, y, x, ids=ids)

    def distributions(self, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
        wrong = self.effective_rate()
        own = y[:, None] == jnp.arange(self.classes)[None]
        return jnp.where(own, 1 - wrong, wrong / (self.classes - 1))


@functools.lru_cache(maxsize=64)
def win_shares(voters: int, classes: int) -> np.ndarray:
    """How likely the true class wins the vote, given how many voted for it.

    Of m votes c are right; the m - c others fall on the K - 1 other classes, each as likely. The true class wins if
    none of them has more votes than c, and with 1 / (t + 1) if t have as many. The counts of the others are Poisson
    counts given their sum.

    Args:
      voters: m >= 1.
      classes: K >= 2.

    Returns:
      float64 `[m + 1]` in [0, 1], for c = 0..m.

    Example:
      >>> win_shares(2, 2).tolist()
      [0.0, 0.5, 1.0]
    """
    share, others = np.ones(voters + 1), classes - 1
    share[0] = 0
    for c in range(1, voters // 2 + 1):
        n = voters - c
        log_pmf = _log_poisson(np.arange(n + 1), n / others)
        pmf = np.exp(log_pmf)
        below = np.where(np.arange(n + 1) < c, pmf, 0)
        most_ties, total = min(n // c, others), 0.0
        rest = _power(below, others - most_ties)  # of the sum of the counts of those that do not tie
        for t in range(most_ties, -1, -1):
            choices = gammaln(others + 1) - gammaln(t + 1) - gammaln(others - t + 1)
            total += np.exp(choices + t * log_pmf[c]) * rest[n - t * c] / (t + 1)
            rest = np.convolve(rest, below)[: n + 1]
        share[c] = min(total / np.exp(_log_poisson(n, n)), 1)
    share.flags.writeable = False  # it is kept
    return share


def _log_poisson(count: Any, mean: float) -> Any:
    """The logarithm of the probability of counts under Poisson's distribution."""
    return count * np.log(mean) - mean - gammaln(np.asarray(count) + 1)


def _power(pmf: np.ndarray, times: int) -> np.ndarray:
    """The distribution of the sum of so many counts, up to the largest one of interest."""
    result = np.zeros_like(pmf)
    result[0] = 1
    while times:
        if times & 1:
            result = np.convolve(result, pmf)[: len(pmf)]
        pmf, times = np.convolve(pmf, pmf)[: len(pmf)], times >> 1
    return result
