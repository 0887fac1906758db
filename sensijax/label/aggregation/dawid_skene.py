"""Dawid and Skene's model: every annotator errs by a confusion matrix of their own."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from sensijax.core.struct import struct
from sensijax.label.aggregation._em import SMALLEST, check_rule, expectation_maximisation
from sensijax.label.aggregation._votes import LongVotes, read_votes


@struct
class DawidSkeneResult:
    """Posterior, confusion matrices and prior; classes are rows where they are true and columns where they were said.

    Attributes:
      labels: int32 `[N]`, the most likely class, the smallest of equals; -1 for an item without votes.
      posterior: float32 `[N, K]`; the prior for an item without votes.
      confusion: float32 `[A, K, K]`, how likely an annotator (first) says a class (third) that is truly another
        (second). A row that no vote informs is uniform over the labels that the annotator used at all.
      prior: float32 `[K]`, the mean posterior.
      votes: int32 `[A]`, how many votes each annotator gave: with few, the confusion matrix says little.
      log_likelihood: float32, of all votes, in nats, under the parameters that gave the posterior.
      converged: bool, whether the tolerance was met.
      iterations: int32, how many were made.
    """

    labels: Int32[Array, "n"]
    posterior: Float[Array, "n k"]
    confusion: Float[Array, "a k k"]
    prior: Float[Array, "k"]
    votes: Int32[Array, "a"]
    log_likelihood: Float[Array, ""]
    converged: Bool[Array, ""]
    iterations: Int32[Array, ""]


def dawid_skene(votes: Any, classes: int, *, iterations: int = 100, tolerance: float = 1e-5) -> DawidSkeneResult:
    """Estimates true labels and confusion matrices together, by expectation-maximisation.

    It starts from the shares of votes, as crowd-kit 1.4.2 does, and after as many iterations its posterior is
    crowd-kit's. It may stop at another one: here the gain of the log likelihood per vote decides; there that of a bound
    in which the prior counts once for each vote, not for each item. (On the test's three crowds posteriors differ by up
    to 0.011, each by its own rule, and by less than 1e-6 after equally many iterations.)

    An annotator who used one label only tells nothing: a matrix that always says it explains as much. So where
    everybody voted once, the posterior is the prior.

    Time and memory grow with the number of votes, N K and A K^2; nothing of size N A is made from triples.

    Args:
      votes: integers `[N, A]`, -1 for no vote; the `Votes` of a `Crowd`; or `(item, worker, label)`, integers `[M]`.
      classes: K >= 2. A class that nobody said keeps a prior near 0.
      iterations: the most.
      tolerance: stop when an iteration gains less log likelihood than this, in nats per vote.

    Returns:
      Posterior, confusion matrices, and whether the iterations converged. Converged is not certain: the likelihood may
      have several maxima, and where annotators err more than they are right, classes may be swapped.

    Raises:
      ArgumentError: if there is no vote, a label is no class, or the stopping rule is none.

    Reference:
      Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", Applied
      Statistics 28(1), 1979.

    Example:
      >>> import numpy as np
      >>> votes = np.array([[1, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]])      # the third one guesses
      >>> dawid_skene(votes, classes=2).labels.tolist()
      [1, 0, 1, 0, 1]
    """
    check_rule(iterations, tolerance)
    read = read_votes(votes, classes)
    fit = expectation_maximisation(read, jnp.int32(iterations), jnp.float32(tolerance), m_step=_m_step)
    return DawidSkeneResult(
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
    a, k = votes.annotators, votes.classes
    counts = jax.ops.segment_sum(posterior[votes.item], votes.worker_label, a * k).reshape(a, k, k)  # said, true
    said = jax.ops.segment_sum(jnp.ones_like(votes.item, jnp.float32), votes.worker_label, a * k).reshape(a, k, 1) > 0
    # Only what an annotator said at least once has a floor: so a row without counts is uniform over those labels.
    counts = jnp.where(said | ~said.any(axis=1, keepdims=True), jnp.maximum(counts, SMALLEST), 0)
    error = counts / counts.sum(axis=1, keepdims=True)
    return jnp.log(jnp.maximum(error, jnp.finfo(jnp.float32).tiny)).reshape(a * k, k), error.transpose(0, 2, 1)
