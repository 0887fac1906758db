"""Weather: what hangs between the scene and the lens."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float
from sensijax_kernels.random import uniform

from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for


class Fog(Perturbation):
    """Fog: a cloudy haze that brightens the scene and flattens its contrast.

    `(x + density * plasma) * m / (m + density)`, where m is the image's maximum and plasma in [0, 1] is a fractal drawn
    by the diamond-square algorithm on a periodic map, whose side is the smallest power of two that holds the image (256
    for 224 px, as published).

    Attributes:
      density: how much haze, in units of the full range; >= 0.
      decay: by how much the fractal's roughness falls from one scale to the next finer; > 0. Lower is busier.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`fog`); Fournier, Fussell and Carpenter, "Computer rendering of stochastic
      models", CACM 25(6), 1982.

    Example:
      >>> jax.jit(Fog.at(3))(jax.random.key(0), jnp.full((32, 32, 3), 0.5)).shape
      (32, 32, 3)
    """

    density: Float[Array, "..."]
    decay: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Fog":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        return cls(
            density=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (0.0, 1.5, 2.0, 2.5, 2.5, 3.0),
                        32: (0.0, 0.2, 0.5, 0.75, 1.0, 1.5),
                    },
                ),
            ),
            decay=interpolate(
                severity,
                table_for(
                    size,
                    {
                        224: (2.0, 2.0, 2.0, 1.7, 1.5, 1.4),
                        32: (3.0, 3.0, 3.0, 2.5, 2.0, 1.75),
                    },
                ),
            ),
        )

    def is_identity(self) -> Any:
        return self.density == 0

    def apply(self, key: Array, x: Array) -> Array:
        height, width, _ = x.shape
        levels = (max(height, width) - 1).bit_length()
        haze = plasma(key, self.decay, levels)[:height, :width, None]
        brightest = jnp.max(x)
        # A black image stays black: the tiny floor only keeps 0 / 0 away.
        share = brightest / jnp.maximum(brightest + self.density, 1e-6)
        return jnp.clip((x + self.density * haze) * share, 0.0, 1.0)


def plasma(key: Array, decay: Float[Array, ""], levels: int) -> Float[Array, "S S"]:
    """A periodic plasma fractal on a square of side `2 ** levels`, scaled to fill [0, 1].

    Every level puts a point in the middle of each square of four neighbours and of each diamond of four, at their mean
    plus uniform noise, whose spread falls by `decay ** 2` a level.

    Args:
      key: a typed PRNG key; one array of `4 ** levels - 1` numbers is drawn.
      decay: float32, > 0.
      levels: how often the square is halved; >= 1.

    Returns:
      float32 `[2 ** levels, 2 ** levels]`.
    """
    noise = 2 * uniform(key, (4**levels - 1,)) - 1
    grid = jnp.zeros((1, 1), jnp.float32)
    spread = jnp.ones((), jnp.float32)
    for level in range(levels):
        side = 2**level
        drawn = rounded(spread * noise[side * side - 1 : 4 * side * side - 1].reshape(3, side, side))
        across = grid + jnp.roll(grid, -1, axis=1)
        down = grid + jnp.roll(grid, -1, axis=0)
        centre = (across + jnp.roll(across, -1, axis=0)) * 0.25 + drawn[0]
        top = (across + centre + jnp.roll(centre, 1, axis=0)) * 0.25 + drawn[1]
        left = (down + centre + jnp.roll(centre, 1, axis=1)) * 0.25 + drawn[2]
        grid = jnp.stack([jnp.stack([grid, top], axis=-1), jnp.stack([left, centre], axis=-1)], axis=1)
        grid = grid.reshape(2 * side, 2 * side)
        spread = spread / (decay * decay)
    low = jnp.min(grid)
    return (grid - low) * (1 / (jnp.max(grid) - low))
