"""Digital handling: what storing and sending an image costs it."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image import _jpeg
from sensijax.perturb.image._boxes import box_means
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._straight_through import bytes_of


class JPEG(Perturbation):
    """JPEG compression at a quality: the bytes that libjpeg, and so Pillow, restores.

    Baseline, standard tables, chroma at half the resolution (4:2:0), accurate integer transform; grey images have
    luminance only. The image is first rounded to bytes. At whole qualities the result is the codec's own, bit for bit;
    between them the scale of the tables is interpolated.

    Rounding has no derivative: it is passed straight through, so the derivative with respect to `x` is that of the
    codec without rounding, about the identity, and that with respect to `quality` is how the rounding error grows with
    the steps.

    Attributes:
      quality: in [1, 100], higher is better; above 100 the image is not compressed (100 is: not even that is lossless).

    Reference:
      ITU-T T.81 (1992); Hendrycks and Dietterich, ICLR 2019 (`jpeg_compression`).

    Example:
      >>> x = jnp.linspace(0, 1, 32 * 32 * 3).reshape(32, 32, 3)
      >>> out = jax.jit(JPEG(quality=jnp.float32(90.0)))(jax.random.key(0), x)
      >>> bool(jnp.abs(out - x).mean() < 0.01)
      True
    """

    quality: Float[Array, "..."]
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "JPEG":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
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
        luminance = _jpeg.steps(self.quality, _jpeg.LUMINANCE)
        if x.shape[2] == 1:
            return _jpeg.grey(pixels[..., 0], luminance)[..., None] / 255
        return _jpeg.colour(pixels, luminance, _jpeg.steps(self.quality, _jpeg.CHROMINANCE)) / 255


class Pixelate(Perturbation):
    """Too few pixels: shrinks the image by averaging over boxes, and enlarges it again by repetition.

    The arithmetic is Pillow's: sides of `int(fraction * side)` px, boxes of whole pixels, rounding to bytes after each
    of the two directions, bit for bit. The small image's sides are whole numbers, so the derivative with respect to
    `fraction` is zero; with respect to `x` it is that of the averages, without their rounding.

    Attributes:
      fraction: the small image's side as a fraction of the large one's; in (0, 1].

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`pixelate`, which is Pillow's `resize` with `BOX`, there and back).

    Example:
      >>> x = jnp.linspace(0, 1, 64).reshape(8, 8, 1)
      >>> len(jnp.unique(jax.jit(Pixelate(fraction=jnp.float32(0.25)))(jax.random.key(0), x)))
      4
    """

    fraction: Float[Array, "..."]
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Pixelate":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px.

        The damage grows from one whole severity to the next. Between them it may fall for a while: boxes of whole
        pixels meet the edges in an image better at some sizes than at others.
        """
        return cls(
            fraction=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (1.0, 0.6, 0.5, 0.4, 0.3, 0.25),
                        32: (1.0, 0.95, 0.9, 0.85, 0.75, 0.65),
                    },
                ),
            )
        )

    def is_identity(self) -> Any:
        return self.fraction == 1

    def apply(self, key: Array, x: Array) -> Array:
        return box_means(x, self.fraction) / 255
