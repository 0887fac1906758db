"""Something stands in the way."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for


class Occlusion(Perturbation):
    """A grey square hides part of the image, at a random place inside the frame.

    The square is drawn with exact coverage: a pixel that it covers in part is blended. So the image moves smoothly with
    the square's side, and the derivative is non-zero on the square's rim.

    Attributes:
      fraction: the square's side as a fraction of the image's shorter side; in [0, 1].
      level: the grey it is painted in, in [0, 1].

    Reference:
      Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014 (occlusion); DeVries and
      Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.

    Example:
      >>> out = Occlusion.at(5)(jax.random.key(0), jnp.zeros((32, 32, 3)))
      >>> round(float((out / 0.5).mean()), 4)  # half the side is a quarter of the area
      0.25
    """

    fraction: Float[Array, "..."]
    level: float = static(default=0.5)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Occlusion":
        """Severity 0..5: 0, 10, 20, 30, 40, 50 % of the shorter side (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)))
        return cls(fraction=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.fraction == 0

    def apply(self, key: Array, x: Array) -> Array:
        height, width, _ = x.shape
        side = rounded(self.fraction * min(height, width))
        place = jax.random.uniform(key, (2,), x.dtype)
        rows = _coverage(rounded(place[0] * (height - side)), side, height)[:, None, None]
        columns = _coverage(rounded(place[1] * (width - side)), side, width)[None, :, None]
        return jnp.clip(x + rows * columns * (self.level - x), 0.0, 1.0)


def _coverage(start: Array, length: Array, count: int) -> Array:
    """How much of each of `count` unit cells the interval `[start, start + length]` covers: `[count]` in [0, 1]."""
    cells = jnp.arange(count, dtype=jnp.float32)
    return jnp.clip(jnp.minimum(cells + 1, start + length) - jnp.maximum(cells, start), 0.0, 1.0)
