"""What the numbers are: a counter is hashed into a word, and a word is turned into a draw, element by element.

The hash is Threefry-2x32 with all 20 rounds, written out instead of looped. Its counter is (0, position) and its two
words are combined by exclusive or: the very words of `jax.random` under its default `jax_threefry_partitionable=True`,
so that generator is an independent check on this one, and a program may go from one to the other and keep its draws.
The statistical standing is the published one: Threefry-2x32 passes BigCrush from 13 rounds on.

Cheaper hashes were measured and left out. On one CPU, with everything vectorised, 13 rounds make bits 1.4x faster and
normals, whose cost is the inverse error function, 1.2x; a doubled 32-bit multiply-xorshift finaliser 2.5x and 1.3x, but
it is a permutation of the positions (a key never repeats a word) and its streams correlate when keys are counts, which
the tests here see; Philox-2x32-10 needs a 32 x 32 -> 64 bit product, built from 16-bit halves, and is 3x slower.
Box-Muller is 2x slower than inversion.

Reference:
  Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float32, Int32, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA

SMALL_RATE = 12.0
"""Below it `poisson` sums probabilities, from it on it expands the quantile; every element pays for both."""
_TERMS = 40  # P(X >= 40) is below 2e-10 for every rate below SMALL_RATE: less than one word in 2**32


def threefry2x32(
    key: tuple[UInt32[Array, "..."], UInt32[Array, "..."]],
    counter: tuple[UInt32[Array, "..."], UInt32[Array, "..."]],
    rounds: int = 20,
) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """The Threefry-2x32 block cipher, element by element.

    Args:
      key: two words, each of the counter's shape or a scalar.
      counter: two words of one shape `[...]`.
      rounds: 20 is the published default; 13 are the fewest that passed BigCrush.

    Returns:
      Two words of the counter's shape.

    Example:
      >>> zero = jnp.zeros((), jnp.uint32)
      >>> [hex(word) for word in threefry2x32((zero, zero), (zero, zero))]
      ['0x6b200159', '0x99ba4efe']
    """
    schedule = (key[0], key[1], key[0] ^ key[1] ^ _word(PARITY))
    x0, x1 = counter[0] + schedule[0], counter[1] + schedule[1]
    for r in range(rounds):
        x0 = x0 + x1
        x1 = _rotate_left(x1, ROTATIONS[r // 4 % 2][r % 4]) ^ x0
        if r % 4 == 3:
            s = r // 4 + 1
            x0, x1 = x0 + schedule[s % 3], x1 + (schedule[(s + 1) % 3] + _word(s))
    return x0, x1


def words(key: tuple[UInt32[Array, ""], UInt32[Array, ""]], position: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """The random word at each position: both words of a block, combined by exclusive or."""
    x0, x1 = threefry2x32(key, (jnp.zeros_like(position), position))
    return x0 ^ x1


def to_bits(word: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """All 32 bits."""
    return word


def to_uniform(word: UInt32[Array, "..."]) -> Float32[Array, "..."]:
    """The upper 23 bits as a multiple of 2**-23 in [0, 1)."""
    return lax.bitcast_convert_type((word >> _word(9)) | _word(0x3F800000), jnp.float32) - jnp.float32(1)


def to_uniform_open(word: UInt32[Array, "..."]) -> Float32[Array, "..."]:
    """The middle of the cell of width 2**-23 whose left edge is `to_uniform`: an odd multiple of 2**-24 in (0, 1)."""
    return to_uniform(word) + jnp.float32(2**-24)


def to_normal(word: UInt32[Array, "..."]) -> Float32[Array, "..."]:
    """The normal quantile of the upper 23 bits; but for rounding, it increases with the word."""
    low = np.nextafter(np.float32(-1), np.float32(0))
    u = lax.max(to_uniform(word) * jnp.float32(2) + low, jnp.full_like(word, low, jnp.float32))
    return jnp.float32(np.sqrt(2)) * lax.erf_inv(u)


def to_poisson(word: UInt32[Array, "..."], rate: Float32[Array, "..."]) -> Int32[Array, "..."]:
    """The Poisson quantile of a word; increases with the rate, and but for rounding with the word.

    Reference:
      Giles, "Algorithm 955: approximation of the inverse Poisson cumulative distribution function", ACM Transactions on
      Mathematical Software 42(1), 2016 (the expansion for large rates).
    """
    small = _quantile_by_sum(word, jnp.where(rate < SMALL_RATE, rate, jnp.float32(0)))
    large = _quantile_by_expansion(to_normal(word), jnp.maximum(rate, jnp.float32(SMALL_RATE)))
    count = jnp.where(rate < SMALL_RATE, small, large)
    return jnp.where((rate >= 0) & jnp.isfinite(rate), count, -1)


def flat(transform: Callable[..., Array], size: int, key: tuple[Array, Array], *operands: Array) -> Array:
    """The draws at positions 0..size-1.

    Args:
      transform: takes the words `[size]` and the operands, element by element.
      size: how many.
      key: two scalar words.
      *operands: `[size]` each.

    Returns:
      `[size]`, what `transform` returns.
    """
    return transform(words(key, lax.iota(jnp.uint32, size)), *operands)


def _quantile_by_sum(word: Array, rate: Array) -> Array:
    # P(X > k) is summed from its far end, so that rounding is relative to the tail itself and rare counts stay right.
    exceeding = (~word).astype(jnp.float32) * jnp.float32(2**-32) + jnp.float32(2**-33)
    probability = [jnp.exp(-rate)]
    for k in range(1, _TERMS):
        probability.append(probability[-1] * (rate * jnp.float32(1 / k)))
    tail = jnp.zeros_like(rate)
    count = jnp.zeros(rate.shape, jnp.int32)
    for term in reversed(probability[1:]):
        tail = tail + term
        count = count + (exceeding < tail).astype(jnp.int32)
    return count


def _quantile_by_expansion(w: Array, rate: Array) -> Array:
    scale = jnp.sqrt(rate)
    square = w * w
    first = rate + scale * w + (square * jnp.float32(1 / 6) + jnp.float32(1 / 3))
    second = -w * (square * jnp.float32(1 / 72) + jnp.float32(1 / 36)) / scale
    third = ((square * jnp.float32(1 / 270) + jnp.float32(7 / 810)) * square - jnp.float32(8 / 405)) / rate
    count = jnp.floor(first + second + third).astype(jnp.int32)
    return jnp.maximum(count, 0)  # the expansion's far lower tail reaches -1 at rates just above SMALL_RATE


def _word(value: int) -> Array:
    return jnp.uint32(value)


def _rotate_left(x: Array, distance: int) -> Array:
    return (x << _word(distance)) | (x >> _word(32 - distance))
