"""A bench to try a model on: a fixed number of rows, two programs, and what they return on the host."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.attack._door import _logits
from sensijax.attack._norm import Norm
from sensijax.attack._victim import Victim
from sensijax.attack.losses import _without, cross_entropy
from sensijax.core import Layout
from sensijax.core.keys import GENERATOR


def odds(logits: Array, y: Array, target: Array) -> Array:
    """The label's log odds, with the other sign: `logsumexp` of the other logits minus the label's.

    Cross-entropy is softplus of it, so both have the same gradient but for a factor > 0, which float32 rounds to 0
    where the softmax saturates. This one never does.
    """
    label = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(_without(logits, y), axis=1) - label


class Bench:
    """Rows of one fixed count, so that two programs are compiled for all that is asked of a model.

    Args:
      victim: the model.
      x: float32 `[M, ...]`, M >= 1; rows beyond M repeat them.
      y: int32 `[M]`.
      rows: W >= M.
      keys: uint32 `[2]`, for a model with randomness.
      box: the closed range of valid inputs.

    Attributes:
      x: `[W, ...]`, y: `[W]`.
      m: how many rows count.
      blind: rows whose logits were not finite in any call so far, bool `[W]`.
      gradients: whether the model has one.
    """

    def __init__(self, victim: Victim, x: np.ndarray, y: np.ndarray, rows: int, key: np.ndarray, box: Any):
        self.m, index = len(y), np.arange(rows) % len(y)
        self.victim, self.x, self.y = victim, x[index], y[index].astype(np.int32)
        self.keys = jnp.asarray(key[None] + np.arange(rows, dtype=np.uint32)[:, None])
        self.low, self.high = (np.float32(bound) for bound in box)
        self.blind = np.zeros(rows, bool)
        self.gradients = True

    def clip(self, x: np.ndarray) -> np.ndarray:
        return np.clip(x, self.low, self.high)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """`[W, K]`."""
        logits = np.asarray(_logits(Layout(), self.victim, jnp.asarray(x), self.keys))
        self.blind |= ~np.isfinite(logits).all(axis=1)
        return logits

    def probe(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Logits `[W, K]`, and gradients `[W, ...]` of the cross-entropy and of `odds`, with `odds` itself `[W]`."""
        names = ("logits", "cross_entropy", "odds", "value")
        values = _probe(self.victim, jnp.asarray(x), jnp.asarray(self.y), self.keys)
        out = {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
        self.blind |= ~np.isfinite(out["logits"]).all(axis=1)
        return out

    def odds(self, logits: np.ndarray) -> np.ndarray:
        """`odds` `[W]` of logits, in float64: > log(1) where the label has less than half of the probability."""
        z = logits.astype(np.float64)
        label = z[np.arange(len(z)), self.y]
        z[np.arange(len(z)), self.y] = -np.inf
        top = z.max(axis=1)
        with np.errstate(invalid="ignore"):  # infinite logits
            return top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - label

    def margin(self, logits: np.ndarray) -> np.ndarray:
        """The best other logit minus the label's `[W]`: > 0 where the prediction is wrong."""
        z = logits.astype(np.float64)
        label = z[np.arange(len(z)), self.y]
        z[np.arange(len(z)), self.y] = -np.inf
        return z.max(axis=1) - label

    def wrong(self, logits: np.ndarray) -> np.ndarray:
        """bool `[W]`: misclassified, with logits that are no NaN."""
        return (logits.argmax(axis=1) != self.y) & ~np.isnan(logits).any(axis=1)

    def count(self, rows: np.ndarray) -> int:
        """How many of the rows that count."""
        return int(rows[: self.m].sum())


class Ball:
    """The budget of the bench's rows, and how to move in it."""

    def __init__(self, norm: Norm, eps: np.ndarray, origin: np.ndarray, box: Any):
        self.norm, self.eps, self.origin = norm, np.asarray(eps, np.float32), origin
        self.low, self.high = (np.float32(bound) for bound in box)

    def project(self, x: np.ndarray) -> np.ndarray:
        """The points moved into the ball and the box."""
        return np.asarray(
            _project(self.norm, jnp.asarray(self.origin), jnp.asarray(x), jnp.asarray(self.eps), self.low, self.high)
        )

    def rise(self, gradient: np.ndarray) -> np.ndarray:
        """How much a function with this gradient rises at most within the budget `[W]`, to first order."""
        g = np.abs(np.nan_to_num(gradient.reshape(len(gradient), -1)).astype(np.float64))
        dual = {"linf": g.sum(axis=1), "l2": np.sqrt((g**2).sum(axis=1)), "l1": g.max(axis=1)}
        return self.eps * dual[str(self.norm)]

    def step(self, x: np.ndarray, gradient: np.ndarray, share: float) -> np.ndarray:
        """A step of a share of the budget, as far as the ball and the box allow."""
        gradient = np.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        size = self.eps * np.float32(share)
        return self.project(np.asarray(_step(self.norm, jnp.asarray(x), jnp.asarray(gradient), jnp.asarray(size))))


@jax.jit
def _probe(victim: Victim, x: Array, y: Array, keys: Array) -> tuple[Array, Array, Array, Array]:
    typed = jax.random.wrap_key_data(keys, impl=GENERATOR)
    plain, _, logits = victim.gradient(cross_entropy, x, y, y, typed)
    unsaturated, value, _ = victim.gradient(odds, x, y, y, typed)
    return logits, plain, unsaturated, value


def _project_rows(norm: Norm, origin: Array, x: Array, eps: Array, low: Array, high: Array) -> Array:
    return jnp.clip(origin + norm.project(x - origin, eps), low, high)


def _step_rows(norm: Norm, x: Array, gradient: Array, size: Array) -> Array:
    return x + size.reshape(size.shape + (1,) * (x.ndim - 1)) * norm.steepest(gradient)


_project = jax.jit(_project_rows, static_argnums=0)
_step = jax.jit(_step_rows, static_argnums=0)
