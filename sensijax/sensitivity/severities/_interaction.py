"""How stressors work together at a point of their severity box: the Hessian of a response, exact."""

import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import stdtrit

from sensijax.core import ArgumentError, Model
from sensijax.core.rows import chunks
from sensijax.sensitivity.derivatives._coupling import refuse_coupling
from sensijax.sensitivity.derivatives._nonfinite import NonFinite, located
from sensijax.sensitivity.derivatives._pure import Pure, batch, forward_is_open, program, pure
from sensijax.sensitivity.indices._response import Response, cross_entropy, targets
from sensijax.sensitivity.severities._stress import example_keys, scales_of
from sensijax.sensitivity.surrogates._box import in_box

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class InteractionHessian:
    """Second derivatives of a mean response with respect to severities.

    An entry off the diagonal is how much the slope along one stressor grows with the severity of another. A network of
    ReLUs is piecewise linear, so its exact Hessian misses what happens at the kinks; `difference` counts them in, over
    steps of `step`. Where the two disagree, trust the difference for what a step of that size does.

    Attributes:
      names: of the d stressors.
      at: float64 `[d]`, the severities.
      response: mean response there.
      gradient: float64 `[d]`, mean slopes.
      hessian: float64 `[d, d]`, mean exact second derivatives, symmetric.
      low, high: float64 `[d, d]`, Student's interval of each entry over other examples.
      difference: float64 `[d, d]`, the same entries by second differences over `step`.
      difference_low, difference_high: float64 `[d, d]`, their intervals.
      each: float64 `[B, d, d]`, the exact Hessian of each example.
      step: of the differences, in units of severity.
      level: of the intervals.
      nonfinite: what in `each` is not finite; such examples are left out of the means.
    """

    names: tuple[str, ...]
    at: np.ndarray
    response: float
    gradient: np.ndarray
    hessian: np.ndarray
    low: np.ndarray
    high: np.ndarray
    difference: np.ndarray
    difference_low: np.ndarray
    difference_high: np.ndarray
    each: np.ndarray
    step: float
    level: float
    nonfinite: NonFinite

    def frame(self) -> Any:
        """A pandas table with a row for each pair of stressors, one with itself included."""
        import pandas as pd

        columns = ("hessian", "low", "high", "difference", "difference_low", "difference_high")
        pairs = itertools.combinations_with_replacement(range(len(self.names)), 2)
        return pd.DataFrame(
            [
                {"first": self.names[i], "second": self.names[j], **{c: getattr(self, c)[i, j] for c in columns}}
                for i, j in pairs
            ]
        )


