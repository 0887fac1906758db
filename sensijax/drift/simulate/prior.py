"""Prior shift: the classes occur in other proportions, and each class looks as before."""

import dataclasses
from typing import ClassVar, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static
from sensijax.drift.simulate._drift import Drift


class PriorShift(Drift):
    """Another prior over the classes, reached along a straight line: (1 - strength) source + strength target.

    An example of class y weighs prior(y) / source(y), where the source is the data's own proportions.

    Attributes:
      strength: in [0, 1].
      target: the prior at strength 1, K numbers that sum to 1. Unless given, class k of K has a share in proportion to
        K - k: the first class K times that of the last.
      source: float32 `[K]`, the data's own proportions; learned.

    Reference:
      Saerens, Latinne and Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural
      Computation 14 (2002).

    Example:
      >>> data = Dataset(np.zeros((4, 1), np.float32), np.array([0, 0, 1, 1]))
      >>> PriorShift(strength=1.0, target=(0.9, 0.1)).fit(data).source.tolist()
      [0.5, 0.5]
    """

    target: tuple[float, ...] | None = static(default=None)
    source: Float[Array, "k"] | None = None

    changes: ClassVar[tuple[str, ...]] = ("weights",)
    deterministic: ClassVar[bool] = True

    def fit(self, data: Dataset) -> Self:
        if not data.is_classification:
            raise ArgumentError("data.y", "float targets: a regression", "integer labels: a prior is over classes")
        counts = np.bincount(data.y)
        target = tuple(range(len(counts), 0, -1)) if self.target is None else self.target
        target = tuple(float(share) / sum(target) for share in target) if self.target is None else target
        if len(target) != len(counts):
            raise ArgumentError("target", f"{len(target)} shares", f"{len(counts)}: one for each class of the data")
        if min(target) < 0 or abs(sum(target) - 1) > 1e-6:
            raise ArgumentError("target", f"{target}", "shares, 0 or more, that sum to 1")
        for k, (count, share) in enumerate(zip(counts, target, strict=True)):
            if not count and share:
                raise ArgumentError(
                    "target", f"a share of {share:g} for class {k}", "0: the data have no example of it"
                )
        source = (counts / counts.sum()).astype(np.float32)
        return dataclasses.replace(self, target=target, source=source)  # type: ignore[type-var]

    def weights(self, key: Array, x: Array, y: Array, ids: Array) -> Array:
        source, target = jnp.asarray(self.source), jnp.asarray(self.target, jnp.float32)
        prior = (1 - self.strength) * source + self.strength * target
        return (prior / jnp.where(source > 0, source, 1))[y].astype(jnp.float32)
