"""Orthonormal polynomials of a space's inputs, and which products of them a polynomial chaos expansion may use.

Each input becomes a germ with a classical weight: a uniform one a number in [-1, 1] (Legendre), a normal one its score,
a lognormal one the score of its logarithm (Hermite), any other continuous one 2 F(x) - 1 with its distribution function
F (Legendre): an isoprobabilistic transform, so every expansion here is orthonormal under the inputs' own distribution.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._distribution import Distribution, LogNormal, Normal, Uniform
from sensijax.sensitivity.indices._space import Space, independent


@dataclasses.dataclass(frozen=True, eq=False)
class Basis:
    """Products of orthonormal polynomials: term t is the product over inputs of the polynomial of degree `alpha[t, i]`.

    Attributes:
      space: independent, continuous inputs.
      alpha: int64 `[P, d]`, the degrees of each term.
    """

    space: Space
    alpha: np.ndarray

    def terms(self, x: Any) -> np.ndarray:
        """The terms at inputs `[n, d]`: float64 `[n, P]`."""
        tables, _, _ = self._tables(np.asarray(x, np.float64))
        return functools.reduce(np.multiply, [tables[i][:, self.alpha[:, i]] for i in range(self.space.dimension)])

    def derivatives(self, x: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The terms, their derivatives with respect to the germs, and the germs' with respect to the inputs.

        Args:
          x: `[n, d]`.

        Returns:
          float64 `[n, P]`, `[n, d, P]` and `[n, d]`.
        """
        tables, slopes, scale = self._tables(np.asarray(x, np.float64))
        factors = [table[:, self.alpha[:, i]] for i, table in enumerate(tables)]
        terms = functools.reduce(np.multiply, factors)
        found = []
        for i in range(len(factors)):
            others = [slopes[i][:, self.alpha[:, i]], *factors[:i], *factors[i + 1 :]]
            found.append(functools.reduce(np.multiply, others))
        return terms, np.stack(found, axis=1), scale

    def traced(self, point: jax.Array) -> jax.Array:
        """The terms at one point `[d]`, as JAX: `[P]`.

        Raises:
          ArgumentError: for an input that is not uniform, normal or lognormal: its distribution is on the host.
        """
        degree = int(self.alpha.max(initial=0))
        columns = []
        for i, (name, distribution) in enumerate(self.space.inputs.items()):
            if not isinstance(distribution, (Uniform, Normal, LogNormal)):
                came = f"{name!r}, {type(distribution).__name__}"
                raise ArgumentError(
                    "space", came, "Uniform, Normal or LogNormal inputs on the device; else use .predict"
                )
            germ, _ = _germ(distribution, point[i], jnp)
            columns.append(jnp.stack(_polynomials(distribution, germ, degree)[0]))
        each = jnp.stack(columns)  # [d, degree + 1]
        return jnp.prod(each[np.arange(len(columns))[None, :], self.alpha], axis=1)

    def _tables(self, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        tables, slopes, scales = [], [], []
        for i, distribution in enumerate(self.space.inputs.values()):
            germ, scale = _germ(distribution, x[:, i], np)
            values, first = _polynomials(distribution, germ, int(self.alpha[:, i].max(initial=0)))
            tables.append(np.stack(values, axis=-1))
            slopes.append(np.stack(first, axis=-1))
            scales.append(np.broadcast_to(scale, germ.shape))
        return tables, slopes, np.stack(scales, axis=-1)


def smooth_space(space: Any, method: str) -> Space:
    """Independent, ungrouped, continuous inputs; anything else is refused, with the method for it."""
    space = independent(space, method)
    if space.groups:
        raise ArgumentError(
            "space", "groups", f"`{method}` expands in single inputs; indices of sets are `.closed(...)`"
        )
    if space.correlation is not None:
        raise ArgumentError("space", "a correlation", f"`{method}` assumes independent inputs; use `shapley_effects`")
    for name, distribution in space.inputs.items():
        if not distribution.has_derivative:
            came = f"{name!r}, {type(distribution).__name__}"
            raise ArgumentError("space", came, f"`{method}` needs continuous inputs; `sobol` takes discrete ones")
    return space


def candidates(dimension: int, degree: int, q: float, limit: int) -> np.ndarray | None:
    """Degrees `[P, d]` with (sum_i alpha_i^q)^(1/q) <= degree, by total degree; None if there are more than `limit`.

    q = 1 keeps all of a total degree; below 1 the hyperbolic truncation drops interactions of many inputs first.

    Reference:
      Blatman and Sudret, "Adaptive sparse polynomial chaos expansion based on least angle regression", J. Computational
      Physics 230 (2011).

    Example:
      >>> len(candidates(3, 4, 1.0, 1000)), len(candidates(3, 4, 0.5, 1000)), candidates(3, 4, 1.0, 10)
      (35, 16, None)
    """
    budget = degree**q * (1 + 1e-12)
    cost = np.arange(degree + 1, dtype=np.float64) ** q
    cost[0] = 0
    rows: list[tuple[int, ...]] = []
    start: list[tuple[tuple[tuple[int, int], ...], int, float]] = [((), 0, 0.0)]
    while start:
        chosen, first, spent = start.pop()
        rows.append(tuple(v for pair in chosen for v in pair))
        if len(rows) > limit:
            return None
        for i in range(first, dimension):
            for a in range(1, degree + 1):
                if spent + cost[a] > budget:
                    break
                start.append(((*chosen, (i, a)), i + 1, spent + cost[a]))
    alpha = np.zeros((len(rows), dimension), np.int64)
    for t, row in enumerate(rows):
        alpha[t, row[0::2]] = row[1::2]
    order = np.lexsort((*alpha.T, alpha.max(axis=1), alpha.sum(axis=1)))
    return alpha[order]


def _germ(distribution: Distribution, x: Any, xp: Any) -> tuple[Any, Any]:
    """The germ of an input, and its derivative with respect to the input."""
    if isinstance(distribution, Uniform):
        width = distribution.high - distribution.low
        return (x - distribution.low) * (2 / width) - 1, 2 / width
    if isinstance(distribution, Normal):
        return (x - distribution.mean) / distribution.sd, 1 / distribution.sd
    if isinstance(distribution, LogNormal):
        return (xp.log(x) - distribution.mean) / distribution.sd, 1 / (x * distribution.sd)
    return 2 * distribution.cdf(x) - 1, 2 * distribution.pdf(x)


def _polynomials(distribution: Distribution, germ: Any, degree: int) -> tuple[list[Any], list[Any]]:
    """Orthonormal polynomials of degrees 0 to `degree` at a germ, and their first derivatives."""
    hermite = isinstance(distribution, (Normal, LogNormal))
    zero, one = germ * 0, germ * 0 + 1
    value, slope = [one, germ], [zero, one]
    for n in range(1, degree):
        if hermite:  # He_{n+1} = t He_n - n He_{n-1}, and He_n' = n He_{n-1}; of norm sqrt(n!)
            a, b, c = 1 / np.sqrt(n + 1), np.sqrt(n / (n + 1)), np.sqrt(n + 1)
            value.append(germ * value[n] * float(a) - value[n - 1] * float(b))
            slope.append(value[n] * float(c))
        else:  # (n + 1) P_{n+1} = (2n + 1) t P_n - n P_{n-1}, and P_{n+1}' = P_{n-1}' + (2n + 1) P_n
            value.append((germ * value[n] * (2 * n + 1) - value[n - 1] * n) / (n + 1))
            slope.append(slope[n - 1] + value[n] * (2 * n + 1))
    norm = [1.0] * (degree + 1) if hermite else [float(np.sqrt(2 * n + 1)) for n in range(degree + 1)]
    scaled = zip(value, slope, norm, strict=False)
    pairs = [(v * k, s * k) for v, s, k in scaled]
    return [v for v, _ in pairs], [s for _, s in pairs]
