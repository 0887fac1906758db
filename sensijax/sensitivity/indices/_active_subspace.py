"""Active subspaces: the directions of input space along which a function varies."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sensijax.sensitivity.indices._interval import Bootstrap, Jackknife, around, fraction
from sensijax.sensitivity.indices._points import Random, ScrambledSobol
from sensijax.sensitivity.indices._result import Result, squeezed
from sensijax.sensitivity.indices._saltelli import merge
from sensijax.sensitivity.indices._space import as_space, differentiable
from sensijax.sensitivity.indices._stream import output_count, output_shape, stream
from sensijax.sensitivity.surrogates._gradients import GradientDesign, forward_is_right, refuse_flat


@dataclasses.dataclass(frozen=True, eq=False)
class ActiveSubspaceResult(Result):
    """Directions by how much the function varies along them; a trailing `[k]` where f has one.

    Attributes:
      matrix: float64 `[d, d]`, C = E[grad f grad f^T] in the scaled inputs.
      eigenvalues: float64 `[d]`, of C, the largest first.
      eigenvectors: float64 `[d, d]`, in its columns.
      scores: float64 `[d]`, activity scores sum_j lambda_j w_ij^2 over the first `dimension` directions.
      eigenvalues_interval, scores_interval: float64 `[d, 2]`.
      dimension: the number of directions before the largest gap between logarithms of eigenvalues (`[k]` if f has k).
      scale: float64 `[d]`, what an input was divided by.
      names: of the inputs.
      n_evaluations: values with gradients.
      n_excluded: points left out because a value or a derivative is not finite.
      level: of the intervals.
    """

    matrix: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    scores: np.ndarray
    eigenvalues_interval: np.ndarray
    scores_interval: np.ndarray
    dimension: Any
    scale: np.ndarray
    names: tuple[str, ...]
    n_evaluations: int
    n_excluded: int
    level: float

    def _measures(self) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
        return [("score", self.scores, self.scores_interval)]

    def project(self, x: Any, count: int | None = None) -> np.ndarray:
        """Coordinates along the first directions, of a scalar function's inputs.

        Args:
          x: `[n, d]` inputs.
          count: how many directions; `dimension` if absent.

        Returns:
          float64 `[n, count]`.
        """
        return np.asarray(x, np.float64) / self.scale @ self.eigenvectors[:, : count or self.dimension]


def active_subspace(
    f: Callable[[Any], Any],
    space: Any,
    *,
    key: jax.Array,
    n: int = 2**12,
    standardise: bool = True,
    points: ScrambledSobol | Random | None = None,
    interval: Jackknife | Bootstrap | None = None,
    level: float = 0.95,
    exclude_nonfinite: bool = False,
    chunk: int | None = None,
    devices: Sequence[Any] | None = None,
) -> ActiveSubspaceResult:
    """Eigenvectors of the mean outer product of exact gradients.

    Args:
      f: pure and differentiable; takes one point `[d]`, returns a real scalar or `[k]`.
      space: `{name: distribution}` or a `Space`, correlated or not; no `Discrete` or `Categorical` inputs.
      key: a typed Threefry key.
      n: points, a power of two.
      standardise: divide inputs by their standard deviations, so that inputs in different units can be compared; else C
        is of the inputs as they are.
      points, interval, level, exclude_nonfinite, chunk, devices: as for `sobol`.

    Returns:
      An `ActiveSubspaceResult`. An eigenvalue's interval is that of the sorted values; where two are close, so are
      their intervals, and their directions are not to be told apart.

    Raises:
      ArgumentError: if an input or f has no derivative, or the gradient is zero everywhere.

    Reference:
      Constantine, Dow and Wang, "Active subspace methods in theory and practice", SIAM J. Scientific Computing 36
      (2014). Constantine and Diaz, "Global sensitivity metrics from active subspaces", Reliability Engineering and
      System Safety 162 (2017), for the scores.

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> space = {"x": Uniform(-1, 1), "y": Uniform(-1, 1)}
      >>> found = active_subspace(lambda x: (x[0] + x[1]) ** 2, space, key=jax.random.key(0))
      >>> found.dimension, abs(found.eigenvectors[:, 0]).round(3).tolist()
      (1, [0.707, 0.707])
    """
    space = differentiable(as_space(space), "active_subspace")
    points, interval, level = points or ScrambledSobol(), interval or Jackknife(), fraction(level)
    shape, d = output_shape(f, space.dimension), space.dimension
    design = GradientDesign(d, forward_is_right(f, d, output_count(f, d)), (False,) * d, outer=True)
    streamed = stream(
        f, space, design, points=points, key=key, n=n, exclude_nonfinite=exclude_nonfinite, chunk=chunk, devices=devices
    )
    inputs = space.inputs.values()
    scale = np.sqrt([x.variance for x in inputs]) if standardise else np.ones(d)
    sums = {"n": streamed.sums["n"], "gg": streamed.sums["gg"] * scale[:, None] * scale}
    blocks = len(streamed.counted)
    matrix, values, vectors, _ = _spectra(merge(sums, np.ones((1, blocks))), None)
    matrix, values, vectors = matrix[0], values[0], vectors[0]
    refuse_flat(np.moveaxis(matrix, 0, -1))
    dimension = _gap(values)
    scores = _scores(values, vectors, dimension)
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    _, others, _, other_scores = _spectra(merge(sums, interval.weights(blocks, generator)), dimension)
    values_error, scores_error = (interval.standard_error(r, blocks) for r in (others, other_scores))

    def last(array: np.ndarray) -> Any:  # [k, ...] to [..., k], or without it
        return squeezed(np.moveaxis(array, 0, -1), shape)

    return ActiveSubspaceResult(
        matrix=last(matrix),
        eigenvalues=last(values),
        eigenvectors=last(vectors),
        scores=last(scores),
        eigenvalues_interval=last(around(values, values_error, blocks, level, axis=-1)),
        scores_interval=last(around(scores, scores_error, blocks, level, axis=-1)),
        dimension=dimension if shape else int(dimension[0]),
        scale=scale,
        names=space.names,
        n_evaluations=n,
        n_excluded=streamed.excluded,
        level=level,
    )


def _spectra(total: dict[str, Any], dimension: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Matrices `[w, k, d, d]`, eigenvalues, the largest first, eigenvectors, and scores if the dimension is known."""
    matrix = total["gg"] / total["n"][:, None, None, None]
    values, vectors = np.linalg.eigh(matrix)
    values, vectors = np.maximum(values[..., ::-1], 0), vectors[..., ::-1]
    scores = values if dimension is None else _scores(values, vectors, dimension)
    return matrix, values, vectors, scores


def _scores(values: np.ndarray, vectors: np.ndarray, dimension: np.ndarray) -> np.ndarray:
    kept = np.where(np.arange(values.shape[-1]) < dimension[:, None], values, 0.0)
    return np.einsum("...j,...ij->...i", kept, vectors**2)


def _gap(values: np.ndarray) -> np.ndarray:
    """Directions before the largest gap, `[k]`; all of them where there is one input."""
    if values.shape[-1] == 1:
        return np.ones(len(values), int)
    floor = values.max(axis=-1, keepdims=True) * 1e-12
    return 1 + np.argmax(-np.diff(np.log(np.maximum(values, floor)), axis=-1), axis=-1)
