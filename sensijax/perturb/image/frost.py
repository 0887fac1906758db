"""Frost: ice crystals on the glass in front of the lens."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sensijax_kernels.random import normal, uniform

from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._luma import luma
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._sine import sine

# Mean and standard deviation of red, green and blue in windows of 224 px: averages over 100 windows of each of the five
# photographs that the published code draws from (frost1 to frost5; the third is the second once more).
_TONES = np.array(
    [
        [[0.306, 0.582, 0.646], [0.094, 0.056, 0.053]],
        [[0.775, 0.792, 0.828], [0.076, 0.079, 0.082]],
        [[0.776, 0.792, 0.829], [0.077, 0.079, 0.082]],
        [[0.568, 0.626, 0.677], [0.102, 0.102, 0.107]],
        [[0.390, 0.435, 0.482], [0.141, 0.140, 0.137]],
    ],
    np.float32,
)
# By how much the mean differs from window to window of one photograph: 0.022 to 0.043.
_DRIFT = 0.025
# What the texture has of itself, over 400 keys at 224 px.
_TEXTURE_MEAN, _TEXTURE_STD = 0.211, 0.710
# Crystals, large to small: cells along the shorter side, barbs per cell, half of the greatest width in cells.
_CRYSTALS = ((2.2, 16.0, 0.42), (4.5, 8.0, 0.4), (9.0, 8.0, 0.34))
_GRAIN = 0.36


class Frost(Perturbation):
    """Frost: ice crystals between the scene and the lens.

    `clip(scene * x + ice * overlay, 0, 1)`. The published overlays are windows of five photographs; ours is drawn by
    `frost_overlay`, whose tones and spectrum are theirs. To use a photograph, give a window of it to `blend`. A grey
    image takes the overlay's luma. Derivatives with respect to both shares and to `x` are exact; where the sum is
    clipped they are zero.

    Attributes:
      scene: what remains of the image; in [0, 1].
      ice: how much of the overlay is added; in [0, 1].

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`frost`).

    Example:
      >>> out = jax.jit(Frost.at(3))(jax.random.key(0), jnp.zeros((64, 64, 3)))
      >>> bool((out.mean(axis=(0, 1))[2] > out.mean(axis=(0, 1))[0]).all())  # slightly blue
      True
    """

    scene: Float[Array, "..."]
    ice: Float[Array, "..."]
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224, monotone: bool = False) -> "Frost":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px.

        The published scales are not monotone: what is taken from the image's light makes up for the added ice, and from
        severity 2 or 3 on the mean change may fall. With `monotone`, `ice` grows evenly to the published value at 5 and
        `scene` falls in proportion to it, so that no pixel's change ever falls.
        """
        ice = table_for(
            size,
            {
                224: (0.0, 0.4, 0.6, 0.7, 0.7, 0.75),
                32: (0.0, 0.2, 0.3, 0.4, 0.4, 0.45),
            },
        )
        scene = table_for(
            size,
            {
                224: (1.0, 1.0, 0.8, 0.7, 0.65, 0.6),
                32: (1.0, 1.0, 1.0, 0.9, 0.85, 0.75),
            },
        )
        if monotone:
            ice, scene = ((*(start + (end - start) * i / 5 for i in range(5)), end) for start, *_, end in (ice, scene))
        return cls(scene=interpolate(severity, scene), ice=interpolate(severity, ice))

    def is_identity(self) -> Any:
        return (self.scene == 1) & (self.ice == 0)

    def apply(self, key: Array, x: Array) -> Array:
        overlay = frost_overlay(key, *x.shape[:2])
        return self.blend(overlay if x.shape[2] == 3 else luma(overlay)[..., None], x)

    def blend(self, overlay: Float[Array, "H W C"], x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Lays a given overlay, in [0, 1], over an image."""
        return jnp.clip(rounded(self.scene * x) + rounded(self.ice * overlay), 0.0, 1.0)


def frost_overlay(key: Array, height: int, width: int) -> Float[Array, "H W 3"]:
    """A pane of frost: feathers of ice of three sizes, one over the other, on uneven ice with grain.

    A crystal grows from a seed in each cell of three grids: a spine that tapers towards its tip, with ragged barbs
    slanting forward, lit from one side. Lengths are fractions of the shorter side, so a pane shows as many crystals at
    any size. The frost covers the frame evenly, as in the windows that the published code cuts from its photographs,
    and its tone is that of one of the five, drawn with equal odds.

    Measured over 500 published windows of 224 px (and of 32 px, shrunk by 0.2): mean 0.56, 0.65, 0.69 in red, green,
    blue (0.56, 0.65, 0.69); standard deviation within a window 0.098, 0.091, 0.092 (0.092, 0.086, 0.087); that of the
    windows' means 0.151 (0.152); slope of the power spectrum, from 3 cycles a side to a third of the side, -1.56
    (-0.84). Over 400 keys this has 0.57, 0.65, 0.69; 0.098, 0.092, 0.092; 0.152; -1.73 (-0.99).

    Args:
      key: a typed PRNG key.
      height, width: px.

    Returns:
      float32 `[height, width, 3]` in [0, 1].

    Example:
      >>> frost_overlay(jax.random.key(0), 16, 24).shape
      (16, 24, 3)
    """
    choice, drift, pattern = jax.random.split(key, 3)
    mean, std = jnp.asarray(_TONES)[jax.random.randint(choice, (), 0, len(_TONES))]
    mean = mean + rounded(_DRIFT * jax.random.normal(drift, (), jnp.float32))
    texture = (_texture(pattern, height, width) - _TEXTURE_MEAN) * (1 / _TEXTURE_STD)
    return jnp.clip(jnp.stack([mean[c] + rounded(std[c] * texture) for c in range(3)], axis=-1), 0.0, 1.0)


def _texture(key: Array, height: int, width: int) -> Float[Array, "H W"]:
    clouds, grain, *seeds = jax.random.split(key, 2 + len(_CRYSTALS))
    shorter = min(height, width)
    pane = _clouds(clouds, height, width, math.ceil(shorter / 2))
    for seed, (cells, barbs, width_) in zip(seeds, _CRYSTALS, strict=True):
        pane = _crystals(seed, pane, max(2, math.ceil(shorter / cells)), barbs, width_)
    return pane + rounded(_GRAIN * normal(grain, (height, width)))


def _clouds(key: Array, height: int, width: int, side: int) -> Float[Array, "H W"]:
    """Uniform numbers in [-1, 1] at the corners of square cells of `side` px, and a smooth surface between them."""
    rows, columns = math.ceil(height / side), math.ceil(width / side)
    drawn = 2 * uniform(key, (rows + 1, columns + 1)) - 1
    places = _places(side)
    down, right = (jnp.asarray(p * p * (3 - 2 * p)) for p in (places[None, :, None, None], places[None, None, None, :]))

    def corner(below: int, after: int) -> Array:
        return drawn[below : below + rows, after : after + columns][:, None, :, None]

    top = corner(0, 0) + rounded(right * (corner(0, 1) - corner(0, 0)))
    bottom = corner(1, 0) + rounded(right * (corner(1, 1) - corner(1, 0)))
    return _joined(top + rounded(down * (bottom - top)), height, width)


def _crystals(key: Array, under: Float[Array, "H W"], side: int, barbs: float, widest: float) -> Float[Array, "H W"]:
    """Lays over a pane one crystal for each square cell of `side` px.

    A pixel looks for crystals in its own cell and the eight around it, none of which is longer than two cells. They are
    laid in reading order of their cells, which is the same order wherever a pixel looks from, so that no cell shows.
    """
    height, width = under.shape
    rows, columns = math.ceil(height / side), math.ceil(width / side)
    row, column, turn, length, light, phase = uniform(key, (6, rows + 2, columns + 2))
    cos, sin = sine(turn + 0.25), sine(turn)
    shrink = 1 / (0.55 + 0.45 * length)  # a crystal reaches that length to both sides of its seed
    seeds = jnp.stack([row, column, cos, sin, shrink * cos, shrink * sin, 2 * light - 1.2, phase])
    places = _places(side)
    y, x = jnp.asarray(places[None, :, None, None]), jnp.asarray(places[None, None, None, :])
    # The rim of a crystal is about a pixel and a half wide, and no wider than on a large pane. This and the constants
    # below are powers of two, or multiply few bits: their products are exact and need no rounding.
    sharpness = 2.0 ** round(math.log2(max(side / 1.5, 60.0)))

    def grow(pane: Array, i: Array) -> tuple[Array, None]:
        below, after = i // 3, i % 3
        cells = jax.lax.dynamic_slice(seeds, (0, below, after), (8, rows, columns))
        row, column, cos, sin, shrunk_cos, shrunk_sin, light, phase = cells[:, :, None, :, None]
        down = y - (row + (below - 1).astype(y.dtype))
        right = x - (column + (after - 1).astype(x.dtype))
        along = rounded(right * shrunk_cos) + rounded(down * shrunk_sin)
        across = rounded(down * cos) - rounded(right * sin)
        aside = jnp.abs(across)
        barb = barbs * (along - 0.5 * aside) + phase
        number = jnp.floor(barb)
        ridge = 1 - jnp.abs(2 * (barb - number) - 1)
        ragged = 0.625 * number
        ragged = 0.375 + 0.625 * (ragged - jnp.floor(ragged))
        rest = 0.5 - 0.5 * along  # of the way from root to tip
        half = rounded(widest * ragged * (rest * jnp.clip(4 - 4 * rest, 0.0, 1.0)))
        cover = jnp.clip((half - aside) * sharpness, 0.0, 1.0)
        spine = jnp.maximum(0.75 - aside * sharpness, 0.0)
        shade = light + ridge + spine + jnp.where(across > 0, 0.25, -0.25)
        return pane + rounded(cover * (shade - pane)), None

    pane = jnp.pad(under, ((0, rows * side - height), (0, columns * side - width)))
    pane, _ = jax.lax.scan(grow, pane.reshape(rows, side, columns, side), jnp.arange(9))
    return _joined(pane, height, width)


def _places(side: int) -> np.ndarray:
    """The centres of a cell's pixels, in cells."""
    return (np.arange(side, dtype=np.float32) + 0.5) / np.float32(side)


def _joined(cells: Float[Array, "R S Q S"], height: int, width: int) -> Float[Array, "H W"]:
    rows, side, columns, _ = cells.shape
    return cells.reshape(rows * side, columns * side)[:height, :width]
