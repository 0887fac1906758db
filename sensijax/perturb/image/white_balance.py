"""The colour of the light, and a camera that takes it for another."""

import functools
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._pointwise import pointwise
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._sign import sign
from sensijax.perturb.image._srgb import encoded, to_linear

_WHITE = 1e6 / 6504  # sRGB's white, in mired

# IEC 61966-2-1: linear sRGB to CIE XYZ.
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
# Lam's cone responses.
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

# A quarter of a byte's step of chroma. Hue has no limit at grey; below this the turn fades out, so that derivatives
# stay finite. Images of bytes never come between.
_FAINT = 1 / 1024


class WhiteBalance(Perturbation):
    """Wrong white balance: too warm or too cool, with equal odds.

    White becomes the colour of a black body at `1e6 / (153.8 +- mired)` kelvin, seen by a camera that is set to 6504 K
    (153.8 mired), at the same luminance to a thousandth; all colours follow by Bradford's von Kries adaptation, in
    linear light. What leaves the range is clipped, and its derivative is zero.

    Attributes:
      mired: the error, in reciprocal megakelvin, in which equal steps look alike; in [0, 113]. The lights compared lie
        in 40 to 267 mired (25,000 to 3,750 K).

    Reference:
      Kang, Moon, Hong, Lee, Cho and Kim, "Design of advanced color temperature control system for HDTV applications",
      Journal of the Korean Physical Society 41(6), 2002 (the Planckian locus, 1,667 to 25,000 K); Lam, "Metamerism and
      colour constancy", PhD thesis, University of Bradford, 1985.

    Raises:
      ArgumentError: for a grey image, which has no colour.

    Example:
      >>> out = WhiteBalance.at(3)(jax.random.key(0), jnp.full((8, 8, 3), 0.5))
      >>> red, green, blue = out[0, 0].tolist()
      >>> red > green > blue or red < green < blue
      True
    """

    mired: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "WhiteBalance":
        """Severity 0..5: 0, 15, 30, 50, 75, 100 mired (our own scale, the same for every size).

        Sun taken for shade is some 30 mired; moonlight or halogen lamps taken for daylight are 100 and more.
        """
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 15.0, 30.0, 50.0, 75.0, 100.0)))
        return cls(mired=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.mired == 0

    def apply(self, key: Array, x: Array) -> Array:
        _need_colour(x)
        cast = _cones(_WHITE + sign(key) * self.mired) / _cones(jnp.asarray(_WHITE, jnp.float32))
        # linear sRGB -> cones, each times its gain -> linear sRGB: as nine numbers, each a sum of three.
        there = _BRADFORD @ _XYZ
        back = np.linalg.inv(there)
        parts = rounded(cast[:, None, None] * (back.T[:, :, None] * there[:, None, :]).astype(np.float32))
        matrix = parts[0] + parts[1] + parts[2]
        linear = pointwise(to_linear, x)
        red, green, blue = (linear[..., c] for c in range(3))
        mixed = [rounded(m[0] * red) + rounded(m[1] * green) + rounded(m[2] * blue) for m in matrix]
        return pointwise(encoded, jnp.stack(mixed, axis=-1))


class Hue(Perturbation):
    """All hues turned by an angle, one way or the other with equal odds; value and saturation of the HSV colour stay.

    Greys stay as they are, and their derivative is the identity's.

    Attributes:
      degrees: the angle in the HSV hexagon, in degrees; in [0, 180].

    Reference:
      Smith, "Color gamut transform pairs", SIGGRAPH 1978 (HSV).

    Raises:
      ArgumentError: for a grey image, which has no hue.

    Example:
      >>> red = jnp.zeros((8, 8, 3)).at[..., 0].set(1.0)
      >>> out = Hue(degrees=jnp.float32(120.0))(jax.random.key(0), red)
      >>> out[0, 0].round(3).tolist() in ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
      True
    """

    degrees: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Hue":
        """Severity 0..5: 0, 10, 25, 45, 65, 90 degrees (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 10.0, 25.0, 45.0, 65.0, 90.0)))
        return cls(degrees=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.degrees == 0

    def apply(self, key: Array, x: Array) -> Array:
        _need_colour(x)
        turn = sign(key) * rounded(self.degrees * (1 / 60))
        red, green, blue = (x[..., c] for c in range(3))
        value = jnp.maximum(jnp.maximum(red, green), blue)
        least = jnp.minimum(jnp.minimum(red, green), blue)
        is_red, is_green = red == value, green == value
        # The hue has one derivative where two channels share the maximum, the maximum itself has two: so not `value`.
        top, between, base = (
            jnp.where(is_red, r, jnp.where(is_green, g, b))
            for r, g, b in ((red, green, blue), (green - blue, blue - red, red - green), (0.0, 2.0, 4.0))
        )
        # In sixths of the circle, from red.
        hue = rounded(between * (1 / jnp.maximum(top - least, _FAINT))) + base + turn
        chroma = value - least
        share = jnp.minimum(chroma * (1 / _FAINT), 1.0)
        channels = []
        for start, channel in ((5.0, red), (3.0, green), (1.0, blue)):
            place = jnp.mod(hue + start, 6.0)
            below = jnp.clip(jnp.minimum(place, 4.0 - place), 0.0, 1.0)
            channels.append(channel + rounded(share * (value - rounded(chroma * below) - channel)))
        return jnp.clip(jnp.stack(channels, axis=-1), 0.0, 1.0)


def _cones(mired: Float[Array, ""]) -> Float[Array, "3"]:
    """Bradford's cone responses to a black body's light of luminance 1."""
    x, y = planckian(mired)
    xyz = (x / y, jnp.ones_like(x), (1 - x - y) / y)
    rows = _BRADFORD.astype(np.float32)
    return jnp.stack([functools.reduce(jnp.add, [w * v for w, v in zip(row, xyz, strict=True)]) for row in rows])


def planckian(mired: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The CIE 1931 chromaticity (x, y) of a black body, by a cubic in the reciprocal of its temperature.

    Args:
      mired: `1e6 / kelvin`; in [40, 600], clipped to it.

    Returns:
      x and y, within 6e-4 of the integral of Planck's law; below 300 mired within 2e-4.

    Reference:
      Kang et al., Journal of the Korean Physical Society 41(6), 2002.
    """
    # The published coefficients are of 1e9 / T^3, 1e6 / T^2 and 1e3 / T: of the cube, the square and t itself.
    t = jnp.clip(mired, 40.0, 600.0) * 1e-3
    hot = _polynomial(t, (0.240390, 0.2226347, 2.1070379, -3.0258469))
    x = jnp.where(t <= 0.25, hot, _polynomial(t, (0.179910, 0.8776956, -0.2343589, -0.2661239)))
    y = jnp.where(
        t <= 0.25,
        _polynomial(x, (-0.37001483, 3.75112997, -5.87338670, 3.0817580)),
        jnp.where(
            t <= 1 / 2.222,
            _polynomial(x, (-0.16748867, 2.09137015, -1.37418593, -0.9549476)),
            _polynomial(x, (-0.20219683, 2.18555832, -1.34811020, -1.1063814)),
        ),
    )
    return x, y


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = rounded(total * x) + coefficient
    return total


def _need_colour(x: Array) -> None:
    if x.shape[2] != 3:
        raise ArgumentError("x", f"shape {list(x.shape)}", "3 channels: a grey image has no colour")
