"""Points of the unit cube, generated on the device from their index and a key.

`ScrambledSobol` gives the points of Sobol's sequence under a nested uniform (Owen) scramble, `Random` independent ones.
A coordinate is a function of (key, replicate, dimension, index) and of nothing else: not of the number of points, the
chunk they are computed in, or the number of dimensions. So nothing is stored, and any point can be had again.

Sobol's direction numbers are those of Joe and Kuo. The first ones of each dimension are read off points that SciPy
gives out (point 2^(k+1) - 1 of its Gray-code order is the k-th direction number itself), the rest follow from the
recurrence of the dimension's primitive polynomial, which is found here; Joe and Kuo list the polynomials by degree and
then in numerical order.
"""

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from sensijax.core.errors import ArgumentError

BITS = 32
MOST_DIMENSIONS = 21201
"""As many as Joe and Kuo's table has."""


@dataclasses.dataclass(frozen=True)
class ScrambledSobol:
    """Sobol's sequence in base 2, scrambled; intervals come from independent scrambles.

    The n points are split into `replicates` scrambles of n / replicates points each. Within a scramble the points fill
    the cube far more evenly than random ones, and they are dependent, so a bootstrap over points says nothing about
    the error; between scrambles the estimates are independent, and their spread does.

    A scramble is a random digital shift followed by a hash of the kind of Laine and Karras on the reversed digits
    (Burley 2020, with Vegdahl's constants of 2021), with independent words for each (replicate, dimension). The shift
    makes every point exactly uniform; the hash is a nested permutation of digits, so the net stays a net.

    Attributes:
      replicates: independent scrambles, a power of two, >= 4. More of them: steadier intervals, less gain over random
        points.

    Reference:
      Owen, "Randomly permuted (t,m,s)-nets and (t,s)-sequences" (1995). Joe and Kuo, "Constructing Sobol sequences with
      better two-dimensional projections", SIAM J. Scientific Computing 30 (2008). Burley, "Practical hash-based Owen
      scrambling", J. Computer Graphics Techniques 9 (2020). L'Ecuyer, Nakayama, Owen and Tuffin, "Confidence intervals
      for randomized quasi-Monte Carlo estimators", WSC 2023, for Student's t over replicates.

    Example:
      >>> ScrambledSobol(replicates=32).blocks
      32
    """

    replicates: int = 16
    even: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.replicates, int) or self.replicates < 4 or not _power(self.replicates):
            raise ArgumentError("ScrambledSobol.replicates", self.replicates, "a power of two, at least 4")

    @property
    def blocks(self) -> int:
        """Independent parts of the sample, from which intervals are made."""
        return self.replicates

    def tables(self, dimensions: int) -> np.ndarray:
        """What the device needs: reversed direction numbers, uint32 `[BITS, dimensions]`."""
        return _reverse_host(direction_numbers(dimensions)).T.copy()

    def seeds(self, key: Array, block: Any, dimensions: int) -> UInt32[Array, "dimensions 2"]:
        """The words of a scramble, for each dimension: a shift and the hash's seed."""
        return _words(jax.random.fold_in(key, block), dimensions)

    def aligned(self, table: Array, size: int) -> UInt32[Array, "dimensions size"]:
        """Digits of the points 0, ..., size - 1 before scrambling; `size` is a power of two.

        Every aligned run of `size` points is this one, with the digits of its first point added: computed once.
        """
        digits = jnp.zeros((table.shape[1], 1), jnp.uint32)
        for k in range(size.bit_length() - 1):
            digits = jnp.concatenate([digits, digits ^ table[k][:, None]], axis=1)
        return digits

    def run(self, table: Array, seeds: Array, aligned: Array, start: Any, dtype: Any) -> Float[Array, "dimensions m"]:
        """The points `start`, ..., `start + m - 1`, where m is the length of `aligned` and divides `start`."""
        bit = (start.astype(jnp.uint32) >> jnp.arange(BITS, dtype=jnp.uint32)) & jnp.uint32(1)
        first = jax.lax.reduce(
            jnp.where(bit[:, None] == 1, table, jnp.uint32(0)), np.uint32(0), jax.lax.bitwise_xor, (0,)
        )
        return to_unit(_reverse(scramble(aligned ^ first[:, None], seeds[:, :1], seeds[:, 1:])), dtype)


