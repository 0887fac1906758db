"""How far apart two images are: to the eye (SSIM and its kin), in decibels, and as a vector's length."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import dynamic_slice_in_dim
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.core.one_program import one_program
from sensijax.perturb.image._image import check_image
from sensijax.perturb.image._reduce import ordered_sum, rounded

# Of Wang et al. 2004, for values in [0, 1]: what keeps the two quotients of SSIM away from 0 / 0.
_C1, _C2 = 0.01**2, 0.03**2
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclasses.dataclass(frozen=True)
class Window:
    """The window in which SSIM looks at two images: separable, symmetric, of weights that sum to one.

    Attributes:
      weights: of the taps at distances 0, 1, 2, ... px from the middle along one axis; the window's side is
        `2 len(weights) - 1`.
      samples: how many values a variance is estimated from, for the unbiased estimate (times `n / (n - 1)`); None for
        the plain weighted mean of squares.
    """

    weights: tuple[float, ...]
    samples: int | None = None

    @classmethod
    def gaussian(cls, sigma: float = 1.5, side: int = 11) -> "Window":
        """A Gaussian of standard deviation `sigma` px, cut off to `side` px (odd)."""
        _check_side(side)
        if not (math.isfinite(sigma) and sigma > 0):
            raise ArgumentError("sigma", sigma, "a standard deviation in px, > 0")
        taps = np.exp(-0.5 * (np.arange(side // 2 + 1) / sigma) ** 2)
        return cls(tuple((taps / (2 * taps.sum() - taps[0])).tolist()))

    @classmethod
    def uniform(cls, side: int = 7) -> "Window":
        """A square of `side` px (odd) in which every pixel counts alike; variances are unbiased."""
        _check_side(side)
        return cls((1 / side,) * (side // 2 + 1), samples=side * side)

    @property
    def side(self) -> int:
        """How many pixels it is wide and high."""
        return 2 * len(self.weights) - 1


def _check_side(side: int) -> None:
    if not isinstance(side, (int, np.integer)) or side < 3 or side % 2 == 0:
        raise ArgumentError("side", side, "an odd number of pixels, 3 or more")


GAUSSIAN = Window.gaussian()


def psnr(x: Float[Array, "H W C"], y: Float[Array, "H W C"]) -> Float[Array, ""]:
    """Peak signal-to-noise ratio, dB: `-10 log10(mean((x - y)**2))`; higher is closer.

    Equal images are infinitely close (so is a mean square below 1.2e-38, the smallest normal float32), and there the
    derivative is zero, where the true one does not exist. Elsewhere it is exact.

    Args:
      x, y: float32 `[H, W, C]` in [0, 1], of one shape.

    Returns:
      float32 scalar in [0, inf].

    Raises:
      ArgumentError: if they are not images of one shape.

    Example:
      >>> x = jnp.full((8, 8, 3), 0.5)
      >>> round(psnr(x, x + 0.1).item(), 3), psnr(x, x).item()
      (20.0, inf)
    """
    _check_pair(x, y)
    return _psnr(x, y)


def l2_distance(x: Float[Array, "H W C"], y: Float[Array, "H W C"]) -> Float[Array, ""]:
    """The Euclidean length of the difference, `sqrt(sum((x - y)**2))`, over all pixels and channels.

    Args:
      x, y: float32 `[H, W, C]` in [0, 1], of one shape.

    Returns:
      float32 scalar in [0, sqrt(H W C)]; the derivative at equal images is zero.

    Raises:
      ArgumentError: if they are not images of one shape.

    Example:
      >>> l2_distance(jnp.zeros((8, 8, 1)), jnp.full((8, 8, 1), 0.5)).item()
      4.0
    """
    _check_pair(x, y)
    return _l2_distance(x, y)


def linf_distance(x: Float[Array, "H W C"], y: Float[Array, "H W C"]) -> Float[Array, ""]:
    """The largest difference of any value, `max(abs(x - y))`.

    Args:
      x, y: float32 `[H, W, C]` in [0, 1], of one shape.

    Returns:
      float32 scalar in [0, 1]; the derivative is that of the values that differ most, and zero at equal images.

    Raises:
      ArgumentError: if they are not images of one shape.

    Example:
      >>> linf_distance(jnp.zeros((8, 8, 1)), jnp.zeros((8, 8, 1)).at[3, 3].set(0.25)).item()
      0.25
    """
    _check_pair(x, y)
    return _linf_distance(x, y)


def ssim(x: Float[Array, "H W C"], y: Float[Array, "H W C"], *, window: Window = GAUSSIAN) -> Float[Array, ""]:
    """Structural similarity: the mean over all windows of how alike light, contrast and structure are; 1 is equal.

    In every window that lies inside the frame, `(2 mx my + C1) (2 cov + C2) / ((mx^2 + my^2 + C1) (vx + vy + C2))` of
    the weighted means, variances and covariance, with C1 = 0.01^2 and C2 = 0.03^2. Colour images: the mean over
    channels. Variances are computed about the window's own mean, not as a difference of squares, which in float32 would
    cost up to 1e-4.

    The default window is that of the paper, a Gaussian of 1.5 px on 11x11 (what scikit-image computes with
    `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`); `Window.uniform(7)` is scikit-image's default.

    Args:
      x, y: float32 `[H, W, C]` in [0, 1], of one shape, no side smaller than the window.
      window: what counts as near.

    Returns:
      float32 scalar in [-1, 1]. The derivative is exact and finite everywhere, and zero at equal images.

    Raises:
      ArgumentError: if they are not images of one shape, or are smaller than the window.

    Reference:
      Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity",
      IEEE Transactions on Image Processing 13(4), 2004.

    Example:
      >>> x = jax.random.uniform(jax.random.key(0), (16, 16, 1))
      >>> round(ssim(x, x).item(), 4), round(ssim(x, 1 - x).item(), 4)
      (1.0, -0.9767)
    """
    _check_pair(x, y)
    if min(x.shape[:2]) < window.side:
        raise ArgumentError(
            "x",
            f"shape {list(x.shape)}",
            f"no side smaller than the window's {window.side} px; smaller images take a smaller window, such as "
            "window=Window.uniform(7)",
        )
    return _ssim(x, y, window)


def ms_ssim(x: Float[Array, "H W C"], y: Float[Array, "H W C"], *, scales: int = 5) -> Float[Array, ""]:
    """Multi-scale structural similarity: SSIM's contrast and structure on an image and its halvings; 1 is equal.

    The product over scales of the mean of `(2 cov + C2) / (vx + vy + C2)` to the power of the scale's published weight;
    at the coarsest scale light counts too. Each scale is made of the last one's means of 2x2 pixels (an odd side's last
    pixel is repeated); the window is the Gaussian of `ssim`. A scale on which the images are opposites counts as 0, and
    so does the whole; there the derivative is zero. Elsewhere it is exact.

    Args:
      x, y: float32 `[H, W, C]` in [0, 1], of one shape, no side smaller than `11 * 2**(scales - 1)`: 176 px.
      scales: how many, 1 to 5; fewer than five are the finest ones, with weights scaled to sum to one, for smaller
        images (88, 44, 22 and 11 px for 4, 3, 2 and 1).

    Returns:
      float32 scalar in [0, 1].

    Raises:
      ArgumentError: if they are not images of one shape, or too small for so many scales.

    Reference:
      Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar Conference
      on Signals, Systems and Computers, 2003.

    Example:
      >>> x = jax.random.uniform(jax.random.key(0), (44, 44, 1))
      >>> round(ms_ssim(x, 0.5 * x, scales=3).item(), 3)
      0.73
    """
    _check_pair(x, y)
    if not isinstance(scales, (int, np.integer)) or not 1 <= scales <= len(_MS_SSIM_WEIGHTS):
        raise ArgumentError("scales", repr(scales), f"an integer from 1 to {len(_MS_SSIM_WEIGHTS)}")
    smallest = GAUSSIAN.side * 2 ** (scales - 1)
    if min(x.shape[:2]) < smallest:
        raise ArgumentError(
            "x",
            f"shape {list(x.shape)}",
            f"no side under {smallest} px ({GAUSSIAN.side} px after {scales - 1} halvings); fewer scales take smaller "
            "images: ms_ssim(x, y, scales=2)",
        )
    return _ms_ssim(x, y, scales)


def _check_pair(x: Any, y: Any) -> None:
    check_image(x)
    if tuple(y.shape) != tuple(x.shape) or y.dtype != x.dtype:
        raise ArgumentError("y", f"{y.dtype}{list(y.shape)}", f"the other image's shape and dtype: {list(x.shape)}")


@one_program
def _psnr(x: Array, y: Array) -> Array:
    mean = _mean(_square(x - y))
    differ = mean >= _SMALLEST
    return jnp.where(differ, (-10 / math.log(10)) * jnp.log(jnp.where(differ, mean, 1.0)), jnp.inf)


@one_program
def _l2_distance(x: Array, y: Array) -> Array:
    total = ordered_sum(_square(x - y).reshape(-1))
    differ = total >= _SMALLEST
    return jnp.where(differ, jnp.sqrt(jnp.where(differ, total, 1.0)), 0.0)


@one_program
def _linf_distance(x: Array, y: Array) -> Array:
    return jnp.max(jnp.maximum(x - y, y - x))


@functools.partial(jax.jit, static_argnums=2)  # called outside of a program, too, it is compiled once
def _ssim(x: Array, y: Array, window: Window) -> Array:
    light, structure = _maps(x, y, window)
    return _mean_likeness(rounded(light * structure))


@functools.partial(jax.jit, static_argnums=2)
def _ms_ssim(x: Array, y: Array, scales: int) -> Array:
    weights = np.asarray(_MS_SSIM_WEIGHTS[:scales]) / sum(_MS_SSIM_WEIGHTS[:scales])
    product: Any = 1.0
    for scale, weight in enumerate(weights.tolist()):
        if scale:
            x, y = _halved(x), _halved(y)
        light, structure = _maps(x, y, GAUSSIAN)
        last = scale == scales - 1
        product = product * _power(_mean_likeness(rounded(light * structure) if last else structure), weight)
    return product


def _square(x: Array) -> Array:
    return rounded(x * x)


def _mean(x: Array) -> Array:
    flat = x.reshape(-1)
    return rounded(ordered_sum(flat) * (1 / len(flat)))


def _mean_likeness(likeness: Array) -> Array:
    """The mean, by way of what is missing to one: of equal images it is 1 exactly, whatever their size."""
    return 1 - _mean(1 - likeness)


def _power(base: Array, exponent: float) -> Array:
    """`max(base, 0) ** exponent`, with a derivative that stays finite: the true one has no bound near zero."""
    positive = base > 1e-30
    return jnp.where(positive, jnp.exp(exponent * jnp.log(jnp.where(positive, base, 1.0))), 0.0)


def _halved(x: Array) -> Array:
    height, width, _ = x.shape
    x = jnp.pad(x, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rows = x[0::2] + x[1::2]
    return (rows[:, 0::2] + rows[:, 1::2]) * 0.25


def _maps(x: Array, y: Array, window: Window) -> tuple[Array, Array]:
    """SSIM's two factors in every window: the likeness of light, and that of contrast and structure.

    Of the sum and the difference of the images, because `2 cov = (var(x + y) - var(x - y)) / 2`, and so on: two
    variances instead of two and a covariance.
    """
    height, width, channels = x.shape
    # As [2, H, W * C]: a last axis of 3 keeps a CPU from computing several values at once.
    mean = jnp.stack([x + y, x - y]).reshape(2, height, width * channels)
    mean, variance = _along(mean, jnp.zeros_like(mean), window.weights, 2, channels)
    mean, variance = _along(mean, variance, window.weights, 1, 1)
    if window.samples is not None:
        variance = rounded(variance * (window.samples / (window.samples - 1)))
    (light, unlike_light), (shared, unshared) = _square(mean), variance
    likeness = (light - unlike_light + 2 * _C1) / (light + unlike_light + 2 * _C1)
    return likeness, (shared - unshared + 2 * _C2) / (shared + unshared + 2 * _C2)


def _along(mean: Array, variance: Array, weights: tuple[float, ...], axis: int, step: int) -> tuple[Array, Array]:
    """Lengthens the windows along one axis: the weighted means, and the variances about them.

    By the law of total variance: the variance in a window is the mean of the variances in its rows, plus the variance
    of its rows' means. So it is separable, and yet always taken about the mean that belongs to it.

    Args:
      mean, variance: of the windows so far.
      weights: of the taps at distances 0, 1, 2, ...
      axis: along which.
      step: from one tap to the next.

    Returns:
      (mean, variance), shorter along the axis by as much as the windows are longer.
    """
    reach = len(weights) - 1
    length = mean.shape[axis] - 2 * reach * step

    # A loop over the taps, not one long sum: XLA would fuse both axes' sums into one and compute the first again for
    # every tap of the second.
    def weighted(term: Callable[[Callable[[Array], Array]], Array]) -> Array:
        def at(place: Any) -> Array:
            return term(lambda v: dynamic_slice_in_dim(v, (reach + place) * step, length, axis))

        def add(total: Array, tap: tuple[Array, Array]) -> tuple[Array, None]:
            place, weight = tap
            return total + rounded(weight * (at(-place) + at(place))), None

        middle = rounded(np.float32(weights[0]) * at(0))
        return jax.lax.scan(add, middle, (jnp.arange(1, reach + 1), jnp.asarray(weights[1:], jnp.float32)))[0]

    lengthened = weighted(lambda tap: tap(mean))
    return lengthened, weighted(lambda tap: _square(tap(mean) - lengthened) + tap(variance))
