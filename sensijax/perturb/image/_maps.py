"""Maps of the plane: where an output pixel reads, and where an input place goes. Places are (row, column), px."""

from collections.abc import Callable
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core.struct import struct
from sensijax.perturb.image._reduce import rounded

Places = tuple[Float[Array, "..."], Float[Array, "..."]]


class Map:
    """A map and its inverse; a subclass is a `struct` and states both."""

    def source(self, rows: Array, columns: Array) -> Places:
        """Where output places read; rows and columns of one shape, or of shapes that broadcast against each other."""
        raise NotImplementedError

    def target(self, rows: Array, columns: Array) -> Places:
        """Where input places go: the inverse of `source`; rows and columns of one shape."""
        raise NotImplementedError

    def grid(self, height: int, width: int) -> Places:
        """`source` of every pixel: two arrays that broadcast to `[height, width]`."""
        return self.source(*_pixels(height, width))


@struct
class Axes(Map):
    """Scales and shifts along the axes: `source = (place - origin) * scale + reads`.

    Attributes:
      scale: of rows and of columns, px read per px; > 0.
      origin: a place of the output, px.
      reads: the place it reads, px.
    """

    scale: Float[Array, "2"]
    origin: Float[Array, "2"]
    reads: Float[Array, "2"]

    def source(self, rows: Array, columns: Array) -> Places:
        return tuple(
            rounded((places - self.origin[axis]) * self.scale[axis]) + self.reads[axis]
            for axis, places in enumerate((rows, columns))
        )  # type: ignore[return-value]

    def target(self, rows: Array, columns: Array) -> Places:
        return tuple(
            rounded((places - self.reads[axis]) * (1 / self.scale[axis])) + self.origin[axis]
            for axis, places in enumerate((rows, columns))
        )  # type: ignore[return-value]


@struct
class Affine(Map):
    """Turns, shears and stretches: `source = matrix (place - origin) + reads`.

    Attributes:
      matrix: acts on (row, column).
      inverse: of the matrix.
      origin: a place of the output, px.
      reads: the place it reads, px.
    """

    matrix: Float[Array, "2 2"]
    inverse: Float[Array, "2 2"]
    origin: Float[Array, "2"]
    reads: Float[Array, "2"]

    def source(self, rows: Array, columns: Array) -> Places:
        return _linear(self.matrix, rows, columns, self.origin, self.reads)

    def target(self, rows: Array, columns: Array) -> Places:
        return _linear(self.inverse, rows, columns, self.reads, self.origin)


def _linear(matrix: Array, rows: Array, columns: Array, before: Array, after: Array) -> Places:
    rows, columns = rows - before[0], columns - before[1]
    return tuple(rounded(matrix[axis, 0] * rows) + rounded(matrix[axis, 1] * columns) + after[axis] for axis in (0, 1))  # type: ignore[return-value]


@struct
class Homography(Map):
    """Projects a plane onto a plane, in coordinates in which the frame is the unit square.

    Attributes:
      matrix: acts on (x, y, 1), x and y as fractions of the width and the height from the frame's corner.
      inverse: of the matrix, up to a factor.
      size: height and width of the frame, px.
    """

    matrix: Float[Array, "3 3"]
    inverse: Float[Array, "3 3"]
    size: Float[Array, "2"]

    @classmethod
    def of(cls, corners: Float[Array, "4 2"], height: int, width: int) -> Self:
        """The projection by which the frame's corners read `corners`.

        Args:
          corners: (x, y) as fractions of the frame: what its top left, top right, bottom right and bottom left corner
            read; a convex quadrilateral.
          height, width: of the frame, px.

        Reference:
          Heckbert, "Fundamentals of texture mapping and image warping", 1989, section 2.2.3.
        """
        p0, p1, p2, p3 = corners
        right, left, rest = p1 - p2, p3 - p2, p0 - p1 + p2 - p3
        area = _cross(right, left)
        g, h = _cross(rest, left) / area, _cross(right, rest) / area
        first, second = p1 - p0 + rounded(g * p1), p3 - p0 + rounded(h * p3)
        rows = [jnp.stack([first[axis], second[axis], p0[axis]]) for axis in (0, 1)]
        a, b, c = rows[0], rows[1], jnp.stack([g, h, jnp.ones_like(g)])
        return cls(
            matrix=jnp.stack([a, b, c]),
            inverse=jnp.stack([_cross3(b, c), _cross3(c, a), _cross3(a, b)], axis=1),
            size=jnp.array([height, width], jnp.float32),
        )

    def source(self, rows: Array, columns: Array) -> Places:
        return self._project(self.matrix, rows, columns)

    def target(self, rows: Array, columns: Array) -> Places:
        return self._project(self.inverse, rows, columns)

    def _project(self, matrix: Array, rows: Array, columns: Array) -> Places:
        y, x = (rounded((places + 0.5) * (1 / self.size[axis])) for axis, places in enumerate((rows, columns)))
        over_x, over_y, under = (
            rounded(matrix[i, 0] * x) + (rounded(matrix[i, 1] * y) + matrix[i, 2]) for i in range(3)
        )
        # Zero lies on the horizon, far outside the frame.
        scale = 1 / jnp.where(jnp.abs(under) < 1e-6, 1e-6, under)
        return (
            rounded(rounded(over_y * scale) * self.size[0]) - 0.5,
            rounded(rounded(over_x * scale) * self.size[1]) - 0.5,
        )


