"""A response surface: a mean response over the severities of several stressors, its exact slopes, and a surrogate."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError, Model
from sensijax.core.rows import chunks
from sensijax.sensitivity.derivatives._coupling import refuse_coupling
from sensijax.sensitivity.derivatives._pure import Pure, batch, forward_way, program, pure, pushforward
from sensijax.sensitivity.indices._design import unit_points
from sensijax.sensitivity.indices._distribution import Uniform
from sensijax.sensitivity.indices._response import Response, cross_entropy, targets
from sensijax.sensitivity.indices._space import Space
from sensijax.sensitivity.severities._stress import example_keys, labels, require_logits, scales_of
from sensijax.sensitivity.surrogates._box import in_box
from sensijax.sensitivity.surrogates._chaos import PolynomialChaos
from sensijax.sensitivity.surrogates._gradient_pce import gradient_pce_given
from sensijax.sensitivity.surrogates._pce import MOST_DEGREE, pce_given
from sensijax.sensitivity.surrogates._surface_designs import QuasiRandom, SurfaceDesign

_log = logging.getLogger(__name__)
AGREEMENT = 0.2
_STEP = 0.05


def right(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """1 where the prediction is the label, else 0: its mean is the accuracy. A step: slopes are taken by differences.

    Args:
      outputs: logits `[K]`.
      y: the label, an integer scalar.

    Returns:
      float32, 0 or 1.

    Example:
      >>> float(right(jnp.array([0.0, 2.0]), jnp.int32(1)))
      1.0
    """
    return (jnp.argmax(outputs).astype(jnp.int32) == y).astype(jnp.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """A mean response over a box of severities.

    Attributes:
      names: of the d stressors, in the order in which they act.
      space: the box, `Uniform(0, top)` a stressor.
      severities: float64 `[m, d]`, where it was measured.
      values: float64 `[m]`, mean response over the examples.
      standard_error: float64 `[m]`, of that mean over other examples.
      gradients: float64 `[m, d]`, per unit of severity.
      hessians: float64 `[m, d, d]`, exact, or None unless asked for.
      mode: how slopes were had: "forward", "reverse", or "difference".
      mismatch: the median of |slope - difference| / |difference| at up to eight points; NaN where slopes are
        differences. Above 0.2 the slopes mislead (rounding, re-sampling) and the surrogate does without them.
      surrogate: anything with `.predict([m, d])`, `.gradient([m, d])` and `.cross_validated`; the `PolynomialChaos`
        with the smaller cross-validated error, of values alone or of values and slopes, unless another was asked for.
      tested: the surrogate's squared error at 16 more points of the box, over the variance there.
      each: float64 `[m, B]`, the response of every example.
    """

    names: tuple[str, ...]
    space: Space
    severities: np.ndarray
    values: np.ndarray
    standard_error: np.ndarray
    gradients: np.ndarray
    hessians: np.ndarray | None
    mode: str
    mismatch: float
    surrogate: Any
    tested: float
    each: np.ndarray

    @property
    def cross_validated(self) -> float:
        """The surrogate's squared error at points it has not seen, as a share of the variance over the box.

        The larger of its own cross-validated error and `tested`: the points of a grid have neighbours in line, and
        leaving one of them out says little.
        """
        return max(float(self.surrogate.cross_validated), self.tested)

    def predict(self, severities: Any) -> np.ndarray:
        """The surrogate at severities `[m, d]`: `[m]`."""
        return np.asarray(self.surrogate.predict(severities))

    def frame(self) -> Any:
        """A pandas table with a row for each point: its severities, the response, its standard error, its slopes."""
        import pandas as pd

        columns = {name: self.severities[:, i] for i, name in enumerate(self.names)}
        columns |= {"response": self.values, "standard_error": self.standard_error}
        columns |= {f"slope {name}": self.gradients[:, i] for i, name in enumerate(self.names)}
        return pd.DataFrame(columns)

    def to_xarray(self) -> Any:
        """As an `xarray.Dataset`; needs the extra `xarray`."""
        from sensijax.sensitivity._xarray import to_xarray

        return to_xarray(self)


def surface(
    model: Model | Callable,
    scales: Mapping[str, Any],
    key: jax.Array,
    x: Any,
    y: Any,
    *,
    at: Any = None,
    design: SurfaceDesign | None = None,
    top: float | Mapping[str, float] = 5.0,
    response: Response = cross_entropy,
    hessians: bool = False,
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray | None, Space], Any] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    chunk: int = 256,
) -> Surface:
    """Measures a mean response over the severities of several stressors, with exact slopes, and fits a surrogate.

    The stressors act one after the other; random draws are fixed, so the surface is one function whose slopes are the
    ones given. Published scales are tables with straight lines between integers: the surface has creases there, and the
    surrogate's `cross_validated` says what a smooth fit makes of them.

    Args:
      model: a `Model`, or a function of a batch `[B, ...]` to outputs `[B, ...]`.
      scales: name to a perturbation class (or anything with `.at`).
      key: a typed key, folded with each example's place; or one key for each example.
      x: floating batch `[B, ...]`.
      y: what the response compares with, `[B, ...]`: labels or targets.
      at: severities `[m, d]` to measure at, instead of a design.
      design: `QuasiRandom(64)` if absent; or `Grid(nodes)`, or `Adaptive(n)`.
      top: the end of every axis, which starts at 0; or one for each name.
      response: `(outputs, y) -> scalar` of one example, a function of a module: `cross_entropy` unless given, `margin`,
        or `right` for accuracy, whose slopes are differences over a quarter of a severity.
      hessians: whether to compute the exact Hessian at every point, d (d + 1) / 2 more passes.
      fit: `(severities, values, slopes or None, space)` to a surrogate; `best_chaos` unless given, or
        `gaussian_process`.
      options: name to what is passed to that scale's `.at`, `{"fog": {"size": 32}}`.
      chunk: rows (example at point) computed at once.

    Returns:
      A `Surface`.

    Raises:
      ArgumentError: if an argument does not fit, a response is not finite, or it does not vary over the box.

    Example:
      >>> from sensijax.perturb import image
      >>> from sensijax.sensitivity.surrogates._surface_designs import Grid
      >>> mean, first = (lambda x: x.mean(axis=(1, 2))), (lambda outputs, y: outputs[0])
      >>> x, scales = jnp.full((2, 8, 8, 1), 0.2), {"light": image.Brightness, "contrast": image.Contrast}
      >>> found = surface(mean, scales, jax.random.key(0), x, np.zeros(2), response=first, design=Grid(4), top=4.0)
      >>> found.values.reshape(4, 4)[:, 0].round(3).tolist(), found.mode
      ([0.2, 0.333, 0.467, 0.6], 'forward')
    """
    stressors = scales_of(scales, options or {})
    space = _box(scales, top)
    for name, scale, chosen in stressors:
        scale.at(float(space.inputs[name].support[1]), **dict(chosen))
    function = pure(model, "model")
    x, spec = batch(function, x)
    n, d, keys = len(x), space.dimension, example_keys(key, len(x))
    if n < 2:
        raise ArgumentError("x", f"{n} example", "two or more: a mean has an error")
    y = (
        labels(np.asarray(y), n, require_logits(spec, function.name))
        if response is right
        else targets(y, spec, response)
    )
    refuse_coupling(function, x)
    measured = _Measured(function, stressors, response, keys, x, y, chunk, space)
    fit = best_chaos if fit is None else fit
    root = key if key.ndim == 0 else key[0]
    ends = measured.ends
    if at is not None:
        severities = _given(at, space)
    else:

        def measure(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            value, slope = measured(u * ends)
            return value.mean(axis=1), slope.mean(axis=1) * ends

        def refit(u: np.ndarray, value: np.ndarray, slope: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
            found = fit(u * ends, value, slope / ends, space)
            return lambda v: found.predict(v * ends)

        severities = (QuasiRandom() if design is None else design).points(root, d, measure, refit) * ends
    each, slopes = measured(severities)
    values, gradients = each.mean(axis=1), slopes.mean(axis=1)
    if values.max() - values.min() <= 1e-6 * np.abs(values).max():
        raise ArgumentError(
            "response", "a mean that is the same all over the box", "a response that the stressors move"
        )
    mismatch = np.nan if measured.way == "difference" else measured.mismatch(severities, gradients)
    usable = not mismatch > AGREEMENT
    if not usable:
        _log.warning(
            "slopes and differences of the response disagree by %.0f%%: the surrogate is fitted without slopes",
            100 * mismatch,
        )
    surrogate = fit(severities, values, gradients if usable else None, space)
    fresh = unit_points(None, jax.random.fold_in(root, 2), 16, d) * ends
    seen = measured(fresh)[0].mean(axis=1)
    return Surface(
        names=space.names,
        space=space,
        severities=severities,
        values=values,
        standard_error=each.std(axis=1, ddof=1) / np.sqrt(n),
        gradients=gradients,
        hessians=measured.hessians(severities) if hessians else None,
        mode=measured.way,
        mismatch=float(mismatch),
        surrogate=surrogate,
        tested=float(np.mean((surrogate.predict(fresh) - seen) ** 2) / seen.var()),
        each=each,
    )


def best_chaos(x: np.ndarray, y: np.ndarray, slopes: np.ndarray | None, space: Space) -> PolynomialChaos:
    """The polynomial chaos of values alone, or of values and slopes: whichever has the smaller cross-validated error.

    Args:
      x: `[m, d]`.
      y: `[m]`.
      slopes: `[m, d]`, or None.
      space: of x.

    Returns:
      A `PolynomialChaos`.

    Example:
      >>> x = np.random.default_rng(0).random((16, 1))
      >>> best_chaos(x, x[:, 0] ** 2, 2 * x, Space({"x": Uniform(0.0, 1.0)})).predict([[0.5]]).round(4).tolist()
      [0.25]
    """
    # On a grid the nodes along an axis bound the degree; points left out have neighbours in line, so errors do not.
    nodes = min(len(np.unique(column)) for column in x.T)
    highest = None if nodes > MOST_DEGREE else list(range(1, max(2, nodes)))
    found = [pce_given(x, y, space, degree=highest)]
    if slopes is not None:
        found.append(gradient_pce_given(x, y, slopes, space, degree=highest))
    return min(found, key=lambda chaos: chaos.cross_validated)


class _Measured:
    """Responses and slopes at severities, each point measured once."""

    def __init__(
        self, function: Pure, stressors: tuple, response: Response, keys: Any, x: Any, y: Any, chunk: int, space: Space
    ):
        self.function, self.keys, self.x, self.y, self.chunk = function, keys, x, y, chunk
        self.ends = np.array([distribution.support[1] for distribution in space.inputs.values()])
        self.known: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        forward = in_box(function.apply, stressors, response)
        width = min(chunk, len(x))
        probe = Pure(
            lambda p, s: forward(p, s, keys[:width], x[:width], y[:width]), function.params, False, function.name
        )
        middle = jnp.asarray(np.tile(self.ends / 2 + 0.01, (width, 1)), jnp.float32)
        self.way = "difference" if response is right else forward_way(probe, middle)
        self.value = program(_values, function, stressors, response)
        self.slope = program(_slopes, function, stressors, response, self.way)
        self.bend = program(_bends, function, stressors, response)

    def __call__(self, severities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Responses `[m, B]` and slopes `[m, B, d]`."""
        new = np.array([s for s in severities if s.tobytes() not in self.known]).reshape(-1, len(self.ends))
        if len(new):
            value, slope = self._differences(new) if self.way == "difference" else self._run(self.slope, new)
            if len(edge := np.flatnonzero((new == 0).any(axis=1))):
                value[edge] = self._run(self.value, new[edge])[0]
            self._refuse(value, new)
            self._refuse(slope, new)
            self.known |= {s.tobytes(): (v, g) for s, v, g in zip(new, value, slope, strict=True)}
        found = [self.known[s.tobytes()] for s in severities]
        return np.stack([v for v, _ in found]), np.stack([g for _, g in found])

    def mismatch(self, severities: np.ndarray, gradients: np.ndarray) -> float:
        """Slopes against differences that straddle no integer, at up to eight points."""
        inner = ((severities > 2 * _STEP) & (severities < self.ends - 2 * _STEP)).all(axis=1)
        inner &= (np.abs(severities - np.round(severities)) > _STEP).all(axis=1)
        chosen = np.flatnonzero(inner)[:8]
        if not len(chosen):
            return float("nan")
        found = []
        for i in range(len(self.ends)):
            step = _STEP * np.eye(len(self.ends))[i]
            (up,), (down,) = (self._run(self.value, severities[chosen] + sign * step) for sign in (1, -1))
            difference = (up.mean(axis=1) - down.mean(axis=1)) / (2 * _STEP)
            found.append(np.abs(gradients[chosen, i] - difference) / np.maximum(np.abs(difference), 1e-6))
        return float(np.median(np.max(found, axis=0)))

    def hessians(self, severities: np.ndarray) -> np.ndarray:
        """Mean Hessians `[m, d, d]`; at severity 0, where a perturbation is the identity by selection, to the right."""
        if self.way != "forward":
            raise ArgumentError("hessians", self.way, "a smooth response of a model that forward mode passes")
        (found,) = self._run(self.bend, np.maximum(severities, 1e-3))
        return found.mean(axis=1)

    def _differences(self, severities: np.ndarray, step: float = 0.125) -> tuple[np.ndarray, np.ndarray]:
        (value,), slopes = self._run(self.value, severities), []
        for i, end in enumerate(self.ends):
            up, down = severities.copy(), severities.copy()
            up[:, i], down[:, i] = np.minimum(up[:, i] + step, end), np.maximum(down[:, i] - step, 0)
            (high,), (low,) = self._run(self.value, up), self._run(self.value, down)
            slopes.append((high - low) / (up[:, i] - down[:, i])[:, None])
        return value, np.stack(slopes, axis=-1)

    def _run(self, run: Callable, severities: np.ndarray) -> list[np.ndarray]:
        n, parts = len(self.x), []
        total = len(severities) * n
        for rows, valid in chunks(total, min(self.chunk, n * 8)):
            point, example = np.divmod(rows, n)
            # At 0 the perturbation selects its input and slopes are zero on paper: just above stands in for it.
            s = jnp.asarray(
                severities[point] if run is self.value else np.maximum(severities[point], 1e-3), jnp.float32
            )
            out = run(self.function.params, s, self.keys[example], self.x[example], self.y[example])
            parts.append([np.asarray(leaf, np.float64)[:valid] for leaf in out])
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return [column.reshape(len(severities), n, *column.shape[1:]) for column in columns]

    @staticmethod
    def _refuse(value: np.ndarray, severities: np.ndarray) -> None:
        bad = ~np.isfinite(value).reshape(len(value), -1).all(axis=1)
        if bad.any():
            came = f"values or slopes that are not finite at {bad.sum()} points, first at {severities[np.argmax(bad)]}"
            raise ArgumentError("response", came, "a response that is finite on the box: lower `top`")


