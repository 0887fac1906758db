"""Samples from a shifted distribution: positions in the data, and nothing is copied."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int64

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import SHARED, check_key, keys_of, words
from sensijax.drift.simulate._drift import Shifted

_STREAM = 0x5354524D  # the purpose of these draws; what else a drift shares is drawn without it
_BLOCK = 4096  # draws in one program


class Draws(NamedTuple):
    """Uniform numbers in [0, 1), float64 `[T]` each, a function of (key, t)."""

    base: np.ndarray
    keep: np.ndarray
    excess: np.ndarray
    mixture: np.ndarray


def draw_keys(key: Array, times: Array) -> Array:
    """Two keys for each draw, `[T, 2]`: the first for its position, the second for its inputs."""
    shared = jax.random.fold_in(jax.random.fold_in(key, SHARED), _STREAM)
    return jax.vmap(lambda k: jax.random.split(k, 2))(keys_of(shared, times))


@jax.jit
def _bits(key: Array, times: Array) -> Array:
    return jax.vmap(lambda pair: jax.random.bits(pair[0], (4,), jnp.uint32))(draw_keys(key, times))


def draws(key: Array, count: int) -> Draws:
    """The first draws of a key; whatever their count, a draw is the same."""
    blocks = []
    for start in range(0, count, _BLOCK):
        blocks.append(np.asarray(_bits(key, words(np.arange(start, start + _BLOCK)))))
    u = (np.concatenate(blocks)[:count].astype(np.float64) + 0.5) / 2.0**32
    return Draws(*u.T)


def coupled(weights: np.ndarray, order: np.ndarray, base: np.ndarray, keep: np.ndarray, excess: np.ndarray):
    """Positions drawn in proportion to weights, as seldom as possible others than without weights.

    Example i is drawn uniformly and kept with probability min(1, w_i); else another takes its place, drawn in
    proportion to what the weights have above 1. This has exactly the distribution of the weights, and differs from
    the uniform draw with no more than the total variation between the two: a maximal coupling.
    """
    w = weights.astype(np.float64)[order]
    w = w / w.mean()
    uniform = np.minimum((base * len(w)).astype(np.int64), len(w) - 1)
    cumulative = np.cumsum(np.maximum(w - 1, 0))
    if not cumulative[-1] > 0:
        return order[uniform]
    other = np.searchsorted(cumulative, excess * cumulative[-1], side="right")
    return order[np.where(keep < w[uniform], uniform, np.minimum(other, len(w) - 1))]


def resample(key: Array, shifted: Shifted, n: int) -> Int64[np.ndarray, "n"]:
    """Draws examples with replacement, each as often as its weight says.

    Draw t is a function of (key, t, the weights) and of neither `n` nor the order of the examples. Samples of one key
    at two strengths share as many examples as two samples of their distributions can, so that curves over the strength
    are smooth; with all weights at 1 it is the uniform sample.

    Args:
      key: a typed PRNG key, scalar.
      shifted: the data under a drift, from `shift`.
      n: how many, 1 or more.

    Returns:
      Positions int64 `[n]` into `shifted.x`, `.y` and `.ids`.

    Raises:
      ArgumentError: if n is below 1.

    Reference:
      Thorisson, "Coupling, stationarity, and regeneration" (2000), section 1.4: the maximal coupling.

    Example:
      >>> from sensijax.core import Dataset
      >>> from sensijax.drift import PriorShift, shift
      >>> data = Dataset(np.zeros((4, 1), np.float32), np.array([0, 0, 0, 1]))
      >>> shifted = shift(PriorShift(strength=1.0, target=(0.1, 0.9)), jax.random.key(0), data)
      >>> bool(0.85 < np.mean(shifted.y[resample(jax.random.key(1), shifted, 1000)]) < 0.95)
      True
    """
    if n < 1:
        raise ArgumentError("n", n, "at least one draw")
    base, keep, excess, _ = draws(check_key(key), n)
    return coupled(shifted.weights, np.argsort(shifted.ids), base, keep, excess)
