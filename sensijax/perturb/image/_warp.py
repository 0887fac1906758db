"""What an operation that moves pixels does to the image, and to the labels drawn on it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from sensijax.core.errors import ArgumentError
from sensijax.core.one_program import one_program
from sensijax.core.struct import static, struct
from sensijax.perturb.image._maps import Map, Places
from sensijax.perturb.image._reduce import rounded
from sensijax.perturb.image._resample import resample

# Points on each side of a box whose images bound the moved box: enough for edges that bend within a few pixels.
_OUTLINE = 64
# A keypoint counts as found where the sampling map leads its image back to it within this distance, px.
_FOUND = 0.5


def edge(places: Float[Array, "..."], count: int) -> Float[Array, "..."]:
    """Beyond the frame the last pixel goes on: places are led back by whoever reads them."""
    return places


def mirror(places: Float[Array, "..."], count: int) -> Float[Array, "..."]:
    """Beyond the frame the image is mirrored about the last pixel's centre, which is not repeated."""
    return _fold(places, 0.0, count - 1.0)


def reflect(places: Float[Array, "..."], count: int) -> Float[Array, "..."]:
    """Beyond the frame the image is mirrored about the last pixel's outer edge, so the last pixel is repeated."""
    return _fold(places, -0.5, count - 0.5)


def _fold(places: Array, low: float, high: float) -> Array:
    length = high - low
    turns = jnp.floor((places - low) * (0.5 / length))
    # The clip is for the last digits of places many frames away.
    into = jnp.clip(places - low - rounded(turns * (2 * length)), 0.0, 2 * length)
    folded = length - jnp.abs(into - length) + low
    # Within the frame exactly as they came.
    return jnp.where((places >= low) & (places <= high), places, folded)


@struct
class Step:
    """One resampling: the map it follows and how the image goes on beyond its frame.

    Attributes:
      map: where output pixels read, and where input places go.
      border: static; `edge`, `mirror` or `reflect`.
    """

    map: Map
    border: Callable[[Array, int], Array] = static(default=edge)


