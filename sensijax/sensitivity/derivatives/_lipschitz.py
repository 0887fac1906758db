"""How steep a function gets near each example: local Lipschitz constants, from below."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError
from sensijax.sensitivity.derivatives._ball import check_ball, checked_bounds, in_ball
from sensijax.sensitivity.derivatives._coupling import refuse_coupling
from sensijax.sensitivity.derivatives._example_jacobians import check_outputs, example_jacobians, gram
from sensijax.sensitivity.derivatives._nonfinite import NonFinite, located
from sensijax.sensitivity.derivatives._pure import batch, program, pure
from sensijax.sensitivity.severities._stress import example_keys


@dataclasses.dataclass(frozen=True, eq=False)
class LocalLipschitz:
    """Lower bounds of the Lipschitz constant of outputs (L2) with respect to inputs (L2) in a ball around each example.

    Attributes:
      at_example: float64 `[B]`, the Jacobian's spectral norm at the example itself.
      steepest: float64 `[B]`, the largest spectral norm at any point tried.
      quotient: float64 `[B]`, the largest |f(z) - f(x)| / |z - x| over the points. Never above the true constant but
        for rounding, and often far below `steepest`: a random step is seldom along the worst direction.
      where: `[B, ...]`, the steepest point of each.
      points: tried per example.
      radius: of the ball, in units of the inputs.
      nonfinite: what is not finite in the norms of all points; such points are left out of the maxima.
    """

    at_example: np.ndarray
    steepest: np.ndarray
    quotient: np.ndarray
    where: np.ndarray
    points: int
    radius: float
    nonfinite: NonFinite

    def frame(self) -> Any:
        """A pandas table with a row for each example."""
        import pandas as pd

        columns = ("at_example", "steepest", "quotient")
        return pd.DataFrame({"example": np.arange(len(self.steepest)), **{c: getattr(self, c) for c in columns}})


def local_lipschitz(
    f: Callable,
    x: Any,
    radius: float,
    *,
    key: jax.Array | None = None,
    points: int = 32,
    bounds: tuple[float, float] | None = None,
) -> LocalLipschitz:
    """Lower bounds of each example's local Lipschitz constant, from exact Jacobians at random points of its ball.

    What is found is a lower bound, because a steeper point may have been missed; for an estimate of the maximum itself
    see `clever`. K reverse passes a point, for K outputs.

    Args:
      f: a `Model`, or a function of a batch `[B, ...]` to outputs `[B, K]`, example by example.
      x: floating batch `[B, ...]`.
      radius: of the L2 ball, in units of the inputs, > 0.
      key: a typed key, folded with each example's place, or one for each example; `jax.random.key(0)` unless given.
      points: random points per example, >= 1, besides the example itself.
      bounds: the range of valid inputs, to which points are brought back.

    Returns:
      A `LocalLipschitz`.

    Raises:
      ArgumentError: if an argument does not fit, outputs are not `[B, K]`, or examples influence each other.

    Example:
      >>> found = local_lipschitz(lambda x: x**2, jnp.array([[1.0], [0.0]]), 0.5, points=200)
      >>> found.at_example.tolist(), (found.steepest > 0.95 * np.array([3.0, 1.0])).all()
      ([2.0, 0.0], np.True_)
    """
    check_ball("l2", radius)
    if points < 1:
        raise ArgumentError("points", points, "at least one")
    function = pure(f)
    x, spec = batch(function, x)
    outputs = check_outputs(function, x, spec)
    refuse_coupling(function, x)
    low, high = checked_bounds(bounds, x)
    keys = example_keys(jax.random.key(0) if key is None else key, len(x))
    run = program(_steepness, function, outputs)
    flat = (len(x), -1)

    def norms(z: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        value, norm = run(function.params, z)
        return np.asarray(value, np.float64).reshape(flat), np.asarray(norm, np.float64)

    clean, at_example = norms(x)
    steepest, where, quotient = at_example.copy(), np.array(x), np.zeros(len(x))
    every = [at_example]
    for i in range(points):
        z = _draw(keys, jnp.uint32(i), x, float(radius), low, high)
        value, norm = norms(z)
        every.append(norm)
        better = norm > steepest  # False for NaN
        steepest[better], where[better] = norm[better], np.asarray(z)[better]
        moved = np.linalg.norm((np.asarray(z, np.float64) - np.asarray(x, np.float64)).reshape(flat), axis=1)
        ratio = np.linalg.norm(value - clean, axis=1) / np.where(moved > 0, moved, np.inf)
        quotient = np.fmax(quotient, ratio)
    return LocalLipschitz(
        at_example, steepest, quotient, where, points, float(radius), located(np.stack(every, axis=1), "spectral norms")
    )


@jax.jit
def _draw(keys: jax.Array, i: jax.Array, x: jax.Array, radius: Any, low: Any, high: Any) -> jax.Array:
    """A point in the ball around each example."""
    return jax.vmap(lambda k, v: in_ball(jax.random.fold_in(k, i), v, radius, "l2", low, high))(keys, x)


def _steepness(apply: Callable, outputs: int) -> Callable:
    def run(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        j = example_jacobians(apply, params, x, outputs)
        # J Jᵀ is small. Of its eigenvalues only the largest is asked for, which squaring does not harm.
        largest = jnp.linalg.eigvalsh(gram(j))[:, -1]
        return apply(params, x), jnp.sqrt(jnp.maximum(largest, 0))

    return jax.jit(run)
