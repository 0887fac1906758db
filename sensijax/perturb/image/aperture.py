"""Out of focus through an iris: each point of light takes the shape of the aperture."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import ordered_sum, rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._window import shifted


class ApertureBlur(Perturbation):
    """Out of focus: each point of light becomes a regular polygon, one side for each blade of the iris.

    The polygon is turned by an angle drawn uniformly for each example. A pixel's weight is the share of it that lies
    inside: `clip(1/2 + d, 0, 1)`, where d is the distance to the nearest side in px, positive inside; the weights sum
    to one, and the border is continued by its last pixel. The image is continuous in `radius` and the derivatives are
    exact.

    Attributes:
      radius: from the polygon's centre to its corners, px; in [0, reach]. Up to `1 - 0.5 / cos(pi / blades)` the
        polygon touches no second pixel, and the image stays as it is.
      blades: static; of the iris; >= 5.
      reach: static; the largest radius that is computed, px. `at` chooses it for its scale.

    Reference:
      Potmesil and Chakravarty, "A lens and aperture camera model for synthetic image generation", SIGGRAPH 1981.

    Example:
      >>> dot = jnp.zeros((17, 17, 1)).at[8, 8].set(1.0)
      >>> blur = ApertureBlur(radius=jnp.float32(6.0), blades=6, reach=6)
      >>> out = jax.jit(blur)(jax.random.key(0), dot)[..., 0]
      >>> round(float(1 / out.max()))  # a hexagon's area is 2.6 radius**2
      94
    """

    radius: Float[Array, "..."]
    blades: int = static(default=6)
    reach: int = static(default=10)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224, blades: int = 6) -> "ApertureBlur":
        """Severity 0..5: up to 10 px, as the published defocus blur, for 224 px; up to 2 px for 32 px."""
        still = _still(blades)
        table = table_for(
            size,
            {
                224: (still, 3.0, 4.0, 6.0, 8.0, 10.0),
                32: (still, 0.8, 1.0, 1.25, 1.6, 2.0),
            },
        )
        return cls(radius=interpolate(severity, table), blades=blades, reach=math.ceil(max(table)))

    def is_identity(self) -> Any:
        return self.radius <= np.float32(_still(self.blades))

    def apply(self, key: Array, x: Array) -> Array:
        turn = jax.random.uniform(key, (), x.dtype) * (2 * math.pi / self.blades)
        weights = polygon(self.radius, turn, self.blades, self.reach)
        height, width, channels = x.shape
        margin = (self.reach, self.reach)
        padded = jnp.pad(x, (margin, margin, (0, 0)), mode="edge").reshape(height + 2 * self.reach, -1)

        def add(line: Array, total: Array) -> Array:
            rows = jax.lax.dynamic_slice_in_dim(padded, line, height)
            for tap in range(2 * self.reach + 1):
                total = total + weights[line, tap] * shifted(rows, 1, tap * channels, width * channels)
            return total

        total = jax.lax.fori_loop(0, len(weights), add, jnp.zeros((height, width * channels), x.dtype))
        return jnp.clip(total.reshape(x.shape), 0.0, 1.0)


def polygon(radius: Float[Array, ""], turn: Float[Array, ""], blades: int, reach: int) -> Float[Array, "K K"]:
    """A regular polygon about the middle pixel, with soft sides, its values summing to one.

    Args:
      radius: from its centre to its corners, px.
      turn: the direction of the normal of one of its sides, radians; 0 is to the right, pi / 2 down.
      blades: how many sides.
      reach: half of the array's side, px.

    Returns:
      float32 `[2 * reach + 1, 2 * reach + 1]`.
    """
    taps = np.arange(-reach, reach + 1, dtype=np.float32)
    inside = jnp.full((len(taps), len(taps)), jnp.inf, jnp.float32)
    apothem = radius * math.cos(math.pi / blades)
    for blade in range(blades):
        normal = turn + 2 * math.pi * blade / blades
        outwards = rounded(taps[:, None] * jnp.sin(normal)) + rounded(taps[None, :] * jnp.cos(normal))
        inside = jnp.minimum(inside, apothem - outwards)
    weights = jnp.clip(inside + 0.5, 0.0, 1.0)
    return weights * (1 / ordered_sum(weights.reshape(-1)))


def _still(blades: int) -> float:
    """The largest radius at which no corner, however turned, touches a second pixel."""
    return 1 - 0.5 / math.cos(math.pi / blades)