def _values(apply: Callable, scales: tuple, response: Response) -> Callable:
    run = in_box(apply, scales, response)
    return jax.jit(lambda params, at, keys, x, y: (run(params, at, keys, x, y),))


def _slopes(apply: Callable, scales: tuple, response: Response, way: str) -> Callable:
    run = in_box(apply, scales, response)

    def slopes(params: Any, at: jax.Array, keys: Any, x: Any, y: Any) -> Any:
        # Rows do not influence each other, so one tangent along an axis serves them all.
        each = functools.partial(pushforward, lambda p, s: run(p, s, keys, x, y), params, at)
        axes = [jnp.zeros_like(at).at[:, i].set(1) for i in range(at.shape[1])]
        found = [each(axis, way) for axis in axes]
        return found[0][0], jnp.stack([slope for _, slope in found], axis=-1)

    return jax.jit(slopes)


def _bends(apply: Callable, scales: tuple, response: Response) -> Callable:
    run = in_box(apply, scales, response)

    def bends(params: Any, at: jax.Array, keys: Any, x: Any, y: Any) -> Any:
        def row(at: jax.Array, key: Any, x: Any, y: Any) -> jax.Array:
            return run(params, at[None], key[None], x[None], y[None])[0]

        return (jax.vmap(jax.jacfwd(jax.jacfwd(row)))(at, keys, x, y),)

    return jax.jit(bends)


def _box(scales: Mapping[str, Any], top: float | Mapping[str, float]) -> Space:
    ends = dict(top) if isinstance(top, Mapping) else dict.fromkeys(scales, top)
    if set(ends) != set(scales):
        raise ArgumentError("top", sorted(ends), f"an end for each of {', '.join(scales)}")
    return Space({name: Uniform(0.0, float(ends[name])) for name in scales})


def _given(at: Any, space: Space) -> np.ndarray:
    severities = np.asarray(at, np.float64)
    if severities.ndim != 2 or severities.shape[1] != space.dimension or len(severities) < 8:
        raise ArgumentError("at", f"shape {list(severities.shape)}", f"[m, {space.dimension}], at least 8 points")
    ends = np.array([distribution.support[1] for distribution in space.inputs.values()])
    if not ((severities >= 0) & (severities <= ends)).all():
        raise ArgumentError("at", "a severity outside the box", f"between 0 and {ends.tolist()}")
    return severities
