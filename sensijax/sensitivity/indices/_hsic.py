"""HSIC: dependence of an output on an input, of any form, by kernels; with a test."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gammaincc, stdtrit

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._given_data import drawn
from sensijax.sensitivity.indices._interval import fraction
from sensijax.sensitivity.indices._result import Result, given_sample, refuse_constant, squeezed
from sensijax.sensitivity.indices._space import float_dtype

_MOST = 1 << 15


@dataclasses.dataclass(frozen=True, eq=False)
class HsicResult(Result):
    """Kernel dependence measures; a trailing `[k]` where f has one.

    Attributes:
      R2: float64 `[d]` in [0, 1], HSIC(X_i, Y) / sqrt(HSIC(X_i, X_i) HSIC(Y, Y)).
      hsic: float64 `[d]`, HSIC(X_i, Y) with Gaussian kernels of the standard deviations' width.
      p_value: float64 `[d]`, of independence of X_i and Y, by the gamma approximation.
      R2_interval: float64 `[d, 2]`, low and high, from equal parts of the sample.
      names: of the inputs.
      n_evaluations: rows.
      level: of the interval.
    """

    R2: np.ndarray
    hsic: np.ndarray
    p_value: np.ndarray
    R2_interval: np.ndarray
    names: tuple[str, ...]
    n_evaluations: int
    level: float

    def _plotted(self) -> tuple[str, ...]:
        return ("R2",)


def hsic(f: Callable[[Any], Any], space: Any, *, key: jax.Array, n: int = 2**11, level: float = 0.95) -> HsicResult:
    """Hilbert-Schmidt independence criterion of each input with a function's output.

    The sample is stored; the n^2 kernel values are not: rows of them are made and summed on the device.

    Args:
      f: pure; takes one point `[d]`, returns a real scalar or `[k]`.
      space: `{name: distribution}`, or a `Space`, correlated or not (a test under correlation asks about dependence,
        which an input without effect may have through others).
      key: a typed Threefry key.
      n: random points, 64 to 32,768; the cost is n^2 (d + 1) k.
      level: of the interval.

    Returns:
      An `HsicResult`.

    Raises:
      ArgumentError: if an output is not finite or does not vary, or n does not fit.

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> space = {"x": Uniform(-1, 1), "y": Uniform(-1, 1)}
      >>> found = hsic(lambda x: x[0] ** 2, space, key=jax.random.key(0), n=512)
      >>> bool(found.p_value[0] < 1e-6), bool(found.p_value[1] > 1e-3)
      (True, True)
    """
    x, y, space, shape = drawn(f, space, key, n)
    return hsic_given(x, y if shape else y[:, 0], space, level=level)


def hsic_given(x: Any, y: Any, names: Any = None, *, level: float = 0.95) -> HsicResult:
    """Hilbert-Schmidt independence criterion from a sample.

    Args:
      x: `[n, d]`, 64 to 32,768 rows independent of each other.
      y: `[n]` or `[n, k]`, outputs.
      names: of the columns, or a space.
      level: of the interval.

    Returns:
      An `HsicResult`. hsic is the V-statistic, with expectation above 0 under independence; R2 falls with n there, and
      the p-value is what decides.

    Raises:
      ArgumentError: if shapes do not fit, a column or an output is constant.

    Reference:
      Gretton, Fukumizu, Teo, Song, Schoelkopf and Smola, "A kernel statistical test of independence", NeurIPS 2007. Da
      Veiga, "Global sensitivity analysis with dependence measures", J. Statistical Computation and Simulation 85
      (2015).

    Example:
      >>> x = np.random.default_rng(0).normal(size=(256, 2))
      >>> hsic_given(x, x[:, 0]).R2.round(2).tolist()[0]
      1.0
    """
    x, y, names, shape = given_sample(x, y, names)
    if not 64 <= len(x) <= _MOST:
        raise ArgumentError("x", f"{len(x)} rows", f"64 to {_MOST}: the cost grows with their square")
    refuse_constant(y.var(axis=0), y.mean(axis=0), False)
    if not (np.ptp(x, axis=0) > 0).all():
        raise ArgumentError("x", f"a constant column, {names[int(np.argmin(np.ptp(x, axis=0)))]!r}", "inputs that vary")
    level = fraction(level)
    value, share, p_value = _criterion(x, y)
    parts = int(np.clip(len(x) // 64, 4, 16))
    rows = np.arange(len(x) // parts * parts).reshape(parts, -1)
    each = np.stack([_criterion(x[part], y[part])[1] for part in rows])
    half = stdtrit(parts - 1, (1 + level) / 2) * each.std(axis=0, ddof=1) / np.sqrt(parts)
    fields = [squeezed(v, shape) for v in (share, value, p_value, np.stack([share - half, share + half], axis=1))]
    return HsicResult(*fields, names=names, n_evaluations=len(x), level=level)


def _criterion(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HSIC, R2 and p-values, `[d, k]` each."""
    n, d = x.shape
    both = np.concatenate([x, y], axis=1)
    scaled = (both - both.mean(axis=0)) / both.std(axis=0)
    cross, squares, means = (np.asarray(a, np.float64) for a in _moments(jnp.asarray(scaled.T, float_dtype())))
    value = cross[:d, d:]
    own = np.diag(cross)
    share = value / np.sqrt(own[:d, None] * own[d:])
    # The gamma distribution with the mean and the variance of n HSIC under independence (Gretton et al. 2007).
    off = (n * means - 1) / (n - 1)  # the mean kernel value of two different rows
    mean = (1 + off[:d, None] * off[d:] - off[:d, None] - off[d:]) / n
    variance = 2 * (n - 4) * (n - 5) / (n * (n - 1) * (n - 2) * (n - 3)) * squares[:d, d:]
    return value, share, gammaincc(mean**2 / variance, value * mean / variance)


