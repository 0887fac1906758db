"""CLEVER: how far the nearest adversarial example might be, by extreme values of gradient norms."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError, Model
from sensijax.sensitivity.derivatives._ball import Ball, check_ball, checked_bounds, in_ball
from sensijax.sensitivity.derivatives._coupling import refuse_coupling
from sensijax.sensitivity.derivatives._example_jacobians import check_outputs, example_jacobians, gram
from sensijax.sensitivity.derivatives._nonfinite import NonFinite, located
from sensijax.sensitivity.derivatives._pure import batch, program, pure
from sensijax.sensitivity.severities._stress import example_keys, require_logits

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Clever:
    """CLEVER scores: estimates of the distance to the nearest change of the prediction. They are no guarantee.

    Attributes:
      score: float64 `[B]`, the untargeted score: the smallest over the other classes, at most `radius`. NaN where a
        gradient or a logit is not finite.
      targeted: float64 `[B, K]`, the score of each target class; infinity for the predicted class itself.
      lipschitz: float64 `[B, K]`, the estimated largest gradient norm of the margin to each class in the ball.
      observed: float64 `[B, K]`, the largest gradient norm that was seen; the estimate is never below it.
      p_value: float64 `[B, K]`, of the Kolmogorov-Smirnov test that the maxima follow the fitted reverse Weibull; NaN
        where they are all equal (a linear model) and nothing is fitted. Small values cast doubt on the estimate.
      margin: float64 `[B, K]`, predicted class's logit minus each.
      prediction: int64 `[B]`.
      ball: "l2" or "linf".
      radius: of the ball; scores do not look beyond it.
      nonfinite: what in the gradient norms is not finite.
    """

    score: np.ndarray
    targeted: np.ndarray
    lipschitz: np.ndarray
    observed: np.ndarray
    p_value: np.ndarray
    margin: np.ndarray
    prediction: np.ndarray
    ball: str
    radius: float
    nonfinite: NonFinite

    def frame(self) -> Any:
        """A pandas table with a row for each example: score, nearest class, its margin, gradient and p-value."""
        import pandas as pd

        nearest = np.where(np.isnan(self.targeted), np.inf, self.targeted).argmin(axis=1)
        rows = np.arange(len(self.score))
        columns = {name: getattr(self, name)[rows, nearest] for name in ("margin", "lipschitz", "p_value")}
        return pd.DataFrame(
            {"example": rows, "prediction": self.prediction, "score": self.score, "nearest_class": nearest, **columns}
        )


def clever(
    model: Model | Callable,
    x: Any,
    radius: float,
    *,
    ball: Ball = "l2",
    key: jax.Array | None = None,
    batches: int = 50,
    batch_size: int = 64,
    bounds: tuple[float, float] | None = None,
) -> Clever:
    """CLEVER scores of each example against every class.

    For the margin g = f_c - f_j between the predicted class c and another, the distance to the boundary is at least
    g(x) / L, with L the largest dual norm of its gradient in the ball. L is estimated: gradient norms are sampled,
    their maxima in batches follow a reverse Weibull law, and its end point, fitted by maximum likelihood, is L. One
    sampled point serves all classes.

    The published setting is 500 batches of 1024; the default here is 160 times cheaper and its estimates are rougher.

    Args:
      model: a `Model` that returns logits `[B, K]`, or such a function.
      x: floating batch `[B, ...]`.
      radius: of the ball, > 0, in units of the inputs (published: 5 for L2, 0.05 for L-infinity).
      ball: "l2", whose dual norm is L2, or "linf", whose dual norm is L1.
      key: a typed key, folded with each example's place, or one for each example; `jax.random.key(0)` unless given.
      batches: maxima to fit to, >= 10.
      batch_size: points behind each maximum, >= 2.
      bounds: the range of valid inputs, to which points are brought back.

    Returns:
      A `Clever`.

    Raises:
      ArgumentError: if an argument does not fit, or examples influence each other.

    Reference:
      Weng, Zhang, Chen, Yi, Su, Gao, Hsieh and Daniel, "Evaluating the robustness of neural networks: an extreme value
      theory approach", ICLR 2018.

    Example:
      >>> linear = lambda x: x @ jnp.array([[3.0, 0.0], [4.0, 0.0]])
      >>> clever(linear, jnp.array([[1.0, 0.0]]), 5.0, batches=10, batch_size=4).score.round(3).tolist()
      [0.6]
    """
    check_ball(ball, radius)
    if batches < 10 or batch_size < 2:
        raise ArgumentError("batches", f"{batches} of {batch_size}", "at least 10 batches of at least 2 points")
    function = pure(model, "model")
    x, spec = batch(function, x)
    classes = require_logits(spec, function.name)
    check_outputs(function, x, spec)
    refuse_coupling(function, x)
    low, high = checked_bounds(bounds, x)
    keys = example_keys(jax.random.key(0) if key is None else key, len(x))

    logits = np.asarray(jax.jit(function.apply)(function.params, x), np.float64)
    prediction = logits.argmax(axis=1)
    draw = program(_points, function, ball)
    run = program(_norms, function, classes, ball)
    chosen, size = jnp.asarray(prediction, jnp.int32), jnp.asarray(radius, x.dtype)
    maxima = np.zeros((batches, *logits.shape))
    for i in range(batches):
        for point in range(batch_size):
            z = draw(keys, jnp.uint32(i * batch_size + point), x, size, low, high)
            # `maximum` keeps NaN.
            maxima[i] = np.maximum(maxima[i], np.asarray(run(function.params, z, chosen), np.float64))
    nonfinite = located(maxima, "gradient norms")
    lipschitz, p_value = np.full(logits.shape, np.nan), np.full(logits.shape, np.nan)
    for b, k in np.ndindex(logits.shape):
        if k != prediction[b] and np.isfinite(maxima[:, b, k]).all():
            lipschitz[b, k], p_value[b, k] = end_point(maxima[:, b, k])
    margin = np.take_along_axis(logits, prediction[:, None], axis=1) - logits
    with np.errstate(divide="ignore", invalid="ignore"):
        targeted = np.minimum(np.where(lipschitz == 0, np.inf, margin / lipschitz), radius)
    targeted[np.arange(len(x)), prediction] = np.inf
    score = targeted.min(axis=1)  # NaN where any is
    if (doubtful := p_value < 0.01).any():
        _log.warning(
            "%d of %d fits are doubtful (p < 0.01): more batches, or larger ones", doubtful.sum(), p_value.size
        )
    return Clever(
        score, targeted, lipschitz, maxima.max(axis=0), p_value, margin, prediction, ball, float(radius), nonfinite
    )


def end_point(maxima: np.ndarray) -> tuple[float, float]:
    """The end point of the reverse Weibull law behind positive maxima `[n]`, by maximum likelihood, and its p-value.

    F(z) = exp(-((a - z) / s)**c) for z < a. Shape c >= 1 and the end point a are searched, the scale s has a closed
    form given both. The search starts at several end points just above the largest value, because the likelihood is
    flat; c is held between 1 and 50, where it is bounded.

    Returns:
      The end point, never below the largest value, and the Kolmogorov-Smirnov p-value of the fit. Where all values are
      equal up to rounding: that value, and NaN.

    Example:
      >>> u = np.random.default_rng(0).uniform(size=400)
      >>> round(float(end_point(2 - 0.5 * (-np.log(u)) ** (1 / 3))[0]), 1)
      2.0
    """
    from scipy.optimize import minimize
    from scipy.stats import kstest, weibull_max  # half a second of start-up that nothing else here needs

    largest, spread = float(maxima.max()), float(np.ptp(maxima))
    if spread <= 1e-5 * abs(largest):
        return largest, float("nan")
    gap = (largest - maxima) / spread  # in [0, 1], scaled for the search

    def loss(parameters: np.ndarray) -> float:
        beyond, shape = np.exp(np.clip(parameters, [-14, 0], [4, np.log(50)]))
        z = gap + beyond
        scaled = z / z.mean()  # keeps powers in range
        mean_power = np.mean(scaled**shape)
        # -log likelihood / n, with s**c = mean(z**c) put in.
        scale = z.mean() * mean_power ** (1 / shape)
        return -np.log(shape / scale) - (shape - 1) * np.mean(np.log(z / scale)) + 1

    starts = [np.log([beyond, shape]) for beyond, shape in ((0.03, 1.5), (0.3, 3.0), (3.0, 5.0))]
    best = min((minimize(loss, start, method="Nelder-Mead") for start in starts), key=lambda found: found.fun)
    beyond, shape = np.exp(np.clip(best.x, [-14, 0], [4, np.log(50)]))
    z = gap + beyond
    scale = z.mean() * np.mean((z / z.mean()) ** shape) ** (1 / shape)
    p = kstest(-z, weibull_max(shape, scale=scale).cdf).pvalue
    return largest + beyond * spread, float(p)


def _points(apply: Callable, ball: str) -> Callable:
    """One point of the ball around each example, by its number."""

    def draw(keys: Any, point: Any, x: Any, radius: Any, low: Any, high: Any) -> jax.Array:
        return jax.vmap(lambda k, v: in_ball(jax.random.fold_in(k, point), v, radius, ball, low, high))(keys, x)

    return jax.jit(draw)


def _norms(apply: Callable, classes: int, ball: str) -> Callable:
    """Dual norms `[B, K]` of the gradients of the margins between the chosen class and each."""

    def norms(params: Any, z: jax.Array, chosen: jax.Array) -> jax.Array:
        j = example_jacobians(apply, params, z, classes)
        if ball == "l2":
            g = gram(j)
            own = jnp.take_along_axis(g, chosen[:, None, None], axis=1)[:, 0]  # [B, K], J_c J_kᵀ
            square = jnp.diagonal(g, axis1=1, axis2=2)
            both = jnp.take_along_axis(square, chosen[:, None], axis=1) + square - 2 * own
            return jnp.sqrt(jnp.maximum(both, 0))
        mine = jnp.take_along_axis(j, chosen[:, None, None], axis=1)
        return jnp.abs(mine - j).sum(axis=2)

    return jax.jit(norms)
