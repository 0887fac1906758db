"""Tests of one feature that only look at who comes before whom: pooled ranks, and labelings of them.

Under the null every set of n of the N = n + m pooled ranks is as likely to be the reference's as any other. So one
set of labelings serves all features, whatever their ties, and statistics that are linear in some function of a
labeling are one matrix product for all permutations and features.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from sensijax.drift.detect._door import generator

_PURPOSE = 0x72616E6B
_CHUNK = 1 << 21  # numbers in one block of labelings


class Ranked(NamedTuple):
    """The pooled sample, feature by feature in ascending order.

    Attributes:
      values: float64 `[N, d]`.
      before: int64 `[N, d]`, how many of the first k + 1 belong to the reference.
      last: bool `[N, d]`, whether the next value is another one: the last of a group of ties.
      n, m: rows of the reference and of the sample.
    """

    values: np.ndarray
    before: np.ndarray
    last: np.ndarray
    n: int
    m: int

    @property
    def tied(self) -> np.ndarray:
        """bool `[d]`, whether any two values of a feature are equal."""
        return np.logical_not(self.last.all(axis=0))

    @property
    def constant(self) -> np.ndarray:
        """bool `[d]`, whether there is one value only."""
        return self.last.sum(axis=0) == 1

    def difference(self, before: np.ndarray, axis: int) -> np.ndarray:
        """F_n - G_m, the difference of both empirical distribution functions, after each pooled rank."""
        rank = np.arange(1, self.n + self.m + 1).reshape([-1 if a == axis else 1 for a in range(before.ndim)])
        return before / self.n - (rank - before) / self.m


def rank(x: np.ndarray, y: np.ndarray) -> Ranked:
    """Ranks the reference `[n, d]` and the sample `[m, d]` together."""
    pooled = np.concatenate([x, y])
    order = np.argsort(pooled, axis=0, kind="stable")
    values = np.take_along_axis(pooled, order, axis=0)
    last = np.concatenate([values[1:] != values[:-1], np.ones((1, x.shape[1]), bool)])
    return Ranked(values, np.cumsum(order < len(x), axis=0), last, len(x), len(y))


def labelings(key: jax.Array, n: int, m: int, permutations: int) -> Iterator[np.ndarray]:
    """Random labelings of the pooled ranks, in blocks: int32 `[b, N]`, references among the first k + 1.

    The permutation of number b is a function of (key, b, n, m): more of them only add to those that were there.
    """
    rng, total = generator(key, _PURPOSE), n + m
    for start in range(0, permutations, size := max(1, _CHUNK // total)):
        u = rng.random((min(size, permutations - start), total))
        is_reference = np.zeros(u.shape, np.int32)
        np.put_along_axis(is_reference, np.argpartition(u, n - 1, axis=1)[:, :n], 1, axis=1)
        yield np.cumsum(is_reference, axis=1, dtype=np.int32)


def permuted_sums(ranked: Ranked, key: jax.Array, permutations: int, power: int, weight: np.ndarray) -> np.ndarray:
    """sum_k |F - G|^power weight_k over pooled ranks k, for every permutation: one matrix product.

    Args:
      ranked: the pooled sample.
      key: a typed key.
      permutations: B.
      power: 1 or 2.
      weight: float64 `[N, d]`.

    Returns:
      float64 `[B, d]`.
    """
    blocks = labelings(key, ranked.n, ranked.m, permutations)
    return np.concatenate([np.abs(ranked.difference(before, 1)) ** power @ weight for before in blocks])
