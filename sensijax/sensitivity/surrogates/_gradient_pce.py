"""Gradient-enhanced polynomial chaos: a value and its exact derivatives together say as much as d + 1 values.

`jax.value_and_grad` costs a few evaluations whatever the number of inputs, so for many inputs this is the cheapest way
to an expansion. Values and derivatives enter one least squares system; the weight of the derivatives is chosen by the
error of leaving out a whole call, which counts values only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._design import sample, values_and_gradients
from sensijax.sensitivity.indices._points import Random, ScrambledSobol
from sensijax.sensitivity.indices._result import given_sample
from sensijax.sensitivity.indices._space import Space, float_dtype
from sensijax.sensitivity.indices._stream import output_shape
from sensijax.sensitivity.surrogates._basis import Basis, smooth_space
from sensijax.sensitivity.surrogates._chaos import PolynomialChaos
from sensijax.sensitivity.surrogates._pce import MOST_TERMS, TRUNCATIONS, _count, expand

WEIGHTS = (1.0, 0.3, 0.1, 0.03)


def gradient_pce(
    f: Callable[[Any], Any],
    space: Any,
    *,
    key: jax.Array,
    n: int = 64,
    degree: int | Sequence[int] | None = None,
    q: float | Sequence[float] = TRUNCATIONS,
    weight: float | Sequence[float] = WEIGHTS,
    points: ScrambledSobol | Random | None = None,
    level: float = 0.95,
    resamples: int = 200,
    most_terms: int = MOST_TERMS,
    chunk: int = 256,
) -> PolynomialChaos:
    """Fits a sparse polynomial chaos expansion to n values of a function and their exact derivatives.

    Args:
      f: pure and differentiable; takes one point `[d]`, returns a real scalar or `[k]`. A derivative that is zero or
        wrong (rounding, a table look-up) misleads the fit: `cross_validated`, which counts values only, shows it.
      space, key, degree, q, points, level, resamples, most_terms, chunk: as for `pce`.
      n: value-and-gradient calls, >= 8.
      weight: of a derivative with respect to a germ (an input scaled to [-1, 1], or to unit deviation) beside a value;
        those to choose from by the leave-one-call-out error of the values, each > 0.

    Returns:
      A `PolynomialChaos`; `n_evaluations` counts calls.

    Raises:
      ArgumentError: as `pce`, or if a derivative is not finite.

    Reference:
      Peng, Hampton and Doostan, "On polynomial chaos expansion via gradient-enhanced l1-minimization", J. Computational
      Physics 310 (2016).

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> space = {"x": Uniform(-1.0, 1.0), "y": Uniform(-1.0, 1.0)}
      >>> chaos = gradient_pce(lambda x: x[0] ** 2 * x[1], space, key=jax.random.key(0), n=8)
      >>> chaos.ST.round(3).tolist(), round(chaos.interaction("x", "y"), 3)
      ([0.444, 1.0], 0.444)
    """
    space = smooth_space(space, "gradient_pce")
    shape = output_shape(f, space.dimension)
    x = sample(space, points, key, _count(n))
    y, slopes = values_and_gradients(f, x, space, chunk)
    seed = np.asarray(jax.random.key_data(key))
    return _expand(
        x,
        y,
        slopes,
        space,
        shape,
        weight,
        degree,
        q,
        level,
        resamples,
        most_terms,
        seed,
        float(np.finfo(float_dtype()).eps),
    )


def gradient_pce_given(
    x: Any,
    y: Any,
    gradients: Any,
    space: Any,
    *,
    degree: int | Sequence[int] | None = None,
    q: float | Sequence[float] = TRUNCATIONS,
    weight: float | Sequence[float] = WEIGHTS,
    level: float = 0.95,
    resamples: int = 200,
    most_terms: int = MOST_TERMS,
    seed: int = 0,
) -> PolynomialChaos:
    """The same from values and derivatives that were computed elsewhere.

    Args:
      x: real `[n, d]`.
      y: real `[n]` or `[n, k]`.
      gradients: real `[n, d]` or `[n, k, d]`, of y with respect to x.
      space, degree, q, weight, level, resamples, most_terms, seed: as for `gradient_pce` and `pce_given`.

    Returns:
      A `PolynomialChaos`.

    Raises:
      ArgumentError: as `gradient_pce`, or if shapes do not fit.

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> x = np.random.default_rng(0).random((12, 1))
      >>> chaos = gradient_pce_given(x, x[:, 0] ** 2, 2 * x, {"x": Uniform(0.0, 1.0)})
      >>> chaos.predict([[0.5]]).round(6).tolist()
      [0.25]
    """
    space = smooth_space(space, "gradient_pce_given")
    x, y, _, shape = given_sample(x, y, space)
    slopes = np.asarray(gradients, np.float64)
    expected = (len(x), *shape, space.dimension)
    if slopes.shape != expected:
        raise ArgumentError("gradients", f"shape {list(slopes.shape)}", f"{list(expected)}")
    if not np.isfinite(slopes).all():
        raise ArgumentError("gradients", "values that are not finite", "finite derivatives: drop those rows first")
    slopes = slopes.reshape(len(x), -1, space.dimension)
    return _expand(x, y, slopes, space, shape, weight, degree, q, level, resamples, most_terms, seed, 1e-13)


def _expand(
    x: np.ndarray,
    y: np.ndarray,
    slopes: np.ndarray,
    space: Space,
    shape: tuple[int, ...],
    weight: Any,
    degree: Any,
    q: Any,
    level: float,
    resamples: int,
    most_terms: int,
    seed: Any,
    resolution: float,
) -> PolynomialChaos:
    weights = [weight] if np.ndim(weight) == 0 else list(weight)
    for value in weights:
        if not isinstance(value, (int, float)) or not value > 0 or not np.isfinite(value):
            raise ArgumentError("weight", repr(weight), "numbers above 0")
    if not weights:
        raise ArgumentError("weight", repr(weight), "at least one")
    _, _, scale = Basis(space, np.zeros((1, space.dimension), np.int64)).derivatives(x)
    along = slopes / scale[:, None, :]  # with respect to the germs
    options = (level, resamples, most_terms, seed)

    def fitted(w: float, degree: Any, q: Any) -> PolynomialChaos:
        def columns(basis: Basis) -> np.ndarray:
            terms, derivatives, _ = basis.derivatives(x)
            return np.concatenate([terms[:, None], w * derivatives], axis=1).reshape(-1, terms.shape[1])

        rows = np.concatenate([y[:, :, None], w * along], axis=2)
        return expand(x, rows, space, shape, degree, q, *options, columns, resolution)

    # Degree and truncation with one weight, then the weight: a whole grid of them would say no more, and cost more.
    first = fitted(float(weights[len(weights) // 2]), degree, q)
    if len(weights) == 1 or not np.all(np.asarray(first.error) > 1e-9):
        return first
    chosen = max(int(basis.alpha.sum(axis=1).max()) for basis, _ in first.expansions)
    rest = [fitted(float(w), chosen, q) for w in weights if w != weights[len(weights) // 2]]
    return min([first, *rest], key=lambda chaos: float(np.mean(chaos.error)))
