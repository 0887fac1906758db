"""Which parts of a severity box a model survives: robust, fragile, undecided."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError, Model
from sensijax.core.rows import chunks
from sensijax.measure import paired_bootstrap, verdict
from sensijax.sensitivity.derivatives._coupling import refuse_coupling
from sensijax.sensitivity.derivatives._pure import batch, program, pure
from sensijax.sensitivity.severities._stress import example_keys, labels, require_logits, scales_of
from sensijax.sensitivity.surrogates._box import in_box


@dataclasses.dataclass(frozen=True, eq=False)
class SeverityRegions:
    """Accuracy over a grid of severities, and what its intervals say.

    Attributes:
      names: of the d stressors.
      grid: d arrays of severities, each from 0.
      accuracy: float64, one axis for each stressor.
      drop, low, high: clean accuracy minus accuracy, of the same shape, with the paired interval at `level`.
      verdict: strings of the same shape: "robust" where the whole interval is at most the tolerance, "fragile" where it
        is above, else "undecided". Each node is judged for itself, at the level.
      share: verdict to its share of the box's volume, a node standing for its surroundings.
      robust_box: name to severity: the largest box from the origin all of whose nodes are robust.
      tolerance: the acceptable drop.
      level: of the intervals.
      nonfinite: rows whose outputs are not finite, which count as wrong.
    """

    names: tuple[str, ...]
    grid: tuple[np.ndarray, ...]
    accuracy: np.ndarray
    drop: np.ndarray
    low: np.ndarray
    high: np.ndarray
    verdict: np.ndarray
    share: Mapping[str, float]
    robust_box: Mapping[str, float]
    tolerance: float
    level: float
    nonfinite: int

    def frame(self) -> Any:
        """A pandas table with a row for each node: a column for each stressor, accuracy, drop, interval, verdict."""
        import pandas as pd

        axes = np.meshgrid(*self.grid, indexing="ij")
        columns = {name: axis.ravel() for name, axis in zip(self.names, axes, strict=True)}
        values = ("accuracy", "drop", "low", "high", "verdict")
        return pd.DataFrame(columns | {name: getattr(self, name).ravel() for name in values})


def severity_regions(
    model: Model | Callable,
    scales: Mapping[str, Any],
    key: jax.Array,
    x: Any,
    y: Any,
    *,
    top: float | Mapping[str, float] = 5.0,
    points: int = 6,
    tolerance: float = 0.05,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    chunk: int = 256,
) -> SeverityRegions:
    """Robust and fragile regions of the box spanned by several stressors' severities.

    Every node of a grid is evaluated on every example, with the same random draws everywhere, and judged by the paired
    bootstrap of its drop in accuracy: by intervals, never by means.

    Args:
      model: a `Model` that returns logits `[B, K]`, or such a function.
      scales: name to a perturbation class (or anything with `.at`); they act in this order.
      key: a typed key, folded with each example's place; or one key for each example.
      x: floating batch `[B, ...]`, B >= 2.
      y: integer labels `[B]`.
      top: the end of every axis, or one for each name.
      points: nodes along an axis, from 0 to its end, >= 2; `points ** d` nodes in all.
      tolerance: the drop in accuracy that is acceptable, in (0, 1).
      options: name to what is passed to that scale's `.at`.
      level: of the intervals, in (0, 1).
      resamples: of the bootstrap, >= 100.
      chunk: rows (example at node) computed at once.

    Returns:
      A `SeverityRegions`.

    Raises:
      ArgumentError: if an argument does not fit, or the grid has more than 100,000 nodes.

    Example:
      >>> from sensijax.perturb import image
      >>> def dark(x):  # class 1 as soon as the image's mean passes 0.75
      ...     return jnp.stack([jnp.full(len(x), 0.75), x.mean(axis=(1, 2, 3))], axis=1)
      >>> x, y = jnp.full((200, 8, 8, 1), 0.5), np.zeros(200, int)
      >>> found = severity_regions(dark, {"light": image.Brightness}, jax.random.key(0), x, y)
      >>> found.verdict.tolist(), found.robust_box
      (['robust', 'robust', 'robust', 'fragile', 'fragile', 'fragile'], {'light': 2.0})
    """
    stressors = scales_of(scales, options or {})
    d = len(stressors)
    ends = dict(top) if isinstance(top, Mapping) else dict.fromkeys(scales, float(top))
    if set(ends) != set(scales):
        raise ArgumentError("top", sorted(ends), f"an end for each of {', '.join(scales)}")
    if points < 2 or points**d > 100_000:
        raise ArgumentError("points", points, f"2 or more, and points ** {d} at most 100,000 nodes")
    for name, scale, chosen in stressors:
        if not ends[name] > 0:
            raise ArgumentError(f"top[{name!r}]", ends[name], "a severity > 0")
        scale.at(ends[name], **dict(chosen))
    function = pure(model, "model")
    x, spec = batch(function, x)
    n, keys = len(x), example_keys(key, len(x))
    y = labels(y, n, require_logits(spec, function.name))
    refuse_coupling(function, x)

    grid = tuple(np.linspace(0, ends[name], points) for name in scales)
    nodes = np.stack([axis.ravel() for axis in np.meshgrid(*grid, indexing="ij")], axis=1)
    run = program(_right, function, stressors)

    def rows() -> Iterator[np.ndarray]:
        width = min(chunk, len(nodes) * n)
        for part, valid in chunks(len(nodes) * n, width):
            node, example = np.divmod(part, n)
            at = jnp.asarray(nodes[node], jnp.float32)
            yield np.asarray(run(function.params, at, keys[example], x[example], y[example]))[:valid]

    answer = np.concatenate(list(rows())).reshape(len(nodes), n)
    right = answer == 1
    clean = right[0].astype(np.int8)  # the first node is the origin
    found = paired_bootstrap(
        (clean[None] - right.astype(np.int8))[:, None], binary=True, level=level, resamples=resamples
    )
    shape = (points,) * d
    verdicts = [str(verdict(a, b, tolerance)) for a, b in zip(found.low, found.high, strict=True)]
    verdicts = np.array(verdicts).reshape(shape)
    weight = _weights(grid)
    share = {name: float(weight[verdicts == name].sum()) for name in ("robust", "undecided", "fragile")}
    return SeverityRegions(
        names=tuple(scales),
        grid=grid,
        accuracy=right.mean(axis=1).reshape(shape),
        drop=np.reshape(found.mean, shape),
        low=np.reshape(found.low, shape),
        high=np.reshape(found.high, shape),
        verdict=verdicts,
        share=share,
        robust_box=_robust_box(tuple(scales), grid, verdicts == "robust"),
        tolerance=tolerance,
        level=level,
        nonfinite=int((answer < 0).sum()),
    )


def _weights(grid: tuple[np.ndarray, ...]) -> np.ndarray:
    """The share of the box nearest to each node (the trapezoidal rule)."""
    weight = np.ones(())
    for axis in grid:
        edge = np.ones(len(axis))
        edge[[0, -1]] = 0.5
        weight = weight[..., None] * (edge / edge.sum())
    return weight


def _robust_box(names: tuple[str, ...], grid: tuple[np.ndarray, ...], robust: np.ndarray) -> dict[str, float]:
    """The corner of the largest box from the origin whose nodes are all robust; all 0 if there is none."""
    whole = robust
    for axis in range(robust.ndim):
        whole = np.logical_and.accumulate(whole, axis=axis)
    # Between boxes that are flat along some axis the number of nodes decides.
    places = np.stack(np.meshgrid(*(np.arange(1, len(axis) + 1) for axis in grid), indexing="ij"))
    best = np.unravel_index(np.argmax(np.where(whole, places.prod(axis=0), 0)), robust.shape)
    return {name: float(axis[i]) for name, axis, i in zip(names, grid, best, strict=True)}


def _right(apply: Callable, scales: tuple) -> Callable:
    """1 where the prediction is the label, 0 where not, -1 where an output is not finite."""

    def judged(logits: jax.Array, y: jax.Array) -> jax.Array:
        right = (jnp.argmax(logits).astype(jnp.int32) == y).astype(jnp.int32)
        return jnp.where(jnp.isfinite(logits).all(), right, jnp.int32(-1))

    return jax.jit(in_box(apply, scales, judged))
