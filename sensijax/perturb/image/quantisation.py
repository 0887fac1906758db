"""Too few levels of brightness."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._straight_through import bytes_of, floor


class Posterize(Perturbation):
    """Few levels in each channel: the byte, rounded down to a multiple of `256 / levels`.

    The image is first rounded to bytes. Where `levels` is a power of two, the low bits are cleared: what Pillow's
    `ImageOps.posterize` does, bit for bit. Rounding down darkens, white too.

    Rounding has no derivative: it is passed straight through, so the derivative with respect to `x` is the identity's,
    and that with respect to `levels` is how the rounding error shrinks with the step.

    Attributes:
      levels: of each channel, 2 to the number of bits; in [1, 256]. At 256 and above nothing is done.

    Reference:
      Kar, Yeo, Atanov and Zamir, "3D common corruptions and data augmentation", CVPR 2022 (`color_quant`, 5 to 1 bits).

    Example:
      >>> x = jnp.linspace(0, 1, 64).reshape(8, 8, 1)
      >>> (jnp.unique(Posterize.at(4)(jax.random.key(0), x)) * 255).round().tolist()
      [0.0, 64.0, 128.0, 192.0]
    """

    levels: Float[Array, "..."]
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Posterize":
        """Severity 0..5: 256, 32, 16, 8, 4, 2 levels, so 5, 4, 3, 2, 1 bits as published, the same for every size."""
        table = table_for(size, dict.fromkeys((224, 32), (256.0, 32.0, 16.0, 8.0, 4.0, 2.0)))
        return cls(levels=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.levels >= 256

    def apply(self, key: Array, x: Array) -> Array:
        steps = floor(rounded(bytes_of(x) * (self.levels / 256)))
        return rounded(steps * (256 / self.levels)) / 255
