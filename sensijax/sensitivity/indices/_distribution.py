"""Marginal distributions of uncertain inputs: what a number between 0 and 1 becomes.

A distribution states its numbers, checked at the door in float64. On the device a whole family is evaluated at once:
`Space` stacks the numbers of inputs of one family, and calls `quantile` of the class on them, so a thousand uniform
inputs cost one fused operation and one compilation.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.special
from jax.scipy.special import ndtri

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._poincare import poincare_constant

Numbers = tuple[Any, ...]


class Distribution:
    """The distribution of one input. Subclasses are frozen dataclasses of numbers.

    `numbers()` hands the parameters out, `quantile(numbers, u, upper)` is the inverse distribution function for NumPy
    and JAX alike: with `upper`, `u` counts from the upper end, so that a far tail keeps its digits.
    """

    has_derivative = True
    """Whether a derivative with respect to the input has a meaning."""

    def numbers(self) -> Numbers:
        """The parameters as float64 scalars or tables, in the order that `quantile` reads."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return tuple(np.float64(getattr(self, field.name)) for field in fields)

    def family(self) -> tuple[Any, ...]:
        """What must be equal for two inputs to be evaluated in one operation."""
        return (type(self),)

    @property
    def support(self) -> tuple[float, float]:
        """The smallest and the largest value, possibly infinite."""
        raise NotImplementedError

    def ppf(self, u: Any) -> np.ndarray:
        """The inverse distribution function in float64 on the host: `[...]` in [0, 1] to values `[...]`."""
        return np.asarray(type(self).quantile(self.numbers(), np.asarray(u, np.float64), False, self.family()))

    @classmethod
    def quantile(cls, numbers: Numbers, u: Any, upper: bool, family: tuple[Any, ...]) -> Any:
        raise NotImplementedError

    def cdf(self, x: Any) -> np.ndarray:
        """The distribution function in float64: values `[...]` to probabilities `[...]`."""
        raise NotImplementedError

    def sf(self, x: Any) -> np.ndarray:
        """1 - cdf, without cancellation in the upper tail."""
        return 1 - self.cdf(x)

    def pdf(self, x: Any) -> np.ndarray:
        """The density in float64, per unit of the input."""
        raise NotImplementedError

    @property
    def expectation(self) -> float:
        """The expected value."""
        return self._moments()[0]

    @property
    def variance(self) -> float:
        """The variance, in the input's unit squared."""
        return self._moments()[1]

    def _moments(self) -> tuple[float, float]:
        node, weight = np.polynomial.legendre.leggauss(400)
        x = self.ppf((node + 1) / 2)
        mean = float(weight @ x) / 2
        return mean, float(weight @ (x - mean) ** 2) / 2

    def poincare(self) -> float:
        """The smallest C with Var g(X) <= C E[w(X) g'(X)^2] for every smooth g (w is 1, but for `LogNormal`)."""
        # What lies outside holds no mass to speak of, and a mesh over it would resolve nothing.
        low, high = self.ppf([1e-10, 1 - 1e-10])
        return poincare_constant(self.pdf, low, high)


def _special(u: Any) -> tuple[Any, Any]:
    return (np, scipy.special.ndtri) if isinstance(u, (np.ndarray, np.floating)) else (jnp, ndtri)


def _normal_score(u: Any, upper: bool) -> Any:
    _, score = _special(u)
    return -score(u) if upper else score(u)


