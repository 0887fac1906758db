"""The handwritten digits of the UCI repository, embedded: real images without a download."""

import functools
import pathlib

import numpy as np
from jaxtyping import Float, UInt8

from sensijax.core.dataset import Dataset
from sensijax.core.errors import ArgumentError

# `images` uint8 [1797, 8, 8] in 0..16 and `labels` uint8 [1797], in the order of scikit-learn's `load_digits`.
_FILE = pathlib.Path(__file__).with_name("digits.npz")
_TOP = 16


def digits(size: int = 32) -> Dataset:
    """1,797 handwritten digits by 13 people, as grey images of the size you ask for.

    The originals are 8x8 counts of ink in 0..16. They are divided by 16 and enlarged bilinearly with half-pixel centres
    and edges held (what `jax.image.resize(..., "bilinear")` computes), in arithmetic that gives the same bits on every
    machine.

    Args:
      size: side of the images, 8..1024 px; 8 gives the originals. Memory is 1797 * size**2 * 4 bytes: 7 MB at 32 px.

    Returns:
      A dataset named "digits": `x` float32 `[1797, size, size, 1]` in [0, 1], ink is 1; `y` int32 `[1797]` in 0..9; ids
      0..1796, scikit-learn's order; and the group `ink`, "light", "medium" or "heavy": the tercile of the total ink of
      the 8x8 original among all 1,797.

    Raises:
      ArgumentError: if the size is not an integer from 8 to 1024.

    Reference:
      E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
      https://doi.org/10.24432/C50P49, CC BY 4.0. This is its test set as scikit-learn (BSD-3-Clause) distributes it.

    Example:
      >>> data = digits(size=16)
      >>> data.x.shape, data.y[:4].tolist(), data.groups["ink"][:2].tolist()
      ((1797, 16, 16, 1), [0, 1, 2, 3], ['light', 'medium'])
    """
    if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or not 8 <= size <= 1024:
        raise ArgumentError("size", repr(size), "an integer from 8 to 1024 px: the originals are 8x8")
    images, labels = originals()
    ink = images.sum((1, 2), dtype=np.int64)
    terciles = np.digitize(ink, np.quantile(ink, (1 / 3, 2 / 3)))
    return Dataset(
        x=_enlarge(images.astype(np.float32) / np.float32(_TOP), int(size))[..., None],
        y=labels.astype(np.int32),
        name="digits",
        groups={"ink": np.array(("light", "medium", "heavy"))[terciles]},
    )


@functools.cache
def originals() -> tuple[UInt8[np.ndarray, "1797 8 8"], UInt8[np.ndarray, "1797"]]:
    """The embedded arrays, read-only: images uint8 `[1797, 8, 8]` in 0..16 and labels uint8 `[1797]` in 0..9."""
    with np.load(_FILE) as file:
        images, labels = file["images"], file["labels"]
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


def _enlarge(images: Float[np.ndarray, "n h w"], size: int) -> Float[np.ndarray, "n size size"]:
    for axis in (1, 2):
        low, high, weight = _neighbours(images.shape[axis], size)
        weight = weight[:, None] if axis == 1 else weight
        # Element by element, because the summation order inside a BLAS product differs between machines.
        a, b = images.take(low, axis), images.take(high, axis)
        images = a + weight * (b - a)
    return images


def _neighbours(source: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    centre = np.clip((np.arange(size) + 0.5) * (source / size) - 0.5, 0, source - 1)
    low = np.floor(centre).astype(np.int64)
    return low, np.minimum(low + 1, source - 1), (centre - low).astype(np.float32)
