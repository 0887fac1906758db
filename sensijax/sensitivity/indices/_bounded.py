"""Marginal distributions with bounds or steps: triangular, truncated, discrete, categorical."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._distribution import Distribution, Numbers, _special, finite, ordered, weights_of


@dataclasses.dataclass(frozen=True)
class Triangular(Distribution):
    """Triangular: rises from `low` to `mode` and falls to `high`.

    Attributes:
      low: the lower bound.
      mode: where the density is largest, in [low, high].
      high: the upper bound, above `low`.

    Example:
      >>> round(float(Triangular(0.0, 1.0, 2.0).ppf(0.125)), 6)
      0.5
    """

    low: float
    mode: float
    high: float

    def __post_init__(self) -> None:
        for name in ("low", "mode", "high"):
            finite(f"Triangular.{name}", getattr(self, name))
        ordered("Triangular.high", self.low, self.high)
        if not self.low <= self.mode <= self.high:
            raise ArgumentError("Triangular.mode", self.mode, f"it lies in [{self.low}, {self.high}]")

    @property
    def support(self) -> tuple[float, float]:
        return float(self.low), float(self.high)

    @classmethod
    def quantile(cls, numbers: Numbers, u: Any, upper: bool, family: tuple[Any, ...]) -> Any:
        low, mode, high = numbers
        xp, width = _special(u)[0], high - low
        below, above = (1 - u, u) if upper else (u, 1 - u)
        left = low + xp.sqrt(below * width * (mode - low))
        right = high - xp.sqrt(above * width * (high - mode))
        return xp.where(below * width < mode - low, left, right)

    def cdf(self, x: Any) -> np.ndarray:
        x = np.clip(np.asarray(x, np.float64), self.low, self.high)
        width = self.high - self.low
        left = (x - self.low) ** 2 / (width * max(self.mode - self.low, 1e-300))
        right = 1 - (self.high - x) ** 2 / (width * max(self.high - self.mode, 1e-300))
        return np.where(x < self.mode, left, right)

    def pdf(self, x: Any) -> np.ndarray:
        x = np.asarray(x, np.float64)
        width = self.high - self.low
        left = 2 * (x - self.low) / (width * max(self.mode - self.low, 1e-300))
        right = 2 * (self.high - x) / (width * max(self.high - self.mode, 1e-300))
        return np.where((x < self.low) | (x > self.high), 0.0, np.where(x < self.mode, left, right))

    def _moments(self) -> tuple[float, float]:
        a, c, b = self.low, self.mode, self.high
        return (a + b + c) / 3, (a * a + b * b + c * c - a * b - a * c - b * c) / 18


@dataclasses.dataclass(frozen=True)
class Truncated(Distribution):
    """A distribution cut off outside two bounds, and scaled to 1 between them.

    Attributes:
      base: a `Uniform`, `Normal`, `LogNormal` or `Triangular`.
      low: nothing lies below; `-inf` for no bound.
      high: nothing lies above; `inf` for no bound.

    A far upper tail keeps its digits in float32: it is counted from its upper end.

    Raises:
      ArgumentError: if the bounds are reversed, or less than 1e-12 of the base lies between them.

    Example:
      >>> from sensijax.sensitivity import Normal
      >>> [round(float(x), 3) for x in Truncated(Normal(0.0, 1.0), 4.0, 5.0).ppf([0.0, 0.5, 1.0])]
      [4.0, 4.159, 5.0]
    """

    base: Distribution
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not isinstance(self.base, Distribution) or isinstance(self.base, (Truncated, Discrete, Categorical)):
            raise ArgumentError("Truncated.base", repr(self.base), "Uniform, Normal, LogNormal or Triangular")
        ordered("Truncated.high", self.low, self.high)
        if self._mass < 1e-12:
            raise ArgumentError(
                "Truncated", f"[{self.low}, {self.high}]", f"it holds less than 1e-12 of {self.base}: move the bounds"
            )

    @property
    def _upper(self) -> bool:
        return bool(self.base.cdf(self.low) > 0.5)

    @property
    def _ends(self) -> tuple[float, float]:
        """Probabilities at the two bounds, from the end that the bounds are near to; the first is the larger tail's."""
        if self._upper:
            return float(self.base.sf(self.high)), float(self.base.sf(self.low))
        return float(self.base.cdf(self.low)), float(self.base.cdf(self.high))

    @property
    def _mass(self) -> float:
        start, end = self._ends
        return end - start

    def numbers(self) -> Numbers:
        low, high = self.support
        return (*(np.float64(end) for end in self._ends), np.float64(low), np.float64(high), *self.base.numbers())

    def family(self) -> tuple[Any, ...]:
        return (Truncated, self._upper, self.base.family())

    @property
    def support(self) -> tuple[float, float]:
        low, high = self.base.support
        return max(low, float(self.low)), min(high, float(self.high))

    @classmethod
    def quantile(cls, numbers: Numbers, u: Any, upper: bool, family: tuple[Any, ...]) -> Any:
        start, end, low, high, *base = numbers
        _, from_above, base_family = family
        within = u if upper == from_above else 1 - u
        x = base_family[0].quantile(tuple(base), start + within * (end - start), from_above, base_family)
        return _special(u)[0].clip(x, low, high)  # what rounding moved past a bound

    def cdf(self, x: Any) -> np.ndarray:
        return np.clip((self.base.cdf(x) - self.base.cdf(self.low)) / self._mass, 0, 1)

    def pdf(self, x: Any) -> np.ndarray:
        x = np.asarray(x, np.float64)
        return np.where((x >= self.low) & (x <= self.high), self.base.pdf(x) / self._mass, 0.0)


