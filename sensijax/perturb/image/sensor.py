"""The sensor: electrons, a mosaic of colour filters, and rows that are read out one after another."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sensijax_kernels.random import normal, uniform

from sensijax.core.errors import ArgumentError
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._electrons import measured
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._pointwise import pointwise
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._sine import sine
from sensijax.perturb.image._srgb import encoded, in_linear_light, to_linear


class ISONoise(Perturbation):
    """Sensor noise at a high ISO speed: shot noise and read noise, in electrons, at an unchanged brightness.

    In linear light: a white pixel collects `full_well * 100 / iso` electrons; their number is Poisson distributed; the
    count is read out with Gaussian noise, amplified to the old brightness, clipped, and encoded as sRGB. Unlike
    `ShotNoise`, which counts sRGB values, it is strongest in the shadows, where the encoding is steep.

    Counts have no derivative; the one given is that of their Gaussian limit with the draws held fixed, damped below one
    electron. It is zero where the result is clipped.

    Attributes:
      iso: speed, ISO 12232; >= 0. At 0 there is no noise.
      full_well: electrons that a white pixel collects at ISO 100; > 0.
      read_noise: standard deviation of the read noise, in electrons; >= 0.

    Reference:
      Foi, Trimeche, Katkovnik and Egiazarian, "Practical Poissonian-Gaussian noise modeling and fitting for
      single-image raw-data", IEEE Transactions on Image Processing 17(10), 2008; the corruption is also in Kar, Yeo,
      Atanov and Zamir, CVPR 2022 (`iso_noise`), with another model.

    Example:
      >>> out = jax.jit(ISONoise.at(3))(jax.random.key(0), jnp.full((32, 32, 3), 0.5))
      >>> bool(0.01 < out.std() < 0.1)
      True
    """

    iso: Float[Array, "..."]
    full_well: Float[Array, "..."]
    read_noise: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "ISONoise":
        """Severity 0..5: ISO 0, 800, 1600, 3200, 6400, 12800 (our own scale, the same for every size).

        A small sensor: a full well of 6,000 electrons, read with a noise of 2.5.
        """
        iso, full_well, read_noise = (
            interpolate(severity, table_for(size, dict.fromkeys((224, 32), table)))
            for table in ((0.0, 800.0, 1600.0, 3200.0, 6400.0, 12800.0), (6000.0,) * 6, (2.5,) * 6)
        )
        return cls(iso=iso, full_well=full_well, read_noise=read_noise)

    def is_identity(self) -> Any:
        return self.iso == 0

    def apply(self, key: Array, x: Array) -> Array:
        shot, read = jax.random.split(key)
        electron = self.iso / (100 * self.full_well)

        def camera(light: Array, u: Array, n: Array) -> Array:
            return measured(light, electron, self.read_noise, u, n)

        return in_linear_light(camera, x, uniform(shot, x.shape), normal(read, x.shape))


class Demosaic(Perturbation):
    """One colour per pixel: a Bayer mosaic (RGGB) in a random one of its four positions, filled in bilinearly.

    In linear light, mixed with the full-colour image: fine detail becomes blurred, zippered and coloured. Missing
    colours are means of the nearest two or four pixels that have them; the border is mirrored about its last pixel,
    which continues the mosaic. For noise that the filling-in smears, chain it: `ISONoise >> Demosaic`.

    Attributes:
      amount: share of the demosaiced image, in [0, 1]; one less what is left of an image with all colours everywhere.

    Reference:
      Bayer, US patent 3,971,065 (1976); Malvar, He and Cutler, "High-quality linear interpolation for demosaicing of
      Bayer-patterned color images", ICASSP 2004 (the bilinear kernels, as its baseline).

    Raises:
      ArgumentError: for a grey image, which has no colour.

    Example:
      >>> flat = jnp.broadcast_to(jnp.array([0.2, 0.5, 0.8]), (8, 8, 3))
      >>> bool(jnp.abs(Demosaic.at(5)(jax.random.key(0), flat) - flat).max() < 1e-6)  # only detail suffers
      True
    """

    amount: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Demosaic":
        """Severity 0..5: shares of 0, 0.2, 0.4, 0.6, 0.8, 1 (our own scale, the same for every size).

        Photographs made smaller keep little of their camera's mosaic; at full share, a pixel is one of the sensor's.
        """
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)))
        return cls(amount=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.amount == 0

    def apply(self, key: Array, x: Array) -> Array:
        if x.shape[2] != 3:
            raise ArgumentError("x", f"shape {list(x.shape)}", "3 channels: a grey image has no colour")
        linear = pointwise(to_linear, x)
        filled = demosaic(linear, jax.random.bernoulli(key, shape=(2,)))
        return pointwise(encoded, linear + rounded(self.amount * (filled - linear)))


def demosaic(x: Float[Array, "H W 3"], first: Array) -> Float[Array, "H W 3"]:
    """What bilinear demosaicing makes of an image's Bayer mosaic.

    Args:
      x: float32 `[H, W, 3]`.
      first: bool `[2]`; whether the first row and the first column hold red pixels.

    Returns:
      float32 `[H, W, 3]`.
    """
    height, width, _ = x.shape
    red_row = ((jnp.arange(height) % 2 == 0) == first[0])[:, None]
    red_column = ((jnp.arange(width) % 2 == 0) == first[1])[None, :]
    is_red, is_blue = red_row & red_column, ~(red_row | red_column)
    mosaic = jnp.where(is_red, x[..., 0], jnp.where(is_blue, x[..., 2], x[..., 1]))
    wide = jnp.pad(mosaic, 1, mode="reflect")
    beside = wide[:, :-2] + wide[:, 2:]
    across = beside[1:-1] * 0.5
    along = (wide[:-2, 1:-1] + wide[2:, 1:-1]) * 0.5
    corners = (beside[:-2] + beside[2:]) * 0.25
    red = jnp.where(red_row, jnp.where(red_column, mosaic, across), jnp.where(red_column, along, corners))
    blue = jnp.where(red_row, jnp.where(red_column, corners, along), jnp.where(red_column, across, mosaic))
    green = jnp.where(is_red | is_blue, (across + along) * 0.5, mosaic)
    return jnp.stack([red, green, blue], axis=-1)


class Banding(Perturbation):
    """Bands along the rows: a flickering lamp under a rolling shutter, and noise that a row's pixels share.

    In linear light: row y of H is multiplied by `1 + flicker * sin(2 pi (f y / H + p))`, f uniform in [1, 5] periods
    per frame (light that flickers 100 or 120 times a second, over a readout of 10 to 40 ms), p any phase; then each
    row's offset is added, Gaussian, the same for all its pixels and channels. What leaves the range is clipped, and its
    derivative is zero.

    Attributes:
      flicker: depth of the lamp's flicker, in [0, 1].
      row_noise: standard deviation of the rows' offsets, in units of linear white; >= 0.
      carry: how much of its draw a row hands on to the next, in [0, 1]; neighbouring offsets have correlation
        `carry / (1 + carry ** 2)`.

    Reference:
      IEEE Std 1789-2015 (flicker of lamps); EMVA Standard 1288, release 4.0, 2021 (row noise).

    Example:
      >>> out = Banding.at(3)(jax.random.key(0), jnp.full((32, 32, 1), 0.5))
      >>> bool(out.std(axis=1).max() < 1e-6), bool(out.std(axis=0).max() > 0.03)
      (True, True)
    """

    flicker: Float[Array, "..."]
    row_noise: Float[Array, "..."]
    carry: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Banding":
        """Severity 0..5: flicker of 0, 0.1, 0.2, 0.35, 0.5, 0.7 (our own scale, the same for every size).

        The row noise is 0, 0.05, 0.1, 0.2, 0.3, 0.5 % of white. Incandescent lamps flicker by about a tenth, bad LEDs
        entirely.
        """
        flicker, row_noise, carry = (
            interpolate(severity, table_for(size, dict.fromkeys((224, 32), table)))
            for table in (
                (0.0, 0.1, 0.2, 0.35, 0.5, 0.7),
                (0.0, 0.0005, 0.001, 0.002, 0.003, 0.005),
                (0.5,) * 6,
            )
        )
        return cls(flicker=flicker, row_noise=row_noise, carry=carry)

    def is_identity(self) -> Any:
        return (self.flicker == 0) & (self.row_noise == 0)

    def apply(self, key: Array, x: Array) -> Array:
        height = x.shape[0]
        lamp, rows = jax.random.split(key)
        drawn = jax.random.uniform(lamp, (2,), jnp.float32)
        turns = rounded((1 + 4 * drawn[0]) * (np.arange(height) / height).astype(np.float32)) + drawn[1]
        wave = sine(turns)
        gain = 1 + rounded(self.flicker * wave)
        n = normal(rows, (height + 1,))
        scale = self.row_noise * jax.lax.rsqrt(1 + rounded(self.carry * self.carry))
        offset = rounded(scale * (n[1:] + rounded(self.carry * n[:-1])))
        gain, offset = (jnp.broadcast_to(row[:, None, None], x.shape) for row in (gain, offset))
        return in_linear_light(lambda light, gain, offset: rounded(light * gain) + offset, x, gain, offset)
