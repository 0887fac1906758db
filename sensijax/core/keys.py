"""Addressed randomness: the key of an example is a function of (seed, stage, example id) and of nothing else.

Not of the batch size, not of the order, not of the number of devices, not of the severity. So any cell of any sweep
can be recomputed alone, and the curve of one example over severities is drawn with common random numbers.

The generator is Threefry-2x32 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
named explicitly so that a user's `jax_default_prng_impl` changes nothing here.
"""

import functools
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

from sensijax.core.errors import ArgumentError

GENERATOR = "threefry2x32"
_LOW = (1 << 32) - 1


def words(ids: Any, argument: str = "example_id") -> np.ndarray:
    """Splits integers into (high, low) 32-bit words, because JAX without x64 has no 64-bit integers.

    Args:
      ids: integers in [0, 2**64), a scalar or an array of any shape `[...]`.
      argument: the name to use in an error.

    Returns:
      uint32 `[..., 2]`: high word, low word.

    Raises:
      ArgumentError: if an id is not an integer, is negative, or needs more than 64 bits.

    Example:
      >>> words(2**32 + 5).tolist()
      [1, 5]
    """
    given, ids = ids, np.asarray(ids)
    if ids.dtype.kind == "f" and not hasattr(given, "dtype"):
        ids = np.asarray(given, dtype=object)  # a list of small and large integers, which NumPy would round to floats
    if ids.dtype == object and all(type(i) is int and 0 <= i < 1 << 64 for i in ids.ravel()):
        ids = ids.astype(np.uint64)
    if not np.issubdtype(ids.dtype, np.integer):
        raise ArgumentError(argument, f"dtype {ids.dtype}", "an id is an integer in [0, 2**64)")
    if ids.size and ids.min() < 0:
        raise ArgumentError(argument, int(ids.min()), "an id is an integer in [0, 2**64)")
    ids = ids.astype(np.uint64)
    return np.stack([ids >> np.uint64(32), ids & np.uint64(_LOW)], axis=-1).astype(np.uint32)


def stage_words(stage: str) -> np.ndarray:
    """The 64 bits that stand for a stage's name: uint32 `[2]`, the same in every process."""
    if not isinstance(stage, str) or not stage:
        raise ArgumentError("stage", repr(stage), "a stage is a non-empty name")
    return words(int.from_bytes(hashlib.blake2b(stage.encode(), digest_size=8).digest(), "big"), "stage")


def stage_key_data(seed: int, stage: str) -> np.ndarray:
    """The raw key of a stage under a seed: uint32 `[2]`.

    Args:
      seed: an integer in [0, 2**64).
      stage: the stage's name in the campaign. Adding, removing or reordering other stages changes nothing here.

    Returns:
      uint32 `[2]`, from which `example_key` makes the key of each example.
    """
    return _stage_key_data(*words(seed, "seed").tolist(), *stage_words(stage).tolist()).copy()


@functools.lru_cache(maxsize=1 << 16)  # an engine asks for the same ones tile after tile
def _stage_key_data(seed_high: int, seed_low: int, high: int, low: int) -> np.ndarray:
    key = jax.random.wrap_key_data(jnp.asarray([seed_high, seed_low], jnp.uint32), impl=GENERATOR)
    return np.asarray(jax.random.key_data(_fold(key, np.uint32(high), np.uint32(low))))


def example_key(stage: UInt32[Array, "2"], example: UInt32[Array, "2"]) -> Array:
    """The key of one example in one stage; pure, for use inside programs (under `vmap` over rows).

    Args:
      stage: uint32 `[2]`, from `stage_key_data`.
      example: uint32 `[2]`, the example's id from `words`.

    Returns:
      A typed Threefry key, scalar.
    """
    return _fold(jax.random.wrap_key_data(stage, impl=GENERATOR), example[0], example[1])


SHARED = _LOW
"""Folded into a stage's key, this gives a key for draws that all examples share: no id has it as its high word."""


def keys_of(key: Array, ids: UInt32[Array, "n 2"]) -> Array:
    """The keys of many examples, out of a stage's key; pure, for use inside programs.

    Args:
      key: a typed Threefry key, scalar: the stage's.
      ids: uint32 `[N, 2]`, from `words`.

    Returns:
      Typed keys `[N]`, each that of `example_key`.
    """
    return jax.vmap(example_key, in_axes=(None, 0))(jax.random.key_data(key), ids)


def check_key(key: Any) -> Array:
    """A key, if it is one that draws can be addressed by.

    Args:
      key: what a user gave.

    Returns:
      The same: a typed PRNG key, scalar.

    Raises:
      ArgumentError: if it is none, such as an integer, the raw words of `jax.random.PRNGKey`, or several keys.

    Example:
      >>> check_key(jax.random.key(0)).shape
      ()
    """
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.shape:
        raise ArgumentError("key", repr(key), "a typed key: jax.random.key(0). What is drawn is a function of it")
    return key


def key_for(seed: int, stage: str, example_id: Any) -> Array:
    """The key of an example: a function of (seed, stage, example id).

    Args:
      seed: an integer in [0, 2**64).
      stage: the stage's name.
      example_id: an integer in [0, 2**64), or an array of them `[...]`; ids beyond 2**32 are as good as any.

    Returns:
      A typed Threefry key, or an array of keys `[...]`.

    Raises:
      ArgumentError: if the seed or an id is negative, not an integer, or longer than 64 bits.

    Example:
      >>> alone = key_for(0, "noise", 17)
      >>> together = key_for(0, "noise", np.arange(100))
      >>> bool((jax.random.key_data(alone) == jax.random.key_data(together[17])).all())
      True
    """
    stage_data = jnp.asarray(stage_key_data(seed, stage))
    ids = words(example_id)
    keys = jax.vmap(example_key, in_axes=(None, 0))(stage_data, jnp.asarray(ids.reshape(-1, 2)))
    return keys.reshape(ids.shape[:-1])


def _fold(key: Array, high: Any, low: Any) -> Array:
    return jax.random.fold_in(jax.random.fold_in(key, high), low)
