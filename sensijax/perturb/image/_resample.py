"""Reading an image between its pixels; outside the frame it continues by its last pixel."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def resample(x: Float[Array, "H W C"], places: Float[Array, "N"], axis: int) -> Array:
    """Linear interpolation along one axis, at places in px (0 is the first pixel's centre)."""
    low, high, share = _neighbours(places, x.shape[axis])
    share = share[:, None, None] if axis == 0 else share[None, :, None]
    below, above = jnp.take(x, low, axis=axis, mode="clip"), jnp.take(x, high, axis=axis, mode="clip")
    return below + share * (above - below)


def resample2d(
    x: Float[Array, "H W C"], rows: Float[Array, "N M"], columns: Float[Array, "N M"]
) -> Float[Array, "N M C"]:
    """Bilinear interpolation at places (row, column) in px (0 is the first pixel's centre)."""
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


def _neighbours(places: Array, count: int) -> tuple[Array, Array, Array]:
    places = jnp.clip(places, 0.0, count - 1.0)
    low = jnp.floor(places)
    index = low.astype(jnp.int32)
    return index, jnp.minimum(index + 1, count - 1), places - low
