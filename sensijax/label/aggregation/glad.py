"""GLAD: annotators have abilities, items have difficulties."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32

from sensijax.core.struct import struct
from sensijax.label.aggregation._em import check_rule
from sensijax.label.aggregation._votes import LongVotes, read_votes


@struct
class GLADResult:
    """Posterior, abilities and difficulties.

    Attributes:
      labels: int32 `[N]`, the most likely class, the smallest of equals; -1 for an item without votes.
      posterior: float32 `[N, K]`; uniform for an item without votes.
      ability: float32 `[A]`, alpha; 0 is guessing (for two classes), negative is against the truth.
      difficulty: float32 `[N]`, 1 / beta > 0: the chance that annotator a is right about item i is
        sigmoid(alpha_a beta_i).
      objective: float32, the log posterior density up to a constant, in nats, under the parameters that gave the
        posterior.
      converged: bool, whether the tolerance was met.
      iterations: int32, how many were made.
    """

    labels: Int32[Array, "n"]
    posterior: Float[Array, "n k"]
    ability: Float[Array, "a"]
    difficulty: Float[Array, "n"]
    objective: Float[Array, ""]
    converged: Bool[Array, ""]
    iterations: Int32[Array, ""]


def glad(votes: Any, classes: int, *, iterations: int = 100, tolerance: float = 1e-5, ascents: int = 4) -> GLADResult:
    """Estimates true labels, abilities and difficulties together, by expectation-maximisation.

    alpha and log beta have normal priors of mean 1 and variance 1, classes a uniform one, and a wrong label is any
    other class: the model of crowd-kit 1.4.2. There an M-step is up to 25 steps of conjugate gradients; here it is a
    few rounds of scoring steps (gradient over expected curvature), all abilities at once, then all difficulties, each
    step at most 1 long. Run to the end both find the same maximum (posteriors to 4e-4 on the test's crowd). By their
    own rules they stop apart (up to 0.13 on three crowds): crowd-kit compares means with a first value that is a sum.

    Args:
      votes: integers `[N, A]`, -1 for no vote; the `Votes` of a `Crowd`; or `(item, worker, label)`, integers `[M]`.
      classes: K >= 2.
      iterations: the most.
      tolerance: stop when an iteration gains less than this, in nats per vote.
      ascents: rounds of scoring steps in an M-step.

    Returns:
      Posterior, abilities and difficulties. With few votes on an item its difficulty is mostly the prior's.

    Raises:
      ArgumentError: if there is no vote, a label is no class, or the stopping rule is none.

    Reference:
      Whitehill, Ruvolo, Wu, Bergsma and Movellan, "Whose vote should count more: optimal integration of labels from
      labelers of unknown expertise", NeurIPS 2009.

    Example:
      >>> found = glad([[1, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]], classes=2)
      >>> found.labels.tolist(), bool(found.ability[2] < found.ability[0])
      ([1, 0, 1, 0, 1], True)
    """
    check_rule(iterations, tolerance)
    check_rule(ascents, tolerance)
    read = read_votes(votes, classes)
    return GLADResult(*_run(read, jnp.int32(iterations), jnp.float32(tolerance), jnp.int32(ascents)))


@jax.jit
def _run(votes: LongVotes, iterations: Array, tolerance: Array, ascents: Array) -> tuple:
    n = votes.count
    e_step = partial(_e_step, votes)

    def ascend(_: Any, state: tuple[Array, Array], right: Array) -> tuple[Array, Array]:
        alpha, log_beta = state
        beta = jnp.exp(log_beta)[votes.item]
        sigma = jax.nn.sigmoid(alpha[votes.worker] * beta)
        gradient = votes.by_worker((right - sigma) * beta) - (alpha - 1)
        curvature = votes.by_worker(sigma * (1 - sigma) * beta**2) + 1
        alpha = alpha + jnp.clip(gradient / curvature, -1, 1)
        z = alpha[votes.worker] * beta
        sigma = jax.nn.sigmoid(z)
        gradient = votes.by_item((right - sigma) * z) - (log_beta - 1)
        curvature = votes.by_item(sigma * (1 - sigma) * z**2) + 1
        return alpha, log_beta + jnp.clip(gradient / curvature, -1, 1)

    def more(state: tuple) -> Array:
        *_, gain, i = state
        return (i < iterations) & ((i < 2) | (gain >= tolerance))

    def step(state: tuple) -> tuple:
        alpha, log_beta, _, each_before, penalty_before, _, i = state
        posterior, each = e_step(alpha, log_beta)
        penalty = (-((alpha - 1) ** 2) / 2).sum() + (-((log_beta - 1) ** 2) / 2).sum()
        gain = ((each - each_before).sum() + penalty - penalty_before) / n
        right = votes.chosen(posterior)
        alpha, log_beta = jax.lax.fori_loop(0, ascents, lambda j, s: ascend(j, s, right), (alpha, log_beta))
        return alpha, log_beta, posterior, each, penalty, gain, i + 1

    alpha, log_beta = jnp.ones(votes.annotators, jnp.float32), jnp.ones(votes.items, jnp.float32)
    zeros, inf = jnp.zeros(votes.items, jnp.float32), jnp.float32(jnp.inf)
    start = (alpha, log_beta, votes.shares(), zeros, jnp.float32(0), inf, jnp.int32(0))
    alpha, log_beta, posterior, each, penalty, gain, i = jax.lax.while_loop(more, step, start)
    labels, objective = votes.most_likely(posterior), each.sum() + penalty
    return labels, posterior, alpha, jnp.exp(-log_beta), objective, (i > 1) & (gain < tolerance), i


def _e_step(votes: LongVotes, alpha: Array, log_beta: Array) -> tuple[Array, Array]:
    z = alpha[votes.worker] * jnp.exp(log_beta)[votes.item]
    right, wrong = jax.nn.log_sigmoid(z), jax.nn.log_sigmoid(-z) - jnp.log(jnp.float32(max(votes.classes - 1, 1)))
    is_said = votes.label[:, None] == jnp.arange(votes.classes, dtype=jnp.int32)[None]
    joint = votes.by_item(jnp.where(is_said, right[:, None], wrong[:, None])) - jnp.log(jnp.float32(votes.classes))
    each = jax.nn.logsumexp(joint, axis=1)
    return jnp.exp(joint - each[:, None]), jnp.where(votes.per_item > 0, each, 0)
