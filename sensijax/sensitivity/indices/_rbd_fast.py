"""RBD-FAST: first-order indices from the spectrum of outputs sorted by an input."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._given_data import FirstOrderResult, drawn, measured
from sensijax.sensitivity.indices._interval import fraction
from sensijax.sensitivity.indices._result import given_sample, squeezed


@dataclasses.dataclass(frozen=True)
class _Spectrum:
    harmonics: int

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # Up the even ranks, down the odd ones: the input then runs through one period.
        order = np.argsort(x)
        y = y[np.concatenate([order[::2], order[1::2][::-1]])]
        power = np.square(np.abs(np.fft.rfft(y - y.mean(axis=0), axis=0)))[1:]
        power[: (len(y) - 1) // 2] *= 2  # but for the middle frequency of an even number, each stands for two
        share = power[: self.harmonics].sum(axis=0, keepdims=True) / power.sum(axis=0)
        noise = 2 * self.harmonics / len(y)
        return share - noise / (1 - noise) * (1 - share)


def rbd_fast(
    f: Callable[[Any], Any], space: Any, *, key: jax.Array, n: int = 2**12, harmonics: int = 10, level: float = 0.95
) -> FirstOrderResult:
    """First-order indices by random balance design FAST, at n evaluations for any number of inputs.

    The sample is stored: n (d + k) numbers.

    Args:
      f: pure; takes one point `[d]`, returns a real scalar or `[k]`.
      space: `{name: distribution}`, or a `Space`, correlated or not.
      key: a typed Threefry key.
      n: random points, >= 64.
      harmonics: M, of the spectrum that count as the input's own.
      level: of the interval.

    Returns:
      A `FirstOrderResult`.

    Raises:
      ArgumentError: if an output is not finite or does not vary, or n does not fit.

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> space = {"x": Uniform(0, 1), "y": Uniform(0, 1)}
      >>> rbd_fast(lambda x: x[0] + 2 * x[1], space, key=jax.random.key(0)).S1.round(1).tolist()
      [0.2, 0.8]
    """
    x, y, space, shape = drawn(f, space, key, n)
    return rbd_fast_given(x, y if shape else y[:, 0], space, harmonics=harmonics, level=level)


def rbd_fast_given(x: Any, y: Any, names: Any = None, *, harmonics: int = 10, level: float = 0.95) -> FirstOrderResult:
    """First-order indices by random balance design FAST, from a sample.

    S1 equals SALib 1.6.0's `analyze.rbd_fast` to rounding, its correction of the bias included. The interval does not:
    SALib resamples with replacement, which fills the sorted outputs with ties.

    Args:
      x: `[n, d]`, rows independent of each other.
      y: `[n]` or `[n, k]`, outputs.
      names: of the columns, or a space.
      harmonics: M.
      level: of the interval.

    Returns:
      A `FirstOrderResult`.

    Raises:
      ArgumentError: if shapes do not fit, there are too few rows for M, or an output is constant.

    Reference:
      Tarantola, Gatelli and Mara, "Random balance designs for the estimation of first order global sensitivity
      indices", Reliability Engineering and System Safety 91 (2006). Tissot and Prieur, "Bias correction for the
      estimation of sensitivity indices based on random balance designs", same journal 107 (2012).

    Example:
      >>> x = np.random.default_rng(0).random((4096, 2))
      >>> rbd_fast_given(x, x @ [1.0, 2.0]).S1.round(1).tolist()
      [0.2, 0.8]
    """
    x, y, names, shape = given_sample(x, y, names)
    if not isinstance(harmonics, int) or not 1 <= harmonics <= len(x) // 32:
        raise ArgumentError("harmonics", harmonics, f"between 1 and a thirty-second of the {len(x)} rows")
    whole, bounds = measured(_Spectrum(harmonics), x, y, fraction(level))
    return FirstOrderResult(squeezed(whole[0], shape), squeezed(bounds[0], shape), names, len(x), level)
