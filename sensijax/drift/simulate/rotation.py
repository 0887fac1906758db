"""Concept drift by geometry: the boundary between the classes turns."""

import dataclasses
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static
from sensijax.drift.simulate._drift import Drift
from sensijax.drift.simulate._features import columns
from sensijax.drift.simulate._validate import check_finite, check_numbers, classes_of
from sensijax.drift.simulate.direction import principal_components

_SHRINKAGE = 1e-3  # of the within-class covariance towards the identity, so that it can be inverted


class BoundaryRotation(Drift):
    """Labels as if the boundary between the classes had turned by strength x angle, in the plane where they differ.

    A linear discriminant (LDA, in closed form) is fitted to the principal components of the data, each scaled to
    variance 1. Its boundaries are turned about the mean example. Where an example comes to lie on the other side, in
    the region of class b instead of a, the names a and b change places for it: so labels that the linear boundary
    does not explain stay as far from explained as they were. Each example changes once, at the angle at which the
    first boundary passes it, and keeps that name: what has changed at a strength has so at a larger one.

    With two classes as likely, of which a straight line through the mean decides, and normal inputs, a fraction
    strength x angle / pi of the examples changes.

    Attributes:
      strength: in [0, 1].
      angle: in [0, pi], in radians; the turn at strength 1.
      components: how many principal components the discriminant may see, at most.
      centre: float32 `[D]`; scorer: float32 `[K, D]`; bias: float32 `[K]`; plane: float32 `[2, D]`; loadings: float32
        `[K, 2]`. The score of class k is scorer[k] . (x - centre) + bias[k], of which loadings[k] . plane (x - centre)
        turns; learned.

    Reference:
      Hulten, Spencer and Domingos, "Mining time-changing data streams", KDD 2001: the rotating hyperplane, here on
      data of your own. Hastie, Tibshirani and Friedman, "The elements of statistical learning" (2009), section 4.3.

    Example:
      >>> from sensijax.drift import shift
      >>> x = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
      >>> data = Dataset(x, (x[:, 0] > 0).astype(int))
      >>> quarter = shift(BoundaryRotation(strength=0.5, angle=np.pi / 2), jax.random.key(0), data)
      >>> bool(0.2 < np.mean(quarter.y != data.y) < 0.3)
      True
    """

    angle: Float[Array, ""] = np.pi / 2  # type: ignore[assignment]
    components: int = static(default=32)
    centre: Float[Array, "d"] | None = None
    scorer: Float[Array, "k d"] | None = None
    bias: Float[Array, "k"] | None = None
    plane: Float[Array, "2 d"] | None = None
    loadings: Float[Array, "k 2"] | None = None

    changes: ClassVar[tuple[str, ...]] = ("labels",)
    deterministic: ClassVar[bool] = True

    def __post_init__(self):
        check_numbers("strength", self.strength, 0, 1)
        check_numbers("angle", self.angle, 0, np.pi + 1e-6)
        if self.components < 2:
            raise ArgumentError("components", self.components, "2 or more: a boundary turns in a plane")

    def fit(self, data: Dataset) -> Self:
        counts = classes_of(data, "a boundary lies between classes")
        if (counts > 0).sum() < 2:
            raise ArgumentError("data.y", f"class {data.y[0]} only", "examples of two classes or more")
        check_finite(data)
        x = columns(data)
        centre = x.mean(axis=0, dtype=np.float64)
        # As many components as there are, less those in which there is only rounding.
        variances, vectors = principal_components(x, min(self.components, x.shape[1] - (x.shape[1] > 512), len(x) - 1))
        kept = variances > 1e-9 * variances[0]
        if kept.sum() < 2:
            raise ArgumentError("data.x", f"{kept.sum()} direction in which the data vary", "2 or more: a plane")
        whiten = vectors[kept] / np.sqrt(variances[kept])[:, None]  # [r, D]
        z = x @ whiten.T - centre @ whiten.T
        scorer, bias, means = _discriminant(z, data.y, counts)
        plane = _plane(means, counts)
        return dataclasses.replace(  # type: ignore[type-var]
            self,
            centre=centre.astype(np.float32),
            scorer=(scorer @ whiten).astype(np.float32),
            bias=np.where(counts > 0, bias, -np.inf).astype(np.float32),
            plane=(plane @ whiten).astype(np.float32),
            loadings=(scorer @ plane.T).astype(np.float32),
        )

    def labels(self, key: Array, x: Array, y: Array, ids: Array) -> Array:
        y = jnp.asarray(y)
        exact = jax.lax.Precision.HIGHEST
        away = jnp.reshape(x, (len(x), -1)).astype(jnp.float32) - jnp.asarray(self.centre)[None]
        scores = jnp.matmul(away, jnp.asarray(self.scorer).T, precision=exact) + jnp.asarray(self.bias)[None]
        u, v = jnp.matmul(away, jnp.asarray(self.plane).T, precision=exact).T  # [N] each
        own = jnp.argmax(scores, axis=1)
        loadings = jnp.asarray(self.loadings)
        a = loadings[own][:, None] - loadings[None]  # [N, K, 2]: the own class less the others
        # While the boundary turns by t, the lead over class k is rest + along cos t + across sin t.
        along = a[..., 0] * u[:, None] + a[..., 1] * v[:, None]
        across = a[..., 0] * v[:, None] - a[..., 1] * u[:, None]
        lead = jnp.take_along_axis(scores, own[:, None], axis=1) - scores
        rest = lead - along
        # It is 0 or more at t = 0, and first becomes negative at the end of the arc around its largest value.
        size = jnp.hypot(along, across)
        reached = (size > jnp.abs(rest)) & (own[:, None] != jnp.arange(len(loadings))[None]) & jnp.isfinite(lead)
        ratio = jnp.where(reached, -rest / jnp.where(size > 0, size, 1), 0)
        turn = jnp.maximum(jnp.arctan2(across, along) + jnp.arccos(jnp.clip(ratio, -1, 1)), 0)
        turn = jnp.where(reached, turn, jnp.inf)
        other = jnp.argmin(turn, axis=1)
        changed = (turn.min(axis=1) < self.strength * self.angle) & (jnp.asarray(self.strength) > 0)
        swapped = jnp.where(y == own, other, jnp.where(y == other, own, y))
        return jnp.where(changed, swapped, y).astype(jnp.int32)