@dataclasses.dataclass(frozen=True)
class Random:
    """Independent uniform points, from a counter-based hash of (key, dimension, index).

    Intervals come from the spread over blocks of points.

    Attributes:
      blocks: parts of the sample, a power of two, >= 4.

    Example:
      >>> Random().blocks
      64
    """

    blocks: int = 64
    even: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, int) or self.blocks < 4 or not _power(self.blocks):
            raise ArgumentError("Random.blocks", self.blocks, "a power of two, at least 4")

    def tables(self, dimensions: int) -> np.ndarray:
        """Nothing is needed but the number of dimensions: uint32 `[1, dimensions]`."""
        return np.zeros((1, dimensions), np.uint32)

    def seeds(self, key: Array, block: Any, dimensions: int) -> UInt32[Array, "dimensions 2"]:
        """The words of a block, for each dimension."""
        return _words(jax.random.fold_in(key, block), dimensions)

    def aligned(self, table: Array, size: int) -> UInt32[Array, "1 size"]:
        """The counters 0, ..., size - 1."""
        return jnp.arange(size, dtype=jnp.uint32)[None, :]

    def run(self, table: Array, seeds: Array, aligned: Array, start: Any, dtype: Any) -> Float[Array, "dimensions m"]:
        """The points `start`, ..., `start + m - 1`, where m is the length of `aligned`."""
        counter = aligned + start.astype(jnp.uint32)
        word = mix(counter * jnp.uint32(0x9E3779B9) + seeds[:, :1])
        return to_unit(mix(word ^ seeds[:, 1:]), dtype)


