"""Blur of movement: the camera shakes, or runs towards the scene."""

import functools
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._trail import fading_weights, trail


class MotionBlur(Perturbation):
    """The camera moves while the shutter is open: a fading trail in one direction.

    The direction is drawn for each example, uniform in -45 to 45 degrees from the horizontal. The trail has
    `2 * ceil(radius) + 1` taps one pixel apart, rounded to the grid, with the weights of one side of a Gaussian; the
    border is continued by its last pixel. The number of taps is a step in `radius`: its derivative is zero, those with
    respect to `sigma` and `x` are exact.

    Attributes:
      radius: half of the trail's length, px; >= 0.
      sigma: standard deviation of the Gaussian, px; >= 0.
      reach: static; the largest radius that is computed, px. `at` chooses it for its scale.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`motion_blur`, which is ImageMagick's `MotionBlurImage`).

    Example:
      >>> dot = jnp.zeros((32, 32, 1)).at[16, 31].set(1.0)
      >>> out = jax.jit(MotionBlur.at(1, size=32))(jax.random.key(0), dot)
      >>> bool(out[:, 26:].sum() > 0.99)  # it trails to the left of what is bright
      True
    """

    radius: Float[Array, "..."]
    sigma: Float[Array, "..."]
    reach: int = static(default=20)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "MotionBlur":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        radii = table_for(
            size,
            {
                224: (0.0, 10.0, 15.0, 15.0, 15.0, 20.0),
                32: (0.0, 6.0, 6.0, 6.0, 8.0, 9.0),
            },
        )
        sigmas = table_for(
            size,
            {
                224: (0.0, 3.0, 5.0, 8.0, 12.0, 15.0),
                32: (0.0, 1.0, 1.5, 2.0, 2.0, 2.5),
            },
        )
        return cls(
            radius=interpolate(severity, radii), sigma=interpolate(severity, sigmas), reach=math.ceil(max(radii))
        )

    def is_identity(self) -> Any:
        return (self.radius == 0) | (self.sigma == 0)

    def apply(self, key: Array, x: Array) -> Array:
        angle = (jax.random.uniform(key, (), x.dtype) - 0.5) * (math.pi / 2)
        above, ahead = math.ceil(2 * self.reach * math.sin(math.pi / 4)), 2 * self.reach
        weights = fading_weights(self.radius, self.sigma, self.reach)
        return jnp.clip(trail(x, weights, angle, ((above, above), (0, ahead))), 0.0, 1.0)