@jax.jit
def _moments(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of columns z `[c, n]`: means of products of centred kernels `[c, c]`; of their squares; means of kernels `[c]`.

    A first pass makes the kernels' row means, a second one sums products of kernels that are centred already.
    """
    n = z.shape[1]
    size = max(1, min(n, (1 << 20) // n))
    dtype = z.dtype
    starts = jnp.arange(-(-n // size), dtype=jnp.int32) * size

    def rows(start: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        at = jnp.minimum(start + jnp.arange(size, dtype=jnp.int32), n - 1)
        valid = start + jnp.arange(size, dtype=jnp.int32) < n
        kernel = jnp.exp(-jnp.square(z[:, at, None] - z[:, None, :]) / 2)  # [c, size, n]
        return kernel, at, valid

    means = jax.lax.map(lambda start: rows(start)[0].mean(axis=2), starts)  # [blocks, c, size]
    row = jnp.moveaxis(means, 1, 0).reshape(len(z), -1)[:, :n]
    total = row.mean(axis=1)

    def step(sums: tuple[jax.Array, jax.Array], start: jax.Array) -> Any:
        kernel, at, valid = rows(start)
        centred = kernel - row[:, at, None] - row[:, None, :] + total[:, None, None]
        centred = jnp.where(valid[None, :, None], centred, jnp.zeros((), dtype))
        flat = centred.reshape(len(z), -1)
        off = (jnp.arange(n)[None, :] != at[:, None]).astype(dtype).reshape(1, -1)
        first = jnp.matmul(flat, flat.T, precision="highest")
        square = jnp.square(flat)
        return (sums[0] + first, sums[1] + jnp.matmul(square * off, square.T, precision="highest")), None

    zero = jnp.zeros((len(z), len(z)), dtype)
    (first, second), _ = jax.lax.scan(step, (zero, zero), starts)
    return first / n**2, second / (n * (n - 1)), total
