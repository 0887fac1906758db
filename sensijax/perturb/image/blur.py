"""Blur of the lens: out of focus, or simply soft."""

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
from sensijax.perturb.image._window import gaussian_weights, shifted, weigh_symmetric

_ARRAY = 8  # px from the centre of the published kernel's array to its end, for disks up to that radius

_MIRRORED = 5  # the largest half width of a line that is mirrored there, for radii up to 10


class GaussianBlur(Perturbation):
    """Gaussian blur, cut off at four standard deviations; the border is continued by its last pixel.

    Attributes:
      sigma: standard deviation, px; >= 0.
      radius: static; the taps computed on each side, px. Weights beyond `int(4 * sigma + 0.5)` are zero, so any radius
        at least that large gives the same image; a smaller one cuts the blur off. `at` chooses it for its scale.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`gaussian_blur`, which is `scipy.ndimage.gaussian_filter(mode="nearest",
      truncate=4)`).

    Example:
      >>> dot = jnp.zeros((9, 9, 1)).at[4, 4].set(1.0)
      >>> out = jax.jit(GaussianBlur(sigma=jnp.float32(1.0), radius=4))(jax.random.key(0), dot)
      >>> round(float(out[4, 4, 0]), 4)  # 1 / (2 pi)
      0.1592
    """

    sigma: Float[Array, "..."]
    radius: int = static(default=24)
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "GaussianBlur":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px."""
        table = table_for(
            size,
            {
                224: (0.0, 1.0, 2.0, 3.0, 4.0, 6.0),
                32: (0.0, 0.4, 0.6, 0.7, 0.8, 1.0),
            },
        )
        return cls(sigma=interpolate(severity, table), radius=int(4 * max(table) + 0.5))

    def is_identity(self) -> Any:
        return self.sigma == 0

    def apply(self, key: Array, x: Array) -> Array:
        taps = np.arange(self.radius + 1, dtype=np.float32)
        weights = jnp.where(taps <= jnp.floor(4 * self.sigma + 0.5), gaussian_weights(self.sigma, taps), 0.0)
        weights = weights * (1 / (2 * ordered_sum(weights) - weights[0]))
        for axis in (0, 1):
            x = weigh_symmetric(x, weights, axis, mode="edge")
        return jnp.clip(x, 0.0, 1.0)


class DefocusBlur(Perturbation):
    """Out of focus: each point of light becomes a disk with a slightly smoothed rim.

    The kernel is the disk of pixels within `radius`, smoothed by a Gaussian of `alias_blur` on 3 taps (5 for radii
    beyond 8); the border is mirrored about its last pixel. The published code smooths the disk inside an array that
    ends 8 px from the centre, or with the disk where that is larger, and mirrors the rim there: its kernel sums to
    1.013 at radius 8 and 1.011 at 10, and brightens. So does this one. The disk's pixels are a step in `radius`: the
    derivative with respect to `radius` is zero, that with respect to `alias_blur` and `x` is exact.

    Attributes:
      radius: of the disk, px; >= 0.
      alias_blur: standard deviation of the smoothing of its rim, px; >= 0.
      reach: static; the largest radius that is computed, px. `at` chooses it for its scale.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`defocus_blur`).

    Example:
      >>> dot = jnp.zeros((9, 9, 1)).at[4, 4].set(1.0)
      >>> blur = DefocusBlur(radius=jnp.float32(1.0), alias_blur=jnp.float32(0.0), reach=1)
      >>> int((blur(jax.random.key(0), dot) > 0.19).sum())  # a cross of five pixels, a fifth each
      5
    """

    radius: Float[Array, "..."]
    alias_blur: Float[Array, "..."]
    reach: int = static(default=10)
    domain: ClassVar = IMAGE
    deterministic: ClassVar = True

    @classmethod
    def at(cls, severity: Any, size: int = 224, monotone: bool = False) -> "DefocusBlur":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px.

        With `monotone=True`, a scale on which the damage never falls: at 32 px the published one narrows the smoothing
        from severity 3 on, before the disk has grown to a second pixel; here the smoothing stays at 0.6 px.
        """
        radii = table_for(
            size,
            {
                224: (0.0, 3.0, 4.0, 6.0, 8.0, 10.0),
                32: (0.0, 0.3, 0.4, 0.5, 1.0, 1.5),
            },
        )
        blurs = table_for(
            size,
            {
                224: (0.0, 0.1, 0.5, 0.5, 0.5, 0.5),
                32: (0.0, 0.4, 0.5, 0.6, 0.6, 0.6) if monotone else (0.0, 0.4, 0.5, 0.6, 0.2, 0.1),
            },
        )
        return cls(
            radius=interpolate(severity, radii), alias_blur=interpolate(severity, blurs), reach=math.floor(max(radii))
        )

    def is_identity(self) -> Any:
        return (self.radius == 0) & (self.alias_blur == 0)

    def apply(self, key: Array, x: Array) -> Array:
        taps = np.arange(3 if self.reach > _ARRAY else 2, dtype=np.float32)
        weights = jnp.where((taps <= 1) | (self.radius > _ARRAY), gaussian_weights(self.alias_blur, taps), 0.0)
        weights = weights * (1 / (2 * ordered_sum(weights) - weights[0]))
        # Mirrored once for both steps: what the rim's smoothing needs beyond the frame is not what lies in it.
        margin = self.reach + len(taps)
        x = jnp.pad(x, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
        for axis in (0, 1):
            x = weigh_symmetric(x, weights, axis)
        return jnp.clip(_disk(x, self.radius, self.reach, weights[1]), 0.0, 1.0)


def _disk(x: Array, radius: Array, reach: int, mirrored: Array) -> Array:
    """The mean over the pixels within `radius`; the frame shrinks by `reach + 1` on every side.

    Each column of the disk is the difference of two running sums down the image. Sums run from mid grey, which keeps
    them, and so their rounding, small: in a bright image an error of 2e-6 on 224 rows and 8e-6 on 1024.

    The published array ends at a distance L from the centre, in the disk's last line or beyond it. On each of its four
    sides its kernel gains a share `mirrored` of the disk's line L - 1, which is mirrored to where L + 1 would be, and
    lacks as much of line L. (The fifth tap adds another 1e-5 in all, which is left out.)
    """
    margin = reach + 1
    height, width, channels = x.shape[0] - 2 * margin, x.shape[1] - 2 * margin, x.shape[2]
    # As [H, W * C], whole rows at a time: the fast way through memory.
    x = x.reshape(x.shape[0], -1) - 0.5
    sums = _running_sums(jnp.pad(x, ((1, 0), (0, 0))))
    lines = np.arange(reach + 1, dtype=np.float32)
    inside = (lines[:, None] ** 2 + lines[None, :] ** 2 <= radius * radius).astype(x.dtype)
    half_heights = jnp.sum(inside, axis=1).astype(jnp.int32) - 1
    both = np.where(lines > 0, np.float32(2), np.float32(1))
    end = jnp.maximum(jnp.floor(radius), _ARRAY)
    gained, lacking = ((lines * lines + d * d <= radius * radius).astype(x.dtype) for d in (end - 1, end))
    more = 4 * mirrored * jnp.sum(both * (gained - lacking))
    share = 1 / jnp.sum(inside * (both[:, None] * both[None, :]))
    half, last = (height + 1) // 2, end.astype(jnp.int32)

    def run(half_height: Array, start: Array | int, rows: int) -> Array:
        """The sum of each column's pixels up to a distance; nothing at a distance of -1."""
        above, below = margin - jnp.maximum(half_height, 0), margin + half_height + 1
        top, bottom = (jax.lax.dynamic_slice_in_dim(sums, start + at, rows) for at in (above, below))
        return bottom - top

    def line(distance: Array) -> Array:
        up, down = (jax.lax.dynamic_slice_in_dim(x, margin + d, height) for d in (-distance, distance))
        return up + down

    def along(values: Array, weights: Array) -> Array:
        total = jnp.zeros((height, width * channels), x.dtype)
        for offset in range(_MIRRORED + 1):
            for side in sorted({-offset, offset}):
                total = total + weights[offset] * shifted(values, 1, (margin + side) * channels, width * channels)
        return total

    def beside(values: Array, distance: Array) -> Array:
        left, right = (
            jax.lax.dynamic_slice_in_dim(values, (margin + d) * channels, width * channels, 1)
            for d in (-distance, distance)
        )
        return left + right

    def rim() -> Array:
        distances, weights = jnp.stack([last, last + 1]), jnp.stack([gained, lacking])
        ends = jax.lax.map(line, distances)
        runs = jax.lax.map(lambda h: run(h, 0, height), jnp.sum(weights, axis=1).astype(jnp.int32) - 1)
        gain, lack = jax.lax.map(lambda a: along(a[0], a[1]) + beside(a[2], a[3]), (ends, weights, runs, distances))
        return rounded(mirrored * (gain - lack))

    # Loops of two trips are borders that a compiler does not fuse across: see `pointwise`.
    none = jnp.zeros((height, width * channels), x.dtype)
    mirrored_lines = jax.lax.cond(end - 1 <= radius, rim, lambda: none) if reach >= _ARRAY - 1 else none

    def mean(start: Array) -> Array:
        total = jnp.zeros((half, width * channels), x.dtype)
        for offset in range(reach + 1):
            column = run(half_heights[offset], start, half)
            for side in sorted({-offset, offset}):
                total = total + shifted(column, 1, (margin + side) * channels, width * channels)
        total = total + jax.lax.dynamic_slice_in_dim(mirrored_lines, start, half)
        return rounded(total * share) + (0.5 + rounded(0.5 * (more * share)))

    halves = jax.lax.map(mean, np.array([0, height - half], np.int32))
    return jnp.concatenate([halves[0], halves[1, 2 * half - height :]]).reshape(height, width, channels)


@jax.custom_jvp
def _running_sums(x: Float[Array, "N M"]) -> Float[Array, "N M"]:
    """The sums of the first 1, 2, .. N rows, added one after another."""

    def add(i: Array, x: Array) -> Array:
        row = jax.lax.dynamic_slice_in_dim(x, i - 1, 1) + jax.lax.dynamic_slice_in_dim(x, i, 1)
        return jax.lax.dynamic_update_slice_in_dim(x, row, i, 0)

    # In place: a scan, or `jnp.cumsum`, writes them elsewhere, and costs a CPU more than all else in the blur.
    return jax.lax.fori_loop(1, len(x), add, x)


@_running_sums.defjvp
def _(primals, tangents):
    return _running_sums(*primals), jnp.cumsum(tangents[0], axis=0)
