"""Random bits, uniforms, normals and Poisson counts, addressed by key and position.

The position of an element is its index in row-major order, so a draw does not know the shape around it: the first m
of n draws are the m draws, and an image and its flat form hold the same noise. All functions of one key read the same
words: give each draw that should be independent its own key (`jax.random.split`, `jax.random.fold_in`).

Bits are equal everywhere: eager, under `jit` and `vmap`, for every batch size, device and version. Floats are equal
for every batch size on one backend; between backends their last places may differ.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array, Float, Float32, Int32, UInt32

from sensijax_kernels.random import reference


def bits(key: Any, shape: Sequence[int]) -> UInt32[Array, "..."]:
    """Random words.

    Args:
      key: a typed Threefry key, scalar, or its two words, uint32 `[2]`.
      shape: of the result; fewer than 2**32 elements.

    Returns:
      uint32 of that shape, equal to `jax.random.bits(key, shape)`.

    Raises:
      ValueError: if the key is not one key, or the shape is negative or too large.
      TypeError: if the key is of another generator or type.

    Reference:
      Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Threefry-2x32-20).

    Example:
      >>> bits(jax.random.key(0), (2,)).tolist() == jax.random.bits(jax.random.key(0), (2,)).tolist()
      True
    """
    return _draw(reference.to_bits, key, shape)


def uniform(key: Any, shape: Sequence[int]) -> Float32[Array, "..."]:
    """Uniform numbers in [0, 1): multiples of 2**-23, each with the same probability.

    Args:
      key: a typed Threefry key, scalar, or its two words, uint32 `[2]`.
      shape: of the result; fewer than 2**32 elements.

    Returns:
      float32 of that shape, equal to `jax.random.uniform(key, shape)`; 0 occurs once in 2**23 draws, 1 never.

    Raises:
      ValueError, TypeError: as `bits`.

    Example:
      >>> bool(uniform(jax.random.key(0), (1000,)).max() < 1)
      True
    """
    return _draw(reference.to_uniform, key, shape)


def uniform_open(key: Any, shape: Sequence[int]) -> Float32[Array, "..."]:
    """Uniform numbers in (0, 1), for quantile functions and logarithms: odd multiples of 2**-24.

    Args:
      key: a typed Threefry key, scalar, or its two words, uint32 `[2]`.
      shape: of the result; fewer than 2**32 elements.

    Returns:
      float32 of that shape: `uniform(key, shape) + 2**-24`, symmetric about 1/2.

    Raises:
      ValueError, TypeError: as `bits`.

    Example:
      >>> bool(jnp.isfinite(jnp.log(uniform_open(jax.random.key(0), (1000,)))).all())
      True
    """
    return _draw(reference.to_uniform_open, key, shape)


def normal(key: Any, shape: Sequence[int]) -> Float32[Array, "..."]:
    """Standard normal numbers, by inversion: the quantile of `uniform`.

    The 2**23 values reach from -5.42 to 5.22 standard deviations; nothing lies beyond.

    Args:
      key: a typed Threefry key, scalar, or its two words, uint32 `[2]`.
      shape: of the result; fewer than 2**32 elements.

    Returns:
      float32 of that shape, equal to `jax.random.normal(key, shape)` but for a last place or two.

    Raises:
      ValueError, TypeError: as `bits`.

    Example:
      >>> normal(jax.random.key(0), (32, 32, 3)).shape
      (32, 32, 3)
    """
    return _draw(reference.to_normal, key, shape)


def poisson(key: Any, rate: Float[Array, "..."]) -> Int32[Array, "..."]:
    """Poisson counts, by inversion at a fixed cost: no loop, whatever the rate.

    Because it inverts, counts under one key increase with the rate: a sweep over rates shares its random numbers, which
    a rejection sampler does not. The draws differ from those of `jax.random.poisson`.

    Args:
      key: a typed Threefry key, scalar, or its two words, uint32 `[2]`.
      rate: floating, `[...]` of fewer than 2**32 elements: the expected count of each element, in [0, 1000]. A count's
        distribution is within 1e-4 of Poisson's in total variation; that is at 12, where the method changes: it is 1e-6
        below and falls as rate**-1.5 above.

    Returns:
      int32 of the rate's shape; -1 where a rate is negative, infinite or NaN. No derivative flows to the rate.

    Raises:
      ValueError, TypeError: as `bits`; TypeError if the rate is not floating.

    Reference:
      Giles, "Algorithm 955: approximation of the inverse Poisson cumulative distribution function", ACM Transactions on
      Mathematical Software 42(1), 2016.

    Example:
      >>> poisson(jax.random.key(0), jnp.array([0.0, -1.0])).tolist()
      [0, -1]
    """
    rate = jnp.asarray(rate)
    if not jnp.issubdtype(rate.dtype, jnp.floating):
        raise TypeError(f"`rate`: got {rate.dtype}; rates are floating-point numbers")
    rate = lax.stop_gradient(rate).astype(jnp.float32)
    return _draw(reference.to_poisson, key, rate.shape, rate.reshape(-1))


def _draw(transform: Callable[..., Array], key: Any, shape: Sequence[int], *operands: Array) -> Array:
    shape = tuple(int(n) for n in shape)
    size = math.prod(shape)
    if any(n < 0 for n in shape) or size >= 1 << 32:
        raise ValueError(f"`shape`: got {shape}; lengths >= 0 and fewer than 2**32 elements are right")
    return _flat(transform, size, _words(key), *operands).reshape(shape)


def _words(key: Any) -> tuple[Array, Array]:
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        implementation = str(jax.random.key_impl(key))
        if implementation != "threefry2x32":
            raise TypeError(f"`key`: got a key of {implementation}; a threefry2x32 key is needed")
        if key.shape:
            raise ValueError(f"`key`: got keys of shape {list(key.shape)}; draw for one key, and map with jax.vmap")
        key = jax.random.key_data(key)
    if not isinstance(key, (jax.Array, np.ndarray)) or key.dtype != jnp.uint32:
        came = f"{key.dtype}{list(key.shape)}" if hasattr(key, "dtype") else type(key).__name__
        raise TypeError(f"`key`: got {came}; a typed threefry2x32 key, or its two words as uint32[2], is needed")
    if key.shape != (2,):
        raise ValueError(f"`key`: got uint32{list(key.shape)}; one key is uint32[2], and jax.vmap maps over several")
    key = jnp.asarray(key)
    return key[0], key[1]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _flat(transform: Callable[..., Array], size: int, key: tuple[Array, Array], *operands: Array) -> Array:
    fused = functools.partial(reference.flat, transform, size)
    return lax.platform_dependent(key, *operands, cpu=_outlined(fused), default=fused)


def _outlined(function: Callable[..., Array]) -> Callable[..., Array]:
    # Left to itself XLA fuses a draw into its consumer and loops over the consumer's last axis. Where that is 3 long,
    # LLVM's vectoriser may give up on a body this long, which costs a factor of 8. A call that is not inlined keeps the
    # loop flat. A compiler that does not know the attribute loses that speed and nothing else.
    def call(*operands: Any) -> Array:
        return set_xla_metadata(jax.jit(function)(*operands), inlineable="false")  # type: ignore[return-value]

    return call