class ZoomBlur(Perturbation):
    """The camera moves towards the scene: the mean of the image and its enlargements about its centre.

    The enlargements are by 1, 1 + step, 1 + 2 step, .. : `count` of them, bilinear, and the image itself once more. At
    whole severities the result is that of the published code, whose enlargements cut out and keep whole pixels, and so
    sit up to a pixel off the centre. All published factors are whole hundredths. Between two hundredths the places that
    are read move linearly from the one's to the other's, and a fractional `count` lets its last enlargement in by that
    fraction: the image is continuous in both parameters, and the derivatives are exact, but for the kinks at every
    hundredth and at whole counts. An image that is not square is treated so along each side by itself. Because of what
    sits off the centre, the damage can fall by 2 % between whole severities; `at` has a scale on which it does not.

    Attributes:
      count: how many enlargements, the one by 1 included; >= 1. With 1 the image stays as it is.
      step: between one factor and the next, in [0, 0.05]; factors beyond 2 are read as 2.
      most: static; the largest count that is computed. `at` chooses it for its scale.
      centred: static; True enlarges exactly about the centre instead of as published.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`zoom_blur`, with SciPy's `ndimage.zoom(order=1)`). The counts are those of
      its `np.arange`, which by rounding includes the ends 1.06 and 1.11, and no other.

    Example:
      >>> jax.jit(ZoomBlur.at(3))(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).round(4).max().item()
      0.5
    """

    count: Float[Array, "..."]
    step: Float[Array, "..."]
    most: int = static(default=26)
    centred: bool = static(default=False)
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224, monotone: bool = False) -> "ZoomBlur":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px.

        With `monotone=True`, a scale on which the damage never falls: 16 enlargements about the centre, evenly spaced
        up to the published largest.
        """
        if monotone:
            largest = table_for(
                size,
                {
                    224: (0.0, 0.11, 0.15, 0.2, 0.24, 0.3),
                    32: (0.0, 0.06, 0.11, 0.15, 0.2, 0.25),
                },
            )
            step = interpolate(severity, tuple(zoom / 15 for zoom in largest))
            return cls(count=jnp.full_like(step, 16.0), step=step, most=16, centred=True)
        counts = table_for(
            size,
            {
                224: (1.0, 12.0, 16.0, 11.0, 13.0, 11.0),
                32: (1.0, 7.0, 12.0, 16.0, 21.0, 26.0),
            },
        )
        steps = table_for(
            size,
            {
                224: (0.01, 0.01, 0.01, 0.02, 0.02, 0.03),
                32: (0.01, 0.01, 0.01, 0.01, 0.01, 0.01),
            },
        )
        return cls(count=interpolate(severity, counts), step=interpolate(severity, steps), most=int(max(counts)))

    def is_identity(self) -> Any:
        return (self.count == 1) | (self.step == 0)

    def apply(self, key: Array, x: Array) -> Array:
        height, width, channels = x.shape
        numbers = jnp.arange(self.most, dtype=x.dtype)
        weights = jnp.clip(self.count - numbers, 0.0, 1.0)
        zoomed = _centred if self.centred else _zoomed
        # All places first, and handed to the loop: inside, a compiler would work each out anew for every pixel.
        down, across = (
            _neighbours(jax.vmap(lambda i, n=n: zoomed(i * self.step, n))(numbers), n) for n in (height, width)
        )

        def add(total: Array, one: tuple[Array, Any, Any]) -> tuple[Array, None]:
            weight, to_rows, to_columns = one
            # Whole rows are read, then, with the image turned, whole columns as rows: the fast way through memory.
            lines = _between(x.reshape(height, -1), *to_rows)
            turned = lines.reshape(height, width, channels).transpose(1, 0, 2).reshape(width, -1)
            enlarged = _between(turned, *to_columns).reshape(width, height, channels).transpose(1, 0, 2)
            return total + rounded(weight * enlarged), None

        total, _ = jax.lax.scan(add, x, (weights, down, across))
        return jnp.clip(total * (1 / (self.count + 1)), 0.0, 1.0)


def _centred(growth: Float[Array, ""], side: int) -> Float[Array, "N"]:
    """Which places along a side an enlargement by `1 + growth` about its centre shows."""
    away = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    return rounded(away * (1 / (1 + rounded(growth)))) + np.float32((side - 1) / 2)


def _zoomed(growth: Float[Array, ""], side: int) -> Float[Array, "N"]:
    """Which places along a side an enlargement by `1 + growth` shows, px from the first pixel's centre."""
    table = jnp.asarray(_published_zooms(side))
    hundredths = rounded(100 * growth)
    low = jnp.clip(jnp.floor(hundredths), 0, len(table) - 2).astype(jnp.int32)
    share = jnp.minimum(hundredths - low.astype(jnp.float32), 1.0)
    shift, stretch = table[low] + rounded(share * (table[low + 1] - table[low]))
    pixels = np.arange(side, dtype=np.float32)
    return pixels + (shift + rounded(stretch * pixels))


@functools.lru_cache(maxsize=16)
def _published_zooms(side: int) -> np.ndarray:
    """The published enlargements by 1, 1.01, .. 2: pixel i shows place `i + shift + growth * i`: float32 `[101, 2]`.

    In the published code's own double precision, which decides where a cut rounds to one pixel or the next.
    """
    factor = np.arange(1, 2.005, 0.01)
    kept = np.ceil(side / factor)
    cut = (side - kept) // 2
    enlarged = np.round(kept * factor)
    trimmed = (enlarged - side) // 2
    step = (kept - 1) / (enlarged - 1)
    return np.stack([cut + trimmed * step, step - 1], axis=1).astype(np.float32)


def _neighbours(places: Float[Array, "K N"], count: int) -> tuple[Array, Array, Array]:
    """The pixels before and after each place, and how far between them it is; beyond the last it is the last."""
    places = jnp.clip(places, 0.0, count - 1.0)
    low = jnp.floor(places)
    index = low.astype(jnp.int32)
    return index, jnp.minimum(index + 1, count - 1), places - low


def _between(rows: Float[Array, "N M"], before: Array, after: Array, share: Array) -> Float[Array, "K M"]:
    start = jnp.take(rows, before, axis=0, mode="clip")
    return start + share[:, None] * (jnp.take(rows, after, axis=0, mode="clip") - start)
