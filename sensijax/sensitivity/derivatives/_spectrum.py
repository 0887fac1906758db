"""The Jacobian's spectrum without the Jacobian: its largest singular values, its norms."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import stdtrit

from sensijax.core import ArgumentError
from sensijax.sensitivity.derivatives._nonfinite import located
from sensijax.sensitivity.derivatives._operators import require_reverse
from sensijax.sensitivity.derivatives._pure import forward_way, inputs, outputs, program, pure, pushforward, size

_log = logging.getLogger(__name__)
_SPARE = 2
"""Directions beyond k in a block: they guard the k-th value against a close one behind it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Singular:
    """The largest singular values of a Jacobian and their directions.

    Moving the inputs by a small step along `right[i]` moves the outputs by `values[i]` times the step, along `left[i]`:
    no direction that is orthogonal to those before it moves them further.

    Attributes:
      values: float64 `[k]`, decreasing.
      right: the inputs' structure, leaves `[k, *input]`: unit directions over all leaves together.
      left: the outputs' structure, leaves `[k, *output]`.
      residuals: float64 `[k]`, |Jᵀ u - value v| relative to the largest value. A singular value of J lies within the
        residual, times the largest value, of the one reported.
      converged: whether every residual is below the tolerance.
      products: products with J or Jᵀ that were computed.
      mode: how J v was computed: "forward", or "reverse" where a `custom_vjp` blocks forward mode.
      zero: whether the Jacobian gave zero in every direction tried.
    """

    values: np.ndarray
    right: Any
    left: Any
    residuals: np.ndarray
    converged: bool
    products: int
    mode: str
    zero: bool

    def frame(self) -> Any:
        """A pandas table with a row for each value."""
        import pandas as pd

        return pd.DataFrame(
            {"rank": np.arange(1, len(self.values) + 1), "value": self.values, "residual": self.residuals}
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Norm:
    """A norm of a Jacobian.

    Attributes:
      value: the norm, in units of the outputs per unit of the inputs.
      low, high: an interval at `level`; both are `value` where it is exact.
      level: of the interval.
      exact: whether the value is exact up to rounding, and not an estimate.
      probes: random directions used.
      mode: "forward" or "reverse".
    """

    value: float
    low: float
    high: float
    level: float
    exact: bool
    probes: int
    mode: str


def singular(
    f: Callable, x: Any, k: int = 5, *, tolerance: float = 1e-4, max_products: int = 5000, seed: int = 0
) -> Singular:
    """The k largest singular values of d f / d x with their directions, by products alone.

    A block Krylov method: Rayleigh-Ritz on a basis that grows by the residuals of the leading block, and restarts from
    the best directions when it is full. The block finds values that occur several times, which a single vector would
    miss. Products run on the device in the dtype of the inputs, the small problems in float64 on the host. The method
    works on J and Jᵀ in turn and never on JᵀJ, so small values keep their digits; with float32 inputs residuals
    end near 1e-6.

    Args:
      f: pure; a pytree of floating arrays to one. For one image of a `Model`: `lambda x: model(x[None])[0]`.
      x: where.
      k: how many, in [1, min(m, n)] for n inputs and m outputs.
      tolerance: of the residuals, relative to the largest value. A flat spectrum converges slowly.
      max_products: gives up beyond these, says so in `converged` and in a warning.
      seed: of the starting directions.

    Returns:
      A `Singular`.

    Raises:
      ArgumentError: if k exceeds the rank that is possible, the basis would not fit, the Jacobian is not finite, or the
        inputs or outputs are not floating.

    Reference:
      Golub, Luk and Overton, "A block Lanczos method for computing the singular values and corresponding singular
      vectors of a matrix", ACM TOMS 7 (1981).

    Example:
      >>> top = singular(lambda x: jnp.array([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]]) @ x, jnp.ones(2), k=1)
      >>> round(float(top.values[0]), 4), np.abs(top.right).round(3).tolist()
      (3.0, [[1.0, 0.0]])
    """
    function, x = pure(f), inputs(x)
    spec = outputs(function, x)
    require_reverse(function, x, spec)
    m, n = size(spec), size(x)
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= min(m, n):
        right = (
            f"an integer in [1, {min(m, n)}]: the Jacobian has {m} rows and {n} columns, and no more singular values"
        )
        raise ArgumentError("k", repr(k), right)
    width = min(k + _SPARE, n)
    most = min(n, 6 * width)  # vectors in a full basis
    if (needed := 8 * most * (2 * m + 2 * n)) > 4 << 30:
        right = f"fewer: the solver keeps {most} vectors of {n} inputs and {m} outputs on the host ({needed:,} bytes)"
        raise ArgumentError("k", k, right)
    way = forward_way(function, x)
    push, pull = program(push_block, function, way), program(pull_block, function)

    products = 0

    def j_times(block: np.ndarray) -> np.ndarray:
        nonlocal products
        products += len(block)
        return on_host(push(function.params, x, padded(block, width, x)), len(block), "J v")

    def jt_times(block: np.ndarray) -> np.ndarray:
        nonlocal products
        products += len(block)
        return on_host(pull(function.params, x, padded(block, width, spec)), len(block), "J^T u")

    # Rows are vectors. `image` is J of each row of `basis`.
    rng = np.random.default_rng(seed)
    basis = _orthonormal(rng.standard_normal((width, n)), np.zeros((0, n)))
    image = j_times(basis)
    while True:
        left, values, rotation = np.linalg.svd(image.T, full_matrices=False)
        right = rotation @ basis
        lead = min(width, len(values))
        residual = jt_times(left.T[:lead]) - values[:lead, None] * right[:lead]
        scale = values[0] or 1.0
        error = np.linalg.norm(residual, axis=1) / scale
        converged = lead >= k and bool((error[:k] <= tolerance).all())
        if values[0] == 0 or converged or products >= max_products:
            break
        if len(basis) + width > most and len(basis) > width and most < n:
            keep = min(len(values), 2 * width)
            basis, image = right[:keep], (left.T[:keep] * values[:keep, None])
        # In a row space that is exhausted a random direction takes the place of a residual that has vanished.
        fresh = _orthonormal(residual, basis, floor=float(np.finfo(np.float32).eps * scale))
        if not len(fresh):
            if len(basis) >= n:
                break
            fresh = _orthonormal(rng.standard_normal((min(width, n - len(basis)), n)), basis)
        fresh = fresh[: n - len(basis)]
        basis, image = np.concatenate([basis, fresh]), np.concatenate([image, j_times(fresh)])

    zero = bool(values[0] == 0)
    values, error = values[:k], error[:k]
    if zero:
        _log.warning("the Jacobian of %s is zero in every direction tried: there is no worst direction", function.name)
    elif not converged:
        _log.warning("singular: residuals up to %.1e after %d products; raise max_products", error.max(), products)
    return Singular(values, _tree(right[:k], x), _tree(left.T[:k], spec), error, converged or zero, products, way, zero)


def spectral_norm(f: Callable, x: Any, *, tolerance: float = 1e-5, max_products: int = 5000, seed: int = 0) -> Norm:
    """The largest singular value: the most that a small change of the inputs can be amplified, in the L2 norm.

    Args:
      f: pure; a pytree of floating arrays to one.
      x: where.
      tolerance: of the residual, relative to the value.
      max_products: gives up beyond these, with a warning.
      seed: of the starting directions.

    Returns:
      A `Norm`; `high - value` is the residual.

    Raises:
      ArgumentError: for what `singular` refuses.

    Example:
      >>> round(spectral_norm(lambda x: jnp.array([3.0, 4.0]) * x.sum(), jnp.ones(2)).value, 4)
      7.0711
    """
    top = singular(f, x, 1, tolerance=tolerance, max_products=max_products, seed=seed)
    value, slack = float(top.values[0]), float(top.values[0] * top.residuals[0])
    return Norm(value, value, value + slack, float("nan"), top.converged, 0, top.mode)


def frobenius_norm(f: Callable, x: Any, *, probes: int = 64, level: float = 0.95, seed: int = 0) -> Norm:
    """The root of the sum of all squared derivatives, by random directions, with an interval.

    Hutchinson's estimator: E |J v|² = |J|² for v of independent random signs. The interval is Student's t for the mean
    of the squares, with its root taken. It goes over the shorter side, and is exact where that has no more directions
    than `probes`.

    Args:
      f: pure; a pytree of floating arrays to one.
      x: where.
      probes: random directions, >= 2; the relative error falls with their root.
      level: of the interval, in (0, 1).
      seed: of the directions.

    Returns:
      A `Norm`.

    Raises:
      ArgumentError: if options, inputs or outputs do not fit, or the Jacobian is not finite.

    Reference:
      Hutchinson, "A stochastic estimator of the trace of the influence matrix", Communications in Statistics 18 (1989).

    Example:
      >>> round(frobenius_norm(lambda x: jnp.array([3.0, 4.0]) * x.sum(), jnp.ones(2)).value ** 2, 4)
      50.0
    """
    if probes < 2:
        raise ArgumentError("probes", probes, "at least 2")
    if not 0 < level < 1:
        raise ArgumentError("level", level, "a confidence level lies strictly between 0 and 1")
    function, x = pure(f), inputs(x)
    spec = outputs(function, x)
    m, n = size(spec), size(x)
    if m <= n:
        require_reverse(function, x, spec)
    way = "reverse" if m <= n else forward_way(function, x)
    run = program(pull_block, function) if m <= n else program(push_block, function, way)
    shorter, of = (m, spec) if m <= n else (n, x)
    exact = shorter <= probes
    if exact:
        vectors = np.eye(shorter)
    else:
        vectors = np.random.default_rng(seed).choice([-1.0, 1.0], (probes, shorter))
    width = min(len(vectors), 64)
    squares = []
    for start in range(0, len(vectors), width):
        part = vectors[start : start + width]
        product = on_host(run(function.params, x, padded(part, width, of)), len(part), "the Jacobian")
        squares.append(np.einsum("ij,ij->i", product, product))
    square = np.concatenate(squares)
    if exact:
        value = float(np.sqrt(square.sum()))
        return Norm(value, value, value, level, True, 0, way)
    mean, error = square.mean(), square.std(ddof=1) / np.sqrt(probes)
    half = stdtrit(probes - 1, (1 + level) / 2) * error
    low, high = np.sqrt(max(mean - half, 0)), np.sqrt(mean + half)
    return Norm(float(np.sqrt(mean)), float(low), float(high), level, False, probes, way)


def _orthonormal(vectors: np.ndarray, against: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """Rows of `vectors` made orthonormal to `against` and to each other; those below `floor` are dropped."""
    kept: list[np.ndarray] = []
    for vector in vectors:
        start = np.linalg.norm(vector)
        for _ in range(2):  # twice is enough (Parlett, "The symmetric eigenvalue problem", 1980)
            vector = vector - against.T @ (against @ vector)
            for other in kept:
                vector = vector - other * (other @ vector)
        length = np.linalg.norm(vector)
        if length > max(floor, 1e-10 * start, np.finfo(np.float64).tiny):
            kept.append(vector / length)
    return np.array(kept).reshape(len(kept), vectors.shape[1])


def padded(block: np.ndarray, width: int, like: Any) -> Any:
    """Rows as a pytree of stacked arrays, filled up with zero rows: one program serves every block."""
    full = np.zeros((width, block.shape[1]))
    full[: len(block)] = block
    return _tree(full, like)


def _tree(rows: np.ndarray, like: Any) -> Any:
    leaves, structure = jax.tree.flatten(like)
    ends = np.cumsum([0, *(int(np.prod(leaf.shape)) for leaf in leaves)])
    parts = [
        jnp.asarray(rows[:, ends[i] : ends[i + 1]].reshape(len(rows), *leaf.shape), leaf.dtype)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, parts)


def on_host(tree: Any, valid: int, what: str) -> np.ndarray:
    """Stacked arrays as float64 rows on the host; refused if not finite."""
    leaves = [np.asarray(leaf)[:valid] for leaf in jax.tree.leaves(tree)]
    if (wrong := located(leaves, what)).count:
        right = f"a finite Jacobian; the first places are {', '.join(wrong.where)}"
        raise ArgumentError("f", f"{wrong.count} of {wrong.total} values of {what} are not finite", right)
    return np.concatenate([leaf.reshape(valid, -1) for leaf in leaves], axis=1).astype(np.float64)


def push_block(apply: Callable, way: str) -> Callable:
    def products(params: Any, x: Any, block: Any) -> Any:
        return jax.vmap(lambda v: pushforward(apply, params, x, v, way)[1])(block)

    return jax.jit(products)


def pull_block(apply: Callable) -> Callable:
    def products(params: Any, x: Any, block: Any) -> Any:
        _, pull = jax.vjp(lambda x: apply(params, x), x)
        return jax.vmap(lambda u: pull(u)[0])(block)

    return jax.jit(products)