@dataclasses.dataclass(frozen=True)
class Discrete(Distribution):
    """Finitely many numbers.

    Attributes:
      values: at least two numbers, increasing.
      weights: how often each comes, >= 0; all the same if absent. They need not sum to 1.

    Example:
      >>> Discrete((1.0, 10.0), (3, 1)).ppf([0.7, 0.8]).tolist()
      [1.0, 10.0]
    """

    values: Sequence[float]
    weights: Sequence[float] | None = None
    has_derivative = False

    def __post_init__(self) -> None:
        values = np.asarray(self.values, np.float64)
        if values.ndim != 1 or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
            raise ArgumentError("Discrete.values", repr(self.values), "a list of increasing finite numbers")
        weights_of("Discrete", self.weights, len(values))

    def numbers(self) -> Numbers:
        values = np.asarray(self.values, np.float64)
        return values, np.cumsum(weights_of("Discrete", self.weights, len(values)))[:-1]

    def family(self) -> tuple[Any, ...]:
        return (Discrete, len(self.values))

    @property
    def support(self) -> tuple[float, float]:
        return float(self.values[0]), float(self.values[-1])

    @classmethod
    def quantile(cls, numbers: Numbers, u: Any, upper: bool, family: tuple[Any, ...]) -> Any:
        values, steps = numbers  # [..., L], [..., L - 1]: the steps of the distribution function
        u = 1 - u if upper else u
        if _special(u)[0] is np:
            return np.asarray(values)[(u[..., None] >= steps).sum(axis=-1)]
        index = (u[..., None, :] >= steps[..., :, None]).sum(axis=-2)
        return jnp.take_along_axis(values, index, axis=-1)

    def cdf(self, x: Any) -> np.ndarray:
        return (np.asarray(x, np.float64)[..., None] >= np.asarray(self.values)) @ self._probability()

    def _probability(self) -> np.ndarray:
        return weights_of("Discrete", self.weights, len(self.values))

    def _moments(self) -> tuple[float, float]:
        values, weights = np.asarray(self.values, np.float64), self._probability()
        mean = float(weights @ values)
        return mean, float(weights @ (values - mean) ** 2)

    def poincare(self) -> float:
        raise ArgumentError("space", f"a {type(self).__name__} input", "it has no derivative: use `sobol`")


@dataclasses.dataclass(frozen=True)
class Categorical(Discrete):
    """Names without an order; the function sees the code of one, a whole number 0, 1, 2, ... as a float.

    Attributes:
      values: at least two different names, hashable.
      weights: how often each comes, >= 0; all the same if absent.

    Indices of variance do not depend on which code a name has. `delta`, `pawn`, `hsic` and rank-based indices read the
    codes as numbers.

    Example:
      >>> Categorical(("red", "green", "blue")).ppf([0.0, 0.9]).tolist()
      [0.0, 2.0]
    """

    values: Sequence[Any]
    weights: Sequence[float] | None = None
    has_derivative = False

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values):
            raise ArgumentError("Categorical.values", repr(self.values), "each name once")
        weights_of("Categorical", self.weights, len(self.values))

    def numbers(self) -> Numbers:
        return np.arange(len(self.values), dtype=np.float64), np.cumsum(self._probability())[:-1]

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, float(len(self.values) - 1)

    def cdf(self, x: Any) -> np.ndarray:
        return (np.asarray(x, np.float64)[..., None] >= np.arange(len(self.values))) @ self._probability()

    def _moments(self) -> tuple[float, float]:
        codes, weights = np.arange(len(self.values)), self._probability()
        mean = float(weights @ codes)
        return mean, float(weights @ (codes - mean) ** 2)
