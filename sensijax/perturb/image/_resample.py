"""Reading an image between its pixels; outside the frame it continues by its last pixel."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.perturb.image._reduce import rounded


def resample(
    x: Float[Array, "H W C"], rows: Float[Array, "N #M"], columns: Float[Array, "#N M"]
) -> Float[Array, "N M C"]:
    """Bilinear interpolation at places (row, column) in px, where 0 is the first pixel's centre.

    Args:
      x: float32 `[H, W, C]`.
      rows: float32 `[N, M]`, or `[N, 1]` where all columns share them.
      columns: float32 `[N, M]`, or `[1, M]`.

    Returns:
      float32 `[N, M, C]`; the derivative with respect to places beyond the frame is zero.
    """
    height, width, channels = x.shape
    top, bottom, down = _neighbours(rows, height)
    left, right, across = _neighbours(columns, width)
    flat = x.reshape(height * width, channels)

    def line(row: Array) -> Array:
        start = jnp.take(flat, row * width + left, axis=0, mode="clip")
        end = jnp.take(flat, row * width + right, axis=0, mode="clip")
        return start + across[..., None] * (end - start)

    above, below = line(top), line(bottom)
    return above + down[..., None] * (below - above)


def scaled(x: Float[Array, "H W C"], step: Float[Array, ""]) -> Float[Array, "H W C"]:
    """The image about its centre, read in steps of `step` px: 1/2 enlarges it twofold, 2 shrinks it to half."""
    centres = [(side - 1) / 2 for side in x.shape[:2]]
    rows, columns = (
        rounded((jnp.arange(side, dtype=x.dtype) - centre) * step) + centre
        for side, centre in zip(x.shape[:2], centres, strict=True)
    )
    return resample(x, rows[:, None], columns[None, :])


def _neighbours(places: Array, count: int) -> tuple[Array, Array, Array]:
    places = jnp.clip(places, 0.0, count - 1.0)
    low = jnp.floor(places)
    index = low.astype(jnp.int32)
    return index, jnp.minimum(index + 1, count - 1), places - low
