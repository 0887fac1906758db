"""The door: what is attacked is checked, judged unperturbed, and given its keys."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.attack._pursuit import Examples, Loop, folded
from sensijax.attack._victim import Victim
from sensijax.core import Layout, Place, chunks
from sensijax.core.errors import ArgumentError
from sensijax.core.keys import GENERATOR, words


@dataclasses.dataclass(frozen=True)
class Admitted:
    """Examples that were looked at before the attack.

    Attributes:
      examples: all N of them.
      ids: int64 `[N]`.
      correct: bool `[N]` classified as their label.
      finite: bool `[N]` whether their logits are.
      index: `[M]` which ones are attacked: correct, with finite logits.
      logits: float32 `[M, K]` of those.
    """

    examples: Examples
    ids: np.ndarray
    correct: np.ndarray
    finite: np.ndarray
    index: np.ndarray
    logits: np.ndarray

    @property
    def attacked(self) -> Examples:
        return self.examples.take(self.index)


def admit(victim: Victim, key: Array, x: Any, y: Any, ids: Any, box: tuple[float, float], loop: Loop) -> Admitted:
    """Checks examples and judges them unperturbed. Arguments and errors: see `Attack.__call__`."""
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != np.float32:
        raise ArgumentError("x", f"dtype {x.dtype}", "float32 inputs")
    if x.ndim < 2 or not len(x):
        raise ArgumentError("x", f"shape {list(x.shape)}", "at least one example: [N, ...]")
    outside = ~((x >= box[0]) & (x <= box[1]))  # NaN too
    if outside.any():
        worst = x[outside][0]
        raise ArgumentError(
            "x",
            f"{int(outside.reshape(len(x), -1).any(axis=1).sum())} examples with values such as {worst:g}",
            f"values in the box [{box[0]:g}, {box[1]:g}]",
        )
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        raise ArgumentError("y", f"{y.dtype}{list(y.shape)}", f"{len(x)} integer labels")
    ids = np.arange(len(x)) if ids is None else np.asarray(ids)
    if ids.shape != (len(x),) or len(np.unique(ids)) != len(ids):
        raise ArgumentError("ids", f"shape {list(ids.shape)}", f"{len(x)} distinct integers")
    if jax.random.key_impl(key) != GENERATOR:
        key = jax.random.wrap_key_data(jax.random.bits(key, (2,), jnp.uint32), impl=GENERATOR)
    keys = folded(np.broadcast_to(np.asarray(jax.random.key_data(key)), (len(x), 2)), words(ids, "ids"))
    logits = clean_logits(victim, x, keys, loop)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ArgumentError("model", f"outputs [B, {', '.join(map(str, logits.shape[1:]))}]", "logits [B, K], K >= 2")
    if y.min() < 0 or y.max() >= logits.shape[1]:
        raise ArgumentError("y", f"labels from {y.min()} to {y.max()}", f"in [0, {logits.shape[1]})")
    finite = np.asarray(np.isfinite(logits).all(axis=1))
    correct = finite & (logits.argmax(axis=1) == y)
    index = np.flatnonzero(correct)
    return Admitted(Examples(x, y.astype(np.int32), keys), ids.astype(np.int64), correct, finite, index, logits[index])


def clean_logits(victim: Victim, x: np.ndarray, keys: np.ndarray, loop: Loop) -> np.ndarray:
    """Logits `[N, K]` of unperturbed inputs, in batches of the loop's width."""
    victim, parts = victim.on(loop.layout), []
    for rows, valid in chunks(len(x), loop.width):
        parts.append(np.asarray(_logits(loop.layout, victim, *loop.layout.deal((x[rows], keys[rows]))))[:valid])
    return np.concatenate(parts)


def check_budget(attack: Any, shape: tuple[int, ...]) -> None:
    """Refuses a budget that is none: NaN, 0 or less, or beyond the diameter of the box.

    An attack that looks for the nearest adversarial example may have an infinite one.

    Args:
      attack: with a known `eps`, a number or one an example.
      shape: of one example.

    Raises:
      ArgumentError: naming `box` or `eps`.
    """
    low, high = attack.box
    if not low < high:
        raise ArgumentError("box", f"{attack.box}", "(low, high) with low < high")
    most = attack.norm.diameter(shape, low, high)
    eps = np.asarray(attack.eps, np.float64)
    unbounded = attack.minimal & np.isposinf(eps)
    wrong = eps[~(unbounded | (eps > 0) & (eps <= most * (1 + 1e-6)))]
    if wrong.size:
        raise ArgumentError(
            "eps",
            f"{wrong.ravel()[0]:g}",
            f"a budget in (0, {most:g}], in the {attack.norm} norm: a larger one reaches every input of the box",
        )


@functools.partial(jax.jit, static_argnums=0)
def _logits(layout: Layout, victim: Victim, x: Array, keys: Array) -> Array:
    def logits(victim: Victim, x: Array, keys: Array) -> Array:
        return victim.logits(x, jax.random.wrap_key_data(keys, impl=GENERATOR))

    return layout.spread(logits, Place.PARAMS, Place.ROWS, Place.ROWS)(victim, x, keys)
