"""Sharpening: what a camera does to its pictures to make them look crisp."""

import math
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._gaussian import gaussian
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for


class Sharpening(Perturbation):
    """Unsharp masking: what a Gaussian blur takes away is added once more, with bright and dark halos along edges.

    `clip(x + amount * (x - gaussian(x, sigma)), 0, 1)`; the border is continued by its last pixel. The derivatives are
    exact; where the halo is clipped they are zero.

    Attributes:
      amount: how many times the detail is added; >= 0.
      sigma: standard deviation of the Gaussian, px; >= 0. It sets the halo's width.
      reach: static; the taps computed on each side, px; at least `int(4 * sigma + 0.5)`, or the Gaussian is cut off.

    Reference:
      Gonzalez and Woods, "Digital image processing", 4th edition, 2018, section 3.6 (unsharp masking and highboost
      filtering).

    Example:
      >>> edge = jnp.full((8, 8, 1), 0.25).at[:, 4:].set(0.75)
      >>> out = jax.jit(Sharpening.at(3, size=32))(jax.random.key(0), edge)
      >>> bool(out[0, 3, 0] < 0.25) and bool(out[0, 4, 0] > 0.75)  # the halos
      True
    """

    amount: Float[Array, "..."]
    sigma: Float[Array, "..."]
    reach: int = static(default=8)
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Sharpening":
        """Severity 0..5: 0, 0.5, 1, 1.5, 2.5, 4 times the detail (our own scale); sigma 2 px at 224 px, 0.8 at 32."""
        amounts = table_for(size, dict.fromkeys((224, 32), (0.0, 0.5, 1.0, 1.5, 2.5, 4.0)))
        sigmas = table_for(size, {224: (2.0,) * 6, 32: (0.8,) * 6})
        return cls(
            amount=interpolate(severity, amounts),
            sigma=interpolate(severity, sigmas),
            reach=math.floor(4 * max(sigmas) + 0.5),
        )

    def is_identity(self) -> Any:
        return (self.amount == 0) | (self.sigma == 0)

    def apply(self, key: Array, x: Array) -> Array:
        detail = x - gaussian(x, self.sigma, self.reach)
        return jnp.clip(x + rounded(self.amount * detail), 0.0, 1.0)