def _cross(a: Array, b: Array) -> Array:
    return rounded(a[0] * b[1]) - rounded(a[1] * b[0])


def _cross3(a: Array, b: Array) -> Array:
    return jnp.stack([_cross(a[1:], b[1:]), _cross(a[2::-2], b[2::-2]), _cross(a[:2], b[:2])])


@struct
class Field(Map):
    """Adds a displacement drawn for every pixel; between pixels it is interpolated, beyond the frame it goes on.

    Attributes:
      down: what is added to rows, px.
      right: what is added to columns, px.
    """

    down: Float[Array, "H W"]
    right: Float[Array, "H W"]

    def grid(self, height: int, width: int) -> Places:
        rows, columns = _pixels(height, width)
        return rows + self.down, columns + self.right

    def source(self, rows: Array, columns: Array) -> Places:
        height, width = self.down.shape
        row, column = jnp.clip(rows, 0.0, height - 1.0), jnp.clip(columns, 0.0, width - 1.0)
        top = jnp.clip(jnp.floor(row), 0.0, height - 2.0)
        left = jnp.clip(jnp.floor(column), 0.0, width - 2.0)
        start = top.astype(jnp.int32) * width + left.astype(jnp.int32)
        down, right = row - top, column - left

        def read(field: Array) -> Array:
            a, b, c, d = (jnp.take(field.reshape(-1), start + step, mode="clip") for step in (0, 1, width, width + 1))
            above = a + rounded(right * (b - a))
            return above + rounded(down * (c + rounded(right * (d - c)) - above))

        return rows + read(self.down), columns + read(self.right)

    def target(self, rows: Array, columns: Array) -> Places:
        return newton(self.source, rows, columns, steps=16)


def newton(source: Callable[[Array, Array], Places], rows: Array, columns: Array, steps: int) -> Places:
    """The places from which a map leads to these, by Newton's method from the places themselves.

    Args:
      source: the map, place by place; near enough to the identity that its Jacobian seldom is singular.
      rows, columns: where the map is to lead, px.
      steps: how many; a step goes 4 px at most, and of all places met the one that came nearest is kept.

    Returns:
      Rows and columns.
    """

    def miss(place: Places) -> Places:
        came_rows, came_columns = source(*place)
        return came_rows - rows, came_columns - columns

    def refine(_, state):
        place, best, least = state
        one, zero = jnp.ones_like(rows), jnp.zeros_like(rows)
        error, (rr, cr) = jax.jvp(miss, (place,), ((one, zero),))
        _, (rc, cc) = jax.jvp(miss, (place,), ((zero, one),))
        distance = error[0] ** 2 + error[1] ** 2
        nearer = distance < least
        best = tuple(jnp.where(nearer, new, old) for new, old in zip(place, best, strict=True))
        # Where the map folds the determinant passes zero; there the step is that of a slight contraction.
        area = rr * cc - rc * cr
        scale = 1 / jnp.maximum(area, 0.1)
        down = jnp.where(area > 0.1, scale * (cc * error[0] - rc * error[1]), error[0])
        right = jnp.where(area > 0.1, scale * (rr * error[1] - cr * error[0]), error[1])
        place = place[0] - jnp.clip(down, -4.0, 4.0), place[1] - jnp.clip(right, -4.0, 4.0)
        return place, best, jnp.minimum(distance, least)

    start = (rows, columns)
    _, best, _ = jax.lax.fori_loop(0, steps, refine, (start, start, jnp.full_like(rows, np.inf)))
    return best


def frame_centre(height: int, width: int) -> Float[Array, "2"]:
    """(row, column) of the middle of the frame, px."""
    return jnp.array([(height - 1) / 2, (width - 1) / 2], jnp.float32)


def _pixels(height: int, width: int) -> Places:
    return jnp.arange(height, dtype=jnp.float32)[:, None], jnp.arange(width, dtype=jnp.float32)[None, :]
