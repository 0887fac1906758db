"""Saltelli's design for Sobol indices, the sums it needs, and the indices from the sums.

For a pair of independent points A and B, AB_i is A with the inputs of group i from B, and BA_i the reverse. With
d_i = f(AB_i) - f(A) and p_i = f(BA_i) - f(B) every estimator is made of sums of f(A), f(B), d, p and their products,
in which differences are taken before anything is summed: a small index keeps its digits.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.sensitivity.indices._space import Transform
from sensijax.sensitivity.indices._stream import as_vector

Sums = dict[str, Any]
_WIDE = 32
"""From as many inputs on, an input's entries stand side by side in memory: measured."""


@dataclasses.dataclass(frozen=True)
class SaltelliDesign:
    """A `Design` of A, B, AB_1, ..., AB_G, and with second order BA_1, ..., BA_G.

    Attributes:
      membership: the group of each input, `[d]`.
      second_order: whether BA is evaluated.
    """

    membership: tuple[int, ...]
    second_order: bool

    @property
    def groups(self) -> int:
        return max(self.membership) + 1

    @property
    def rows(self) -> int:
        return 2 + self.groups * (1 + self.second_order)

    @property
    def draws(self) -> int:
        return 2 * len(self.membership)

    @property
    def wide(self) -> bool:
        return len(self.membership) > _WIDE

    def prepare(self, transform: Transform, u: jax.Array, index: jax.Array) -> Any:
        d = len(self.membership)
        a, b = transform(u[:d]), transform(u[d:])
        return (a.T, b.T) if self.wide else (a, b)

    def inputs(self, prepared: Any, numbers: jax.Array) -> jax.Array:
        a, b = prepared
        group, number = jnp.asarray(self.membership, jnp.int32)[:, None], numbers[None, :]
        mixed = jnp.where(number < 2 + self.groups, group == number - 2, group != number - 2 - self.groups)
        from_b = jnp.where(number < 2, number == 1, mixed)
        if self.wide:
            return jnp.where(from_b.T[:, None, :], b[None], a[None])
        return jnp.where(from_b[:, :, None], b[:, None, :], a[:, None, :])

    def evaluate(self, function: Callable[[Any], Any], x: jax.Array) -> tuple[jax.Array, Any]:
        return as_vector(function(x)), ()

    def sums(self, y: jax.Array, other: Any, finite: jax.Array, prepared: Any) -> Sums:
        return saltelli_sums(y, finite, self.groups, _outer)


def _outer(p: jax.Array, d: jax.Array) -> jax.Array:
    if p.shape[1] == 1:  # a batch of one costs XLA more than the product
        return jnp.matmul(p[:, 0], d[:, 0].T, precision="highest")[:, :, None]
    return jnp.einsum("jom,lom->jlo", p, d, precision="highest")


def saltelli_sums(y: Any, finite: Any, groups: int, outer: Callable[[Any, Any], Any]) -> Sums:
    """Sums over points of centred outputs y `[rows, k, m]`; for JAX and NumPy."""
    a, b, ab = y[0], y[1], y[2 : 2 + groups]
    d, e = ab - a[None], ab - b[None]
    sums = {
        "n": finite.sum(dtype=y.dtype),
        "a": a.sum(-1), "b": b.sum(-1), "aa": (a * a).sum(-1), "bb": (b * b).sum(-1),
        "d": d.sum(-1), "ad": (a[None] * d).sum(-1), "bd": (b[None] * d).sum(-1),
        "dd": (d * d).sum(-1), "ee": (e * e).sum(-1),
    }  # fmt: skip
    if len(y) > 2 + groups:
        p = y[2 + groups :] - b[None]
        sums |= {"p": p.sum(-1), "ap": (a[None] * p).sum(-1), "pd": outer(p, d)}
    return sums


@dataclasses.dataclass(frozen=True)
class Saltelli:
    """First order by Saltelli et al. (2010), E[f(B) (f(AB) - f(A))] / V; total by Jansen, E[(f(A) - f(AB))^2] / 2V.

    What SALib computes. Small first-order indices are best seen by it.

    Reference:
      Saltelli, Annoni, Azzini, Campolongo, Ratto and Tarantola, "Variance based sensitivity analysis of model output",
      Computer Physics Communications 181 (2010).

    Example:
      >>> Saltelli()
      Saltelli()
    """

    def first(self, total: Sums, variance: np.ndarray) -> np.ndarray:
        return total["bd"] / variance


@dataclasses.dataclass(frozen=True)
class Jansen:
    """First order by Jansen (1999), 1 - E[(f(B) - f(AB))^2] / 2V; total by Jansen too.

    Large first-order indices are best seen by it: the estimate of an index near 1 has almost no error.

    Reference:
      Jansen, "Analysis of variance designs for model output", Computer Physics Communications 117 (1999).

    Example:
      >>> Jansen()
      Jansen()
    """

    def first(self, total: Sums, variance: np.ndarray) -> np.ndarray:
        return 1 - total["ee"] / (2 * variance)


def merge(sums: Sums, weights: np.ndarray) -> Sums:
    """Weighted sums over blocks, `[blocks, ...]` to `[w, ...]`, for weights `[w, blocks]`."""
    return {name: np.tensordot(weights, value, axes=1) for name, value in sums.items()}


def recentred(sums: Sums, shift: np.ndarray) -> Sums:
    """The sums of outputs from which `shift` `[..., k]` more is subtracted; exact algebra, in float64."""
    n = sums["n"][..., None]
    a, b = sums["a"], sums["b"]
    out = sums | {
        "a": a - n * shift, "b": b - n * shift,
        "aa": sums["aa"] - 2 * shift * a + n * shift**2, "bb": sums["bb"] - 2 * shift * b + n * shift**2,
        "ad": sums["ad"] - shift[..., None, :] * sums["d"], "bd": sums["bd"] - shift[..., None, :] * sums["d"],
    }  # fmt: skip
    if "p" in sums:
        out["ap"] = sums["ap"] - shift[..., None, :] * sums["p"]
    return out


def mean_of(sums: Sums) -> np.ndarray:
    """The mean of all evaluations, `[..., k]`: those of A, B, AB and BA."""
    n = sums["n"][..., None]
    groups = sums["d"].shape[-2]
    total = (1 + groups) * sums["a"] + sums["b"] + sums["d"].sum(axis=-2)
    rows = 2 + groups
    if "p" in sums:
        total, rows = total + groups * sums["b"] + sums["p"].sum(axis=-2), rows + groups
    return total / (rows * n)


def indices(sums: Sums, estimator: Saltelli | Jansen) -> dict[str, np.ndarray]:
    """Indices from sums `[w, ...]`: S1 and ST `[w, G, k]`, S2 `[w, G, G, k]`; mean and variance `[w, k]`."""
    shift = mean_of(sums)
    total = recentred(sums, shift)
    n = total["n"][..., None]
    total = {name: value / (n if value.ndim == 2 else n[:, None] if value.ndim == 3 else n[:, None, None])
             for name, value in total.items() if name != "n"}  # fmt: skip
    mean = (total["a"] + total["b"]) / 2
    variance = (total["aa"] + total["bb"]) / 2 - mean**2
    each = variance[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):  # a constant output is refused, or NaN when asked for
        first = estimator.first(total, each)
        found = {"S1": first, "ST": total["dd"] / (2 * each), "mean": shift + mean, "variance": variance}
        if "p" in total:
            closed = (total["bd"][:, None] + total["ap"][:, :, None] + total["pd"]) / each[:, None]
            found["S2"] = closed - first[:, :, None] - first[:, None, :]
    return found
