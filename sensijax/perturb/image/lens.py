"""What bends straight lines on their way to the image: the lens, the shutter, and water."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.one_program import one_program
from sensijax.core.struct import struct
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._maps import Map, Places, frame_centre, newton
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._sign import sign
from sensijax.perturb.image._sine import sine
from sensijax.perturb.image._warp import Step, Warp

# How many waves make up a water surface.
_WAVES = 12


class LensDistortion(Perturbation):
    """A wide-angle lens: straight lines bulge outwards (barrel) or inwards (pincushion), with equal odds; bilinear.

    The place at distance r from the centre reads that at `r (1 + s k1 r^2 + s k2 r^4)`, where r is 1 at the frame's
    corner, and s is 1 (barrel) or -1 (pincushion): the radial terms of the Brown-Conrady model.

    Attributes:
      k1: the coefficient of r^2; >= 0.
      k2: the coefficient of r^4; >= 0, with `3 k1 + 5 k2 < 0.9`: beyond, a pincushion folds near the corner.

    Reference:
      Brown, "Decentering distortion of lenses", Photogrammetric Engineering 32(3), 1966.

    Example:
      >>> LensDistortion.at(3)(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).max().item()
      0.5
    """

    k1: Float[Array, "..."]
    k2: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "LensDistortion":
        """Severity 0..5: k1 0, 0.03, 0.06, 0.1, 0.14, 0.18 and k2 a fifth of it (our own scale for every size)."""
        k1 = interpolate(severity, table_for(size, dict.fromkeys((224, 32), (0.0, 0.03, 0.06, 0.1, 0.14, 0.18))))
        return cls(k1=k1, k2=k1 * 0.2)

    def is_identity(self) -> Any:
        return (self.k1 == 0) & (self.k2 == 0)

    @one_program(static=("height", "width"))
    def warp(self, key: Array, height: int, width: int) -> Warp:
        """The distortion drawn with this key, ready for images, masks, keypoints and boxes of one frame."""
        side = sign(key)
        radius = jnp.full((), math.hypot(height, width) / 2, jnp.float32)
        lens = _Radial(side * self.k1, side * self.k2, frame_centre(height, width), radius)
        return Warp((Step(lens),), self.is_identity(), height, width)

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(self.warp(key, *x.shape[:2]).image(x), 0.0, 1.0)


@struct
class _Radial(Map):
    """`source = centre + (place - centre) (1 + k1 r^2 + k2 r^4)`, r in units of the frame's half diagonal."""

    k1: Float[Array, ""]
    k2: Float[Array, ""]
    centre: Float[Array, "2"]
    radius: Float[Array, ""]

    def source(self, rows: Array, columns: Array) -> Places:
        down = rounded((rows - self.centre[0]) * (1 / self.radius))
        right = rounded((columns - self.centre[1]) * (1 / self.radius))
        square = rounded(down * down) + rounded(right * right)
        gain = rounded(square * (self.k1 + rounded(self.k2 * square)))
        # The displacement rather than the place, so that what hardly moves hardly loses precision.
        return (
            rows + rounded((rows - self.centre[0]) * gain),
            columns + rounded((columns - self.centre[1]) * gain),
        )

    def target(self, rows: Array, columns: Array) -> Places:
        down, right = rows - self.centre[0], columns - self.centre[1]
        # The tiny floor keeps the square root's derivative finite at the centre.
        reads = jnp.sqrt(down * down + right * right + 1e-12) * (1 / self.radius)

        def refine(_, r):
            square = r * r
            miss = r * (1 + square * (self.k1 + self.k2 * square)) - reads
            slope = 1 + square * (3 * self.k1 + 5 * self.k2 * square)
            # Nothing in the frame lies beyond 1: what a pincushion never shows ends just outside.
            return jnp.clip(r - miss / jnp.maximum(slope, 0.05), 0.0, 1.1)

        r = jax.lax.fori_loop(0, 12, refine, jnp.minimum(reads, 1.1))
        gain = r / reads
        return self.centre[0] + down * gain, self.centre[1] + right * gain


class RollingShutter(Perturbation):
    """The camera pans and trembles while a CMOS sensor is read row by row; bilinear.

    Row r reads from the side by `pan (r / height - 1/2) + vibration sin(2 pi cycles r / height + phase)`, in units of
    the width. The pan's direction is drawn with equal odds, the phase uniformly.

    Attributes:
      pan: how far the scene moves sideways while the frame is read, as a fraction of the width; >= 0.
      vibration: amplitude of the tremor, as a fraction of the width; >= 0.
      cycles: periods of the tremor while the frame is read; >= 0.

    Reference:
      Liang, Chang and Chen, "Analysis and compensation of rolling shutter effect", IEEE Transactions on Image
      Processing 17(8), 2008.

    Example:
      >>> RollingShutter.at(3)(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).max().item()
      0.5
    """

    pan: Float[Array, "..."]
    vibration: Float[Array, "..."]
    cycles: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "RollingShutter":
        """Severity 0..5: pan 0, 3, 6, 10, 15, 20 % of the width, tremor a tenth of it in 3 cycles (our own scale)."""
        pan = interpolate(severity, table_for(size, dict.fromkeys((224, 32), (0.0, 0.03, 0.06, 0.1, 0.15, 0.2))))
        return cls(pan=pan, vibration=pan * 0.1, cycles=jnp.full_like(pan, 3.0))

    def is_identity(self) -> Any:
        return (self.pan == 0) & (self.vibration == 0)

    @one_program(static=("height", "width"))
    def warp(self, key: Array, height: int, width: int) -> Warp:
        """The movement drawn with this key, ready for images, masks, keypoints and boxes of one frame."""
        side, start = jax.random.split(key)
        slope = sign(side) * self.pan * (width / height)
        phase = jax.random.uniform(start, (), jnp.float32)
        frequency = self.cycles * (1 / height)
        centre = jnp.full((), (height - 1) / 2, jnp.float32)
        rows = _Rows(slope, self.vibration * width, frequency, phase, centre)
        return Warp((Step(rows),), self.is_identity(), height, width)

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(self.warp(key, *x.shape[:2]).image(x), 0.0, 1.0)