@struct
class Warp:
    """A drawn geometric operation, ready for one image, its masks, its keypoints and its boxes alike.

    Points are (x, y) in px, x to the right, y downwards, where (0, 0) is the centre of the first pixel: the frame
    reaches from -0.5 to width - 0.5. (Where a data set puts (0, 0) at the first pixel's outer corner, as COCO does,
    subtract 0.5 before and add it after.) Images and masks follow the sampling map, from output to input; keypoints and
    boxes follow its inverse: in closed form where there is one, by a fixed number of Newton steps otherwise.

    A pytree: works under `jax.jit`, and a stack of warps (of many keys) under `jax.vmap`. At the identity everything
    comes back as it was, bit for bit.

    Attributes:
      steps: the resamplings, first to last.
      still: whether nothing moves.
      height, width: static; the frame, px.

    Example:
      >>> from sensijax.perturb import image
      >>> warp = image.Rotation(degrees=jnp.float32(90.0)).warp(jax.random.key(0), 9, 9)
      >>> moved, visible = warp.keypoints(jnp.array([[8.0, 4.0]]))  # the middle of the right edge
      >>> moved.round(3).tolist(), visible.tolist()
      ([[4.0, 0.0]], [True])
      >>> int(warp.mask(jnp.zeros((9, 9), jnp.int32).at[4, 8].set(7))[0, 4])
      7
    """

    steps: tuple[Step, ...]
    still: Bool[Array, ""]
    height: int = static()
    width: int = static()

    @one_program
    def sampling(self) -> tuple[Float[Array, "H W"], Float[Array, "H W"]]:
        """Where each output pixel reads: rows and columns, px; beyond the frame where it goes beyond."""
        rows, columns, _ = self._trace()
        return jnp.broadcast_to(rows, (self.height, self.width)), jnp.broadcast_to(columns, (self.height, self.width))

    def image(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """The image, moved; bilinear, once for each step.

        Args:
          x: float32 `[height, width, C]`.

        Returns:
          float32 `[height, width, C]`, within the range of `x`.
        """
        self._check("x", x, rank=3)
        return self._image(x)

    def mask(self, labels: Shaped[Array, "H W"], fill: int | bool | None = 0) -> Shaped[Array, "H W"]:
        """A mask or a map of class labels, moved; each pixel takes the label nearest to where it reads.

        Args:
          labels: integers or booleans `[height, width]`.
          fill: the label of what comes from beyond the frame, such as 0 for background or 255 for "ignore"; None
            continues the labels beyond the frame as the image is continued.

        Returns:
          `[height, width]`, of the labels' dtype.
        """
        self._check("labels", labels, rank=2)
        return self._mask(labels, fill)

    def keypoints(self, points: Float[Array, "N 2"]) -> tuple[Float[Array, "N 2"], Bool[Array, "N"]]:
        """Where points of the image go.

        Args:
          points: float32 `[N, 2]`, (x, y) in px.

        Returns:
          The moved points, float32 `[N, 2]`, and `[N]` whether each can be seen: it lay in the frame, lies in it now,
          and the sampling map leads back to it. Where a map folds the image over itself a point may show more than
          once, and one of its places is given.
        """
        _check_points("points", points, 2)
        return self._keypoints(points)

    def boxes(self, boxes: Float[Array, "N 4"]) -> tuple[Float[Array, "N 4"], Bool[Array, "N"]]:
        """The boxes around moved boxes.

        The outline of the part of each box within the frame is moved, 64 points on each side; the box around these
        places is then clipped to the frame. A box that was tight around an object is not so after a turn.

        Args:
          boxes: float32 `[N, 4]`, (x0, y0, x1, y1) in px with x0 <= x1 and y0 <= y1; the whole frame is
            `(-0.5, -0.5, width - 0.5, height - 0.5)`.

        Returns:
          The boxes, float32 `[N, 4]`, and `[N]` whether any of each lies in the frame.
        """
        _check_points("boxes", boxes, 4)
        return self._boxes(boxes)

    @one_program
    def _image(self, x: Array) -> Array:
        places = []
        for step in self.steps:
            rows, columns = step.map.grid(self.height, self.width)
            places.append((step.border(rows, self.height), step.border(columns, self.width)))
        if len(places) == 1:
            out = resample(x, *places[0])
        else:
            # A loop, because XLA would else fuse the resamplings and compute the first anew for each read of the next.
            stacks = tuple(
                jnp.stack([jnp.broadcast_to(p, x.shape[:2]) for p in axis]) for axis in zip(*places, strict=True)
            )
            out, _ = jax.lax.scan(lambda image, place: (resample(image, *place), None), x, stacks)
        return jnp.where(self.still, x, out)

    @one_program(static=("fill",))
    def _mask(self, labels: Array, fill: int | bool | None) -> Array:
        rows, columns, inside = self._trace()
        row, column = (
            jnp.clip(jnp.floor(places + 0.5), 0.0, count - 1.0).astype(jnp.int32)
            for places, count in ((rows, self.height), (columns, self.width))
        )
        moved = jnp.take(labels.reshape(-1), row * self.width + column, mode="clip")
        if fill is not None:
            moved = jnp.where(inside, moved, jnp.asarray(fill, labels.dtype))
        return jnp.where(self.still, labels, moved)

    @one_program
    def _keypoints(self, points: Array) -> tuple[Array, Array]:
        columns, rows = points[:, 0], points[:, 1]
        moved_rows, moved_columns = self._forward(rows, columns)
        back_rows, back_columns = moved_rows, moved_columns
        for step in reversed(self.steps):
            back_rows, back_columns = step.map.source(back_rows, back_columns)
        found = jnp.maximum(jnp.abs(back_rows - rows), jnp.abs(back_columns - columns)) < _FOUND
        seen = self._inside(rows, columns) & self._inside(moved_rows, moved_columns) & found
        moved = jnp.where(self.still, points, jnp.stack([moved_columns, moved_rows], axis=-1))
        return moved, jnp.where(self.still, self._inside(rows, columns), seen)

    @one_program
    def _boxes(self, boxes: Array) -> tuple[Array, Array]:
        x0, y0, x1, y1 = self._clipped(*boxes.T)
        seen = (x1 > x0) & (y1 > y0)
        along = np.linspace(0, 1, _OUTLINE, endpoint=False, dtype=np.float32)
        zero, one = np.zeros_like(along), np.ones_like(along)
        across = np.concatenate([along, one, 1 - along, zero])[None]
        down = np.concatenate([zero, along, one, 1 - along])[None]
        columns = x0[:, None] + (x1 - x0)[:, None] * across
        rows = y0[:, None] + (y1 - y0)[:, None] * down
        rows, columns = (places.reshape(len(boxes), -1) for places in self._forward(rows.ravel(), columns.ravel()))
        bounds = self._clipped(columns.min(1), rows.min(1), columns.max(1), rows.max(1))
        moved = jnp.stack(bounds, axis=-1)
        still_seen = seen & (bounds[2] > bounds[0]) & (bounds[3] > bounds[1])
        return jnp.where(self.still, boxes, moved), jnp.where(self.still, seen, still_seen)

    def _forward(self, rows: Array, columns: Array) -> Places:
        for step in self.steps:
            rows, columns = step.map.target(rows, columns)
        return rows, columns

    def _trace(self) -> tuple[Array, Array, Array]:
        """The places that pixels read from, through all steps, and whether they never leave the frame on the way."""
        *earlier, last = self.steps
        rows, columns = last.map.grid(self.height, self.width)
        inside = self._inside(rows, columns)
        border = last.border
        for step in reversed(earlier):
            rows = jnp.clip(border(rows, self.height), 0.0, self.height - 1.0)
            columns = jnp.clip(border(columns, self.width), 0.0, self.width - 1.0)
            rows, columns = step.map.source(rows, columns)
            inside = inside & self._inside(rows, columns)
            border = step.border
        return border(rows, self.height), border(columns, self.width), inside

    def _inside(self, rows: Array, columns: Array) -> Array:
        down = (rows >= -0.5) & (rows <= self.height - 0.5)
        return down & (columns >= -0.5) & (columns <= self.width - 0.5)

    def _clipped(self, x0: Array, y0: Array, x1: Array, y1: Array) -> tuple[Array, ...]:
        right, bottom = self.width - 0.5, self.height - 0.5
        return tuple(
            jnp.clip(place, -0.5, high) for place, high in ((x0, right), (y0, bottom), (x1, right), (y1, bottom))
        )

    def _check(self, name: str, array: Array, rank: int) -> None:
        if array.ndim != rank or array.shape[:2] != (self.height, self.width):
            right = f"[{self.height}, {self.width}{', C' if rank == 3 else ''}], the frame this warp was made for"
            raise ArgumentError(name, f"shape {list(array.shape)}", right)


def _check_points(name: str, points: Array, width: int) -> None:
    if points.ndim != 2 or points.shape[1] != width or points.dtype != jnp.float32:
        raise ArgumentError(name, f"{points.dtype} of shape {list(points.shape)}", f"float32 [N, {width}]")
