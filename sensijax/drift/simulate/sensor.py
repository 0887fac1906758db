"""Sensors that age: their gain and their zero move, or they stick."""

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
from sensijax.drift.simulate._features import chosen, moments, unless_zero
from sensijax.drift.simulate._validate import check_floats, check_indices, check_numbers, whole_numbers


class SensorDrift(Drift):
    """A sensor reads x (1 + strength gain) + strength offset spread: its gain and its zero have moved.

    A channel is an index of the last axis: the colour of an image, the sensor of a time series `[T, C]`, the feature of
    a row. Nothing is clipped. With a schedule that ramps, `Incremental`, the sensor ages along a stream.

    Attributes:
      strength: any finite number; 1 is the whole of the given gain and offset.
      gain: the relative change of the gain at strength 1.
      offset: the movement of zero at strength 1, in standard deviations of the channel.
      channels: which channels; unless given, all that vary.
      spread: float32 `[C]`, standard deviations, 0 for channels that are left alone; learned.

    Example:
      >>> data = Dataset(np.array([[0.0, 7.0], [2.0, 8.0]], np.float32), np.array([0, 1]))
      >>> old = SensorDrift(strength=1.0, gain=0.5, offset=1.0, channels=(0,)).fit(data)
      >>> old.inputs(jax.random.key(0), data.x[1]).tolist()
      [4.0, 8.0]
    """

    gain: Float[Array, ""] = 0.2  # type: ignore[assignment]
    offset: Float[Array, ""] = 0.5  # type: ignore[assignment]
    channels: tuple[int, ...] | None = static(default=None)
    spread: Float[Array, "c"] | None = None

    changes: ClassVar[tuple[str, ...]] = ("inputs",)
    deterministic: ClassVar[bool] = True

    def __post_init__(self):
        for name in ("strength", "gain", "offset"):
            check_numbers(name, getattr(self, name))
        object.__setattr__(self, "channels", whole_numbers("channels", self.channels))

    def fit(self, data: Dataset) -> Self:
        _, std = moments(_channels(data))
        spread = std * chosen("channels", self.channels, std, "channels")
        return dataclasses.replace(self, spread=spread.astype(np.float32))  # type: ignore[type-var]

    def inputs(self, key: Array, x: Array) -> Array:
        x = jnp.asarray(x)
        spread = _last(jnp.asarray(self.spread), x)
        moved = x.astype(jnp.float32) * (1 + self.strength * self.gain) + self.strength * self.offset * spread
        return unless_zero(self.strength, x, jnp.where(spread > 0, moved, x.astype(jnp.float32)))


class StuckSensor(Drift):
    """With a probability, all chosen channels of an example read one value, whatever there was to measure.

    Whether is a function of (key, id); who is stuck at a strength is stuck at a larger one.

    Attributes:
      strength: in [0, 1], the probability.
      channels: which channels stick, as indices of the last axis.
      value: what they read; unless given, the channel's mean.
      reading: float32 `[C]`; stuck: bool `[C]`; learned.

    Example:
      >>> data = Dataset(np.array([[0.0, 7.0], [2.0, 9.0]], np.float32), np.array([0, 1]))
      >>> StuckSensor(strength=1.0, channels=(1,)).fit(data).inputs(jax.random.key(0), data.x[0]).tolist()
      [0.0, 8.0]
    """

    channels: tuple[int, ...] = static(kw_only=True)
    value: float | None = static(default=None)
    reading: Float[Array, "c"] | None = None
    stuck: Array | None = None

    changes: ClassVar[tuple[str, ...]] = ("inputs",)

    def __post_init__(self):
        check_numbers("strength", self.strength, 0, 1)
        object.__setattr__(self, "channels", whole_numbers("channels", self.channels))
        if self.channels is None:
            raise ArgumentError("channels", None, "those that stick")
        if self.value is not None and not np.isfinite(self.value):
            raise ArgumentError("value", self.value, "a finite number, which the model can take")

    def fit(self, data: Dataset) -> Self:
        x = _channels(data)
        c = x.shape[1]
        check_indices("channels", self.channels, c, "channels")
        reading = np.full(c, self.value) if self.value is not None else x.mean(axis=0, dtype=np.float64)
        stuck = np.isin(np.arange(c), self.channels)
        return dataclasses.replace(self, reading=reading.astype(np.float32), stuck=stuck)  # type: ignore[type-var]

    def inputs(self, key: Array, x: Array) -> Array:
        x = jnp.asarray(x)
        now = jax.random.uniform(key, (), jnp.float32) < self.strength
        reading = jnp.broadcast_to(_last(jnp.asarray(self.reading), x), x.shape).astype(x.dtype)
        return jnp.where(now & _last(jnp.asarray(self.stuck), x), reading, x)


def _channels(data: Dataset) -> np.ndarray:
    """Everything that each channel reads, `[N * ..., C]`."""
    check_floats(data)
    if data.x.ndim < 2:
        raise ArgumentError("data.x", f"shape {list(data.x.shape)}", "examples with an axis of channels: [N, ..., C]")
    return data.x.reshape(-1, data.x.shape[-1])


def _last(values: Array, x: Array) -> Array:
    return jnp.reshape(values, (1,) * (x.ndim - 1) + (-1,))
