"""Shapley effects: shares of the variance that sum to one, for dependent inputs too."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.indices._interval import Bootstrap, Jackknife, around, fraction
from sensijax.sensitivity.indices._points import Random, ScrambledSobol
from sensijax.sensitivity.indices._result import Result, refuse_constant, squeezed
from sensijax.sensitivity.indices._saltelli import merge
from sensijax.sensitivity.indices._space import Transform, as_space
from sensijax.sensitivity.indices._stream import as_vector, output_shape, stream

_MOST_CORRELATED = 64


@dataclasses.dataclass(frozen=True, eq=False)
class ShapleyResult(Result):
    """Shapley effects with intervals; a trailing `[k]` where f has one.

    Attributes:
      effect: float64 `[G]`, the share of the variance that is an input's (or a group's); they sum to 1.
      effect_interval: float64 `[G, 2]`, low and high.
      mean, variance: float64 of the output.
      names: of inputs or groups.
      n_evaluations: how often f was evaluated.
      n_excluded: points left out because an output is not finite.
      level: of the intervals.
    """

    effect: np.ndarray
    effect_interval: np.ndarray
    mean: Any
    variance: Any
    names: tuple[str, ...]
    n_evaluations: int
    n_excluded: int
    level: float


@dataclasses.dataclass(frozen=True)
class ShapleyDesign:
    """A `Design` of a walk from one point to another, in a random order of groups.

    Row j has the first j groups of the order as in A; the others are drawn again, given those. In standard normal
    scores that is one Cholesky factor of the correlation in that order: its first columns are A's, the rest B's.

    Attributes:
      membership: the group of each input, `[d]`.
      correlated: whether inputs are.
    """

    membership: tuple[int, ...]
    correlated: bool

    wide = False

    @property
    def groups(self) -> int:
        return max(self.membership) + 1

    @property
    def rows(self) -> int:
        return self.groups + 1

    @property
    def draws(self) -> int:
        return 2 * len(self.membership) + self.groups

    def prepare(self, transform: Transform, u: jax.Array, index: jax.Array) -> Any:
        d = len(self.membership)
        # The ranks of uniform numbers are a random order.
        rank = jnp.argsort(jnp.argsort(u[2 * d :], axis=0), axis=0).astype(jnp.int32)
        if not self.correlated:
            return transform(u[:d]), transform(u[d : 2 * d]), rank
        # Inputs in the order of their groups' ranks; `place` is where each input stands in it.
        order = jnp.argsort(rank[np.asarray(self.membership)], axis=0, stable=True)  # [d, m]
        place = jnp.argsort(order, axis=0)
        correlation = jnp.matmul(transform.cholesky, transform.cholesky.T, precision="highest").astype(u.dtype)
        permuted = correlation[order.T[:, :, None], order.T[:, None, :]]
        factor = jnp.linalg.cholesky(permuted)  # [m, d, d]
        position = jnp.take_along_axis(rank[np.asarray(self.membership)], order, axis=0)
        return ndtri(u[:d]), ndtri(u[d : 2 * d]), rank, factor, place, position, transform

    def inputs(self, prepared: Any, numbers: jax.Array) -> jax.Array:
        if not self.correlated:
            a, b, rank = prepared
            kept = rank[np.asarray(self.membership)][:, None, :] < numbers[None, :, None]
            return jnp.where(kept, a[:, None, :], b[:, None, :])
        a, b, _, factor, place, position, transform = prepared
        kept = position[:, None, :] < numbers[None, :, None]
        score = jnp.where(kept, a[:, None, :], b[:, None, :])
        z = jnp.einsum("mij,jgm->igm", factor, score, precision="highest")
        z = jnp.take_along_axis(z, jnp.broadcast_to(place[:, None, :], z.shape), axis=0)
        return transform.from_score(z.reshape(z.shape[0], -1)).reshape(z.shape)

    def evaluate(self, function: Callable[[Any], Any], x: jax.Array) -> tuple[jax.Array, Any]:
        return as_vector(function(x)), ()

    def sums(self, y: jax.Array, other: Any, finite: jax.Array, prepared: Any) -> Any:
        rank = prepared[2]
        last, half = y[-1:], jnp.asarray(0.5, y.dtype)
        gain = (last - half * (y[1:] + y[:-1])) * (y[1:] - y[:-1])  # [G, k, m], by place in the order
        each = jnp.take_along_axis(gain, jnp.broadcast_to(rank[:, None, :], gain.shape), axis=0)
        return {"n": finite.sum(dtype=y.dtype), "y": y[-1].sum(-1), "phi": each.sum(-1)}


def shapley_effects(
    f: Callable[[Any], Any],
    space: Any,
    *,
    key: jax.Array,
    n: int = 2**14,
    points: ScrambledSobol | Random | None = None,
    interval: Jackknife | Bootstrap | None = None,
    level: float = 0.95,
    exclude_nonfinite: bool = False,
    chunk: int | None = None,
    devices: Sequence[Any] | None = None,
) -> ShapleyResult:
    """Shapley effects, of independent inputs or inputs under a Gaussian copula.

    An input's effect is what it adds to the explained variance, averaged over all orders in which inputs may become
    known. Effects are >= 0 and sum to 1, also where inputs depend on each other, and Sobol indices do not. Each point
    walks through one random order, at G + 1 evaluations, whatever the number of groups; what is known is kept, and the
    rest is drawn from its exact conditional distribution.

    Args:
      f: pure; takes one point `[d]`, returns a real scalar or `[k]`.
      space: `{name: distribution}`, or a `Space` with any correlation and groups. Up to 64 inputs if correlated.
      key: a typed Threefry key.
      n: points (and orders), a power of two; f is evaluated n (G + 1) times.
      points, interval, level, exclude_nonfinite, chunk, devices: as for `sobol`.

    Returns:
      A `ShapleyResult`.

    Raises:
      ArgumentError: as `sobol`, but correlated inputs are welcome.

    Reference:
      Owen, "Sobol' indices and Shapley value", SIAM/ASA J. Uncertainty Quantification 2 (2014). Song, Nelson and Staum,
      "Shapley effects for global sensitivity analysis", same journal 4 (2016). Goda, "A simple algorithm for global
      sensitivity analysis with Shapley effects", Reliability Engineering and System Safety 213 (2021), whose estimator
      for independent inputs is used here with conditional draws.

    Example:
      >>> from sensijax.sensitivity import Normal, Space
      >>> space = Space({"x": Normal(0, 1), "y": Normal(0, 1)}, correlation={("x", "y"): 0.9})
      >>> shapley_effects(lambda x: x[0] + x[1], space, key=jax.random.key(0), n=2**12).effect.round(1).tolist()
      [0.5, 0.5]
    """
    space = as_space(space)
    if space.correlation is not None and space.dimension > _MOST_CORRELATED:
        right = f"at most {_MOST_CORRELATED} correlated inputs: each point factors a matrix of that size"
        raise ArgumentError("space", f"{space.dimension} inputs", right)
    points, interval, level = points or ScrambledSobol(), interval or Jackknife(), fraction(level)
    shape = output_shape(f, space.dimension)
    design = ShapleyDesign(space.membership, space.correlation is not None)
    streamed = stream(
        f, space, design, points=points, key=key, n=n, exclude_nonfinite=exclude_nonfinite, chunk=chunk, devices=devices
    )
    blocks = len(streamed.counted)
    sums = streamed.sums | {"y": streamed.sums["y"] + streamed.sums["n"][:, None] * streamed.centre}
    whole = merge(sums, np.ones((1, blocks)))
    mean, variance = whole["y"][0] / whole["n"][0], whole["phi"][0].sum(axis=0) / whole["n"][0]
    refuse_constant(variance, mean, False)
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    resampled = merge(sums, interval.weights(blocks, generator))["phi"]
    effect = whole["phi"][0] / whole["phi"][0].sum(axis=0)
    error = interval.standard_error(resampled / resampled.sum(axis=1, keepdims=True), blocks)
    return ShapleyResult(
        effect=squeezed(effect, shape),
        effect_interval=squeezed(around(effect, error, blocks, level, axis=-2), shape),
        mean=squeezed(mean, shape),
        variance=squeezed(variance, shape),
        names=space.group_names,
        n_evaluations=n * design.rows,
        n_excluded=streamed.excluded,
        level=level,
    )
