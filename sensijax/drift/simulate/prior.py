"""Prior shift: the classes occur in other proportions, and each class looks as before."""

import dataclasses
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.core.keys import SHARED
from sensijax.core.struct import static
from sensijax.drift.simulate._drift import Drift
from sensijax.drift.simulate._validate import check_numbers, classes_of

_WHY = "a prior is over classes"


class PriorShift(Drift):
    """Another prior over the classes, reached along a straight line: (1 - strength) source + strength target.

    An example of class y weighs prior(y) / source(y), where the source is the data's own proportions.

    Attributes:
      strength: in [0, 1].
      target: the prior at strength 1, K numbers that sum to 1. Unless given, class k of K has a share in proportion to
        K - k: the first class K times that of the last.
      toward: instead of a target, one class, of which all examples are at strength 1.
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
    toward: int | None = static(default=None)
    source: Float[Array, "k"] | None = None

    changes: ClassVar[tuple[str, ...]] = ("weights",)
    deterministic: ClassVar[bool] = True

    def __post_init__(self):
        check_numbers("strength", self.strength, 0, 1)
        if self.target is not None:
            object.__setattr__(self, "target", tuple(float(share) for share in self.target))

    def fit(self, data: Dataset) -> Self:
        counts = classes_of(data, _WHY)
        target = self._target(len(counts))
        for k, (count, share) in enumerate(zip(counts, target, strict=True)):
            if not count and share:
                raise ArgumentError(
                    "target" if self.toward is None else "toward",
                    f"a share of {share:g} for class {k}",
                    "0: the data have no example of it",
                )
        source = (counts / counts.sum()).astype(np.float32)
        return dataclasses.replace(self, target=target, toward=None, source=source)  # type: ignore[type-var]

    def _target(self, classes: int) -> tuple[float, ...]:
        if self.toward is not None:
            if self.target is not None:
                raise ArgumentError("toward", f"{self.toward} beside a target", "one of the two")
            if self.toward not in range(classes):
                raise ArgumentError("toward", self.toward, f"a class in 0..{classes - 1}")
            return tuple(float(k == self.toward) for k in range(classes))
        if self.target is None:
            return tuple((classes - k) / (classes * (classes + 1) / 2) for k in range(classes))
        if len(self.target) != classes:
            raise ArgumentError("target", f"{len(self.target)} shares", f"{classes}: one for each class of the data")
        if not min(self.target) >= 0 or abs(sum(self.target) - 1) > 1e-6:
            raise ArgumentError("target", f"{self.target}", "shares, 0 or more, that sum to 1")
        return self.target

    def weights(self, key: Array, x: Array, y: Array, ids: Array) -> Array:
        return _ratio(self.strength, self.source, jnp.asarray(self.target, jnp.float32), y)


class DirichletPrior(Drift):
    """Prior shift to a prior that nobody chose: it is drawn from a Dirichlet distribution, once for each key.

    Over several seeds this asks how a model fares under priors of a kind, instead of under one. The prior at a strength
    between 0 and 1 lies on the straight line from the data's own to the one that was drawn.

    Attributes:
      strength: in [0, 1].
      concentration: above 0, the same for each class that occurs. 1 draws any prior alike; at 100 all shares are nearly
        equal; at 0.1 one or two classes take nearly all.
      source: float32 `[K]`, the data's own proportions; learned.

    Reference:
      Lipton, Wang and Smola, "Detecting and correcting for label shift with black box predictors", ICML 2018.

    Example:
      >>> data = Dataset(np.zeros((4, 1), np.float32), np.array([0, 0, 2, 2]))
      >>> prior = DirichletPrior(strength=1.0, concentration=1.0).fit(data).prior(jax.random.key(0))
      >>> prior.shape, round(float(prior.sum()), 5), float(prior[1])
      ((3,), 1.0, 0.0)
    """

    concentration: Float[Array, ""] = 1.0  # type: ignore[assignment]
    source: Float[Array, "k"] | None = None

    changes: ClassVar[tuple[str, ...]] = ("weights",)

    def __post_init__(self):
        check_numbers("strength", self.strength, 0, 1)
        check_numbers("concentration", self.concentration, float(np.finfo(np.float32).tiny))

    def fit(self, data: Dataset) -> Self:
        counts = classes_of(data, _WHY)
        return dataclasses.replace(self, source=(counts / counts.sum()).astype(np.float32))  # type: ignore[type-var]

    def prior(self, key: Array) -> Array:
        """The prior at strength 1, float32 `[K]`: a function of the key, with 0 for a class without examples."""
        source = jnp.asarray(self.source)
        concentration = jnp.full(source.shape, self.concentration, jnp.float32)
        # In logarithms, because gamma variates of a small concentration are 0 in float32.
        log_gamma = jax.random.loggamma(jax.random.fold_in(key, SHARED), concentration)
        return jax.nn.softmax(jnp.where(source > 0, log_gamma, -jnp.inf))

    def weights(self, key: Array, x: Array, y: Array, ids: Array) -> Array:
        return _ratio(self.strength, self.source, self.prior(key), y)


def _ratio(strength: Array, source: Array | None, target: Array, y: Array) -> Array:
    source = jnp.asarray(source)
    prior = (1 - strength) * source + strength * target
    return (prior / jnp.where(source > 0, source, 1))[y].astype(jnp.float32)
