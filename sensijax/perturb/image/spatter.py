"""What splashes on the lens: water or mud."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float
from sensijax_kernels.random import normal

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._gaussian import gaussian
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._liquid import relief
from sensijax.perturb.image._luma import luma
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._straight_through import floor

_WATER = (175, 238, 238)  # pale turquoise
_MUD = (63, 42, 20)


class Spatter(Perturbation):
    """Drops on the lens, of water that glistens or of mud that covers.

    Both start from one layer: Gaussian noise of `mean` and `std`, blurred by `blur`; where it exceeds `threshold`
    there is liquid. Water adds turquoise light: the layer times its relief (`_liquid.relief`: an embossed map of the
    distance from the drops' edges), scaled so that the brightest pixel is `opacity`. Mud replaces the image by brown as
    far as the drops, blurred by `rim`, cover a pixel by 80 % or more. `mud` blends the two results: 0 is water alone, 1
    mud alone. The published scales change from water to mud between severities 3 and 4; in between both are seen.

    On a grey image water and mud have their colours' luma. A layer brighter than white wraps around to black, as the
    published bytes do (a pixel or two in one image of six at severity 3 of the 32 px scale).

    Derivatives with respect to `x`, `opacity` and `mud` are exact. All others hold steps fixed: the drops' outlines,
    their relief and which pixels the mud covers. Those with respect to `mean`, `std` and `blur` pass straight through
    the layer's bytes, and are zero in mud; those with respect to `threshold` are zero.

    Attributes:
      mean: of the layer, in units of the full range.
      std: standard deviation of the layer before it is blurred, likewise; >= 0.
      blur: standard deviation of the layer's blur, px; >= 0.
      threshold: what the layer exceeds in a drop; in (0, 1).
      opacity: how much light the brightest pixel of water adds, in units of the full range; >= 0.
      rim: standard deviation of the mud's blur, px; >= 0.
      mud: the share of mud; in [0, 1].
      radius: static; the taps of `blur` computed on each side, px. `at` chooses it for its scale.
      rim_radius: static; the taps of `rim`, likewise.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`spatter`).

    Example:
      >>> out = jax.jit(Spatter.at(5, size=32))(jax.random.key(0), jnp.ones((32, 32, 3)))
      >>> bool(((out == 1) | (out < 0.4)).all() & (out < 0.4).any())  # mud covers a pixel by 80 % or not at all
      True
    """

    mean: Float[Array, "..."]
    std: Float[Array, "..."]
    blur: Float[Array, "..."]
    threshold: Float[Array, "..."]
    opacity: Float[Array, "..."]
    rim: Float[Array, "..."]
    mud: Float[Array, "..."]
    radius: int = static(default=16)
    rim_radius: int = static(default=6)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224, monotone: bool = False) -> "Spatter":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px.

        With `monotone` it is water at every severity, the drops are those of the published severity 3, and their
        opacity grows: the change of no pixel falls with severity.
        """
        published = {
            "mean": {
                224: (0.65, 0.65, 0.65, 0.65, 0.65, 0.67),
                32: (0.62, 0.62, 0.65, 0.65, 0.65, 0.65),
            },
            "std": {
                224: (0.3, 0.3, 0.3, 0.3, 0.3, 0.4),
                32: (0.1, 0.1, 0.1, 0.3, 0.1, 0.1),
            },
            "blur": {
                224: (4.0, 4.0, 3.0, 2.0, 1.0, 1.0),
                32: (0.7, 0.7, 0.8, 1.0, 0.7, 0.5),
            },
            "threshold": {
                224: (0.69, 0.69, 0.68, 0.68, 0.65, 0.65),
                32: (0.7, 0.7, 0.7, 0.69, 0.69, 0.68),
            },
            "opacity": {
                224: (0.0, 0.6, 0.6, 0.5, 0.5, 0.5),
                32: (0.0, 0.5, 0.5, 0.5, 0.5, 0.5),
            },
            "rim": {
                224: (1.5, 1.5, 1.5, 1.5, 1.5, 1.5),
                32: (0.6, 0.6, 0.6, 0.6, 0.6, 0.6),
            },
            "mud": {
                224: (0.0, 0.0, 0.0, 0.0, 1.0, 1.0),
                32: (0.0, 0.0, 0.0, 0.0, 1.0, 1.0),
            },
        }
        tables = {field: table_for(size, by_size) for field, by_size in published.items()}
        if monotone:
            tables = {field: 6 * (table[3],) for field, table in tables.items()}
            tables |= {"opacity": (0.0, 0.1, 0.3, 0.5, 0.75, 1.0)}
        return cls(
            **{field: interpolate(severity, table) for field, table in tables.items()},
            radius=int(4 * max(tables["blur"]) + 0.5),
            rim_radius=int(4 * max(tables["rim"]) + 0.5),
        )

    def is_identity(self) -> Any:
        return (self.opacity == 0) & (self.mud == 0)

    def apply(self, key: Array, x: Array) -> Array:
        noise = normal(key, x.shape[:2])
        layer = gaussian((self.mean + rounded(self.std * noise))[..., None], self.blur, self.radius)
        drops = layer > self.threshold
        light = self.opacity * _glisten(jnp.where(drops, layer, 0.0)[..., 0])[..., None]
        wet = jnp.clip(x + rounded(light * _colour(_WATER, x)), 0.0, 1.0)
        cover = gaussian(drops.astype(x.dtype), self.rim, self.rim_radius)
        cover = jnp.where(cover < 0.8, 0.0, cover)
        muddy = jnp.clip(x + rounded(cover * (_colour(_MUD, x) - x)), 0.0, 1.0)
        return jnp.clip(wet + rounded(self.mud * (muddy - wet)), 0.0, 1.0)


def _glisten(layer: Float[Array, "H W"]) -> Float[Array, "H W"]:
    """The light that a layer of water throws, at most 1."""
    pixels = floor(rounded(layer * 255))
    pixels = pixels - 256 * stop_gradient(jnp.floor(pixels / 256))
    light = pixels * stop_gradient(relief(pixels.astype(jnp.int32))).astype(layer.dtype)
    return light * (1 / jnp.maximum(jnp.max(light), 1.0))


def _colour(rgb: tuple[int, int, int], x: Array) -> Array:
    """The colour in an image's channels: itself or, in a grey one, its luma."""
    value = jnp.asarray(rgb, jnp.float32).reshape(1, 1, 3) / 255
    return value if x.shape[2] == 3 else luma(value)[..., None]