def interaction_hessian(
    model: Model | Callable,
    scales: Mapping[str, Any],
    key: jax.Array,
    x: Any,
    y: Any,
    at: Mapping[str, float],
    *,
    response: Response = cross_entropy,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    step: float = 0.1,
    level: float = 0.95,
    chunk: int = 128,
) -> InteractionHessian:
    """The Hessian of a mean response over the severities of several stressors, by forward mode twice.

    The stressors act one after the other in the order of `scales`; random draws are fixed. d (d + 1) / 2 passes give
    the exact Hessian of every example.

    Args:
      model: a `Model`, or a function of a batch `[B, ...]` to outputs `[B, ...]`.
      scales: name to a perturbation class (or anything with `.at`), two or more.
      key: a typed key, folded with each example's place; or one key for each example.
      x: floating batch `[B, ...]`, B >= 2.
      y: what the response compares with, `[B, ...]`.
      at: name to severity, strictly inside the box: at 0 a perturbation is the identity by selection and has no second
        derivative. Published scales are bent at integers: choose a point between them, further from one than 2 `step`.
      response: `(outputs, y) -> scalar` of one example. `cross_entropy` is curved; `margin` of a ReLU network is not.
      options: name to what is passed to that scale's `.at`, `{"fog": {"size": 32}}`.
      step: of the second differences, in units of severity, > 0 and less than half of every severity.
      level: of the intervals, in (0, 1).
      chunk: examples computed at once.

    Returns:
      An `InteractionHessian`.

    Raises:
      ArgumentError: if an argument does not fit, or forward mode does not pass the model.

    Example:
      >>> from sensijax.perturb import image
      >>> x, first = jnp.full((3, 8, 8, 1), 0.2), lambda outputs, y: outputs[0]
      >>> scales = {"light": image.Brightness, "contrast": image.Contrast}
      >>> h = interaction_hessian(
      ...     lambda x: x.mean(axis=(1, 2)) ** 2, scales, jax.random.key(0), x, np.zeros(3),
      ...     {"light": 1.5, "contrast": 1.5}, response=first,
      ... )  # a contrast leaves the mean alone, which is 0.2 + severity / 10
      >>> abs(h.hessian.round(3)).tolist()
      [[0.02, 0.0], [0.0, 0.0]]
    """
    stressors = scales_of(scales, options or {})
    if set(at) != set(scales):
        raise ArgumentError("at", sorted(at), f"a severity for each of {', '.join(scales)}")
    point = np.array([float(at[name]) for name in scales])
    if not 0 < step:
        raise ArgumentError("step", step, "> 0")
    if (point <= 2 * step).any():
        raise ArgumentError("at", dict(at), f"severities above twice the step of {step:g}: at 0 is the identity")
    if not 0 < level < 1:
        raise ArgumentError("level", level, "a confidence level lies strictly between 0 and 1")
    for (_, scale, chosen), s in zip(stressors, point, strict=True):
        scale.at(float(s), **dict(chosen))
    function = pure(model, "model")
    x, spec = batch(function, x)
    n, keys = len(x), example_keys(key, len(x))
    if n < 2:
        raise ArgumentError("x", f"{n} example", "two or more: an interval needs others")
    y = targets(y, spec, response)
    refuse_coupling(function, x)
    if not forward_is_open(Pure(function.apply, function.params, False, function.name), x):
        came = f"{function.name!r}, whose custom_vjp blocks forward mode"
        raise ArgumentError("model", came, "a model with JVPs; `severity_regions` needs no derivatives")

    first, second = program(_first, function, stressors, response), program(_second, function, stressors, response)
    width = min(chunk, n)

    def over_examples(run: Callable, severities: np.ndarray, *tangents: np.ndarray) -> list[np.ndarray]:
        def parts() -> Iterator[tuple]:
            for rows, valid in chunks(n, width):
                s = jnp.broadcast_to(jnp.asarray(severities, jnp.float32)[None], (width, len(point)))
                along = [jnp.broadcast_to(jnp.asarray(t, jnp.float32)[None], s.shape) for t in tangents]
                out = run(function.params, s, *along, keys[rows], x[rows], y[rows])
                yield tuple(np.asarray(leaf, np.float64)[:valid] for leaf in jax.tree.leaves(out))

        return [np.concatenate(p) for p in zip(*parts(), strict=True)]

    d, unit = len(point), np.eye(len(point))
    value, each, finite = np.zeros(n), np.zeros((n, d, d)), np.zeros((n, d, d))
    slopes = np.zeros((n, d))
    for i in range(d):
        for j in range(i, d):
            value, slopes[:, i], each[:, i, j] = over_examples(second, point, unit[i], unit[j])
            corners = [
                over_examples(first, point + step * (a * unit[i] + b * unit[j]))[0]
                for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))
            ]
            finite[:, i, j] = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * step**2)
            each[:, j, i], finite[:, j, i] = each[:, i, j], finite[:, i, j]
    nonfinite = located(each, "the Hessians")
    if not each.any():
        _log.warning("the Hessian is zero for every example: piecewise linear responses have none; see `difference`")
    sound = np.isfinite(each).all(axis=(1, 2)) & np.isfinite(finite).all(axis=(1, 2)) & np.isfinite(slopes).all(axis=1)
    mean, low, high = _interval(each[sound], level)
    coarse, coarse_low, coarse_high = _interval(finite[sound], level)
    return InteractionHessian(
        names=tuple(scales),
        at=point,
        response=float(value[sound].mean()),
        gradient=slopes[sound].mean(axis=0),
        hessian=mean,
        low=low,
        high=high,
        difference=coarse,
        difference_low=coarse_low,
        difference_high=coarse_high,
        each=each,
        step=step,
        level=level,
        nonfinite=nonfinite,
    )


def _interval(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Student's interval of the mean over the leading axis; NaN where fewer than two remain."""
    n = len(values)
    if n < 2:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing, nothing
    mean = values.mean(axis=0)
    half = stdtrit(n - 1, (1 + level) / 2) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def _first(apply: Callable, scales: tuple, response: Response) -> Callable:
    return jax.jit(in_box(apply, scales, response))


def _second(apply: Callable, scales: tuple, response: Response) -> Callable:
    """Response, its slope along the first direction, and its second derivative along both."""
    run = in_box(apply, scales, response)

    def second(params: Any, at: jax.Array, first: jax.Array, then: jax.Array, keys: Any, x: Any, y: Any) -> Any:
        def slope(at: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.jvp(lambda s: run(params, s, keys, x, y), (at,), (first,))

        (value, along), (_, curvature) = jax.jvp(slope, (at,), (then,))
        return value, along, curvature

    return jax.jit(second)
