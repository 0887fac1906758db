"""Snow: flakes that fall past the lens, and the pale light of a winter's day."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from sensijax_kernels.random import normal

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._luma import luma
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._straight_through import straight_through
from sensijax.perturb.image._trail import fading_weights, trail
from sensijax.perturb.image._wall import walled

# mean, std, zoom, threshold, radius, sigma, mix at severities 0..5. At severity 0 the threshold lies 5.5 standard
# deviations above the mean, beyond the largest normal number there is (5.22): no flake falls.
_PUBLISHED = {
    224: (
        (0.1, 0.1, 0.2, 0.55, 0.55, 0.55),
        (0.3, 0.3, 0.3, 0.3, 0.3, 0.3),
        (3.0, 3.0, 2.0, 4.0, 4.5, 2.5),
        (1.75, 0.5, 0.5, 0.9, 0.85, 0.85),
        (10.0, 10.0, 12.0, 12.0, 12.0, 12.0),
        (4.0, 4.0, 4.0, 8.0, 8.0, 12.0),
        (1.0, 0.8, 0.7, 0.7, 0.65, 0.55),
    ),
    32: (
        (0.1, 0.1, 0.1, 0.15, 0.25, 0.3),
        (0.2, 0.2, 0.2, 0.3, 0.3, 0.3),
        (1.0, 1.0, 1.0, 1.75, 2.25, 1.25),
        (1.2, 0.6, 0.5, 0.55, 0.6, 0.65),
        (8.0, 8.0, 10.0, 10.0, 12.0, 14.0),
        (3.0, 3.0, 4.0, 4.0, 6.0, 12.0),
        (1.0, 0.95, 0.9, 0.9, 0.85, 0.8),
    ),
}
# The zoom stays what it is, and more flakes fall with every step.
_MONOTONE = {
    224: (
        (0.1, 0.1, 0.2, 0.3, 0.45, 0.55),
        (0.3, 0.3, 0.3, 0.3, 0.3, 0.3),
        (3.0, 3.0, 3.0, 3.0, 3.0, 3.0),
        (1.75, 0.5, 0.575, 0.65, 0.775, 0.85),
        (10.0, 10.0, 12.0, 12.0, 12.0, 12.0),
        (4.0, 4.0, 6.0, 8.0, 10.0, 12.0),
        (1.0, 0.8, 0.74, 0.68, 0.62, 0.55),
    ),
    32: (
        (0.1, 0.1, 0.15, 0.2, 0.25, 0.3),
        (0.2, 0.2, 0.225, 0.25, 0.275, 0.3),
        (1.25, 1.25, 1.25, 1.25, 1.25, 1.25),
        (1.2, 0.55, 0.59, 0.62, 0.64, 0.65),
        (8.0, 8.0, 10.0, 10.0, 12.0, 14.0),
        (3.0, 3.0, 4.0, 6.0, 9.0, 12.0),
        (1.0, 0.95, 0.91, 0.88, 0.84, 0.8),
    ),
}


class Snow(Perturbation):
    """Snow: bright streaks of falling flakes, over a scene made paler.

    A flake is where a normal field, enlarged about its centre, is not below a threshold. The flakes are smeared by a
    trail that falls from their upper left or right, in a direction drawn uniform in 45 degrees to either side of the
    vertical; they and their picture turned by 180 degrees are added to
    `mix * x + (1 - mix) * max(x, 1.5 * grey(x) + 0.5)`.

    The layer of flakes is kept in bytes, cut off (not rounded) before the trail and after it, as published; the
    derivative passes through both. Where a flake is is a step in `threshold`, the number of the trail's taps a step in
    `radius`, and the places read from the field are ratios of whole numbers that jump with `zoom`: the derivatives with
    respect to these three are zero. Those with respect to `mean`, `std` and `sigma` are those of the flakes that there
    are, without the flakes that come; those with respect to `mix` and `x` are exact.

    Attributes:
      mean: of the normal field, in units of the full range.
      std: its standard deviation, in units of the full range; >= 0.
      zoom: its enlargement; >= 1.
      threshold: below it there is no flake, in units of the full range.
      radius: half of the trail's length, px; >= 0.
      sigma: standard deviation of the trail's weights, px; >= 0.
      mix: the share of the image that is not made paler; in [0, 1].
      reach: static; the largest radius that is computed, px. `at` chooses it for its scale.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`snow`). The published code reads only square images; here each axis is
      cropped and enlarged by itself.

    Example:
      >>> out = jax.jit(Snow.at(3, size=32))(jax.random.key(0), jnp.zeros((32, 32, 3)))
      >>> round(float(out.min()), 4), bool(out.max() > 0.2)  # black becomes a dark grey, with flakes
      (0.05, True)
    """

    mean: Float[Array, "..."]
    std: Float[Array, "..."]
    zoom: Float[Array, "..."]
    threshold: Float[Array, "..."]
    radius: Float[Array, "..."]
    sigma: Float[Array, "..."]
    mix: Float[Array, "..."]
    reach: int = static(default=14)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224, monotone: bool = False) -> "Snow":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px.

        The published scale of 224 px is not monotone: the mean change falls by 1 % from severity 2 to 3, and between
        whole severities that of 32 px falls too. With `monotone` it is another one, calibrated so that the mean change
        of natural images grows with every quarter of a severity.
        """
        tables = [
            table_for(size, {n: t[i] for n, t in (_MONOTONE if monotone else _PUBLISHED).items()}) for i in range(7)
        ]
        mean, std, zoom, threshold, radius, sigma, mix = (interpolate(severity, table) for table in tables)
        return cls(mean, std, zoom, threshold, radius, sigma, mix, reach=math.ceil(max(tables[4])))

    def is_identity(self) -> Any:
        return (self.mix == 1) & (self.threshold - self.mean >= 5.4 * self.std)

    def apply(self, key: Array, x: Array) -> Array:
        field, direction = jax.random.split(key)
        angle = -math.pi / 2 + (jax.random.uniform(direction, (), x.dtype) - 0.5) * (math.pi / 2)
        return self.fall(normal(field, x.shape[:2]), angle, x)

    def fall(self, field: Float[Array, "H W"], angle: Float[Array, ""], x: Float[Array, "H W C"]) -> Array:
        """Lets the flakes of a given standard normal field fall past an image.

        Args:
          field: float32 `[H, W]`.
          angle: where the trail's taps lie, radians: -pi / 2 above, in [-3 pi / 4, -pi / 4].
          x: float32 `[H, W, C]` in [0, 1].

        Returns:
          float32 `[H, W, C]` in [0, 1].
        """
        flakes = self.mean + rounded(self.std * zoomed(field, self.zoom))
        flakes = jnp.clip(jnp.where(flakes < self.threshold, 0.0, flakes), 0.0, 1.0)
        flakes = rounded(flakes * 255)
        flakes = straight_through(jnp.floor(flakes), flakes) * (1 / 255)
        weights = fading_weights(self.radius, self.sigma, self.reach)
        aside = math.ceil(2 * self.reach * math.sin(math.pi / 4))
        flakes = trail(flakes[..., None], weights, angle, ((2 * self.reach, 0), (aside, aside)))[..., 0]
        flakes = walled(_stored(flakes), angle)
        flakes = walled(flakes + jnp.flip(flakes, axis=(0, 1)), angle)[..., None]
        paler = walled(rounded(1.5 * luma(x)) + 0.5, angle)[..., None]
        mixed = rounded(self.mix * x) + rounded((1 - self.mix) * jnp.maximum(x, paler))
        return jnp.clip(mixed + flakes, 0.0, 1.0)


