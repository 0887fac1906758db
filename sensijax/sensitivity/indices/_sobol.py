"""Sobol indices: which inputs, and which pairs of inputs, the variance of an output comes from."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._interval import Bootstrap, Jackknife, around, fraction
from sensijax.sensitivity.indices._points import Random, ScrambledSobol
from sensijax.sensitivity.indices._result import Result, given_names, refuse_constant, squeezed
from sensijax.sensitivity.indices._saltelli import (
    Jansen,
    Saltelli,
    SaltelliDesign,
    indices,
    merge,
    recentred,
    saltelli_sums,
)
from sensijax.sensitivity.indices._space import independent
from sensijax.sensitivity.indices._stream import Streamed, output_shape, stream


@dataclasses.dataclass(frozen=True, eq=False)
class SobolResult(Result):
    """Sobol indices with intervals. G groups (inputs, where there are no groups); a trailing `[k]` where f has one.

    Attributes:
      S1: float64 `[G]`, first order: the share of the variance that an input explains alone.
      ST: float64 `[G]`, total: the share that would remain if all but this input were known.
      S2: float64 `[G, G]`, second order, symmetric, NaN on the diagonal; None unless asked for.
      S1_interval, ST_interval: float64 `[G, 2]`, low and high (`[G, 2, k]`).
      S2_interval: float64 `[G, G, 2]` (`[G, G, 2, k]`), or None.
      mean, variance: float64 of the output.
      names: of inputs or groups.
      n_evaluations: how often f was evaluated.
      n_excluded: points left out because an output is not finite.
      level: of the intervals.
    """

    S1: np.ndarray
    ST: np.ndarray
    S2: np.ndarray | None
    S1_interval: np.ndarray
    ST_interval: np.ndarray
    S2_interval: np.ndarray | None
    mean: Any
    variance: Any
    names: tuple[str, ...]
    n_evaluations: int
    n_excluded: int
    level: float


def sobol(
    f: Callable[[Any], Any],
    space: Any,
    *,
    key: jax.Array,
    n: int = 2**14,
    second_order: bool = False,
    points: ScrambledSobol | Random | None = None,
    estimator: Saltelli | Jansen | None = None,
    interval: Jackknife | Bootstrap | None = None,
    level: float = 0.95,
    exclude_nonfinite: bool = False,
    allow_constant: bool = False,
    chunk: int | None = None,
    devices: Sequence[Any] | None = None,
) -> SobolResult:
    """First-order, total and second-order Sobol indices of a function, on the device from points to sums.

    Points are generated where the function runs and never stored, so memory does not grow with n. Outputs are centred
    before they are squared, so float32 serves, and an offset of 1e5 changes an index by what the rounding of the
    outputs themselves does. The intervals are Student's t over independent scrambles (or blocks of random points):
    a bootstrap over the points of one scramble would assume that they are independent, which they are not.

    Args:
      f: pure, as for `jax.jit`; takes one point `[d]` of JAX's default float, returns a real scalar or `[k]`. It is
        vmapped. The compiled program is kept with the function object: hand over the same one again.
      space: `{name: distribution}` in order, or a `Space` (groups have one index each; correlation only inside them).
      key: a typed Threefry key; with n and `points` it decides every point.
      n: base points in all, a power of two; f is evaluated n (G + 2) times, or n (2 G + 2) with second order.
      second_order: whether to estimate the interaction of every pair.
      points: `ScrambledSobol()` if absent, or `Random()`.
      estimator: `Saltelli()` if absent, or `Jansen()`, of the first order.
      interval: `Jackknife()` over blocks if absent, or `Bootstrap(resamples)`.
      level: of the intervals, in (0, 1).
      exclude_nonfinite: leave out, and count, base points with an output that is not finite, instead of raising.
      allow_constant: give NaN for an output that does not vary, instead of raising.
      chunk: base points computed at once, a power of two; chosen by the size of a row if absent.
      devices: to share the blocks among; all local ones if absent.

    Returns:
      A `SobolResult`.

    Raises:
      ArgumentError: if inputs of different groups are correlated, n is no power of two, an output is not finite or does
        not vary, or an argument does not fit.

    Reference:
      Sobol, "Global sensitivity indices for nonlinear mathematical models and their Monte Carlo estimates", Mathematics
      and Computers in Simulation 55 (2001). Saltelli, "Making best use of model evaluations to compute sensitivity
      indices", Computer Physics Communications 145 (2002), for the second order.

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> space = {"x": Uniform(0.0, 1.0), "y": Uniform(0.0, 1.0)}
      >>> result = sobol(lambda x: x[0] + 2 * x[1], space, key=jax.random.key(0), n=2**10)
      >>> result.ST.round(2).tolist(), result.n_evaluations
      ([0.2, 0.8], 4096)
    """
    space = independent(space, "sobol")
    points, estimator, interval = points or ScrambledSobol(), estimator or Saltelli(), interval or Jackknife()
    level = fraction(level)
    shape = output_shape(f, space.dimension)
    design = SaltelliDesign(space.membership, bool(second_order))
    streamed = stream(
        f, space, design, points=points, key=key, n=n, exclude_nonfinite=exclude_nonfinite, chunk=chunk, devices=devices
    )
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return from_sums(
        streamed, space.group_names, estimator, interval, level, generator, shape, n * design.rows, allow_constant
    )


def from_sums(
    streamed: Streamed,
    names: tuple[str, ...],
    estimator: Saltelli | Jansen,
    interval: Jackknife | Bootstrap,
    level: float,
    generator: np.random.Generator,
    shape: tuple[int, ...],
    n_evaluations: int,
    allow_constant: bool,
) -> SobolResult:
    """Indices and intervals from the sums of blocks."""
    common = streamed.centre.mean(axis=0)
    sums = recentred(streamed.sums, common - streamed.centre)
    blocks = len(streamed.counted)
    whole = {name: value[0] for name, value in indices(merge(sums, np.ones((1, blocks))), estimator).items()}
    refuse_constant(whole["variance"], whole["mean"] + common, allow_constant)
    resampled = indices(merge(sums, interval.weights(blocks, generator)), estimator)
    error = {name: interval.standard_error(resampled[name], blocks) for name in ("S1", "ST", "S2") if name in whole}
    bounds = {name: around(whole[name], e, blocks, level, axis=-2) for name, e in error.items()}
    if "S2" in whole:
        apart = ~np.eye(len(names), dtype=bool)
        upper = np.triu(np.ones_like(apart), 1)

        def symmetric(value: np.ndarray) -> np.ndarray:  # the estimate of (j, l) with j < l, as SALib has it
            value = np.where(upper.reshape(*upper.shape, *[1] * (value.ndim - 2)), value, 0.0)
            value = value + np.swapaxes(value, 0, 1)
            return np.where(apart.reshape(*apart.shape, *[1] * (value.ndim - 2)), value, np.nan)

        whole["S2"], bounds["S2"] = symmetric(whole["S2"]), symmetric(bounds["S2"])
    fields = {name: squeezed(whole.get(name), shape) for name in ("S1", "ST", "S2")}
    fields |= {f"{name}_interval": squeezed(bounds.get(name), shape) for name in ("S1", "ST", "S2")}
    return SobolResult(
        **fields,  # type: ignore[arg-type]
        mean=squeezed(whole["mean"] + common, shape),
        variance=squeezed(whole["variance"], shape),
        names=names,
        n_evaluations=n_evaluations,
        n_excluded=streamed.excluded,
        level=level,
    )


def sobol_given(
    y: Any,
    names: Any,
    *,
    second_order: bool = False,
    estimator: Saltelli | Jansen | None = None,
    interval: Jackknife | Bootstrap | None = None,
    level: float = 0.95,
    seed: int = 0,
    exclude_nonfinite: bool = False,
    allow_constant: bool = False,
) -> SobolResult:
    """Sobol indices from outputs that were computed elsewhere, on Saltelli's sample matrix.

    Equal to SALib 1.6.0's `analyze.sobol` to rounding (S1, ST and the upper triangle of S2) on the same outputs. The
    intervals are not: SALib draws single base points 100 times, here whole runs of them (up to 256) are drawn, from
    other random numbers, with Student's t. Both hold for independent points. For points of one Sobol sequence they are
    a guess, in SALib as here: `sobol` has intervals that cover.

    Args:
      y: real `[n (G + 2)]` or `[n (G + 2), k]`: for each base point A, AB_1, ..., AB_G, B; with second order
        `[n (2 G + 2)]`: A, AB_1, ..., AB_G, BA_1, ..., BA_G, B.
      names: of the inputs or groups, or a `Space` or dict of distributions.
      second_order: whether y holds BA.
      estimator, interval, level, exclude_nonfinite, allow_constant: as for `sobol`; the interval is `Bootstrap(100)` if
        absent, over up to 256 runs of base points.
      seed: of the bootstrap, >= 0.

    Returns:
      A `SobolResult`.

    Raises:
      ArgumentError: if the number of rows does not fit, or as `sobol`.

    Example:
      >>> a, b = np.random.default_rng(0).random((2, 4096, 2))
      >>> rows = np.stack([a, np.c_[b[:, 0], a[:, 1]], np.c_[a[:, 0], b[:, 1]], b], axis=1)
      >>> sobol_given(rows.reshape(-1, 2) @ [1.0, 2.0], ["x", "y"]).ST.round(1).tolist()
      [0.2, 0.8]
    """
    names = given_names(names)
    groups, rows = len(names), len(names) * (1 + bool(second_order)) + 2
    y = np.asarray(y, np.float64)
    if y.ndim not in (1, 2) or not len(y) or len(y) % rows:
        came, kind = f"shape {list(y.shape)}", "n (2 G + 2)" if second_order else "n (G + 2)"
        raise ArgumentError("y", came, f"{kind} outputs, a multiple of {rows} for {groups} inputs or groups")
    shape, n = y.shape[1:], len(y) // rows
    if n < 4:
        raise ArgumentError("y", f"{n} base points", "at least 4")
    y = y.reshape(n, rows, -1)
    finite = np.isfinite(y).all(axis=(1, 2))
    if not finite.all() and not exclude_nonfinite:
        raise ArgumentError(
            "y",
            f"outputs that are not finite at {(~finite).sum()} of {n} base points, first at {int(np.argmin(finite))}",
            "mend them, or pass exclude_nonfinite=True to leave these points out",
        )
    y = np.moveaxis(y[finite], 0, -1)  # [rows, k, n]
    y = np.concatenate([y[:1], y[-1:], y[1:-1]])
    centre = y.mean(axis=(0, 2))
    parts = np.array_split(y - centre[:, None], min(y.shape[-1], 256), axis=-1)
    each = [saltelli_sums(part, np.ones(part.shape[-1]), groups, _outer) for part in parts]
    sums = {name: np.stack([one[name] for one in each]) for name in each[0]}
    streamed = Streamed(sums, np.tile(centre, (len(parts), 1)), sums["n"], int((~finite).sum()))
    return from_sums(
        streamed,
        names,
        estimator or Saltelli(),
        interval or Bootstrap(100),
        fraction(level),
        np.random.default_rng(seed),
        shape,
        n * rows,
        allow_constant,
    )


def _outer(p: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Sums over points of p_j d_l: `[G, k, m]` twice to `[G, G, k]`."""
    return np.moveaxis(np.matmul(np.moveaxis(p, 1, 0), np.moveaxis(d, 1, 0).swapaxes(1, 2)), 0, -1)
