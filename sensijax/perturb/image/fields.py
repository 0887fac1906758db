"""Random fields over the image: noise with a spectrum or a structure of its own, and sparkles."""

import functools
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sensijax_kernels.random import normal, uniform

from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._sine import sine
from sensijax.perturb.image.weather import plasma

# Of each octave of frequency from the highest down: what makes the amplitude proportional to the frequency.
_OCTAVES = (1.0, 0.25, 0.125, 0.0625)
_RAYS = (50, 200)  # of a sparkle


class BlueNoise(Perturbation):
    """Additive blue noise: Gaussian, its amplitude proportional to the spatial frequency (dithering, sharpened noise).

    `clip(x + std * n, 0, 1)`, every channel for itself. The noise wraps round at the border.

    Attributes:
      std: standard deviation of the noise, in units of the full range; >= 0.

    Reference:
      Mintun, Kirillov and Xie, "On interaction between augmentations and corruptions in natural corruption robustness",
      NeurIPS 2021 (the spectrum of `blue_noise`; here it is made by filters, not by a Fourier transform).

    Example:
      >>> out = BlueNoise.at(2)(jax.random.key(0), jnp.full((32, 32, 1), 0.5))
      >>> abs(float(out.mean()) - 0.5) < 1e-4  # no low frequencies
      True
    """

    std: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "BlueNoise":
        """Severity 0..5: 0, 0.04, 0.08, 0.12, 0.18, 0.26 (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 0.04, 0.08, 0.12, 0.18, 0.26)))
        return cls(std=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.std == 0

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(x + rounded(self.std * blue(normal(key, x.shape))), 0.0, 1.0)


def blue(white: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
    """White noise filtered to amplitudes in proportion to the frequency, at an unchanged variance.

    A weighted sum of the differences of successive blurs, `(1, 2, 1) / 4` with steps of 1, 2, 4 and 8 px in both
    directions: an octave of frequency each.

    Args:
      white: float32 `[H, W, C]`, periodic; sides from 8.

    Returns:
      float32 `[H, W, C]`.
    """
    height, width, channels = white.shape
    bands = jnp.reshape(white, (height, width * channels))
    total, blurred = jnp.zeros_like(bands), bands
    for band, weight in enumerate(_OCTAVES):
        finer = blurred
        for axis, step in ((0, 2**band), (1, 2**band * channels)):
            pair = jnp.roll(blurred, step, axis) + jnp.roll(blurred, -step, axis)
            blurred = blurred * 0.5 + pair * 0.25
        total = total + (finer - blurred) * weight
    return rounded(total * np.float32(np.mean(_response(height, width) ** 2) ** -0.5)).reshape(white.shape)


@functools.lru_cache(maxsize=32)
def _response(height: int, width: int) -> np.ndarray:
    """The amplitude that `blue` gives each frequency before it scales: float64 `[H, W]`, in the order of an FFT."""
    total, blurred = np.zeros((height, width)), np.ones((height, width))
    for band, weight in enumerate(_OCTAVES):
        finer = blurred
        cosines = [np.cos(np.pi * 2**band * np.fft.fftfreq(side)) ** 2 for side in (height, width)]
        blurred = blurred * cosines[0][:, None] * cosines[1]
        total = total + (finer - blurred) * weight
    return total


class PlasmaNoise(Perturbation):
    """A coloured fractal, blended over the image.

    `clip((1 - share) * x + share * p, 0, 1)`, where p in [-1, 1] is a plasma fractal (`plasma`), one for each channel.
    The blend and its constants are published; the fractal there is a sum of sines, here that of `Fog`.

    Attributes:
      share: of the fractal, in [0, 1].
      decay: by how much the fractal's roughness falls from one scale to the next finer; > 0. Lower is busier.

    Reference:
      Mintun, Kirillov and Xie, NeurIPS 2021 (`plasma_noise` of ImageNet-C-bar).

    Example:
      >>> jax.jit(PlasmaNoise.at(3))(jax.random.key(0), jnp.full((32, 32, 3), 0.5)).shape
      (32, 32, 3)
    """

    share: Float[Array, "..."]
    decay: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "PlasmaNoise":
        """Severity 0..5: the ImageNet-C-bar scale, 6.4 / 255 times 4.75, 7, 8.5, 9.25, 10, the same for every size."""
        published = (0.0, *(level * 6.4 / 255 for level in (4.75, 7.0, 8.5, 9.25, 10.0)))
        return cls(
            share=interpolate(severity, table_for(size, dict.fromkeys((224, 32), published))),
            decay=interpolate(severity, table_for(size, dict.fromkeys((224, 32), (1.6,) * 6))),
        )

    def is_identity(self) -> Any:
        return self.share == 0

    def apply(self, key: Array, x: Array) -> Array:
        height, width, channels = x.shape
        levels = (max(height, width) - 1).bit_length()
        one = functools.partial(plasma, decay=self.decay, levels=levels)
        fields = jax.vmap(one, out_axes=-1)(jax.random.split(key, channels))
        fractal = 2 * fields[:height, :width] - 1
        return jnp.clip(x + rounded(self.share * (fractal - x)), 0.0, 1.0)


class PerlinNoise(Perturbation):
    """Additive gradient noise in octaves: cloudy brightness, the same in every channel.

    `clip(x + amplitude * p, 0, 1)`, p in [-1, 1] of mean zero: up to `octaves` layers of Perlin noise, each with cells
    half as wide and half as strong as the one before. The widest cells measure the power of two next to a seventh of
    the longer side, at least 4 px, the narrowest at least 2 px. The lattice lies at a random place.

    Attributes:
      amplitude: what the noise can add at most, in units of the full range; >= 0. Its standard deviation is about a
        fifth of it.
      octaves: static; the largest number of layers.

    Reference:
      Perlin, "Improving noise", ACM Transactions on Graphics 21(3), 2002; in ImageNet-C-bar (Mintun, Kirillov and Xie,
      NeurIPS 2021) the sum of the layers' magnitudes is blended in instead.

    Example:
      >>> out = PerlinNoise.at(5)(jax.random.key(0), jnp.full((32, 32, 3), 0.5))
      >>> bool(jnp.abs(out - 0.5).max() <= 0.9), bool((out[..., 0] == out[..., 2]).all())
      (True, True)
    """

    amplitude: Float[Array, "..."]
    octaves: int = static(default=4)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "PerlinNoise":
        """Severity 0..5: 0, 0.15, 0.3, 0.45, 0.65, 0.9 (our own scale, the same for every size)."""
        table = table_for(size, dict.fromkeys((224, 32), (0.0, 0.15, 0.3, 0.45, 0.65, 0.9)))
        return cls(amplitude=interpolate(severity, table))

    def is_identity(self) -> Any:
        return self.amplitude == 0

    def apply(self, key: Array, x: Array) -> Array:
        height, width, _ = x.shape
        widest = 2 ** max(2, round(math.log2(max(height, width) / 7)))
        place, key = jax.random.split(key)
        cells = [widest >> o for o in range(self.octaves) if widest >> o >= 2]
        field = jnp.zeros((height + widest, width + widest), jnp.float32)
        for octave, cell in enumerate(cells):
            layer = gradient_noise(jax.random.fold_in(key, octave), cell, *field.shape)
            field = field + layer * 2.0**-octave
        row, column = jax.random.randint(place, (2,), 0, widest)
        field = jax.lax.dynamic_slice(field, (row, column), (height, width))[..., None]
        strength = rounded(self.amplitude * (1 / sum(2.0**-o for o in range(len(cells)))))
        return jnp.clip(x + rounded(strength * field), 0.0, 1.0)


def gradient_noise(key: Array, cell: int, height: int, width: int) -> Float[Array, "H W"]:
    """Perlin's gradient noise on square cells, zero on their corners, in [-1, 1].

    Args:
      key: a typed PRNG key.
      cell: side of a cell, px; the corners are the pixels whose row and column are multiples of it.
      height, width: px.

    Returns:
      float32 `[H, W]`.
    """
    down, across = -(-height // cell), -(-width // cell)
    turns = uniform(key, (down + 1, across + 1))
    t = np.arange(cell, dtype=np.float32) / np.float32(cell)
    fade = ((6 * t - 15) * t + 10) * t**3
    near = ((1 - fade, t), (fade, t - 1))
    # Loops of two trips are borders that XLA does not fuse across: else it would compute a sine for every pixel.
    # A unit gradient reaches sqrt(1 / 2) in the middle of a cell.
    gradient = jax.lax.map(lambda quarter: math.sqrt(2) * sine(turns + quarter), jnp.array([0.0, 0.25], jnp.float32))

    # Along the lattice's rows first, where there is little to compute; then each row fades into the next.
    def along(component: Array) -> Array:
        slopes, weights = component
        left, right = (slopes[:, j : across + j, None] * weights[j][None, None] for j in (0, 1))
        return (rounded(left) + rounded(right)).reshape(down + 1, 1, across * cell)

    weights = np.stack([[w for w, _ in near], [w * d for w, d in near]])
    slope, level = jax.lax.map(along, (gradient, jnp.asarray(weights)))
    total = jnp.zeros((down, cell, across * cell), jnp.float32)
    for i, (weight, distance) in enumerate(near):
        total = total + rounded(level[i : down + i] * weight[None, :, None])
        total = total + rounded(slope[i : down + i] * (weight * distance)[None, :, None])
    return total.reshape(down * cell, across * cell)[:height, :width]


class Sparkles(Perturbation):
    """Bright sparkles: white stars of many thin rays at random places (dust in the flash, glints, wet glass).

    Light at a distance d from a sparkle's centre is `min(g * (l / d) ** 2, 1)` of white, over the image. The length l
    of the 50 to 199 rays is normal with a spread of a quarter about the radius, and linear in the angle between them;
    g, from 0.75 between rays to 1 on them, shows them. A ray is at least a pixel long, or five radii where a radius is
    less than a fifth of a pixel. Brightness is smooth in `radius`.

    Attributes:
      radius: of a sparkle, as a fraction of the image's shorter side; >= 0.
      number: of sparkles, in [0, most]; a fraction of one is a fainter one.
      most: static; how many are computed.

    Reference:
      Mintun, Kirillov and Xie, NeurIPS 2021 (`sparkles` of ImageNet-C-bar and CIFAR-10-C-bar).

    Example:
      >>> out = jax.jit(Sparkles.at(3))(jax.random.key(0), jnp.zeros((32, 32, 1)))
      >>> bool((out == 1).any()), bool(out.mean() < 0.5)
      (True, True)
    """

    radius: Float[Array, "..."]
    number: Float[Array, "..."]
    most: int = static(default=5)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224) -> "Sparkles":
        """Severity 0..5 on the ImageNet-C-bar scale for images of 224 px, or the CIFAR-10-C-bar scale for 32 px."""
        radii = table_for(
            size,
            {
                224: (0.0, 0.01, 0.02, 0.03, 0.05, 0.06),
                32: (0.0, 0.007, 0.035, 0.056, 0.063, 0.07),
            },
        )
        return cls(radius=interpolate(severity, radii), number=interpolate(severity, (5.0,) * 6))

    def is_identity(self) -> Any:
        return (self.radius == 0) | (self.number == 0)

    def apply(self, key: Array, x: Array) -> Array:
        dark = jnp.ones(x.shape[:2], jnp.float32)
        for i, k in enumerate(jax.random.split(key, self.most)):
            strength = jnp.clip(self.number - i, 0.0, 1.0)
            dark = dark * (1 - rounded(strength * _sparkle(k, self.radius, *x.shape[:2])))
        return jnp.clip(1 - rounded((1 - x) * dark[..., None]), 0.0, 1.0)


def _sparkle(key: Array, radius: Array, height: int, width: int) -> Array:
    """The light of one sparkle: `[H, W]` in [0, 1]."""
    centre, rays, lengths = jax.random.split(key, 3)
    place = jax.random.uniform(centre, (2,), jnp.float32)
    count = jax.random.randint(rays, (), *_RAYS)
    pixels = rounded(radius * min(height, width))
    shortest = jnp.minimum(5 * pixels, 1.0)
    length = jnp.maximum(rounded(pixels * (1 + 0.25 * normal(lengths, (_RAYS[1],)))), shortest)
    down = (jnp.arange(height, dtype=jnp.float32) - rounded(place[0] * height))[:, None]
    right = (jnp.arange(width, dtype=jnp.float32) - rounded(place[1] * width))[None, :]
    turn = rounded((jnp.arctan2(*jnp.broadcast_arrays(right, down)) + math.pi) * (1 / (2 * math.pi)))
    ray = rounded(turn * count.astype(jnp.float32))
    first = jnp.floor(ray)
    part, index = ray - first, first.astype(jnp.int32) % count
    here, there = length[index], length[(index + 1) % count]
    reach = here + rounded(part * (there - here))
    near = rounded(reach * reach) / (rounded(down * down) + rounded(right * right) + 1e-4)
    off = part - 0.5
    return jnp.clip((1 - rounded(off * off)) * near, 0.0, 1.0)
