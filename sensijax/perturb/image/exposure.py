"""Light: how much of it there is, how much reaches the sensor, and how the camera makes up for it."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sensijax_kernels.random import normal, uniform

from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._electrons import measured
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._pointwise import pointwise
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._sign import sign
from sensijax.perturb.image._srgb import in_linear_light

# A quarter of a byte's step, below which a power is continued by a line through black: at black itself the derivative
# of a power below one is infinite. Images of bytes never come between.
_FAINT = 1 / 1024


class Exposure(Perturbation):
    """Wrong exposure: too long or too short, with equal odds; highlights saturate.

    The linear light times `2 ** stops` or `2 ** -stops`, clipped. Saturated values have derivative zero.

    Attributes:
      stops: the error of exposure, in stops (EV, factors of two of light); >= 0.

    Reference:
      ISO 2720:1974 (exposure values); IEC 61966-2-1:1999 (the curve between light and sRGB values).

    Example:
      >>> out = Exposure(stops=jnp.float32(1.0))(jax.random.key(0), jnp.full((8, 8, 1), 0.5))
      >>> round(float(out[0, 0, 0]), 3) in (0.361, 0.686)  # half or twice the light of 0.214
      True
    """

    stops: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Exposure":
        """Severity 0..5: 0, 0.5, 1, 1.5, 2, 3 stops (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)))
        return cls(stops=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.stops == 0

    def apply(self, key: Array, x: Array) -> Array:
        gain = jnp.exp2(sign(key) * self.stops)
        return in_linear_light(lambda light: light * gain, x)


class Gamma(Perturbation):
    """A display's or a file's wrong gamma: `x ** exponent`, or `x ** (1 / exponent)` with equal odds.

    On the sRGB values themselves, so black and white stay where they are. Below a quarter of a byte's step the power is
    continued by a line through black, where its derivative may be infinite.

    Attributes:
      exponent: >= 1. Darker as it is, lighter as its inverse.

    Reference:
      Poynton, "Digital video and HD", 2nd edition, 2012, chapter 27 (gamma).

    Example:
      >>> out = Gamma(exponent=jnp.float32(2.0))(jax.random.key(0), jnp.full((8, 8, 1), 0.25))
      >>> round(float(out[0, 0, 0]), 4) in (0.0625, 0.5)
      True
    """

    exponent: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Gamma":
        """Severity 0..5: 1, 1.2, 1.4, 1.8, 2.2, 2.8 (our own scale, the same for every size).

        1.8 and 2.2 are the gammas of old Macintosh and of PC displays: an image shown without its curve.
        """
        table = table_for(size, dict.fromkeys((224, 32), (1.0, 1.2, 1.4, 1.8, 2.2, 2.8)))
        return cls(exponent=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.exponent == 1

    def apply(self, key: Array, x: Array) -> Array:
        power = jnp.where(sign(key) > 0, self.exponent, 1 / self.exponent)

        def curve(v: Array) -> Array:
            return jnp.exp(power * jnp.log(jnp.maximum(v, _FAINT))) * jnp.minimum(v * (1 / _FAINT), 1.0)

        return jnp.clip(pointwise(curve, x), 0.0, 1.0)


class Vignette(Perturbation):
    """Darker towards the corners: the lens's natural and mechanical vignetting, in linear light.

    At a distance of r half diagonals from the centre (r = 1 in the corner pixels), the natural loss is that of the
    cosine-fourth law, `cos(a) ** 4` with `tan(a)` proportional to r; the mechanical loss, by the rims of the lens and
    of its hood, begins half-way out and grows as the square of the way from there, a simple model of the pupil's
    overlap. In stops, the two add up.

    Attributes:
      natural: light lost in the corner by the cosine-fourth law, in stops; >= 0. Two stops are 45 degrees off axis.
      mechanical: light lost in the corner by mechanical vignetting, in stops; >= 0.

    Reference:
      Goldman, "Vignette and exposure calibration and compensation", IEEE Transactions on Pattern Analysis and Machine
      Intelligence 32(12), 2010.

    Example:
      >>> lens = Vignette(natural=jnp.float32(1.0), mechanical=jnp.float32(0.0))
      >>> out = lens(jax.random.key(0), jnp.ones((9, 9, 1)))
      >>> out[4, 4].round(3).tolist(), out[0, 0].round(3).tolist()  # white, and half its light
      ([1.0], [0.7350000143051147])
    """

    natural: Float[Array, "..."]
    mechanical: Float[Array, "..."]
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Vignette":
        """Severity 0..5: 0, 0.5, 1, 2, 3, 4 stops in the corner in all (our own scale, the same for every size).

        The first two are good lenses; more than two stops are wide angles, and hoods that are too long.
        """
        natural = table_for(size, dict.fromkeys((224, 32), (0.0, 0.4, 0.8, 1.4, 1.8, 2.0)))
        mechanical = table_for(size, dict.fromkeys((224, 32), (0.0, 0.1, 0.2, 0.6, 1.2, 2.0)))
        return cls(natural=interpolate(severity, natural), mechanical=interpolate(severity, mechanical))

    def is_identity(self) -> Any:
        return (self.natural == 0) & (self.mechanical == 0)

    def apply(self, key: Array, x: Array) -> Array:
        height, width, _ = x.shape
        rows, columns = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
        square = (rows[:, None] ** 2 + columns**2) / (rows[0] ** 2 + columns[0] ** 2)
        onset = np.maximum(2 * np.sqrt(square) - 1, 0) ** 2
        # cos(a) ** 4 = (1 + tan(a) ** 2) ** -2, which in the corner is 2 ** -natural.
        slope = jnp.exp2(self.natural / 2) - 1
        lost = 2 * jnp.log2(1 + rounded(slope * square.astype(np.float32))) + rounded(
            self.mechanical * onset.astype(np.float32)
        )
        share = jnp.broadcast_to(jnp.exp2(-lost)[..., None], x.shape)
        return in_linear_light(lambda light, share: light * share, x, share)


class LowLight(Perturbation):
    """A scene with too little light: few electrons in each pixel, which the camera then brightens in part.

    In linear light: `2 ** -stops` of the light is left; each pixel counts its electrons (shot noise) and is read out
    (read noise); the count is multiplied by `2 ** gain`, clipped, and encoded as sRGB.

    Counts have no derivative; the one given is that of their Gaussian limit with the draws held fixed, damped below one
    electron. It is zero where the result is clipped.

    Attributes:
      stops: how much less light there is than for a proper exposure, in stops; >= 0.
      gain: how much of that the camera makes up for by amplifying, in stops; >= 0.
      electron: the linear light of one electron at the proper exposure, 1 is white: the inverse of the full well; >= 0.
        At 0 there is no noise.
      read_noise: standard deviation of the read noise, in electrons; >= 0.

    Reference:
      The idea of a low-light corruption: Kar, Yeo, Atanov and Zamir, "3D common corruptions and data augmentation",
      CVPR 2022. The model is that of Foi et al., IEEE Transactions on Image Processing 17(10), 2008, in linear light.

    Example:
      >>> night = jax.jit(LowLight.at(5))(jax.random.key(0), jnp.ones((32, 32, 3)))
      >>> bool(night.mean() < 0.5), len(jnp.unique(night)) > 100
      (True, True)
    """

    stops: Float[Array, "..."]
    gain: Float[Array, "..."]
    electron: Float[Array, "..."]
    read_noise: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "LowLight":
        """Severity 0..5: 0, 1.5, 3, 4, 5, 6 stops less light, of which 0, 0.75, 1.75, 2.25, 2.75, 3.25 are made up for.

        A small sensor: a full well of 6,000 electrons, read with a noise of 2.5 (our own scale, the same for every
        size). Between severities 0 and 1 the noise sets in too.
        """
        tables = (
            (0.0, 1.5, 3.0, 4.0, 5.0, 6.0),
            (0.0, 0.75, 1.75, 2.25, 2.75, 3.25),
            (0.0, 1 / 6000, 1 / 6000, 1 / 6000, 1 / 6000, 1 / 6000),
            (2.5, 2.5, 2.5, 2.5, 2.5, 2.5),
        )
        stops, gain, electron, read_noise = (
            interpolate(severity, table_for(size, dict.fromkeys((224, 32), table))) for table in tables
        )
        return cls(stops=stops, gain=gain, electron=electron, read_noise=read_noise)

    def is_identity(self) -> Any:
        return (self.stops == 0) & (self.gain == 0) & (self.electron == 0)

    def apply(self, key: Array, x: Array) -> Array:
        shot, read = jax.random.split(key)
        left, gain = jnp.exp2(-self.stops), jnp.exp2(self.gain)

        def camera(light: Array, u: Array, n: Array) -> Array:
            return measured(rounded(light * left), self.electron, self.read_noise, u, n) * gain

        return in_linear_light(camera, x, uniform(shot, x.shape), normal(read, x.shape))