def zoomed(field: Float[Array, "H W"], zoom: Float[Array, ""]) -> Float[Array, "H W"]:
    """The centre of a field, enlarged to the size of the whole; bilinear, corner pixels on corner pixels.

    An axis of n pixels is cropped to `ceil(n / zoom)` in its middle, enlarged to `round(ceil(n / zoom) * zoom)`, and
    what is more than n trimmed off evenly; all whole numbers, so that the derivative with respect to `zoom` is zero.

    Args:
      field: float32 `[H, W]`.
      zoom: float32, >= 1.

    Returns:
      float32 `[H, W]`.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`clipped_zoom`, with `scipy.ndimage.zoom(order=1)`).
    """
    for axis in (0, 1):
        low, share = _places(field.shape[axis], zoom)
        share = jnp.expand_dims(share, 1 - axis)
        start, end = (jnp.take(field, low + i, axis=axis, mode="clip") for i in (0, 1))
        field = start + rounded(share * (end - start))
    return field


def _places(count: int, zoom: Array) -> tuple[Int[Array, "N"], Float[Array, "N"]]:
    """Between which pixel and the next an enlarged axis is read, and how far between."""
    zoom = jax.lax.stop_gradient(zoom)
    crop = jnp.ceil(count / zoom)
    enlarged = jnp.round(crop * zoom).astype(jnp.int32)
    crop = crop.astype(jnp.int32)
    # In whole numbers: a place off by 1e-6 px would move a flake across the threshold now and then.
    steps = (jnp.arange(count, dtype=jnp.int32) + (enlarged - count) // 2) * (crop - 1)
    low = steps // (enlarged - 1)
    share = (steps - low * (enlarged - 1)).astype(jnp.float32) * (1 / (enlarged - 1).astype(jnp.float32))
    return low + (count - crop) // 2, share


def _stored(flakes: Array) -> Array:
    """The trail as ImageMagick 6 stores it: rounded to 16 bits, then cut off to 8."""
    words = jnp.round(rounded(flakes * 65535)).astype(jnp.int32)
    return straight_through((words // 257).astype(flakes.dtype) * (1 / 255), flakes)