def _discriminant(z: np.ndarray, y: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """LDA: scorers `[K, r]`, biases `[K]` and the class means `[K, r]`; rows of absent classes are 0."""
    k, r = len(counts), z.shape[1]
    means = np.zeros((k, r))
    np.add.at(means, y, z)
    means = means / np.maximum(counts, 1)[:, None]
    within = z - means[y]
    covariance = within.T @ within / len(z)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.eye(r)
    scorer = np.linalg.solve(covariance, means.T).T
    bias = np.log(np.maximum(counts, 1) / counts.sum()) - 0.5 * (scorer * means).sum(axis=1)
    return scorer, bias, means


def _plane(means: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Two orthonormal rows `[2, r]`: where the class means spread most, and next most.

    With two classes there is no next: then the principal component with the largest variance, less the first row.
    """
    spread = means * np.sqrt(counts / counts.sum())[:, None]
    _, sizes, rows = np.linalg.svd(spread, full_matrices=False)
    if sizes[0] <= 1e-9:
        raise ArgumentError("data.x", "classes with the same mean", "classes between which there is a linear boundary")
    first = rows[0] * np.sign(rows[0][np.abs(rows[0]).argmax()])
    if len(sizes) > 1 and sizes[1] > 1e-6 * sizes[0]:
        return np.stack([first, rows[1] * np.sign(rows[1][np.abs(rows[1]).argmax()])])
    # The first principal component that is not nearly the first row itself.
    rest = np.eye(len(first)) - np.outer(first, first)
    lengths = np.linalg.norm(rest, axis=1)
    second = rest[int(np.argmax(lengths > 0.1))]
    return np.stack([first, second / np.linalg.norm(second)])
