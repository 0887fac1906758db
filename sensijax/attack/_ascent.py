"""How APGD moves: from a gradient to the next point. One rule for L-infinity and L2, another for L1."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sensijax.attack._goal import Goal, Trace
from sensijax.attack._l1_box import project_into_box, sparse_step, sparsity
from sensijax.attack._norm import along, choose
from sensijax.core.struct import struct

if TYPE_CHECKING:
    from sensijax.attack.apgd import APGD


@struct
class Climb(Trace):
    """What both rules remember.

    Attributes:
      best, best_gradient, best_loss: `[B, ...]`, `[B, ...]`, `[B]` the point with the highest loss so far.
      step_size: `[B]`, in the norm's unit.
    """

    best: Array
    best_gradient: Array
    best_loss: Float[Array, "B"]
    step_size: Float[Array, "B"]

    @staticmethod
    def start(x: Array, step_size: Array) -> dict[str, Array]:
        """The fields before the first evaluation."""
        worst = jnp.full(len(x), -jnp.inf, x.dtype)
        return {"best": x, "best_gradient": jnp.zeros_like(x), "best_loss": worst, "step_size": step_size}


def _climbed(state: Any, better: Bool[Array, "B"], gradient: Array, loss: Array) -> Any:
    return dataclasses.replace(
        state,
        best=choose(better, state.x, state.best),
        best_gradient=choose(better, gradient, state.best_gradient),
        best_loss=jnp.where(better, loss, state.best_loss),
    )


# --- L-infinity and L2 -----------------------------------------------------------------------------------------------


@struct
class Momentum(Climb):
    """Attributes: all `[B]` but the first.

    old: `[B, ...]` where the last step began.
    last_loss: of the previous evaluation; 0 before the first.
    rises: evaluations since the last check at which the loss rose.
    since, window: evaluations since the last check, and how many there are between two.
    best_at_check: the highest loss at the last check.
    reduced: whether the step size was halved then.
    """

    old: Array
    last_loss: Float[Array, "B"]
    rises: Int[Array, "B"]
    since: Int[Array, "B"]
    window: Int[Array, "B"]
    best_at_check: Float[Array, "B"]
    reduced: Bool[Array, "B"]


class MomentumRule:
    """Steps with momentum, twice into the ball; at checks the step size is halved where the loss did not rise often
    enough, or where neither the loss nor the step size has changed since the last check."""

    @staticmethod
    def evaluations(steps: int) -> int:
        return steps + 1

    @staticmethod
    def begin(attack: "APGD", goal: Goal) -> Momentum:
        delta = attack.norm.draw(goal.keys(0), goal.x, jnp.ones_like(attack.eps))
        onto_sphere = attack.eps / jnp.maximum(attack.norm.size(delta), np.float32(1e-12))
        x = attack.clip(goal.x + along(onto_sphere, delta) * delta)
        zero, count = jnp.zeros(len(x), x.dtype), jnp.zeros(len(x), jnp.int32)
        return Momentum(
            **attack.trace(goal, x),
            **Climb.start(x, 2 * attack.eps),
            old=x,
            last_loss=zero,
            rises=count,
            since=count,
            window=count + max(int(0.22 * attack.steps), 1),
            best_at_check=zero,
            reduced=jnp.ones(len(x), jnp.bool_),
        )

    @staticmethod
    def advance(attack: "APGD", goal: Goal, state: Momentum, gradient: Array, loss: Array, fooled: Array) -> Momentum:
        state = attack.noted(goal, state, fooled, loss)
        first = state.step == 0
        state = _climbed(state, first | (loss > state.best_loss), gradient, loss)
        # The first loss counts as a rise if it is above 0: so does the reference, whose table of losses begins with 0.
        rises = state.rises + (~first & (loss > state.last_loss)).astype(jnp.int32)
        since = state.since + (~first).astype(jnp.int32)
        best_at_check = jnp.where(first, loss, state.best_at_check)
        check = ~first & (since == state.window)
        seldom = rises.astype(loss.dtype) <= attack.rho * state.window.astype(loss.dtype)
        reduce = check & (seldom | ~state.reduced & (best_at_check >= state.best_loss))
        least, fewer = max(int(0.06 * attack.steps), 1), max(int(0.03 * attack.steps), 1)
        step_size = jnp.where(reduce, state.step_size / 2, state.step_size)
        x, gradient = choose(reduce, state.best, state.x), choose(reduce, state.best_gradient, gradient)

        stepped = attack.within(goal, x + along(step_size, x) * attack.norm.steepest(gradient))
        a = along(jnp.where(first, np.float32(1), np.float32(0.75)), x)
        moved = attack.within(goal, x + a * (stepped - x) + (1 - a) * (x - state.old))
        return dataclasses.replace(
            state,
            x=moved,
            old=x,
            step_size=step_size,
            last_loss=jnp.where(first, 0.0, loss),
            rises=jnp.where(check, 0, rises),
            since=jnp.where(check, 0, since),
            window=jnp.where(check, jnp.maximum(state.window - fewer, least), state.window),
            best_at_check=jnp.where(check, state.best_loss, best_at_check),
            reduced=jnp.where(check, reduce, state.reduced),
        )


# --- L1 --------------------------------------------------------------------------------------------------------------


@struct
class Sparse(Climb):
    """Attributes: both `[B]`.

    share: how many of the values the next step moves, as a share of all.
    sparsity: how many values the best point had changed at the last check.
    """

    share: Float[Array, "B"]
    sparsity: Float[Array, "B"]


class SparseRule:
    """Sparse steps in a ball that shrinks in three phases, 3, 2 and 1 times the budget, each from the best point of
    the one before; only the last phase counts. Where the best point has become sparser the step size starts anew from
    there, elsewhere it falls by 1.5."""

    @staticmethod
    def evaluations(steps: int) -> int:
        return sum(_phases(steps)) + 3

    @staticmethod
    def begin(attack: "APGD", goal: Goal) -> Sparse:
        normal = jax.vmap(lambda key: jax.random.normal(key, goal.x.shape[1:], goal.x.dtype))(goal.keys(0))
        x = attack.clip(goal.x + project_into_box(normal, goal.x, 3 * attack.eps, attack.box))
        zero = jnp.zeros(len(x), x.dtype)
        return Sparse(**attack.trace(goal, x), **Climb.start(x, attack.eps), share=zero, sparsity=zero)

    @staticmethod
    def advance(attack: "APGD", goal: Goal, state: Sparse, gradient: Array, loss: Array, fooled: Array) -> Sparse:
        lengths = np.asarray(_phases(attack.steps), np.int32)
        starts = np.concatenate([[0], np.cumsum(lengths[:-1] + 1)]).astype(np.int32)
        every = np.maximum((0.04 * lengths).astype(np.int32), 1)
        phase = jnp.sum(state.step[:, None] >= starts[None, 1:], axis=1, dtype=jnp.int32)
        factor = (3 - phase).astype(loss.dtype)
        budget = attack.eps * factor
        local = state.step - jnp.asarray(starts)[phase]
        first, last_phase = local == 0, phase == 2
        ends = local == jnp.asarray(lengths)[phase]

        state = attack.noted(goal, state, fooled & last_phase, jnp.where(last_phase, loss, -jnp.inf))
        state = _climbed(state, first | (loss > state.best_loss), gradient, loss)
        now = sparsity(choose(first, state.x, state.best) - goal.x)
        check = first | (local % jnp.asarray(every)[phase] == 0)
        sparser = check & ~first & (now < np.float32(0.95) * state.sparsity)
        shorter = jnp.maximum(state.step_size / np.float32(1.5), budget / 10)
        step_size = jnp.where(first | sparser, budget, jnp.where(check, shorter, state.step_size))
        values = np.float32(goal.x[0].size)
        share = jnp.where(check, now / values / np.float32(1.5), state.share)

        x, gradient = choose(sparser, state.best, state.x), choose(sparser, state.best_gradient, gradient)
        moved = choose(ends, state.best, x + sparse_step(gradient, share, step_size))
        target = jnp.where(ends, attack.eps * jnp.maximum(factor - 1, np.float32(1)), budget)
        return dataclasses.replace(
            state,
            x=attack.clip(goal.x + project_into_box(moved - goal.x, goal.x, target, attack.box)),
            step_size=step_size,
            share=share,
            sparsity=jnp.where(check, now, state.sparsity),
        )


def _phases(steps: int) -> tuple[int, int, int]:
    """Steps in each phase: 30, 30 and 40 percent."""
    part = math.ceil(0.3 * steps)
    return part, part, steps - 2 * part
