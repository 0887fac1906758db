"""A natural photograph, embedded: something to look at under a perturbation."""

import functools
import pathlib

import numpy as np
from jaxtyping import Float

_FILE = pathlib.Path(__file__).with_name("photo.png")


@functools.cache
def photo() -> Float[np.ndarray, "224 224 3"]:
    """A cat's face, close up: fur, whiskers, edges in all directions, and a background out of focus.

    Returns:
      float32 `[224, 224, 3]` in [0, 1], sRGB, read-only. The values are bytes divided by 255.

    Reference:
      "Chelsea" by Stéfan van der Walt, CC0, as scikit-image distributes it (`skimage.data.chelsea`): a square of 300 px
      from column 74 on, reduced to 224 px by Pillow's Lanczos filter.

    Example:
      >>> x = photo()
      >>> x.shape, str(x.dtype), round(float(x.mean()), 2)
      ((224, 224, 3), 'float32', 0.44)
    """
    from matplotlib.image import imread  # not when the package is imported: it takes a third of a second

    x = imread(_FILE)
    x.setflags(write=False)
    return x
