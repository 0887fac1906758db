"""Where a response surface breaks and where it crests: thresholds and ridges of its surrogate, with intervals."""

import dataclasses
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.surrogates._chaos import PolynomialChaos
from sensijax.sensitivity.surrogates._surface import Surface


@dataclasses.dataclass(frozen=True, eq=False)
class Steepest:
    """The place of a surface at which its response changes fastest.

    Attributes:
      names: of the d stressors.
      severity: float64 `[d]`.
      interval: float64 `[d, 2]`, of the place over other examples; NaN where the surrogate is no polynomial chaos.
      slope: size of the gradient there, response per unit of severity along `direction`.
      slope_interval: float64 `[2]`.
      direction: float64 `[d]`, of length 1: the mix of stressors along which it rises fastest.
      sharpness: slope over the mean slope of the box: 1 for a plane, large for a cliff.
      at_edge: whether it lies on the box's boundary.
      cross_validated: of the surrogate; above 0.1 the place is no better known than the surface.
    """

    names: tuple[str, ...]
    severity: np.ndarray
    interval: np.ndarray
    slope: float
    slope_interval: np.ndarray
    direction: np.ndarray
    sharpness: float
    at_edge: bool
    cross_validated: float


def steepest(
    surface: Surface, *, level: float = 0.95, resamples: int = 200, nodes: int = 2048, seed: int = 0
) -> Steepest:
    """Where a surface is steepest, with a bootstrap interval over examples.

    The surrogate's terms stay; its coefficients are fitted anew to the mean of each resample of the examples.

    Args:
      surface: from `surface`.
      level: of the intervals, in (0, 1).
      resamples: of the examples, >= 50.
      nodes: places looked at, about.
      seed: of the resampling.

    Returns:
      A `Steepest`.

    Raises:
      ArgumentError: if an option does not fit.

    Example:
      >>> steepest(surface(model, scales, key, x, y)).severity   # doctest: +SKIP
    """
    if not 0 < level < 1:
        raise ArgumentError("level", level, "a confidence level lies strictly between 0 and 1")
    if resamples < 50:
        raise ArgumentError("resamples", resamples, "at least 50")
    ends = _ends(surface)
    places = _places(ends, nodes)
    slopes = surface.surrogate.gradient(places)
    size = np.linalg.norm(slopes, axis=-1)
    top = int(size.argmax())
    interval, slope_interval = np.full((len(ends), 2), np.nan), np.full(2, np.nan)
    if isinstance(surface.surrogate, PolynomialChaos):
        ((basis, coefficients),) = surface.surrogate.expansions
        terms = basis.terms(surface.severities)
        _, derivatives, scale = basis.derivatives(places)
        each = surface.each
        n = each.shape[1]
        weights = np.random.default_rng((seed, 0x726964676573)).multinomial(n, np.full(n, 1 / n), resamples) / n
        moved = each @ weights.T - surface.values[:, None]  # [m, resamples]
        change = np.linalg.lstsq(terms, moved, rcond=None)[0].T
        tops, heights = np.empty(resamples, int), np.empty(resamples)
        for r in range(resamples):
            own = np.linalg.norm((derivatives @ (coefficients + change[r])) * scale, axis=-1)
            tops[r], heights[r] = own.argmax(), own.max()
        tails = [(1 - level) / 2, (1 + level) / 2]
        interval = np.quantile(places[tops], tails, axis=0).T
        slope_interval = np.quantile(heights, tails)
    return Steepest(
        surface.names,
        places[top],
        interval,
        float(size[top]),
        slope_interval,
        slopes[top] / size[top],
        float(size[top] / size.mean()),
        bool(((places[top] == 0) | (places[top] == ends)).any()),
        surface.cross_validated,
    )


def creases(surface: Surface, *, nodes: int = 4096, step: float = 0.02) -> Any:
    """The surrogate's thresholds and ridges: where it is steepest along its own slope, and where it crests.

    A place is on a threshold if the slope is larger there than a step up and a step down its own direction, and above
    the mean slope of the box. It is on a ridge if the strongest curvature there is downward, and above the mean,
    and the response is higher than a step to either side along it.

    Args:
      surface: from `surface`.
      nodes: places looked at, about.
      step: of the comparison, as a share of each axis.

    Returns:
      A pandas table with a row for each such place: a column for each stressor, kind ("threshold" or "ridge"),
      response, slope; the steepest first.

    Raises:
      ArgumentError: if the step is not in (0, 0.5).

    Example:
      >>> creases(surface(model, scales, key, x, y)).query("kind == 'threshold'")   # doctest: +SKIP
    """
    import pandas as pd

    if not 0 < step < 0.5:
        raise ArgumentError("step", step, "a share of each axis, in (0, 0.5)")
    ends = _ends(surface)
    places = _places(ends, nodes)
    places = places[((places >= step * ends) & (places <= (1 - step) * ends)).all(axis=1)]
    fit = surface.surrogate

    def slope(x: np.ndarray) -> np.ndarray:  # per share of each axis, so that axes of any unit compare
        return fit.gradient(x) * ends

    here = slope(places)
    size = np.linalg.norm(here, axis=-1)
    along = here / np.maximum(size, 1e-300)[:, None] * step * ends
    beside = [np.linalg.norm(slope(places + sign * along), axis=-1) for sign in (1, -1)]
    threshold = (size > beside[0]) & (size > beside[1]) & (size > size.mean())
    d = len(ends)
    hessian = np.stack([(slope(places + h) - slope(places - h)) / 1e-3 for h in 5e-4 * np.diag(ends)], axis=-1).reshape(
        len(places), d, d
    )
    bend, axes = np.linalg.eigh((hessian + hessian.swapaxes(1, 2)) / 2)
    across = axes[:, :, 0] * step * ends
    height = fit.predict(places)
    curved = -bend[:, 0] >= np.abs(bend).max(axis=1)
    curved &= -bend[:, 0] > np.abs(bend).mean()
    crest = curved & (height > fit.predict(places + across)) & (height > fit.predict(places - across))
    rows = []
    for kind, on in (("threshold", threshold), ("ridge", crest)):
        for i in np.flatnonzero(on):
            rows.append([*places[i], kind, height[i], np.linalg.norm(here[i] / ends)])
    table = pd.DataFrame(rows, columns=[*surface.names, "kind", "response", "slope"])
    return table.sort_values("slope", ascending=False, kind="stable").reset_index(drop=True)


def _ends(surface: Surface) -> np.ndarray:
    return np.array([distribution.support[1] for distribution in surface.space.inputs.values()])


def _places(ends: np.ndarray, nodes: int) -> np.ndarray:
    each = max(3, round(nodes ** (1 / len(ends))))
    axes = np.meshgrid(*(np.linspace(0, end, each) for end in ends), indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=-1)
