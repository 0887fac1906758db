"""Aberrations of the lens: what a real glass does that an ideal one would not."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._resample import scaled
from sensijax.perturb.image._scale import table_for


class ChromaticAberration(Perturbation):
    """Lateral chromatic aberration: colour fringes that grow from the centre to the corners.

    The lens enlarges red by `1 + red` and blue by `1 + blue` about the image's centre, and green by one; bilinear, so
    red and blue are a little softer too. What is shown of beyond the frame continues the border's last pixel. The
    derivatives are exact.

    Attributes:
      red: how far red lands too far out, as a fraction of the distance from the centre; > -1. At the corner of a square
        of n px that is `0.707 * n * red` px: 3.96 px at severity 5 on 224 px, 0.57 px on 32 px.
      blue: the same of blue.

    Reference:
      Kang, "Automatic removal of chromatic aberration from a single image", CVPR 2007 (lateral aberration as a
      different magnification of each channel).

    Raises:
      ArgumentError: for a grey image, which has no colours to separate.

    Example:
      >>> dot = jnp.zeros((33, 33, 3)).at[16, 28].set(1.0)
      >>> lens = ChromaticAberration(red=jnp.float32(0.25), blue=jnp.float32(-0.25))
      >>> jnp.argmax(jax.jit(lens)(jax.random.key(0), dot)[16], axis=0).tolist()  # 12 px from the centre: 15, 12, 9
      [31, 28, 25]
    """

    red: Float[Array, "..."]
    blue: Float[Array, "..."]
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "ChromaticAberration":
        """Severity 0..5: red by 0, 0.4, 0.8, 1.2, 1.8, 2.5 % too large, blue as much too small, at every size."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 0.004, 0.008, 0.012, 0.018, 0.025)))
        shift = interpolate(severity, table)
        return cls(red=shift, blue=-shift)

    def is_identity(self) -> Any:
        return (self.red == 0) & (self.blue == 0)

    def apply(self, key: Array, x: Array) -> Array:
        if x.shape[2] != 3:
            raise ArgumentError("x", f"shape {list(x.shape)}", "3 channels: a grey image has no colours to separate")
        red, blue = (scaled(x[..., c : c + 1], 1 / (1 + shift)) for c, shift in ((0, self.red), (2, self.blue)))
        return jnp.clip(jnp.concatenate([red, x[..., 1:2], blue], axis=-1), 0.0, 1.0)
