"""How bright a colour is."""

from jaxtyping import Array, Float

from sensijax.perturb.image._reduce import rounded


def luma(x: Float[Array, "H W C"]) -> Float[Array, "H W"]:
    """The luma of BT.601, 0.299 R + 0.587 G + 0.114 B; that of a grey image is the image."""
    if x.shape[2] == 1:
        return x[..., 0]
    return rounded(0.299 * x[..., 0]) + rounded(0.587 * x[..., 1]) + rounded(0.114 * x[..., 2])
