"""What every image perturbation shares: the unit contract and its check.

An image is float32 `[H, W, C]` with C = 1 or 3 (sRGB) and values in [0, 1]; sides from 8 to 1024 px, square or not.
Outputs are in [0, 1] too. ImageNet-C's published definitions live on 0..255 bytes: the constants are theirs, in these
units.
"""

from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.perturb._perturbation import Domain


def check_image(x: Any) -> None:
    """Refuses what is not one image: float32 `[H, W, C]`, 8 <= H, W <= 1024, C in {1, 3}."""
    shape, dtype = tuple(x.shape), x.dtype
    if len(shape) == 4:
        raise ArgumentError("x", f"shape {list(shape)}", "one image [H, W, C]; for a batch use jax.vmap")
    if len(shape) != 3:
        right = "one image [H, W, C]; add a channel axis to grey images: x[..., None]"
        raise ArgumentError("x", f"shape {list(shape)}", right)
    if shape[2] not in (1, 3):
        raise ArgumentError("x", f"shape {list(shape)}", "1 or 3 channels, last: [H, W, C]")
    if not all(8 <= side <= 1024 for side in shape[:2]):
        raise ArgumentError("x", f"shape {list(shape)}", "height and width from 8 to 1024 px")
    if dtype != np.float32:
        raise ArgumentError("x", f"dtype {dtype}", "float32 in [0, 1]; for bytes: x.astype('float32') / 255")


IMAGE = Domain("image", check_image, low=0.0, high=1.0)
