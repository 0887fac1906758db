"""Compression as WebP does it: smears and smooth blocks instead of JPEG's ringing."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image import _vp8
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._straight_through import bytes_of, floor


class WEBP(Perturbation):
    """Lossy compression in the manner of WebP, whose codec is a key frame of VP8. It is a model, not the codec.

    As in the codec: YUV of limited range with chroma at half the resolution; the 4 x 4 integer transform, the Hadamard
    transform of the 16 block means of a luma macroblock; the steps, dead zones and filter strength that libwebp's
    default settings give for a quality; the standard's inverse transforms and its normal loop filter, in whole numbers;
    the decoder's smooth enlargement of the chroma.

    Not as in the codec: every macroblock is predicted by one mean, taken from the source's pixels above it and left of
    it, where the codec chooses among directions, for 4 x 4 blocks too, and predicts from what it has decoded; one set
    of steps for the whole image, where libwebp has up to four; all vertical edges are filtered before all horizontal
    ones, and in all macroblocks; no gamma in the averaging of the chroma; no optimisation of the rate. There is no bit
    stream, so no file size. On photographs at qualities 10 to 95 the PSNR to the original is within 1.5 dB of Pillow's.

    The image is first rounded to bytes, and grey images have luma only. Between whole indices of the codec's tables the
    steps are interpolated and rounded. Rounding has no derivative: it is passed straight through, and the thresholds of
    the filter are held fixed.

    Attributes:
      quality: in [0, 100], higher is better; above 100 the image is not compressed (100 is: not even that is lossless).

    Reference:
      RFC 6386, "VP8 data format and decoding guide", 2011; Google, "WebP compression techniques" and libwebp.

    Example:
      >>> x = jnp.linspace(0, 1, 32 * 32 * 3).reshape(32, 32, 3)
      >>> out = jax.jit(WEBP(quality=jnp.float32(90.0)))(jax.random.key(0), x)
      >>> bool(jnp.abs(out - x).mean() < 0.01)
      True
    """

    quality: Float[Array, "..."]
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "WEBP":
        """Severity 0..5: the qualities of the published JPEG scales, of ImageNet-C for 224 px or CIFAR-10-C for 32."""
        return cls(
            quality=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (101.0, 25.0, 18.0, 15.0, 10.0, 7.0),
                        32: (101.0, 80.0, 65.0, 58.0, 50.0, 40.0),
                    },
                ),
            )
        )

    def is_identity(self) -> Any:
        return self.quality > 100

    def apply(self, key: Array, x: Array) -> Array:
        pixels = bytes_of(x)
        steps = _vp8.steps(self.quality)
        height, width, channels = x.shape
        if channels == 1:
            grey = pixels[..., 0]
            luma = _luma(grey, grey, grey)
            return _byte(_lit(_coded(_vp8.luma, luma, steps, 16)) - 1160)[..., None] / 255
        red, green, blue = (pixels[..., c] for c in range(3))
        luma = _coded(_vp8.luma, _luma(red, green, blue), steps, 16)
        red, green, blue = (_halved(c) for c in (red, green, blue))
        u = floor((28800 * blue - 9719 * red - 19081 * green + (128 * 65536 + 32768)) / 65536)
        v = floor((28800 * red - 24116 * green - 4684 * blue + (128 * 65536 + 32768)) / 65536)
        u, v = jax.vmap(lambda c: _doubled(_coded(_vp8.chroma, c, steps, 8))[:height, :width])(jnp.stack([u, v]))
        lit = _lit(luma)
        return (
            jnp.stack(
                [
                    _byte(lit + floor(26149 * v / 256) - 14234),
                    _byte(lit - floor(6419 * u / 256) - floor(13320 * v / 256) + 8708),
                    _byte(lit + floor(33050 * u / 256) - 17685),
                ],
                axis=-1,
            )
            / 255
        )


def _luma(red: Array, green: Array, blue: Array) -> Array:
    return floor((16839 * red + 33059 * green + 6420 * blue + (16 * 65536 + 32768)) / 65536)


def _lit(luma: Array) -> Array:
    return floor(19077 * luma / 256)


def _byte(x: Array) -> Array:
    return jnp.clip(floor(x / 64), 0.0, 255.0)


def _coded(code: Any, plane: Array, steps: _vp8.Steps, size: int) -> Array:
    height, width = plane.shape
    padded = jnp.pad(plane, ((0, -height % size), (0, -width % size)), mode="edge")
    return code(padded, steps)[:height, :width]


def _halved(plane: Array) -> Array:
    """Means of 2 x 2 pixels, rounded half up."""
    plane = jnp.pad(plane, ((0, plane.shape[0] % 2), (0, plane.shape[1] % 2)), mode="edge")
    lines = plane[0::2] + plane[1::2]
    return floor((lines[:, 0::2] + lines[:, 1::2] + 2) / 4)


def _doubled(plane: Array) -> Array:
    """Twice the resolution: 9, 3, 3 and 1 sixteenths of the four nearest."""
    for _ in range(2):
        before = jnp.concatenate([plane[:1], plane[:-1]])
        after = jnp.concatenate([plane[1:], plane[-1:]])
        plane = jnp.stack([3 * plane + before, 3 * plane + after], axis=1).reshape(-1, plane.shape[1]).T
    return floor((plane + 8) / 16)
