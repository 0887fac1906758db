"""Inputs that move: a mean that shifts, a spread that grows."""

import dataclasses
from typing import Any, ClassVar, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static
from sensijax.drift.simulate._drift import Drift
from sensijax.drift.simulate._features import chosen, columns, moments, unless_zero
from sensijax.drift.simulate._validate import check_floats, check_numbers, whole_numbers
from sensijax.drift.simulate.direction import along, fitted_direction


class MeanShift(Drift):
    """Every example moves by `strength` standard deviations: of each chosen feature, or along a direction.

    Labels stay, so the model meets inputs where it has not learned them. Nothing is clipped: pixels may leave [0, 1].

    Attributes:
      strength: any finite number, in standard deviations.
      features: which features move, each by its own standard deviation; unless given, all (those that are constant
        have none, and stay).
      along: instead of features, one direction: D numbers, or an object such as `PrincipalComponent()`.
      move: float32 `[D]`, the movement at strength 1; learned.

    Example:
      >>> import jax
      >>> data = Dataset(np.array([[0.0, 5.0], [2.0, 5.0]], np.float32), np.array([0, 1]))
      >>> MeanShift(strength=3.0).fit(data).inputs(jax.random.key(0), data.x[1]).tolist()
      [5.0, 5.0]
    """

    features: tuple[int, ...] | None = static(default=None)
    along: Any = static(default=None)
    move: Float[Array, "d"] | None = None

    changes: ClassVar[tuple[str, ...]] = ("inputs",)
    deterministic: ClassVar[bool] = True

    def __post_init__(self):
        check_numbers("strength", self.strength)
        if self.features is not None and self.along is not None:
            raise ArgumentError("along", f"{self.along} beside features {self.features}", "features or a direction")
        object.__setattr__(self, "features", whole_numbers("features", self.features))
        object.__setattr__(self, "along", None if self.along is None else along(self.along))

    def fit(self, data: Dataset) -> Self:
        check_floats(data)
        if self.along is None:
            _, std = moments(columns(data))
            move = std * chosen("features", self.features, std)
        else:
            direction, spread = fitted_direction(self.along, data)
            move = direction * spread
        return dataclasses.replace(self, move=move.astype(np.float32))  # type: ignore[type-var]

    def inputs(self, key: Array, x: Array) -> Array:
        x = jnp.asarray(x)
        moved = x.astype(jnp.float32) + self.strength * jnp.reshape(jnp.asarray(self.move), x.shape)
        return unless_zero(self.strength, x, moved)


class ScaleShift(Drift):
    """Every example moves away from the mean: the spread of the chosen features is multiplied by 2^strength.

    Attributes:
      strength: any finite number, in octaves: 1 doubles the standard deviation, -1 halves it.
      features: which features; unless given, all.
      centre: float32 `[D]`, the mean example; learned.
      scaled: bool `[D]`, which features are meant; learned.

    Example:
      >>> import jax
      >>> data = Dataset(np.array([[0.0], [2.0]], np.float32), np.array([0, 1]))
      >>> ScaleShift(strength=1.0).fit(data).inputs(jax.random.key(0), data.x[1]).tolist()
      [3.0]
    """

    features: tuple[int, ...] | None = static(default=None)
    centre: Float[Array, "d"] | None = None
    scaled: Array | None = None

    changes: ClassVar[tuple[str, ...]] = ("inputs",)
    deterministic: ClassVar[bool] = True

    def __post_init__(self):
        check_numbers("strength", self.strength)
        object.__setattr__(self, "features", whole_numbers("features", self.features))

    def fit(self, data: Dataset) -> Self:
        check_floats(data)
        mean, std = moments(columns(data))
        scaled = chosen("features", self.features, std)
        return dataclasses.replace(self, centre=mean.astype(np.float32), scaled=scaled)  # type: ignore[type-var]

    def inputs(self, key: Array, x: Array) -> Array:
        x = jnp.asarray(x)
        centre = jnp.reshape(jnp.asarray(self.centre), x.shape)
        scaled = jnp.reshape(jnp.asarray(self.scaled), x.shape)
        moved = centre + (x.astype(jnp.float32) - centre) * jnp.exp2(jnp.asarray(self.strength, jnp.float32))
        return unless_zero(self.strength, x, jnp.where(scaled, moved, x.astype(jnp.float32)))
