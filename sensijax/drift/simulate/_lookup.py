"""Finding examples by id inside a program: what was learned of an example is found in any order, in any subset."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt32

from sensijax.core.keys import words


def table(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts the ids, int64 `[N]`, and the sorted ids as words, uint32 `[N, 2]`."""
    order = np.argsort(ids)
    return order, words(ids[order])


def find(known: UInt32[Array, "m 2"], ids: UInt32[Array, "n 2"]) -> tuple[Int32[Array, "n"], Bool[Array, "n"]]:
    """Where ids stand in a sorted table: a binary search over pairs of words; pure.

    Args:
      known: uint32 `[M, 2]`, sorted, from `table`.
      ids: uint32 `[N, 2]`.

    Returns:
      Positions int32 `[N]`, and whether each id is there at all, bool `[N]`.

    Example:
      >>> known = table(np.array([2**40, 7, 3]))[1]
      >>> at, there = find(jnp.asarray(known), jnp.asarray(words(np.array([7, 8, 2**40]))))
      >>> at[0].item(), at[2].item(), there.tolist()
      (1, 2, [True, False, True])
    """
    known, count = jnp.asarray(known), len(known)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        row = known[middle]
        less = (row[:, 0] < ids[:, 0]) | ((row[:, 0] == ids[:, 0]) & (row[:, 1] < ids[:, 1]))
        return jnp.where(less, middle + 1, low), jnp.where(less, high, middle)

    start = (jnp.zeros(len(ids), jnp.int32), jnp.full(len(ids), count - 1, jnp.int32))
    at, _ = jax.lax.fori_loop(0, max(count - 1, 1).bit_length(), halve, start)
    at = jnp.minimum(at, count - 1)
    return at, (known[at] == ids).all(axis=1)
