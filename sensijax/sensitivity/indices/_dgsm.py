"""Derivative-based global sensitivity: mean squared gradients, exact, and the bounds on total indices they give."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._distribution import LogNormal
from sensijax.sensitivity.indices._interval import Bootstrap, Jackknife, around, fraction
from sensijax.sensitivity.indices._points import Random, ScrambledSobol
from sensijax.sensitivity.indices._result import Result, given_sample, refuse_constant, squeezed
from sensijax.sensitivity.indices._saltelli import merge
from sensijax.sensitivity.indices._space import Space, differentiable, independent
from sensijax.sensitivity.indices._stream import output_count, output_shape, stream
from sensijax.sensitivity.surrogates._gradients import GradientDesign, forward_is_right, refuse_flat


@dataclasses.dataclass(frozen=True, eq=False)
class DgsmResult(Result):
    """Derivative-based measures with intervals; a trailing `[k]` where f has one.

    Attributes:
      nu: float64 `[d]`, E[(df / dx_i)^2]; for a `LogNormal` input of the derivative by its logarithm, so that nu and
        its constant belong together.
      bound: float64 `[d]`, C_i nu_i / V >= ST_i with the Poincare constant C_i of the input's distribution.
      mean_gradient: float64 `[d]`, E[df / dx_i].
      nu_interval, bound_interval, mean_gradient_interval: float64 `[d, 2]`, low and high.
      variance: of the output.
      names: of the inputs.
      n_evaluations: values with gradients.
      n_excluded: points left out because a value or a derivative is not finite.
      level: of the intervals.
    """

    nu: np.ndarray
    bound: np.ndarray
    mean_gradient: np.ndarray
    nu_interval: np.ndarray
    bound_interval: np.ndarray
    mean_gradient_interval: np.ndarray
    variance: Any
    names: tuple[str, ...]
    n_evaluations: int
    n_excluded: int
    level: float

    def _plotted(self) -> tuple[str, ...]:
        return ("bound",)


def dgsm(
    f: Callable[[Any], Any],
    space: Any,
    *,
    key: jax.Array,
    n: int = 2**12,
    points: ScrambledSobol | Random | None = None,
    interval: Jackknife | Bootstrap | None = None,
    level: float = 0.95,
    exclude_nonfinite: bool = False,
    chunk: int | None = None,
    devices: Sequence[Any] | None = None,
) -> DgsmResult:
    """Derivative-based global sensitivity measures from exact gradients, and upper bounds on the total indices.

    One value and gradient each point, so an input is screened out at a fraction of the cost of its Sobol index: where
    the bound is small, so is ST.

    Args:
      f: pure and differentiable; takes one point `[d]`, returns a real scalar or `[k]`.
      space: `{name: distribution}`, or a `Space` without correlation; no `Discrete` or `Categorical` inputs.
      key: a typed Threefry key.
      n: points, a power of two.
      points, interval, level, exclude_nonfinite, chunk, devices: as for `sobol`.

    Returns:
      A `DgsmResult`.

    Raises:
      ArgumentError: if an input has no derivative, f has none, or the gradient is zero everywhere while f varies.

    Reference:
      Sobol and Kucherenko, "Derivative based global sensitivity measures and their link with global sensitivity
      indices", Mathematics and Computers in Simulation 79 (2009). Lamboni, Iooss, Popelin and Gamboa, same journal 87
      (2013); Roustant, Barthe and Iooss, Electronic Journal of Statistics 11 (2017), for the constants.

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> result = dgsm(lambda x: 3 * x[0] + x[1], {"x": Uniform(0, 1), "y": Uniform(0, 1)}, key=jax.random.key(0))
      >>> result.nu.round(3).tolist()
      [9.0, 1.0]
    """
    space = differentiable(independent(space, "dgsm"), "dgsm")
    constants = _constants(space)
    points, interval, level = points or ScrambledSobol(), interval or Jackknife(), fraction(level)
    shape, d = output_shape(f, space.dimension), space.dimension
    forward = forward_is_right(f, d, output_count(f, d))
    logarithmic = tuple(isinstance(x, LogNormal) for x in space.inputs.values())
    design = GradientDesign(d, forward, logarithmic, outer=False)
    streamed = stream(
        f, space, design, points=points, key=key, n=n, exclude_nonfinite=exclude_nonfinite, chunk=chunk, devices=devices
    )
    blocks = len(streamed.counted)
    common = streamed.centre.mean(axis=0)
    sums = recentred_value(streamed.sums, common - streamed.centre)
    whole = {name: value[0] for name, value in _measures(merge(sums, np.ones((1, blocks))), constants).items()}
    refuse_constant(whole["variance"], whole["mean"] + common, False)
    refuse_flat(whole["nu"])
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    resampled = _measures(merge(sums, interval.weights(blocks, generator)), constants)
    return _result(whole, resampled, interval, blocks, level, shape, space.names, n, streamed.excluded)


def dgsm_given(x: Any, y: Any, space: Any, *, level: float = 0.95, seed: int = 0) -> DgsmResult:
    """Derivative-based measures by finite differences, from a sample computed elsewhere.

    Equal to SALib 1.6.0's `analyze.dgsm` to rounding: `nu` is its `vi`, `bound` its `dgsm` for uniform inputs. For
    other distributions SALib keeps the constant of the uniform one, here each has its own. SALib's `dgsm_conf` is the
    interval of vi, although it stands beside dgsm; here each has its own interval.

    Args:
      x: `[n (d + 1), d]`: for each base point, itself, then d points that differ from it in one input each.
      y: `[n (d + 1)]` or `[n (d + 1), k]`, outputs.
      space: the inputs' distributions by name, or a `Space`.
      level: of the intervals.
      seed: of the bootstrap.

    Returns:
      A `DgsmResult`; `mean_gradient` is that of the differences.

    Raises:
      ArgumentError: if rows do not fit, or a point does not differ from its base.

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> base = np.random.default_rng(0).random((64, 1, 2)) / 2
      >>> x = (base + np.array([[0, 0], [0.01, 0], [0, 0.01]])).reshape(-1, 2)
      >>> dgsm_given(x, x @ [3.0, 1.0], {"a": Uniform(0, 1), "b": Uniform(0, 1)}).nu.round(6).tolist()
      [9.0, 1.0]
    """
    space = differentiable(independent(space, "dgsm"), "dgsm")
    x, y, _, shape = given_sample(x, y, space)
    d = space.dimension
    if len(x) % (d + 1) or len(x) < 4 * (d + 1):
        raise ArgumentError("x", f"{len(x)} rows", f"n (d + 1), a multiple of {d + 1}, for at least 4 base points")
    x, y = x.reshape(-1, d + 1, d), y.reshape(len(x) // (d + 1), d + 1, -1)
    step = np.stack([x[:, i + 1, i] - x[:, 0, i] for i in range(d)], axis=1)
    if not (step != 0).all():
        where = np.argwhere(step == 0)[0]
        raise ArgumentError(
            "x", f"no step at base point {where[0]}, input {space.names[where[1]]!r}", "a step is not 0"
        )
    slope = (y[:, 1:] - y[:, :1]) / step[:, :, None]
    centre = y[:, 0].mean(axis=0)
    value = y[:, 0] - centre
    sums = {
        "n": np.ones(len(y)),
        "y": value,
        "yy": value**2,
        "g": slope.swapaxes(1, 2),
        "gg": slope.swapaxes(1, 2) ** 2,
    }
    constants, interval = _constants(space), Bootstrap(100)
    weights = interval.weights(len(y), np.random.default_rng(seed))
    whole = {name: v[0] for name, v in _measures(merge(sums, np.ones((1, len(y)))), constants).items()}
    refuse_constant(whole["variance"], whole["mean"] + centre, False)
    resampled = _measures(merge(sums, weights), constants)
    return _result(whole, resampled, interval, len(y), fraction(level), shape, space.names, len(y) * (d + 1), 0)


def recentred_value(sums: dict[str, Any], shift: np.ndarray) -> dict[str, Any]:
    """The sums of outputs from which `shift` `[..., k]` more is subtracted."""
    n, y = sums["n"][..., None], sums["y"]
    return sums | {"y": y - n * shift, "yy": sums["yy"] - 2 * shift * y + n * shift**2}


def _constants(space: Space) -> np.ndarray:
    found: dict[Any, float] = {}
    return np.array([found.setdefault(x, x.poincare()) if x not in found else found[x] for x in space.inputs.values()])


def _measures(total: dict[str, Any], constants: np.ndarray) -> dict[str, np.ndarray]:
    n = total["n"][:, None]
    mean = total["y"] / n
    variance = total["yy"] / n - mean**2
    nu = total["gg"].swapaxes(1, 2) / n[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = constants[:, None] * nu / variance[:, None]
    gradient = total["g"].swapaxes(1, 2) / n[:, :, None]
    return {"mean": mean, "variance": variance, "nu": nu, "bound": bound, "mean_gradient": gradient}


def _result(
    whole: dict[str, np.ndarray],
    resampled: dict[str, np.ndarray],
    interval: Jackknife | Bootstrap,
    blocks: int,
    level: float,
    shape: tuple[int, ...],
    names: tuple[str, ...],
    n_evaluations: int,
    n_excluded: int,
) -> DgsmResult:
    fields = {}
    for name in ("nu", "bound", "mean_gradient"):
        error = interval.standard_error(resampled[name], blocks)
        fields[name] = squeezed(whole[name], shape)
        fields[f"{name}_interval"] = squeezed(around(whole[name], error, blocks, level, axis=-2), shape)
    return DgsmResult(
        **fields,
        variance=squeezed(whole["variance"], shape),
        names=names,
        n_evaluations=n_evaluations,
        n_excluded=n_excluded,
        level=level,
    )