@dataclasses.dataclass(frozen=True)
class Uniform(Distribution):
    """Uniform between two bounds.

    Attributes:
      low: the lower bound, finite.
      high: the upper bound, above it.

    Raises:
      ArgumentError: if the bounds are reversed, equal or not finite.

    Example:
      >>> Uniform(-1.0, 1.0).ppf([0.0, 0.75]).tolist()
      [-1.0, 0.5]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        finite("Uniform.low", self.low)
        finite("Uniform.high", self.high)
        ordered("Uniform.high", self.low, self.high)

    @property
    def support(self) -> tuple[float, float]:
        return float(self.low), float(self.high)

    @classmethod
    def quantile(cls, numbers: Numbers, u: Any, upper: bool, family: tuple[Any, ...]) -> Any:
        low, high = numbers
        return high - u * (high - low) if upper else low + u * (high - low)

    def cdf(self, x: Any) -> np.ndarray:
        return np.clip((np.asarray(x, np.float64) - self.low) / (self.high - self.low), 0, 1)

    def pdf(self, x: Any) -> np.ndarray:
        x = np.asarray(x, np.float64)
        return np.where((x >= self.low) & (x <= self.high), 1 / (self.high - self.low), 0.0)

    def _moments(self) -> tuple[float, float]:
        return (self.low + self.high) / 2, (self.high - self.low) ** 2 / 12

    def poincare(self) -> float:
        return (self.high - self.low) ** 2 / math.pi**2


@dataclasses.dataclass(frozen=True)
class Normal(Distribution):
    """Gaussian.

    Attributes:
      mean: the expected value.
      sd: the standard deviation, > 0.

    In float32 the 2**23 values that a point can have reach 5.4 standard deviations from the mean.

    Example:
      >>> Normal(2.0, 0.5).ppf(0.5).tolist()
      2.0
    """

    mean: float
    sd: float

    def __post_init__(self) -> None:
        finite("Normal.mean", self.mean)
        positive("Normal.sd", self.sd)

    @property
    def support(self) -> tuple[float, float]:
        return -math.inf, math.inf

    @classmethod
    def quantile(cls, numbers: Numbers, u: Any, upper: bool, family: tuple[Any, ...]) -> Any:
        return cls.from_score(numbers, _normal_score(u, upper))

    @classmethod
    def from_score(cls, numbers: Numbers, z: Any) -> Any:
        """The value at a standard normal score, without the way through probabilities."""
        return numbers[0] + numbers[1] * z

    def cdf(self, x: Any) -> np.ndarray:
        return scipy.special.ndtr((np.asarray(x, np.float64) - self.mean) / self.sd)

    def sf(self, x: Any) -> np.ndarray:
        return scipy.special.ndtr(-(np.asarray(x, np.float64) - self.mean) / self.sd)

    def pdf(self, x: Any) -> np.ndarray:
        z = (np.asarray(x, np.float64) - self.mean) / self.sd
        return np.exp(-0.5 * z**2) / (self.sd * math.sqrt(2 * math.pi))

    def _moments(self) -> tuple[float, float]:
        return float(self.mean), float(self.sd) ** 2

    def poincare(self) -> float:
        return float(self.sd) ** 2


@dataclasses.dataclass(frozen=True)
class LogNormal(Distribution):
    """The exponential of a Gaussian.

    Attributes:
      mean: of the logarithm.
      sd: the standard deviation of the logarithm, > 0.

    Its tail is too heavy for a Poincare inequality; derivative-based bounds take the derivative with respect to the
    logarithm instead: Var g <= sd^2 E[X^2 g'(X)^2].

    Example:
      >>> LogNormal(0.0, 1.0).ppf(0.5).tolist()
      1.0
    """

    mean: float
    sd: float

    def __post_init__(self) -> None:
        finite("LogNormal.mean", self.mean)
        positive("LogNormal.sd", self.sd)

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, math.inf

    @classmethod
    def quantile(cls, numbers: Numbers, u: Any, upper: bool, family: tuple[Any, ...]) -> Any:
        return cls.from_score(numbers, _normal_score(u, upper))

    @classmethod
    def from_score(cls, numbers: Numbers, z: Any) -> Any:
        """The value at a standard normal score, without the way through probabilities."""
        return _special(z)[0].exp(numbers[0] + numbers[1] * z)

    def _score(self, x: Any) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return (np.log(np.maximum(np.asarray(x, np.float64), 0)) - self.mean) / self.sd

    def cdf(self, x: Any) -> np.ndarray:
        return scipy.special.ndtr(self._score(x))

    def sf(self, x: Any) -> np.ndarray:
        return scipy.special.ndtr(-self._score(x))

    def pdf(self, x: Any) -> np.ndarray:
        x = np.asarray(x, np.float64)
        safe = np.where(x > 0, x, 1.0)
        return np.where(x > 0, np.exp(-0.5 * self._score(safe) ** 2) / (safe * self.sd * math.sqrt(2 * math.pi)), 0)

    def _moments(self) -> tuple[float, float]:
        square = float(self.sd) ** 2
        mean = math.exp(self.mean + square / 2)
        return mean, math.expm1(square) * mean**2

    def poincare(self) -> float:
        return float(self.sd) ** 2


def finite(argument: str, value: Any) -> None:
    if not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
        raise ArgumentError(argument, repr(value), "a finite number is needed")


def positive(argument: str, value: Any) -> None:
    finite(argument, value)
    if value <= 0:
        raise ArgumentError(argument, value, "a standard deviation is above 0")


def ordered(argument: str, low: Any, high: Any) -> None:
    if not low < high:
        raise ArgumentError(
            argument, f"low {low}, high {high}", "the upper bound lies above the lower: were they swapped?"
        )


def weights_of(argument: str, weights: Sequence[float] | None, count: int) -> np.ndarray:
    """Probabilities that sum to 1, float64 `[count]`."""
    if count < 2:
        raise ArgumentError(argument, f"{count} value(s)", "an input that varies has at least two")
    if weights is None:
        return np.full(count, 1 / count)
    given = np.asarray(weights, np.float64)
    if given.shape != (count,) or not np.isfinite(given).all() or (given < 0).any() or given.sum() <= 0:
        raise ArgumentError(f"{argument} weights", repr(weights), f"{count} weights >= 0, of which some are above 0")
    return given / given.sum()
