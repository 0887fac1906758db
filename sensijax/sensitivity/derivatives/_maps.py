"""Which pixels, and which regions, an image's outputs are sensitive to."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError, Model
from sensijax.core.rows import chunks
from sensijax.sensitivity.derivatives._coupling import refuse_coupling
from sensijax.sensitivity.derivatives._example_jacobians import check_outputs, example_jacobians
from sensijax.sensitivity.derivatives._nonfinite import NonFinite, located
from sensijax.sensitivity.derivatives._pure import batch, program, pure

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class SensitivityMap:
    """How strongly the outputs of each image answer to its pixels and regions.

    Attributes:
      pixels: float64 `[B, H, W]`, the root of the sum of squared derivatives of all outputs with respect to all
        channels of a pixel. The map of a function of one output is the length of its gradient there.
      features: float64 `[B, H, W, C]`, the same for each channel.
      regions: int `[H, W]`, the number of the region of each pixel, 0..R-1.
      frobenius: float64 `[B, R]`, the same sum over a region: what independent noise there does, in the root mean
        square, per unit of its standard deviation.
      spectral: float64 `[B, R]`, the largest singular value of the region's columns: what the worst change confined to
        the region does, per unit of its L2 length.
      share: float64 `[B, R]`, the region's share of all squared derivatives; NaN where there are none.
      size: int `[R]`, pixels of each region.
      nonfinite: what in `features` is not finite.
    """

    pixels: np.ndarray
    features: np.ndarray
    regions: np.ndarray
    frobenius: np.ndarray
    spectral: np.ndarray
    share: np.ndarray
    size: np.ndarray
    nonfinite: NonFinite

    def frame(self) -> Any:
        """A pandas table with a row for each example and region."""
        import pandas as pd

        example, region = np.indices(self.frobenius.shape)
        columns = {name: getattr(self, name).ravel() for name in ("frobenius", "spectral", "share")}
        pixels = np.broadcast_to(self.size[None], self.frobenius.shape).ravel()
        return pd.DataFrame({"example": example.ravel(), "region": region.ravel(), "pixels": pixels, **columns})


def sensitivity_map(f: Model | Callable, x: Any, regions: Any = (4, 4), *, chunk: int = 64) -> SensitivityMap:
    """Sensitivity maps of images, exact, from the whole Jacobian of each: K reverse passes for K outputs.

    Args:
      f: a `Model`, or a function of images `[B, H, W, C]` to outputs `[B, K]`. For the map of one class: `lambda x:
        model(x)[:, [7]]`.
      x: floating images `[B, H, W, C]`.
      regions: (rows, columns) of a grid, or integers `[H, W]` in 0..R-1 (a segmentation), each number used.
      chunk: images computed at once; a block keeps `chunk * K * H * W * C` derivatives.

    Returns:
      A `SensitivityMap`.

    Raises:
      ArgumentError: if `x` are not images, regions do not fit, or examples influence each other.

    Example:
      >>> half = sensitivity_map(lambda x: 2 * x[:, :, :4].sum(axis=(1, 2)), jnp.ones((1, 8, 8, 1)), (1, 2))
      >>> half.spectral.round(3).tolist(), half.share.tolist()
      ([[11.314, 0.0]], [[1.0, 0.0]])
    """
    function = pure(f)
    x, spec = batch(function, x)
    if x.ndim != 4:
        raise ArgumentError("x", f"shape {list(x.shape)}", "images [B, H, W, C]")
    if chunk < 1:
        raise ArgumentError("chunk", chunk, "at least one image")
    outputs = check_outputs(function, x, spec)
    numbers = _regions(regions, *x.shape[1:3])
    count = int(numbers.max()) + 1
    refuse_coupling(function, x)
    run = program(_of_images, function, outputs, count)
    width = min(chunk, len(x))
    place = jnp.asarray(np.repeat(numbers.ravel(), x.shape[3]), jnp.int32)
    parts = []
    for rows, valid in chunks(len(x), width):
        out = run(function.params, x[rows], place)
        parts.append([np.asarray(leaf, np.float64)[:valid] for leaf in out])
    square, frobenius, spectral = (np.concatenate(p) for p in zip(*parts, strict=True))
    features = np.sqrt(square).reshape(x.shape)
    total = frobenius.sum(axis=1, keepdims=True)
    share = np.divide(frobenius, total, out=np.full(frobenius.shape, np.nan), where=total != 0)
    if not features.any():
        _log.warning("every derivative of %s is zero: flat here, or moving in steps", function.name)
    return SensitivityMap(
        pixels=np.sqrt(square.reshape(x.shape).sum(axis=3)),
        features=features,
        regions=numbers,
        frobenius=np.sqrt(frobenius),
        spectral=spectral,
        share=share,
        size=np.bincount(numbers.ravel(), minlength=count),
        nonfinite=located(features, "the map"),
    )


def _regions(regions: Any, height: int, width: int) -> np.ndarray:
    given = np.asarray(regions)
    if given.dtype.kind not in "iu":
        raise ArgumentError("regions", f"dtype {given.dtype}", "(rows, columns), or integers [H, W]")
    if given.shape == (2,):
        rows, columns = map(int, given)
        if not (1 <= rows <= height and 1 <= columns <= width):
            raise ArgumentError("regions", f"{rows} x {columns}", f"a grid of 1 x 1 to {height} x {width}")
        return (np.arange(height) * rows // height)[:, None] * columns + (np.arange(width) * columns // width)[None]
    if given.shape != (height, width):
        raise ArgumentError(
            "regions", f"shape {list(given.shape)}", f"(rows, columns), or integers [{height}, {width}]"
        )
    if given.min() < 0 or len(np.unique(given)) != given.max() + 1:
        raise ArgumentError("regions", f"numbers {np.unique(given)[:8].tolist()}", "0..R-1, each of them used")
    return given.astype(np.int64)


def _of_images(apply: Callable, outputs: int, count: int) -> Callable:
    def run(params: Any, x: jax.Array, place: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        j = example_jacobians(apply, params, x, outputs)
        square = jnp.square(j).sum(axis=1)
        frobenius = jax.vmap(lambda s: jax.ops.segment_sum(s, place, count))(square)

        def worst(region: jax.Array) -> jax.Array:
            own = jnp.where((place == region)[None, None], j, jnp.zeros((), j.dtype))
            small = jnp.einsum("bkn,bln->bkl", own, own, precision=jax.lax.Precision.HIGHEST)
            # LAPACK does not return on NaN: it becomes NaN again behind.
            finite = jnp.isfinite(small).all(axis=(1, 2))
            largest = jnp.linalg.eigvalsh(jnp.where(finite[:, None, None], small, 0))[:, -1]
            return jnp.where(finite, jnp.sqrt(jnp.maximum(largest, 0)), jnp.nan)

        spectral = jax.lax.map(worst, jnp.arange(count, dtype=jnp.int32))
        return square, frobenius, spectral.T

    return jax.jit(run)
