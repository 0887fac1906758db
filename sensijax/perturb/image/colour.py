"""Light and colour: what an exposure or a processing chain does to every pixel alike."""

import functools
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import image_mean
from sensijax.perturb.image._scale import table_for

# A quarter of a byte's step. Hue and saturation have no limit at black and at grey; below this they are blended into
# their value there, so that derivatives stay finite. Images of bytes never come between.
_FAINT = 1 / 1024


class Brightness(Perturbation):
    """Overexposure: raises the value of the HSV colour, keeping hue and saturation.

    V becomes `min(V + shift, 1)`. Black becomes grey.

    Attributes:
      shift: what is added to V, in units of the full range; >= 0.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`brightness`).

    Example:
      >>> Brightness.at(5)(jax.random.key(0), jnp.full((8, 8, 1), 0.25))[0, 0].tolist()
      [0.75]
    """

    shift: Float[Array, "..."]
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Brightness":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        return cls(
            shift=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
                        32: (0.0, 0.05, 0.1, 0.15, 0.2, 0.3),
                    },
                ),
            )
        )

    def is_identity(self) -> Any:
        return self.shift == 0

    def apply(self, key: Array, x: Array) -> Array:
        channels = [x[..., c] for c in range(x.shape[2])]
        value = functools.reduce(jnp.maximum, channels)
        raised = jnp.clip(value + self.shift, 0.0, 1.0)
        gain = raised / jnp.maximum(value, _FAINT)
        return jnp.stack([jnp.clip(raised - (value - c) * gain, 0.0, 1.0) for c in channels], axis=-1)


class Contrast(Perturbation):
    """Loss of contrast: every channel is drawn towards its mean over the image.

    `clip((x - mean) * factor + mean, 0, 1)`.

    Attributes:
      factor: what remains of the contrast; 1 leaves the image as it is, 0 leaves its mean.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`contrast`).

    Example:
      >>> half_black = jnp.zeros((8, 8, 1)).at[:4].set(1.0)
      >>> jnp.unique(Contrast(factor=jnp.float32(0.5))(jax.random.key(0), half_black)).tolist()
      [0.25, 0.75]
    """

    factor: Float[Array, "..."]
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Contrast":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        return cls(
            factor=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (1.0, 0.4, 0.3, 0.2, 0.1, 0.05),
                        32: (1.0, 0.75, 0.5, 0.4, 0.3, 0.15),
                    },
                ),
            )
        )

    def is_identity(self) -> Any:
        return self.factor == 1

    def apply(self, key: Array, x: Array) -> Array:
        mean = image_mean(x)
        return jnp.clip((x - mean) * self.factor + mean, 0.0, 1.0)


class Saturate(Perturbation):
    """Paler or more vivid colours: scales and shifts the saturation of the HSV colour.

    S becomes `clip(factor * S + shift, 0, 1)`. Greys have hue 0: with a shift they turn reddish, as published. The
    published scale is not monotone: severities 1 and 2 take colour away, 3 to 5 add it; see `at`.

    Attributes:
      factor: factor of the saturation; >= 0.
      shift: what is added to it then, in [0, 1].

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`saturate`).

    Raises:
      ArgumentError: for a grey image, which has no saturation.

    Example:
      >>> pale = jnp.broadcast_to(jnp.array([0.5, 0.4, 0.4]), (8, 8, 3))
      >>> vivid = Saturate(factor=jnp.float32(5.0), shift=jnp.float32(0.0))(jax.random.key(0), pale)
      >>> vivid[0, 0].round(3).tolist()
      [0.5, 0.0, 0.0]
    """

    factor: Float[Array, "..."]
    shift: Float[Array, "..."]
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224, monotone: bool = False) -> "Saturate":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px.

        The published scale takes colour away at 1 and 2 and adds it at 3 to 5. With `monotone` colour is only added:
        the published severities 3, 4 and 5 are at 2, 4 and 5, and what is between lies between.
        """
        factors: dict[int, tuple[float, ...]] = {
            224: (1.0, 0.3, 0.1, 2.0, 5.0, 20.0),
            32: (1.0, 0.3, 0.1, 1.5, 2.0, 2.5),
        }
        shifts: dict[int, tuple[float, ...]] = dict.fromkeys((224, 32), (0.0, 0.0, 0.0, 0.0, 0.1, 0.2))
        if monotone:
            factors = {
                224: (1.0, 1.5, 2.0, 3.5, 5.0, 20.0),
                32: (1.0, 1.25, 1.5, 1.75, 2.0, 2.5),
            }
            shifts = dict.fromkeys((224, 32), (0.0, 0.0, 0.0, 0.05, 0.1, 0.2))
        return cls(
            factor=interpolate(severity, table_for(size, factors)), shift=interpolate(severity, table_for(size, shifts))
        )

    def is_identity(self) -> Any:
        return (self.factor == 1) & (self.shift == 0)

    def apply(self, key: Array, x: Array) -> Array:
        if x.shape[2] != 3:
            raise ArgumentError("x", f"shape {list(x.shape)}", "3 channels: a grey image has no saturation")
        channels = [x[..., c] for c in range(3)]
        value = functools.reduce(jnp.maximum, channels)
        chroma = value - functools.reduce(jnp.minimum, channels)
        saturation = jnp.clip(self.factor * (chroma / jnp.maximum(value, _FAINT)) + self.shift, 0.0, 1.0)
        # How far each channel lies below the value, as a share of the chroma: the hue.
        red, scale = jnp.maximum(1 - chroma / _FAINT, 0.0), jnp.maximum(chroma, _FAINT)
        hue = [(value - c) / scale + red * below for c, below in zip(channels, (0.0, 1.0, 1.0), strict=True)]
        return jnp.stack([jnp.clip(value - value * saturation * h, 0.0, 1.0) for h in hue], axis=-1)
