"""The contract of a distribution shift: weights, labels or inputs of the same examples, and nothing is copied."""

import dataclasses
from typing import Any, ClassVar, Self, dataclass_transform

import jax
import numpy as np
from jaxtyping import Array, Float

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key, keys_of, words
from sensijax.core.struct import static, struct

CHANGES = ("weights", "labels", "inputs")
"""What a drift may change."""


@struct
@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, dataclasses.field))
class Drift:
    """A frozen pytree that makes another distribution out of the examples at hand. Its strength is a leaf.

    A subclass states its fields, what it `changes`, and the hooks for those: `weights` (how often each example occurs
    in the new distribution), `labels` (what an example is called there), `inputs` (what an example looks like there).
    What it must know of the data it learns in `fit`, which a campaign calls by itself.

    Weights have mean 1 over the data. A mean under the shift is sum(w v) / sum(w): exact for the examples at hand,
    without the noise of resampling; `resample` draws ids where a sample is needed, such as for a detector.

    Attributes:
      strength: 0 is no shift, 1 the whole of it; a subclass says what lies between, and beyond.

    Class attributes:
      changes: which of `CHANGES` it states.
      deterministic: True if nothing depends on the key; such a scenario is computed for one seed only.
    """

    strength: Float[Array, ""]

    changes: ClassVar[tuple[str, ...]] = ()
    deterministic: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        struct(cls)

    def fit(self, data: Dataset) -> Self:
        """The same drift, knowing the data: priors, directions, means.

        Raises:
          ArgumentError: if the data do not allow it (a class without examples, a constant feature, a regression).
        """
        return self

    def is_identity(self) -> Any:
        """Whether the parameters are those of no shift at all."""
        return self.strength == 0

    def weights(self, key: Array, x: Array, y: Array, ids: Array) -> Array:
        """How often each example occurs in the new distribution; pure.

        Args:
          key: the typed key of the whole; an example's own is made by `keys_of(key, ids)`, one that all share by
            `jax.random.fold_in(key, SHARED)`.
          x: `[N, ...]` the examples.
          y: `[N]` their labels, as the stages before have left them.
          ids: uint32 `[N, 2]`, their ids as words.

        Returns:
          float32 `[N]`, 0 or more, of mean 1.
        """
        raise NotImplementedError

    def labels(self, key: Array, x: Array, y: Array, ids: Array) -> Array:
        """What each example is called in the new distribution: int32 `[N]`; arguments as for `weights`; pure."""
        raise NotImplementedError

    def inputs(self, key: Array, x: Array) -> Array:
        """What one example looks like in the new distribution.

        Args:
          key: the example's own key.
          x: one example, no batch axis.

        Returns:
          Of `x`'s shape and dtype.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, eq=False)
class Shifted:
    """A data set under a drift.

    Attributes:
      x: `[N, ...]` inputs, the data's own where the drift leaves them alone.
      y: `[N]` labels, likewise.
      weights: float32 `[N]`, mean 1.
      ids: int64 `[N]`, the data's own.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    ids: np.ndarray

    @property
    def effective_size(self) -> float:
        """Kish's effective sample size, (sum w)^2 / sum w^2: how many examples the weighted mean is worth."""
        w = self.weights.astype(np.float64)
        return float(w.sum() ** 2 / np.square(w).sum())


def shift(drift: Drift, key: Array, data: Dataset) -> Shifted:
    """A data set under a drift, which is fitted to it first.

    Args:
      drift: the drift.
      key: a typed PRNG key, scalar; what happens to an example is a function of (key, id), and of the whole data only
        through what `fit` learns.
      data: the examples.

    Returns:
      Inputs, labels and weights; the data's own arrays where nothing changes.

    Raises:
      ArgumentError: if the data do not allow the drift, or no example has any weight.

    Example:
      >>> from sensijax.drift import PriorShift
      >>> data = Dataset(np.zeros((4, 1), np.float32), np.array([0, 0, 0, 1]))
      >>> shift(PriorShift(strength=1.0, target=(0.5, 0.5)), jax.random.key(0), data).weights
      array([0.6666667, 0.6666667, 0.6666667, 2.       ], dtype=float32)
    """
    drift, key = drift.fit(data), check_key(key)
    ids = words(data.ids)
    x, y, weights = data.x, data.y, np.ones(len(data), np.float32)
    if bool(np.all(drift.is_identity())):
        return Shifted(x, y, weights, data.ids)
    if "weights" in drift.changes:
        weights = np.asarray(weights_of(drift, key, x, y, ids))
        check_weights(drift, weights)
    if "labels" in drift.changes:
        y = np.asarray(labels_of(drift, key, x, y, ids))
    if "inputs" in drift.changes:
        x = np.asarray(inputs_of(drift, key, x, ids))
    return Shifted(x, y, weights, data.ids)


def check_weights(drift: Drift, weights: np.ndarray) -> None:
    """Refuses weights that are no distribution over the examples."""
    name = f"{type(drift).__name__}.weights"
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ArgumentError(name, "a weight that is negative or no number", "finite weights, 0 or more")
    if not weights.sum() > 0:
        raise ArgumentError(name, "no example with a weight above 0", "a shift that leaves some of the examples")


@jax.jit
def weights_of(drift: Drift, key: Array, x: Array, y: Array, ids: Array) -> Array:
    """A fitted drift's weights; compiled once for all strengths."""
    return drift.weights(key, x, y, ids)


@jax.jit
def labels_of(drift: Drift, key: Array, x: Array, y: Array, ids: Array) -> Array:
    """A fitted drift's labels; compiled once for all strengths."""
    return drift.labels(key, x, y, ids)


@jax.jit
def inputs_of(drift: Drift, key: Array, x: Array, ids: Array) -> Array:
    """A fitted drift's inputs, each example under its own key; compiled once for all strengths."""
    return jax.vmap(drift.inputs)(keys_of(key, ids), x)
