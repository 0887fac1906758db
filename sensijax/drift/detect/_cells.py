"""Random labelings of a pooled sample, drawn without sorting: the smaller side moves within cells.

The rows are put into cells at random: each cell has one row of the smaller side and an even share of the larger side's.
A labeling picks, in every cell on its own, which row plays the one of the smaller side. Such labelings form a
subgroup of all permutations of the pooled sample (a product of cycles within cells), and a permutation test over a
subgroup is as exact as one over all of them: under the null the N rows are exchangeable, so the drawn statistics and
the observed one are too. Every row of either side gets another label in some of the labelings. What is gained: a
labeling costs one random integer for each cell instead of a sort of N numbers, and where both sides are equally large,
cells are pairs, a labeling is a vector of signs, and quadratic statistics shrink to a matrix of pairs, a quarter of the
size (see `_quadratic`).

With so few rows that cells would leave few labelings, all permutations are drawn from.

Reference:
  Hemerik and Goeman, "Exact testing with random permutations", TEST 27 (2018), for subgroups and random draws.
  Schrab et al., "MMD aggregated two-sample test", JMLR 24 (2023), for signs in place of permutations.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_ENOUGH = 10_000
"""With fewer labelings than this by cells, the whole group is drawn from."""

_ARRANGE, _DRAW = 0x63656C6C, 0x64726177


def sizes(n: int, m: int) -> np.ndarray:
    """Rows in each of min(n, m) cells."""
    small, large = min(n, m), max(n, m)
    return 1 + large // small + (np.arange(small) < large % small)


def by_cells(n: int, m: int) -> bool:
    """Whether labelings of n + m rows are drawn by cells."""
    return float(np.log(sizes(n, m)).sum()) >= math.log(_ENOUGH)


def by_pairs(n: int, m: int) -> bool:
    """Whether those cells are pairs."""
    return n == m and by_cells(n, m)


def arrange(key: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Both samples `[n, d]`, `[m, d]` in a random order each: row i belongs to cell i mod min(n, m)."""
    first, second = jax.random.split(jax.random.fold_in(key, _ARRANGE))
    return x[jax.random.permutation(first, len(x))], y[jax.random.permutation(second, len(y))]


def signs(key: Array, n: int, permutations: int) -> Float[Array, "n b"]:
    """For n pairs, whether each stays (1) or is swapped (-1): float32 `[n, 1 + B]`, first the one where all stay.

    Labeling number b is a function of (key, b, n): 32 pairs share one random word.
    """
    bits = jax.random.bits(jax.random.fold_in(key, _DRAW), (permutations, -(-n // 32)), jnp.uint32)
    swapped = (bits[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)[None, None]) & jnp.uint32(1)
    drawn = 1 - 2 * swapped.reshape(permutations, -1)[:, :n].astype(jnp.float32)
    return jnp.concatenate([jnp.ones((1, n), jnp.float32), drawn]).T


def labels(key: Array, n: int, m: int, permutations: int) -> Float[Array, "N b"]:
    """Which rows of the arranged pooled sample count as the sample's: 0 or 1, float32 `[n + m, 1 + B]`.

    Args:
      key: a typed key.
      n, m: rows of the reference, which come first, and of the sample.
      permutations: B.

    Returns:
      Columns that sum to m; the first is how it really is.
    """
    original = jnp.concatenate([jnp.zeros(n, jnp.float32), jnp.ones(m, jnp.float32)])[:, None]
    key = jax.random.fold_in(key, _DRAW)
    if not by_cells(n, m):
        u = jax.random.uniform(key, (permutations, n + m), jnp.float32)
        place = jnp.argsort(jnp.argsort(u, axis=1), axis=1)
        return jnp.concatenate([original, (place < m).astype(jnp.float32).T], axis=1)
    size = sizes(n, m)
    small, large = min(n, m), max(n, m)
    chosen = jax.random.randint(key, (permutations, small), 0, jnp.asarray(size, jnp.int32)[None])
    chosen = jnp.concatenate([jnp.zeros((1, small), jnp.int32), chosen]).T
    within_large = 1 + jnp.arange(large, dtype=jnp.int32) // small
    is_small = jnp.concatenate(
        [chosen[np.arange(large) % small] == within_large[:, None], chosen == 0]
    )  # larger side first
    if n < m:
        return 1 - jnp.concatenate([is_small[large:], is_small[:large]]).astype(jnp.float32)
    return is_small.astype(jnp.float32)
