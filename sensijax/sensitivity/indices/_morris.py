"""Morris' elementary effects: which of many inputs matter at all, at a few evaluations for each."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import stdtrit

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._interval import fraction
from sensijax.sensitivity.indices._result import Result, given_sample, squeezed
from sensijax.sensitivity.indices._space import Space, Transform, float_dtype, independent
from sensijax.sensitivity.indices._stream import as_vector, check_threefry, output_shape


@dataclasses.dataclass(frozen=True, eq=False)
class MorrisResult(Result):
    """Statistics of elementary effects; a trailing `[k]` where f has one.

    An elementary effect is the change of the output for a step of p / (2 (p - 1)) of the unit interval, per unit.

    Attributes:
      mu_star: float64 `[G]`, the mean absolute effect: how much an input matters.
      mu: float64 `[G]`, the mean effect; NaN for a group of several inputs, where signs have no meaning.
      sigma: float64 `[G]`, the standard deviation of effects: large where an input interacts or is nonlinear; NaN for a
        group of several inputs.
      mu_star_interval, mu_interval: float64 `[G, 2]`, Student's t over trajectories.
      names: of inputs or groups.
      n_evaluations: how often f was evaluated.
      n_excluded: trajectories left out because an output is not finite.
      level: of the intervals.
    """

    mu_star: np.ndarray
    mu: np.ndarray
    sigma: np.ndarray
    mu_star_interval: np.ndarray
    mu_interval: np.ndarray
    names: tuple[str, ...]
    n_evaluations: int
    n_excluded: int
    level: float

    def _plotted(self) -> tuple[str, ...]:
        return ("mu_star",)


def morris(
    f: Callable[[Any], Any],
    space: Any,
    *,
    key: jax.Array,
    n: int = 32,
    levels: int = 4,
    candidates: int | None = None,
    level: float = 0.95,
    exclude_nonfinite: bool = False,
    chunk: int = 64,
) -> MorrisResult:
    """Elementary effects along random trajectories through a grid, by inputs or groups of inputs.

    A trajectory starts at a random point of a grid of `levels` levels, and moves each group once, in random order, by
    half the grid. Levels are quantiles: for a bounded input 0, 1/(p-1), ..., 1; for an unbounded one, which has no
    value at 0 and 1, the middles of p equal parts.

    Args:
      f: pure; takes one point `[d]`, returns a real scalar or `[k]`.
      space: `{name: distribution}`, or a `Space` (correlation only inside groups).
      key: a typed Threefry key; trajectory t is a function of it and t.
      n: trajectories, >= 2; f is evaluated n (G + 1) times.
      levels: p, even, >= 2.
      candidates: draw as many trajectories, and run the n of them that lie furthest apart, chosen one after the other.
        The choice favours corners: effects are then no random sample, and intervals are only a guide.
      level: of the intervals.
      exclude_nonfinite: leave out, and count, trajectories with an output that is not finite, instead of raising.
      chunk: trajectories computed at once.

    Returns:
      A `MorrisResult`.

    Raises:
      ArgumentError: if inputs of different groups are correlated, `levels` is odd, an output is not finite, or fewer
        candidates than trajectories are given.

    Reference:
      Morris, "Factorial sampling plans for preliminary computational experiments", Technometrics 33 (1991). Campolongo,
      Cariboni and Saltelli, "An effective screening design for sensitivity analysis of large models", Environmental
      Modelling and Software 22 (2007), for mu_star, groups and candidates; Ruano, Ribes, Seco and Ferrer, same journal
      37 (2012), for choosing them one by one.

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> space = {"x": Uniform(0, 1), "y": Uniform(0, 1)}
      >>> morris(lambda x: 3 * x[0] - x[1], space, key=jax.random.key(0)).mu_star.round(3).tolist()
      [3.0, 1.0]
    """
    space = independent(space, "morris")
    check_threefry(key)
    if not isinstance(n, int) or n < 2:
        raise ArgumentError("n", n, "at least 2 trajectories")
    if not isinstance(levels, int) or levels < 2 or levels % 2:
        raise ArgumentError("levels", levels, "an even number, at least 2")
    if candidates is not None and candidates < n:
        raise ArgumentError("candidates", candidates, f"at least as many as trajectories: {n}")
    shape, groups = output_shape(f, space.dimension), len(space.group_names)
    bounded = tuple(all(np.isfinite(x.support)) for x in space.inputs.values())
    walk = Walk(space.membership, bounded, levels)
    chosen = np.arange(n, dtype=np.uint32) if candidates is None else _spread(walk, key, candidates, n)
    static = dict(function=f, walk=walk)
    parts = []
    for start in range(0, n, chunk):
        some = chosen[np.minimum(np.arange(start, start + min(chunk, n)), n - 1)]
        parts.append(np.asarray(_effects(space.transform(), key, jnp.asarray(some), **static), np.float64))
    effects = np.concatenate(parts)[:n]
    finite = np.isfinite(effects).all(axis=(1, 2))
    if not finite.all() and not exclude_nonfinite:
        raise ArgumentError(
            "f",
            f"outputs that are not finite on {(~finite).sum()} of {n} trajectories, first on {int(np.argmin(finite))}",
            "mend the model or the bounds, or pass exclude_nonfinite=True to leave these trajectories out",
        )
    sizes = np.bincount(space.membership)
    names = space.group_names
    return _statistics(effects[finite], sizes, names, n * (groups + 1), int((~finite).sum()), fraction(level), shape)


def morris_given(x: Any, y: Any, space: Any = None, *, levels: int = 4, level: float = 0.95) -> MorrisResult:
    """Statistics of elementary effects from trajectories that were computed elsewhere.

    mu, mu_star and sigma equal SALib 1.6.0's `analyze.morris` (not `scaled`) to rounding, except mu of a group of
    several inputs: there SALib averages effects of different signs, here it is NaN. Intervals are Student's t, not a
    bootstrap.

    Args:
      x: `[n (G + 1), d]`, trajectories one after the other; each step moves the inputs of one group.
      y: `[n (G + 1)]` or `[n (G + 1), k]`, outputs.
      space: names, distributions or a `Space` with groups; every column by itself if absent.
      levels: p of the grid, which decides the step that a change of the output is divided by.
      level: of the intervals.

    Returns:
      A `MorrisResult`.

    Raises:
      ArgumentError: if rows do not fit, or a step does not move exactly one group that had not moved.

    Example:
      >>> x = np.array([[0, 0], [1, 0], [1, 1]] * 2)
      >>> morris_given(x, x @ [3.0, -1.0], levels=2).mu.tolist()
      [3.0, -1.0]
    """
    x, y, names, shape = given_sample(x, y, space)
    member = np.asarray(space.membership) if isinstance(space, Space) else np.arange(len(names))
    names = space.group_names if isinstance(space, Space) else names
    rows = len(names) + 1
    if len(x) % rows or len(x) < 2 * rows:
        raise ArgumentError("x", f"{len(x)} rows", f"n (G + 1), a multiple of {rows}, for at least 2 trajectories")
    x, y = x.reshape(-1, rows, x.shape[1]), y.reshape(len(x) // rows, rows, -1)
    moved = np.diff(x, axis=1) != 0  # [n, G, d]
    by_group = np.stack([moved[:, :, member == g].any(axis=-1) for g in range(len(names))], axis=-1)
    if not (by_group.sum(axis=1) == 1).all() or not (by_group.sum(axis=2) == 1).all():
        raise ArgumentError("x", "a step that moves no group, or several", "trajectories move each group once")
    direction = np.sign(np.take_along_axis(np.diff(x, axis=1), moved.argmax(axis=-1)[..., None], axis=-1))
    change = np.diff(y, axis=1) * direction / _step(levels)
    order = by_group.argmax(axis=1)  # [n, G]: at which step each group moves
    effects = np.take_along_axis(change, order[:, :, None], axis=1)
    return _statistics(effects, np.bincount(member), names, y.shape[0] * rows, 0, fraction(level), shape)


@dataclasses.dataclass(frozen=True)
class Walk:
    """Random trajectories.

    Attributes:
      membership: the group of each input, `[d]`.
      bounded: whether an input has two finite bounds, `[d]`.
      levels: p.
    """

    membership: tuple[int, ...]
    bounded: tuple[bool, ...]
    levels: int

    def __call__(self, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """A trajectory as numbers of levels `[G + 1, d]`; at which step each group moves `[G]`; and which way `[d]`."""
        groups, d, half = max(self.membership) + 1, len(self.membership), self.levels // 2
        base, way, order = jax.random.split(key, 3)
        low = jax.random.randint(base, (d,), 0, half)
        down = jax.random.bernoulli(way, shape=(d,))
        at = jax.random.permutation(order, groups)
        moved = at[np.asarray(self.membership)][None, :] < jnp.arange(groups + 1)[:, None]
        return low[None] + half * (moved ^ down[None]).astype(jnp.int32), at, jnp.where(down, -1, 1)

    def unit(self, level: jax.Array) -> jax.Array:
        """Numbers of levels as points of the unit cube."""
        p, dtype = self.levels, float_dtype()
        value = level.astype(dtype)
        middle = (value + jnp.asarray(0.5, dtype)) / p
        return jnp.where(jnp.asarray(self.bounded), value / max(p - 1, 1), middle)


@functools.partial(jax.jit, static_argnames=("function", "walk"))
def _effects(transform: Transform, key: jax.Array, numbers: jax.Array, *, function: Any, walk: Walk) -> jax.Array:
    """Elementary effects `[n, G, k]` of the trajectories with these numbers."""
    level, at, way = jax.vmap(lambda number: walk(jax.random.fold_in(key, number)))(numbers)
    n, rows, d = level.shape
    x = transform(walk.unit(level.reshape(-1, d)).T)
    y = jax.vmap(lambda point: as_vector(function(point)), in_axes=1)(x).astype(x.dtype).reshape(n, rows, -1)
    change = jnp.take_along_axis(y[:, 1:] - y[:, :-1], at[:, :, None], axis=1)
    first = np.asarray([walk.membership.index(g) for g in range(rows - 1)])
    return change * way[:, first, None].astype(x.dtype) / jnp.asarray(_step(walk.levels), x.dtype)


@functools.partial(jax.jit, static_argnames="walk")
def _paths(key: jax.Array, numbers: jax.Array, *, walk: Walk) -> jax.Array:
    """Trajectories in the unit cube: `[n, G + 1, d]`."""
    return jax.vmap(lambda number: walk.unit(walk(jax.random.fold_in(key, number))[0]))(numbers)


def _step(levels: int) -> float:
    return levels / (2 * (levels - 1))


def _spread(walk: Walk, key: jax.Array, candidates: int, n: int) -> np.ndarray:
    """Numbers of the n trajectories that lie far apart: the furthest pair, then always the one that adds most."""
    from scipy.spatial.distance import cdist  # start-up that nothing else needs

    path = np.asarray(_paths(key, jnp.arange(candidates, dtype=jnp.uint32), walk=walk), np.float64)
    distance = np.zeros((candidates, candidates))
    flat = path.reshape(-1, path.shape[-1])
    for i in range(candidates):
        distance[i] = cdist(path[i], flat).sum(axis=0).reshape(candidates, -1).sum(axis=1)
    np.fill_diagonal(distance, 0)
    square = distance**2
    chosen = [int(i) for i in np.unravel_index(np.argmax(square), square.shape)]
    while len(chosen) < n:
        gain = square[:, chosen].sum(axis=1)
        gain[chosen] = -1
        chosen.append(int(np.argmax(gain)))
    return np.asarray(chosen, np.uint32)


def _statistics(
    effects: np.ndarray,
    sizes: np.ndarray,
    names: tuple[str, ...],
    n_evaluations: int,
    n_excluded: int,
    level: float,
    shape: tuple[int, ...],
) -> MorrisResult:
    n = len(effects)
    if n < 2:
        raise ArgumentError("f", f"{n} trajectories with finite outputs", "at least 2")
    alone = (sizes == 1)[:, None]
    half = stdtrit(n - 1, (1 + level) / 2) / np.sqrt(n)
    size = np.abs(effects)
    mu_star, mu = size.mean(axis=0), np.where(alone, effects.mean(axis=0), np.nan)
    sigma = np.where(alone, effects.std(axis=0, ddof=1), np.nan)

    def bounds(centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
        return squeezed(np.stack([centre - half * spread, centre + half * spread], axis=1), shape)

    return MorrisResult(
        mu_star=squeezed(mu_star, shape),
        mu=squeezed(mu, shape),
        sigma=squeezed(sigma, shape),
        mu_star_interval=bounds(mu_star, size.std(axis=0, ddof=1)),
        mu_interval=bounds(mu, sigma),
        names=names,
        n_evaluations=n_evaluations,
        n_excluded=n_excluded,
        level=level,
    )
