"""Elastic deformation: the picture on a sheet of rubber."""

import functools
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sensijax_kernels.random import uniform

from sensijax.core.one_program import one_program
from sensijax.core.struct import static
from sensijax.perturb._perturbation import Perturbation, interpolate
from sensijax.perturb.image._image import IMAGE
from sensijax.perturb.image._maps import Affine, Field
from sensijax.perturb.image._reduce import ordered_sum, rounded
from sensijax.perturb.image._scale import table_for
from sensijax.perturb.image._wall import walled
from sensijax.perturb.image._warp import Step, Warp, mirror, reflect
from sensijax.perturb.image._window import gaussian_weights, taller, weigh_symmetric, wider

# The published settings 1..5, px. The authors write 244 where 224 was meant.
_ALPHA = {
    224: (244 * 2.0, 244 * 2.0, 244 * 0.05, 244 * 0.07, 244 * 0.12),
    32: (32 * 0.0, 32 * 0.05, 32 * 0.08, 32 * 0.1, 32 * 0.1),
}
_SIGMA = {
    224: (244 * 0.7, 244 * 0.08, 244 * 0.01, 244 * 0.01, 244 * 0.01),
    32: (32 * 0.0, 32 * 0.2, 32 * 0.06, 32 * 0.04, 32 * 0.03),
}
_AFFINE = {
    224: (244 * 0.1, 244 * 0.2, 244 * 0.02, 244 * 0.02, 244 * 0.02),
    32: (32 * 0.08, 32 * 0.07, 32 * 0.06, 32 * 0.05, 32 * 0.03),
}

# The longest filter, in taps to a side, that is a sum of shifted images.
_SHORT = 12

# Terms of a product that are added in one go. A compiler turns 16 into a loop over whole registers.
_TERMS = 16


class Elastic(Perturbation):
    """Elastic deformation: a random affine map, then a smooth random displacement of every pixel; each bilinear.

    The affine map moves three points about the centre, a third of the shorter side away, each by a vector uniform in
    `[-affine, affine]^2`; the image is mirrored about its last pixel. Each pixel then reads from a place displaced by
    `alpha` times uniform noise in [-1, 1], smoothed by a Gaussian that is cut off at `int(3 * sigma + 0.5)`; noise and
    image are mirrored with the last pixel repeated. Lengths are in px whatever the image's size: for images of another
    size than the scale's choose the scale of the nearer one, or construct the operation from its parameters.

    Places are real numbers, as in OpenCV 5; OpenCV 4.5 rounds those of the affine map to 1/32 px. The published code
    exchanges x and y of the centre, which differ in images that are not square; here the centre is the centre. At a
    small sigma, as in severities 3 to 5 for 224 px, the map folds in places: a keypoint there shows more than once.

    Derivatives with respect to the parameters are exact but for the Gaussian's length, which is a step in `sigma`.

    Attributes:
      alpha: factor of the displacement, px; >= 0.
      sigma: standard deviation of its smoothing, px; >= 0.
      affine: the largest displacement of the three points along an axis, px; >= 0.
      reach: static; the largest sigma that is computed, px. `at` chooses it for its scale.

    Reference:
      Hendrycks and Dietterich, ICLR 2019 (`elastic_transform`); Simard, Steinkraus and Platt, "Best practices for
      convolutional neural networks applied to visual document analysis", ICDAR 2003.

    Example:
      >>> jax.jit(Elastic.at(3, size=32))(jax.random.key(0), jnp.full((32, 32, 3), 0.5)).round(4).max().item()
      0.5
    """

    alpha: Float[Array, "..."]
    sigma: Float[Array, "..."]
    affine: Float[Array, "..."]
    reach: int = static(default=171)
    domain: ClassVar = IMAGE

    @classmethod
    def at(cls, severity: Any, size: int = 224, monotone: bool = False) -> "Elastic":
        """Severity 0..5 on the ImageNet-C scale for images of 224 px, or the CIFAR-10-C scale for 32 px.

        Args:
          severity: scalar or array in [0, 5].
          size: 224 or 32, px.
          monotone: the published severities do not grow in effect: the mean change of a picture is largest at 2 for
            224 px and falls all the way from 1 to 5 for 32 px. True takes the published settings in the order of their
            effect, 3, 4, 5, 1, 2 and 5, 4, 3, 2, 1: the mean change then never falls with severity.
        """
        order = (3, 4, 5, 1, 2) if size == 224 else (5, 4, 3, 2, 1)
        alphas, sigmas, affines = (
            tuple(column[i - 1] for i in (order if monotone else (1, 2, 3, 4, 5)))
            for column in (table_for(size, _ALPHA), table_for(size, _SIGMA), table_for(size, _AFFINE))
        )
        return cls(
            alpha=interpolate(severity, (0.0, *alphas)),
            # At severity 0 the smoothing is that of 1: what sets in from there grows, and does not change its kind.
            sigma=interpolate(severity, (sigmas[0], *sigmas)),
            affine=interpolate(severity, (0.0, *affines)),
            reach=math.ceil(max(sigmas)),
        )

    def is_identity(self) -> Any:
        return (self.alpha == 0) & (self.affine == 0)

    @one_program(static=("height", "width"))
    def warp(self, key: Array, height: int, width: int) -> Warp:
        """The deformation drawn with this key, ready for images, masks, keypoints and boxes of one frame."""
        corners, *noise = jax.random.split(key, 3)
        corners = rounded(self.affine * jax.random.uniform(corners, (3, 2), jnp.float32, -1.0, 1.0))
        noise = jnp.stack([2 * uniform(k, (height, width)) - 1 for k in noise])
        field = rounded(self.alpha * smoothed(noise, self.sigma, self.reach))
        steps = (Step(three_points(corners, height, width), mirror), Step(Field(field[0], field[1]), reflect))
        return Warp(steps, self.is_identity(), height, width)

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.clip(self.warp(key, *x.shape[:2]).image(x), 0.0, 1.0)