def mix(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """A bijective hash of 32 bits with low bias (Wellons' `lowbias32`)."""
    x = x ^ (x >> jnp.uint32(16))
    x = x * jnp.uint32(0x7FEB352D)
    x = x ^ (x >> jnp.uint32(15))
    x = x * jnp.uint32(0x846CA68B)
    return x ^ (x >> jnp.uint32(16))


def scramble(reversed_digits: UInt32[Array, "..."], shift: Array, seed: Array) -> UInt32[Array, "..."]:
    """A nested uniform scramble of digits whose most significant one is the lowest bit.

    Every step changes a bit by bits below it only, so a digit is permuted by a function of the digits before it.
    """
    x = reversed_digits ^ shift
    x = x ^ (x * jnp.uint32(0x3D20ADEA))
    x = (x + seed) * ((seed >> jnp.uint32(16)) | jnp.uint32(1))
    x = x ^ (x * jnp.uint32(0x05526C56))
    return x ^ (x * jnp.uint32(0x53A22864))


def to_unit(bits: UInt32[Array, "..."], dtype: Any) -> Float[Array, "..."]:
    """Numbers in the open unit interval from bits: odd multiples of 2**-24 in float32, of 2**-33 in float64."""
    if jnp.dtype(dtype) == jnp.float64:
        return (bits.astype(jnp.float64) + 0.5) * 2.0**-32
    return ((bits >> jnp.uint32(9)).astype(dtype) + jnp.asarray(0.5, dtype)) * jnp.asarray(2.0**-23, dtype)


def direction_numbers(dimensions: int) -> np.ndarray:
    """Sobol's direction numbers by Joe and Kuo, the most significant digit in the highest bit.

    Args:
      dimensions: how many, at most 21,201.

    Returns:
      uint32 `[dimensions, 32]`; point i is the exclusive or of the numbers where i has a bit.

    Raises:
      ArgumentError: if there are none or too many dimensions.

    Example:
      >>> (direction_numbers(3)[:, :3] >> np.uint32(29)).tolist()
      [[4, 2, 1], [4, 6, 5], [4, 6, 3]]
    """
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise ArgumentError(
            "dimensions", dimensions, f"Sobol points have 1 to {MOST_DIMENSIONS} dimensions; use Random()"
        )
    return _directions(max(64, 1 << (dimensions - 1).bit_length()))[:dimensions]


@functools.lru_cache(maxsize=2)
def _directions(dimensions: int) -> np.ndarray:
    from scipy.stats import qmc

    dimensions = min(dimensions, MOST_DIMENSIONS)
    degrees, polynomials = _primitive(dimensions - 1)
    known = int(degrees.max())
    engine = qmc.Sobol(dimensions, scramble=False, bits=BITS)
    numbers = np.zeros((dimensions, BITS), np.uint64)
    position = 0
    for k in range(known):
        index = (2 << k) - 1  # its Gray code has the one bit k
        engine.fast_forward(index - position)
        numbers[:, k] = np.round(engine.random(1)[0] * 2.0**BITS).astype(np.uint64)
        position = index + 1
    numbers[0] = np.uint64(1) << np.arange(BITS - 1, -1, -1, dtype=np.uint64)
    for k in range(1, BITS):
        # v_k = v_{k-s} / 2^s + a_1 v_{k-1} + ... + a_{s-1} v_{k-s+1} + v_{k-s}, exclusive or throughout
        rows = 1 + np.flatnonzero(degrees <= k)
        s, p = degrees[rows - 1], polynomials[rows - 1]
        value = numbers[rows, k - s] ^ (numbers[rows, k - s] >> s.astype(np.uint64))
        for i in range(1, int(s.max(initial=0))):
            takes = (i < s) & ((p >> np.maximum(s - i, 0)) & 1 == 1)
            value ^= np.where(takes, numbers[rows, k - i], np.uint64(0))
        numbers[rows, k] = value
    return numbers.astype(np.uint32)


def _primitive(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first primitive polynomials over two elements, as (degrees, bits), by degree and then by number."""
    degrees, found, s = [], [], 1
    while sum(map(len, found)) < count:
        candidate = (1 << s) | np.arange(1, 1 << s, 2, dtype=np.int64)
        order = (1 << s) - 1  # of x, if and only if the polynomial is primitive
        good = _power_of_x(candidate, s, order) == 1
        for prime in _prime_factors(order):
            good &= _power_of_x(candidate, s, order // prime) != 1
        found.append(candidate[good])
        degrees.append(np.full(good.sum(), s))
        s += 1
    return np.concatenate(degrees)[:count], np.concatenate(found)[:count]


def _power_of_x(modulus: np.ndarray, s: int, exponent: int) -> np.ndarray:
    """x to a power, modulo each polynomial of degree s."""
    result, base = np.ones_like(modulus), np.full_like(modulus, 2)
    base = np.where(base >> s & 1, base ^ modulus, base)
    while exponent:
        if exponent & 1:
            result = _times(result, base, modulus, s)
        base, exponent = _times(base, base, modulus, s), exponent >> 1
    return result


def _times(a: np.ndarray, b: np.ndarray, modulus: np.ndarray, s: int) -> np.ndarray:
    product = np.zeros_like(a)
    for i in range(s - 1, -1, -1):
        product = product << 1
        product = np.where(product >> s & 1, product ^ modulus, product)
        product ^= np.where(b >> i & 1, a, 0)
    return product


def _prime_factors(n: int) -> list[int]:
    factors, p = [], 2
    while p * p <= n:
        if n % p == 0:
            factors.append(p)
            while n % p == 0:
                n //= p
        p += 1
    return factors + ([n] if n > 1 else [])


def _words(key: Array, dimensions: int) -> UInt32[Array, "dimensions 2"]:
    fold = jax.vmap(lambda dimension: jax.random.key_data(jax.random.fold_in(key, dimension)))
    return fold(jnp.arange(dimensions, dtype=jnp.uint32))


def _reverse(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF)):
        x = ((x >> jnp.uint32(shift)) & jnp.uint32(mask)) | ((x & jnp.uint32(mask)) << jnp.uint32(shift))
    return (x >> jnp.uint32(16)) | (x << jnp.uint32(16))


def _reverse_host(x: np.ndarray) -> np.ndarray:
    out = np.zeros_like(x)
    for i in range(BITS):
        out |= ((x >> np.uint32(i)) & np.uint32(1)) << np.uint32(BITS - 1 - i)
    return out


def _power(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0
