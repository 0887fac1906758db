"""The one-coin model: an annotator is right with one probability, whatever the class."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from sensijax.core.struct import struct
from sensijax.label.aggregation._em import SMALLEST, check_rule, expectation_maximisation
from sensijax.label.aggregation._votes import LongVotes, read_votes


@struct
class OneCoinResult:
    """Posterior and the accuracy of each annotator.

    Attributes:
      labels, posterior, prior, log_likelihood, converged, iterations: as in `DawidSkeneResult`.
      accuracy: float32 `[A]`, the mean posterior of the labels that an annotator gave; 1/K for one without votes.
      votes: int32 `[A]`, how many votes each annotator gave.
    """

    labels: Int32[Array, "n"]
    posterior: Float[Array, "n k"]
    accuracy: Float[Array, "a"]
    prior: Float[Array, "k"]
    votes: Int32[Array, "a"]
    log_likelihood: Float[Array, ""]
    converged: Bool[Array, ""]
    iterations: Int32[Array, ""]


def one_coin(votes: Any, classes: int, *, iterations: int = 100, tolerance: float = 1e-5) -> OneCoinResult:
    """Estimates true labels and one accuracy for each annotator; wrong labels are equally likely.

    K (K - 1) - 1 parameters fewer for each annotator than Dawid and Skene's: better with few votes from each. Start and
    iterations are those of `OneCoinDawidSkene` in crowd-kit 1.4.2; the stopping rule differs as in `dawid_skene`.
    There it often stops after three or four, as its bound may fall: posteriors of the test's three crowds differ by up
    to 0.45, each by its own rule, and after equally many iterations by less than 1e-6.

    Args:
      votes: integers `[N, A]`, -1 for no vote; the `Votes` of a `Crowd`; or `(item, worker, label)`, integers `[M]`.
      classes: K >= 2.
      iterations: the most.
      tolerance: stop when an iteration gains less log likelihood than this, in nats per vote.

    Returns:
      Posterior and accuracies.

    Raises:
      ArgumentError: if there is no vote, a label is no class, or the stopping rule is none.

    Reference:
      Zhang, Chen, Zhou and Jordan, "Spectral methods meet EM: a provably optimal algorithm for crowdsourcing", JMLR
      17(102), 2016, section 2.

    Example:
      >>> found = one_coin([[1, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]], classes=2)
      >>> found.labels.tolist(), bool(found.accuracy[2] < found.accuracy[0])
      ([1, 0, 1, 0, 1], True)
    """
    check_rule(iterations, tolerance)
    read = read_votes(votes, classes)
    fit = expectation_maximisation(read, jnp.int32(iterations), jnp.float32(tolerance), m_step=_m_step)
    return OneCoinResult(
        fit.labels,
        fit.posterior,
        fit.model,
        fit.prior,
        read.per_worker.astype(jnp.int32),
        fit.log_likelihood,
        fit.converged,
        fit.iterations,
    )


def _m_step(votes: LongVotes, posterior: Array) -> tuple[Array, Array]:
    k = votes.classes
    given = votes.chosen(posterior)
    n = jnp.maximum(votes.per_worker, 1)
    right = votes.by_worker(given) / n
    wrong = votes.by_worker(posterior[votes.item].sum(axis=1) - given) / n / (k - 1)
    same = jnp.eye(k, dtype=bool)[None]
    log_error = jnp.log(jnp.maximum(jnp.where(same, right[:, None, None], wrong[:, None, None]), SMALLEST))
    accuracy = jnp.where(votes.per_worker > 0, right, jnp.float32(1 / k))
    return log_error.reshape(votes.annotators * k, k), accuracy