def three_points(moves: Float[Array, "3 2"], height: int, width: int) -> Affine:
    """The affine map that moves `c + (s, s)`, `c + (s, -s)` and `c - (s, s)` by `moves`.

    Args:
      moves: float32 `[3, 2]`, (x, y) in px.
      height, width: of the frame, px; its centre c is `(width // 2, height // 2)`, s is `min(height, width) // 3`.

    Returns:
      The map; where three places that come to lie on one line leave no inverse, one as large as numbers allow.
    """
    moves = moves[:, ::-1]
    by_row, by_column = (moves[0] - moves[1]) / 2, (moves[1] - moves[2]) / 2
    forward = jnp.eye(2, dtype=moves.dtype) + rounded(
        jnp.stack([by_row, by_column], axis=1) * (1 / (min(height, width) // 3))
    )
    area = rounded(forward[0, 0] * forward[1, 1]) - rounded(forward[0, 1] * forward[1, 0])
    area = jnp.where(jnp.abs(area) < 1e-3, jnp.copysign(1e-3, area), area)
    adjugate = jnp.stack([jnp.stack([forward[1, 1], -forward[0, 1]]), jnp.stack([-forward[1, 0], forward[0, 0]])])
    centre = jnp.array([height // 2, width // 2], moves.dtype)
    return Affine(adjugate * (1 / area), forward, origin=centre + (moves[0] + moves[2]) / 2, reads=centre)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def smoothed(x: Float[Array, "B H W"], sigma: Float[Array, ""], reach: int) -> Float[Array, "B H W"]:
    """`scipy.ndimage.gaussian_filter(x, sigma, mode="reflect", truncate=3)` of each of a few images.

    Filters of up to `_SHORT` taps to a side are sums of shifted images, longer ones products with a matrix.

    Args:
      x: float32 `[B, H, W]`.
      sigma: float32, px; at most `reach`.
      reach: the largest sigma that is computed, px.

    Returns:
      float32 `[B, H, W]`.
    """
    weights = walled(_weights(sigma, reach), sigma)
    near = weights[: _SHORT + 1]
    margins = (len(near) - 1, len(near) - 1)
    columns = walled(taller(jnp.concatenate(list(x), axis=1), margins, "symmetric"), x)
    columns = walled(weigh_symmetric(columns, near, 0), x)
    rows = jnp.concatenate(jnp.split(columns, len(x), axis=1), axis=0)
    short = weigh_symmetric(wider(rows[..., None], margins, "symmetric"), near, 1).reshape(x.shape)
    # A loop that runs once or not at all, so that the product costs nothing where it is not needed.
    long = (3 * sigma + 0.5 >= _SHORT + 1) & (len(weights) > len(near))
    return jax.lax.while_loop(
        lambda state: state[1], lambda state: (_by_products(x, weights), jnp.zeros_like(state[1])), (short, long)
    )[0]


@smoothed.defjvp
def _(reach, primals, tangents):
    def plainly(x: Array, sigma: Array) -> Array:
        return _by_products(x, _weights(sigma, reach))

    return smoothed(*primals, reach), jax.jvp(plainly, primals, tangents)[1]


def _weights(sigma: Float[Array, ""], reach: int) -> Float[Array, "R"]:
    taps = np.arange(3 * reach + 1, dtype=np.float32)
    weights = jnp.where(taps <= jnp.floor(3 * sigma + 0.5), gaussian_weights(sigma, taps), 0.0)
    return weights * (1 / (2 * ordered_sum(weights) - weights[0]))


def _by_products(x: Float[Array, "B H W"], weights: Float[Array, "R"]) -> Float[Array, "B H W"]:
    batch, height, width = x.shape
    columns = jnp.concatenate(list(x), axis=1)
    rows = jnp.concatenate(jnp.split(_product(_mirrored(weights, height), columns), batch, axis=1), axis=0)
    return _product(rows, _mirrored(weights, width)).reshape(x.shape)


def _mirrored(weights: Float[Array, "R"], count: int) -> Float[Array, "N N"]:
    """The symmetric filter with these taps as a matrix, on a line that is mirrored, its last pixel repeated.

    The mirrored line has period 2 N, and so the taps add up modulo 2 N, however far they reach.
    """
    period = 2 * count
    far = len(weights) - 1
    taps = jnp.concatenate([weights[:0:-1], weights])
    taps = jnp.pad(taps, (0, -len(taps) % period)).reshape(-1, period)
    taps = jnp.roll(ordered_sum(taps), -far)
    i, j = np.mgrid[:count, :count]
    return taps[(i - j) % period] + taps[(i + j + 1) % period]


def _product(a: Float[Array, "M K"], b: Float[Array, "K N"]) -> Float[Array, "M N"]:
    """The matrix product, its terms added one by one in their order, whatever the batch around it."""
    blank = -a.shape[1] % _TERMS
    a = jnp.pad(a, ((0, 0), (0, blank))).reshape(len(a), -1, _TERMS).transpose(1, 0, 2)
    b = jnp.pad(b, ((0, blank), (0, 0))).reshape(-1, _TERMS, b.shape[1])

    def add(total: Array, terms: tuple[Array, Array]) -> tuple[Array, None]:
        left, right = terms
        for k in range(_TERMS):
            total = total + left[:, k : k + 1] * right[k : k + 1]
        return total, None

    return jax.lax.scan(add, jnp.zeros((a.shape[1], b.shape[2]), a.dtype), (a, b))[0]
