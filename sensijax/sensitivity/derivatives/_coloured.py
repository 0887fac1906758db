"""A sparse Jacobian from few passes: columns that share no row are computed together."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse

from sensijax.core import ArgumentError
from sensijax.sensitivity.derivatives._jacobian import jacobian
from sensijax.sensitivity.derivatives._pure import forward_way, inputs, outputs, program, pure, size
from sensijax.sensitivity.derivatives._spectrum import on_host, padded, push_block

_log = logging.getLogger(__name__)
_BLOCK = 64


@dataclasses.dataclass(frozen=True, eq=False)
class SparseJacobian:
    """A Jacobian whose zeros were known beforehand.

    Attributes:
      matrix: SciPy CSR `[m, n]`, outputs and inputs in flattening order.
      colours: groups of columns, and so passes; a dense Jacobian in forward mode needs n.
      error: the largest |J v - matrix v| over the probes, relative to |J v|.
      mode: "forward", or "reverse" where a `custom_vjp` blocks forward mode.
    """

    matrix: Any
    colours: int
    error: float
    mode: str


def sparsity(f: Callable, points: Sequence[Any]) -> Any:
    """Which outputs depended on which inputs at any of several points, from dense Jacobians.

    Dear once, to be used often: `sparse_jacobian` takes it for as many points as there are. What is zero at all points
    by chance (a ReLU that never opened) is missed; give points that differ, and `sparse_jacobian` checks.

    Args:
      f: pure; a pytree of floating arrays to one.
      points: one or more inputs of the same structure.

    Returns:
      A SciPy boolean CSR matrix `[m, n]`.

    Raises:
      ArgumentError: if there is no point, or for what `jacobian` refuses.

    Example:
      >>> sparsity(lambda x: x[1:] - x[:-1], [np.ones(4, np.float32)]).toarray().astype(int).tolist()
      [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    """
    if not len(points):
        raise ArgumentError("points", "none", "one or more inputs")
    # NaN counts as dependence.
    found = [scipy.sparse.csr_matrix(jacobian(f, x).matrix() != 0) for x in points]
    return sum(found[1:], found[0]).astype(bool)


def sparse_jacobian(
    f: Callable, x: Any, pattern: Any, *, probes: int = 3, tolerance: float = 1e-4, seed: int = 0
) -> SparseJacobian:
    """The Jacobian from its sparsity pattern, with a pass for each colour instead of one for each input.

    It pays where every output depends on few inputs: functions of each element, of neighbourhoods, of each example. A
    layer that mixes everything needs as many colours as inputs. The result is checked against products with random
    directions, which no missing entry survives but by accident.

    Args:
      f: pure; a pytree of floating arrays to one.
      x: where.
      pattern: boolean `[m, n]`, dense or SciPy sparse: True wherever an output may depend on an input.
      probes: random directions to check with, >= 1.
      tolerance: the relative error up to which the check passes; rounding is about 1e-6.
      seed: of the directions.

    Returns:
      A `SparseJacobian`.

    Raises:
      ArgumentError: if the pattern has another shape or misses entries, or the Jacobian is not finite.

    Reference:
      Curtis, Powell and Reid, "On the estimation of sparse Jacobian matrices", IMA J. Applied Mathematics 13 (1974).

    Example:
      >>> x = np.arange(100, dtype=np.float32)
      >>> found = sparse_jacobian(lambda x: x**2, x, scipy.sparse.eye(100))
      >>> found.colours, float(found.matrix[7, 7])
      (1, 14.0)
    """
    if probes < 1:
        raise ArgumentError("probes", probes, "at least one")
    function, x = pure(f), inputs(x)
    shape = (size(outputs(function, x)), size(x))
    pattern = scipy.sparse.csc_matrix(pattern).astype(bool)
    if pattern.shape != shape:
        raise ArgumentError("pattern", f"shape {list(pattern.shape)}", f"outputs by inputs: {list(shape)}")
    colour = _colours(pattern)
    count = int(colour.max()) + 1
    way = forward_way(function, x)
    push = program(push_block, function, way)

    def products(vectors: np.ndarray) -> np.ndarray:
        width = min(_BLOCK, max(count, probes))
        blocks = [vectors[i : i + width] for i in range(0, len(vectors), width)]
        done = [on_host(push(function.params, x, padded(b, width, x)), len(b), "J v") for b in blocks]
        return np.concatenate(done)

    compressed = products((colour[None] == np.arange(count)[:, None]).astype(np.float64))
    row, column = pattern.nonzero()
    matrix = scipy.sparse.csr_matrix((compressed[colour[column], row], (row, column)), shape=shape)
    v = np.random.default_rng(seed).standard_normal((probes, shape[1])).astype(np.float32).astype(np.float64)
    exact = products(v)
    scale = np.maximum(np.linalg.norm(exact, axis=1), np.finfo(np.float64).tiny)
    error = float(np.max(np.linalg.norm(exact - (matrix @ v.T).T, axis=1) / scale))
    if error > tolerance:
        right = f"True wherever an output may depend on an input (relative error {error:.2g} in random directions)"
        raise ArgumentError("pattern", "a pattern that misses entries", right)
    if count * 2 > shape[1]:
        _log.warning("%d colours for %d inputs: a dense Jacobian costs about the same", count, shape[1])
    return SparseJacobian(matrix, count, error, way)


def _colours(pattern: Any) -> np.ndarray:
    """A colour for each column, greedily, such that columns of one colour share no row: int `[n]`."""
    conflict = (pattern.T.astype(np.int32) @ pattern.astype(np.int32)).tocsr()
    colour = np.full(pattern.shape[1], -1)
    # The busiest columns first, as Welsh and Powell order a graph.
    for column in np.argsort(-np.diff(conflict.indptr), kind="stable"):
        taken = colour[conflict.indices[conflict.indptr[column] : conflict.indptr[column + 1]]]
        free = np.setdiff1d(np.arange(len(taken) + 1), taken, assume_unique=False)
        colour[column] = free[0]
    return colour
