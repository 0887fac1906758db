"""Expectation-maximisation for annotators who err by a table of their own."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sensijax.core.errors import ArgumentError
from sensijax.label.aggregation._votes import LongVotes

SMALLEST = np.float32(1e-10)
"""Counts and probabilities are at least this before their logarithm is taken; the same number as crowd-kit's."""

MStep = Callable[[LongVotes, Array], tuple[Array, Any]]
"""From votes and posterior `[N, K]` to log error rates `[A * K, K]` (rows: annotator and label), and the model."""


class Fit(NamedTuple):
    """What the iterations leave: see `DawidSkeneResult`."""

    labels: Array
    posterior: Array
    prior: Array
    model: Any
    log_likelihood: Array
    converged: Array
    iterations: Array


def check_rule(iterations: int, tolerance: float) -> None:
    """How long to iterate: 1 or more times, to a tolerance of 0 or more."""
    if isinstance(iterations, bool) or not isinstance(iterations, (int, np.integer)) or iterations < 1:
        raise ArgumentError("iterations", iterations, "an integer of 1 or more")
    if isinstance(tolerance, (bool, str)) or np.ndim(tolerance) or not tolerance >= 0:
        raise ArgumentError("tolerance", tolerance, "0 or more; 0 goes on until nothing is gained")


@partial(jax.jit, static_argnames="m_step")
def expectation_maximisation(votes: LongVotes, iterations: Array, tolerance: Array, *, m_step: MStep) -> Fit:
    """Iterates from the shares of votes until the log likelihood per vote gains less than the tolerance.

    Args:
      votes: in long form.
      iterations: int32, the most.
      tolerance: float32, in nats per vote.
      m_step: of the model.

    Returns:
      The posterior of the last E-step, and the parameters that the last M-step made from it.
    """
    n = votes.count

    def maximise(posterior: Array) -> tuple[Array, Array, Any]:
        return votes.mean_over_voted(posterior), *m_step(votes, posterior)

    def more(state: tuple) -> Array:
        _, _, _, gain, i = state
        return (i < iterations) & ((i < 2) | (gain >= tolerance))

    def step(state: tuple) -> tuple:
        (prior, log_error, _), _, before, _, i = state
        log_prior = jnp.log(jnp.maximum(prior, SMALLEST))
        joint = log_prior[None] + votes.by_item(log_error[votes.worker_label])
        each = jax.nn.logsumexp(joint, axis=1)
        posterior = jnp.exp(joint - each[:, None])
        # Item by item first: the gain is small beside the sum, which float32 would round away.
        gain = jnp.where(votes.per_item > 0, each - before, 0).sum() / n
        return maximise(posterior), posterior, each, gain, i + 1

    shares = votes.shares()
    start = (maximise(shares), shares, jnp.zeros(votes.items, jnp.float32), jnp.float32(jnp.inf), jnp.int32(0))
    (prior, _, model), posterior, each, gain, i = jax.lax.while_loop(more, step, start)
    log_likelihood = jnp.where(votes.per_item > 0, each, 0).sum()
    labels = votes.most_likely(posterior)
    return Fit(labels, posterior, prior, model, log_likelihood, (i > 1) & (gain < tolerance), i)
