"""Linear light and the sRGB values that store it: IEC 61966-2-1, and what follows from it in linear light.

Lenses and sensors act on light. Where an operation is theirs, an image is decoded, perturbed, clipped and encoded
again; highlights then saturate as they do in a camera.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.perturb.image._pointwise import pointwise
from sensijax.perturb.image._reduce import rounded

# Below these the curve is a straight line through the origin, so the derivative at black is finite.
_LINE_SRGB, _LINE_LIGHT, _SLOPE = 0.04045, 0.0031308, 12.92


def to_linear(value: Float[Array, "..."]) -> Float[Array, "..."]:
    """The linear light in [0, 1] that an sRGB value in [0, 1] stands for; elementwise.

    Reference:
      IEC 61966-2-1:1999.

    Example:
      >>> to_linear(jnp.array([0.0, 0.5, 1.0])).round(4).tolist()
      [0.0, 0.21400000154972076, 1.0]
    """
    base = (jnp.maximum(value, _LINE_SRGB) + 0.055) * (1 / 1.055)
    curve = base * base * _power(base, 0.4)  # closer than the power 2.4 at once
    return jnp.where(value <= _LINE_SRGB, value * (1 / _SLOPE), curve)


def to_srgb(light: Float[Array, "..."]) -> Float[Array, "..."]:
    """The sRGB value in [0, 1] that stores a linear light in [0, 1]; elementwise. The inverse of `to_linear`.

    Reference:
      IEC 61966-2-1:1999.

    Example:
      >>> to_srgb(jnp.array([0.0, 0.214, 1.0])).round(3).tolist()
      [0.0, 0.5, 1.0]
    """
    curve = rounded(1.055 * _power(jnp.maximum(light, _LINE_LIGHT), 1 / 2.4)) - 0.055
    return jnp.where(light <= _LINE_LIGHT, light * _SLOPE, curve)


def in_linear_light(
    function: Callable[..., Array], x: Float[Array, "H W C"], *arrays: Float[Array, "H W C"]
) -> Float[Array, "H W C"]:
    """What an elementwise function of linear light makes of an image.

    Args:
      function: elementwise; takes the linear light of `x`, then the `arrays`, and returns linear light, which is
        clipped to [0, 1].
      x: float32 `[H, W, C]`, sRGB values in [0, 1].
      *arrays: float32 `[H, W, C]`.

    Returns:
      float32 `[H, W, C]`, sRGB values in [0, 1].
    """
    return pointwise(lambda v, *rest: encoded(function(to_linear(v), *rest)), x, *arrays)


def encoded(light: Float[Array, "..."]) -> Float[Array, "..."]:
    """The sRGB values of linear light of any size: what exceeds the range is clipped; elementwise."""
    return jnp.clip(to_srgb(jnp.clip(light, 0.0, 1.0)), 0.0, 1.0)


def _power(base: Array, exponent: float) -> Array:
    # On a CPU, XLA computes `jnp.power` three times slower.
    return jnp.exp(exponent * jnp.log(base))
