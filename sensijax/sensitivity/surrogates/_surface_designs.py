"""Where a response surface is measured: a grid, quasi-random points, or points that go where the surface bends."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._design import unit_points

Measure = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Points of the unit cube `[m, d]` to values `[m]` and slopes `[m, d]` with respect to them."""
Model = Callable[[np.ndarray, np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]
"""Points, values and slopes to a predictor `[m, d] -> [m]`."""


class SurfaceDesign(Protocol):
    """What a surface asks of a design."""

    def points(self, key: jax.Array, dimension: int, measure: Measure, model: Model) -> np.ndarray:
        """All points, `[n, d]` in the closed unit cube; `measure` may be asked, and remembers."""
        ...


@dataclasses.dataclass(frozen=True)
class Grid:
    """Every combination of equally spaced settings, the ends included. For pictures, and two or three stressors.

    Attributes:
      nodes: along each axis, >= 2.

    Example:
      >>> Grid(3).points(jax.random.key(0), 2, None, None)[:2].tolist()
      [[0.0, 0.0], [0.0, 0.5]]
    """

    nodes: int = 6

    def __post_init__(self) -> None:
        _whole("Grid.nodes", self.nodes, 2)

    def points(self, key: jax.Array, dimension: int, measure: Any, model: Any) -> np.ndarray:
        if self.nodes**dimension > 20_000:
            raise ArgumentError("Grid.nodes", self.nodes, f"at most 20,000 nodes in all; {dimension} axes: QuasiRandom")
        axes = np.meshgrid(*[np.linspace(0, 1, self.nodes)] * dimension, indexing="ij")
        return np.stack([axis.ravel() for axis in axes], axis=-1)


@dataclasses.dataclass(frozen=True)
class QuasiRandom:
    """Scrambled Sobol points: even in any number of dimensions. What surrogates are best fitted to.

    Attributes:
      n: points, >= 8; a power of two keeps them even.

    Example:
      >>> QuasiRandom(16).points(jax.random.key(0), 3, None, None).shape
      (16, 3)
    """

    n: int = 64

    def __post_init__(self) -> None:
        _whole("QuasiRandom.n", self.n, 8)

    def points(self, key: jax.Array, dimension: int, measure: Any, model: Any) -> np.ndarray:
        return unit_points(None, key, self.n, dimension)


@dataclasses.dataclass(frozen=True)
class Adaptive:
    """Starts quasi-random; then adds points that are far from others, and where the surrogate leaves the tangent plane.

    The tangent plane is that of the nearest measured point: its exact slopes say how the surface goes on if it is
    straight. Where surrogate and plane differ the surface bends, and a point tells most.

    Attributes:
      n: points in all.
      start: quasi-random points to begin with, >= 8.
      batch: points added between two fits of the surrogate.

    Reference:
      Mo, Lu, Shi, Zhang, Ye, Wu and Wu, "A Taylor expansion-based adaptive design strategy for global surrogate
      modeling with applications in groundwater modeling", Water Resources Research 53 (2017).

    Example:
      >>> Adaptive(n=24, start=16)
      Adaptive(n=24, start=16, batch=8)
    """

    n: int = 64
    start: int = 16
    batch: int = 8

    def __post_init__(self) -> None:
        _whole("Adaptive.start", self.start, 8)
        _whole("Adaptive.batch", self.batch, 1)
        _whole("Adaptive.n", self.n, self.start)

    def points(self, key: jax.Array, dimension: int, measure: Measure, model: Model) -> np.ndarray:
        pool = unit_points(None, jax.random.fold_in(key, 1), 1 << 10, dimension)
        x = unit_points(None, key, self.start, dimension)
        while len(x) < self.n:
            value, slope = measure(x)
            surrogate = model(x, value, slope)(pool)
            own = x
            for _ in range(min(self.batch, self.n - len(own))):
                apart = np.linalg.norm(pool[:, None] - x[None], axis=-1)
                away = apart.min(axis=1)
                near = apart[:, : len(value)].argmin(axis=1)
                plane = value[near] + ((pool - own[near]) * slope[near]).sum(axis=1)
                bend = np.abs(surrogate - plane)
                far = away / away.max()
                # Distance counts for less where the design is dense already, as the longest step inside the cube.
                weight = 1 - away.max() / np.sqrt(dimension)
                score = far + weight * bend / max(bend.max(), 1e-300)
                score[away < 1e-9] = -np.inf
                x = np.concatenate([x, pool[[np.argmax(score)]]])
        return x


def _whole(argument: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ArgumentError(argument, repr(value), f"a whole number, at least {least}")
