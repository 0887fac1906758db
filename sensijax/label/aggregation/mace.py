"""MACE: an annotator knows the answer, or writes down a favourite label without looking."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key
from sensijax.core.struct import struct
from sensijax.label.aggregation._em import check_rule
from sensijax.label.aggregation._votes import LongVotes, read_votes


@struct
class MACEResult:
    """Posterior, and how each annotator works.

    Attributes:
      labels: int32 `[N]`, the most likely class, the smallest of equals; -1 for an item without votes.
      posterior: float32 `[N, K]`; uniform for an item without votes.
      competence: float32 `[A]` in [0, 1], theta, the probability that an annotator does not guess.
      strategy: float32 `[A, K]`, xi, what an annotator writes when guessing.
      log_likelihood: float32, in nats, of the best start.
      log_likelihoods: float32 `[R]`, of every start.
    """

    labels: Int32[Array, "n"]
    posterior: Float[Array, "n k"]
    competence: Float[Array, "a"]
    strategy: Float[Array, "a k"]
    log_likelihood: Float[Array, ""]
    log_likelihoods: Float[Array, "r"]


def mace(
    votes: Any,
    classes: int,
    *,
    key: Array | None = None,
    restarts: int = 10,
    iterations: int = 50,
    competence_prior: float = 0.5,
    strategy_prior: float = 10.0,
    start: tuple[Any, Any] | None = None,
) -> MACEResult:
    """Estimates true labels and competences, by variational Bayes from several starts; the likeliest one is kept.

    Priors, the number of iterations and the spread of the starts are those of the authors and of crowd-kit 1.4.2. From
    one start (`start`) posteriors agree with crowd-kit's, if the votes are sorted there by worker and label: else it
    takes strategies for those of other workers, because it numbers workers as they come in one table and sorted in
    another. Its ten starts are all the same one (every draw has the same seed); here they differ. Products of
    probabilities are sums of logarithms here, so many votes on one item do no harm.

    Args:
      votes: integers `[N, A]`, -1 for no vote; the `Votes` of a `Crowd`; or `(item, worker, label)`, integers `[M]`.
      classes: K >= 2.
      key: a typed PRNG key for the starts; not needed with `start`.
      restarts: R >= 1.
      iterations: of each start, all of them made.
      competence_prior: > 0, of the symmetric Beta prior on theta.
      strategy_prior: > 0, of the symmetric Dirichlet prior on xi.
      start: `(knows [A, 2], strategy [A, K])`, rows that sum to one: the probabilities to guess and to know.

    Returns:
      Posterior, competences and strategies of the start with the highest likelihood.

    Raises:
      ArgumentError: if there is no vote, a label is no class, or neither a key nor a start is given.

    Reference:
      Hovy, Berg-Kirkpatrick, Vaswani and Hovy, "Learning whom to trust with MACE", NAACL-HLT 2013.

    Example:
      >>> found = mace([[1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0]], classes=2, key=jax.random.key(0))
      >>> found.labels.tolist(), bool(found.competence[2] < found.competence[0])
      ([1, 0, 1, 0, 1], True)
    """
    check_rule(iterations, 0.0)
    if not isinstance(restarts, (int, np.integer)) or restarts < 1:
        raise ArgumentError("restarts", restarts, "an integer of 1 or more")
    for argument, prior in (("competence_prior", competence_prior), ("strategy_prior", strategy_prior)):
        if not prior > 0:
            raise ArgumentError(argument, prior, "more than 0")
    read = read_votes(votes, classes)
    if start is not None:
        knows, strategy = (jnp.asarray(np.asarray(rows), jnp.float32)[None] for rows in start)
        right = (1, read.annotators, 2), (1, read.annotators, classes)
        if (knows.shape, strategy.shape) != right:
            raise ArgumentError("start", f"{knows.shape[1:]}, {strategy.shape[1:]}", f"{right[0][1:]}, {right[1][1:]}")
    elif key is None:
        raise ArgumentError("key", None, "a key (`jax.random.key(seed)`), or `start`")
    else:
        knows, strategy = _starts(check_key(key), restarts, read.annotators, classes)
    priors = jnp.float32(competence_prior), jnp.float32(strategy_prior)
    return MACEResult(*_run(read, knows, strategy, jnp.int32(iterations), *priors))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _starts(key: Array, restarts: int, annotators: int, classes: int) -> tuple[Array, ...]:
    """Rows that sum to one, `[R, A, 2]` and `[R, A, K]`."""
    rows = [
        # Flat: a generator over a short last axis is unrolled by the compiler, which takes it longer.
        jax.random.uniform(k, (restarts * annotators * c,), jnp.float32, 1.0, 2.5).reshape(restarts, annotators, c)
        for k, c in zip(jax.random.split(key), (2, classes), strict=True)
    ]
    return tuple(r / r.sum(axis=-1, keepdims=True) for r in rows)


@jax.jit
def _run(votes: LongVotes, knows: Array, strategy: Array, iterations: Array, beta: Array, dirichlet: Array) -> tuple:
    def one(start: tuple[Array, Array]) -> tuple:
        def step(_: Any, state: tuple) -> tuple:
            _, counts, _ = e_step(votes, *state)
            return _normalise(counts[0], beta), _normalise(counts[1], dirichlet)

        state = jax.lax.fori_loop(0, iterations, step, start)
        posterior, _, likelihood = e_step(votes, *state)
        return posterior, *state, likelihood

    # One start after the other, and only the best is kept: memory does not grow with their number.
    def keep(best: tuple, start: tuple[Array, Array]) -> tuple[tuple, Array]:
        found = one(start)
        better = found[-1] > best[-1]
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), found, best), found[-1]

    nothing = (votes.shares(), knows[0], strategy[0], jnp.float32(-jnp.inf))
    (posterior, knew, wrote, _), likelihoods = jax.lax.scan(keep, nothing, (knows, strategy))
    # exp(E[log p]), which the iterations use, does not sum to one: what is given out does.
    competence, wrote = knew[:, 1] / knew.sum(axis=1), wrote / wrote.sum(axis=1, keepdims=True)
    return votes.most_likely(posterior), posterior, competence, wrote, likelihoods.max(), likelihoods


def e_step(votes: LongVotes, knows: Array, strategy: Array) -> tuple[Array, tuple[Array, Array], Array]:
    """Posterior `[N, K]`, expected counts of guessing and knowing `[A, 2]` and of guesses `[A, K]`, log likelihood."""
    k = votes.classes
    guess = knows[votes.worker, 0] * strategy[votes.worker, votes.label]
    know = knows[votes.worker, 1]
    is_said = votes.label[:, None] == jnp.arange(k, dtype=jnp.int32)[None]
    tiny = jnp.finfo(jnp.float32).tiny
    log_said, log_other = jnp.log(jnp.maximum(guess + know, tiny)), jnp.log(jnp.maximum(guess, tiny))
    joint = votes.by_item(jnp.where(is_said, log_said[:, None], log_other[:, None])) - jnp.log(jnp.float32(k))
    each = jax.nn.logsumexp(joint, axis=1)
    posterior = jnp.exp(joint - each[:, None])
    # Given that the label is the true one, it was known with know / (guess + know); else it was guessed for certain.
    known = votes.chosen(posterior) * know / jnp.maximum(guess + know, tiny)
    guessed = 1 - known
    by_label = jax.ops.segment_sum(guessed, votes.worker_label, votes.annotators * k).reshape(votes.annotators, k)
    counts = jnp.stack([by_label.sum(axis=1), votes.by_worker(known)], axis=1), by_label
    return posterior, counts, jnp.where(votes.per_item > 0, each, 0).sum()


def _normalise(counts: Array, prior: Array) -> Array:
    """exp(E[log p]) under the Dirichlet posterior of the rows."""
    counts = counts + prior
    return jnp.exp(digamma(counts) - digamma(counts.sum(axis=1, keepdims=True)))