@struct
class _Rows(Map):
    """Shifts rows sideways: `slope (row - centre) + amplitude sin(2 pi (frequency row + phase))`, px."""

    slope: Float[Array, ""]
    amplitude: Float[Array, ""]
    frequency: Float[Array, ""]
    phase: Float[Array, ""]
    centre: Float[Array, ""]

    def source(self, rows: Array, columns: Array) -> Places:
        return rows, columns + self._shift(rows)

    def target(self, rows: Array, columns: Array) -> Places:
        return rows, columns - self._shift(rows)

    def _shift(self, rows: Array) -> Array:
        wave = sine(rounded(self.frequency * rows) + self.phase)
        return rounded(self.slope * (rows - self.centre)) + rounded(self.amplitude * wave)


class CausticRefraction(Perturbation):
    """Seen through moving water: each place reads from where the surface's slope bends the ray; bilinear.

    The surface is a sum of 12 plane waves of random directions and phases, with wavelengths spread log-uniformly from
    half to twice `wavelength` and equal steepness; the displacement is its gradient, scaled to `amplitude`. Light is
    bent but not dispersed, and nothing is brightened where rays gather.

    Attributes:
      amplitude: root mean square of the displacement's length, as a fraction of the shorter side; >= 0.
      wavelength: as a fraction of the shorter side; > 0.

    Reference:
      Mintun, Kirillov and Xie, "On interaction between augmentations and corruptions in natural corruption robustness",
      NeurIPS 2021 (ImageNet-C-bar's `caustic_refraction`, whose idea this is; the surface and the scale are our own).

    Example:
      >>> CausticRefraction.at(3)(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).max().item()
      0.5
    """

    amplitude: Float[Array, "..."]
    wavelength: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "CausticRefraction":
        """Severity 0..5: amplitude 0, 0.4, 0.8, 1.2, 1.6, 2 % of the side, wavelength half of it (our own scale)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 0.004, 0.008, 0.012, 0.016, 0.02)))
        amplitude = interpolate(severity, table)
        return cls(amplitude=amplitude, wavelength=jnp.full_like(amplitude, 0.5))

    def is_identity(self) -> Any:
        return self.amplitude == 0

    @one_program(static=("height", "width"))
    def warp(self, key: Array, height: int, width: int) -> Warp:
        """The water drawn with this key, ready for images, masks, keypoints and boxes of one frame."""
        angle, length, phase = jax.random.uniform(key, (3, _WAVES), jnp.float32)
        direction = jnp.stack([sine(angle), sine(angle + 0.25)])
        side = min(height, width)
        number = jnp.exp2(2 * length - 1) * (1 / (side * self.wavelength))
        water = _Waves(
            waves=rounded(direction * number[None]),
            push=rounded(direction * (self.amplitude * (side * math.sqrt(2 / _WAVES)))),
            phase=phase,
        )
        return Warp((Step(water),), self.is_identity(), height, width)

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(self.warp(key, *x.shape[:2]).image(x), 0.0, 1.0)


@struct
class _Waves(Map):
    """Adds the sum of `push sin(2 pi (waves . place + phase))` over all waves.

    Attributes:
      waves: wave vectors (row, column), turns a px.
      push: displacement (row, column) of each, px.
      phase: turns.
    """

    waves: Float[Array, "2 K"]
    push: Float[Array, "2 K"]
    phase: Float[Array, "K"]

    def source(self, rows: Array, columns: Array) -> Places:
        # Each wave by its values along rows and along columns: few sines for a whole image.
        along = rounded(_each(self.waves[0], rows) * rows[None]) + _each(self.phase, rows)
        across = rounded(_each(self.waves[1], columns) * columns[None])
        factors = tuple(sine(turns + quarter) for turns in (along, across) for quarter in (0.0, 0.25))

        def add(total: Places, wave: tuple[Array, ...]) -> tuple[Places, None]:
            push, sine, cosine, other_sine, other_cosine = wave
            down, right = (
                axis + (push[i] * sine) * other_cosine + (push[i] * cosine) * other_sine for i, axis in enumerate(total)
            )
            return (down, right), None

        none = jnp.zeros(np.broadcast_shapes(rows.shape, columns.shape), rows.dtype)
        (down, right), _ = jax.lax.scan(add, (none, none), (self.push.T, *factors))
        return rows + down, columns + right

    def target(self, rows: Array, columns: Array) -> Places:
        return newton(self.source, rows, columns, steps=8)


def _each(values: Float[Array, "K"], places: Array) -> Array:
    """Values of waves, to be combined with places: `[K, 1, ...]`."""
    return values.reshape(-1, *[1] * places.ndim)
