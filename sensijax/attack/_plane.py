"""The way to a hyperplane inside of a box: the shortest, in each norm."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from sensijax.attack._norm import Norm, choose, l1, l2, linf

_MOST = 64


def to_plane(norm: Norm, x: Array, w: Array, c: Float[Array, "B"], box: tuple[float, float]) -> Array:
    """The smallest change d, in the norm, with w . (x + d) = w . x - c and x + d in the box.

    Where no point of the box is on the plane, the change that comes nearest to it.

    Args:
      norm: `linf`, `l2` or `l1`.
      x: `[B, ...]` in the box.
      w: `[B, ...]` the plane's normal.
      c: `[B]` how far above the plane x is: w . x - b.
      box: (low, high).

    Reference:
      Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020,
      section 2.1; there by sorting.

    Example:
      >>> x, w = jnp.array([[0.5, 0.1]]), jnp.array([[1.0, 1.0]])
      >>> change = to_plane(linf, x, w, jnp.array([0.4]), (0.0, 1.0))
      >>> bool(jnp.allclose(change, jnp.array([[-0.3, -0.1]])))
      True
    """
    low, high = box
    direction = -jnp.sign(w) * jnp.where(c >= 0, np.float32(1), np.float32(-1)).reshape((-1,) + (1,) * (x.ndim - 1))
    room = jnp.where(direction > 0, high - x, x - low).reshape(len(x), -1)
    steepness = jnp.abs(w).reshape(len(x), -1)
    return direction * _LENGTHS[norm](steepness, room, jnp.abs(c)).reshape(x.shape)


def _together(rate: Array, steepness: Array, room: Array, c: Array) -> Array:
    """All values move at once, at their rates, until they meet the box: how far each of them gets.

    The set of those that have met it only grows, so it is found in a few rounds; each row stops at its own last one.
    """
    gain = steepness * rate

    def short(held: Bool[Array, "B D"]) -> Array:
        missing = c - jnp.sum(jnp.where(held, steepness * room, 0.0), axis=1)
        return missing / jnp.maximum(jnp.sum(jnp.where(held, 0.0, gain), axis=1), np.float32(1e-30))

    def more(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        round_, going, held, time = carry
        now = held | (rate * time[:, None] >= room)
        grew = going & jnp.any(now & ~held, axis=1)
        return round_ + 1, grew, now, jnp.where(grew, short(now), time)

    none = jnp.zeros(room.shape, jnp.bool_)
    start = (jnp.int32(0), jnp.ones(len(c), jnp.bool_), none, short(none))
    _, _, held, time = jax.lax.while_loop(lambda carry: (carry[0] < _MOST) & jnp.any(carry[1]), more, start)
    return jnp.where(held, room, jnp.clip(rate * time[:, None], 0.0, room))


def _one_by_one(steepness: Array, room: Array, c: Array) -> Array:
    """The steepest values first, each as far as it can."""
    order = jnp.argsort(-steepness, axis=1)
    steep, free = jnp.take_along_axis(steepness, order, axis=1), jnp.take_along_axis(room, order, axis=1)
    done = jnp.cumsum(steep * free, axis=1) - steep * free
    length = jnp.clip((c[:, None] - done) / jnp.maximum(steep, np.float32(1e-30)), 0.0, free)
    return jnp.take_along_axis(length, jnp.argsort(order, axis=1), axis=1)


_LENGTHS: dict[Norm, Callable[[Array, Array, Array], Array]] = {
    linf: lambda steepness, room, c: _together((steepness > 0).astype(room.dtype), steepness, room, c),
    l2: lambda steepness, room, c: _together(steepness, steepness, room, c),
    l1: _one_by_one,
}


def steepness(norm: Norm, w: Array) -> Float[Array, "B"]:
    """The dual norm of each row: how fast a linear function with gradient w changes along the norm's best step."""
    return _DUAL[norm](jnp.abs(w).reshape(len(w), -1))


_DUAL: dict[Norm, Callable[[Array], Array]] = {
    linf: lambda w: jnp.sum(w, axis=1),
    l2: lambda w: jnp.sqrt(jnp.sum(w**2, axis=1)),
    l1: lambda w: jnp.max(w, axis=1),
}


def nearest(norm: Norm, f: Float[Array, "B C"], w: Float[Array, "C B ..."]) -> tuple[Array, Array]:
    """Of several planes, the nearest to each row without regard to the box: its f `[B]` and w `[B, ...]`."""
    distance = jnp.abs(f) / jnp.maximum(jax.vmap(lambda one: steepness(norm, one))(w), np.float32(1e-12)).T
    chosen = jnp.argmin(distance, axis=1)
    best = w[0]
    for i in range(1, len(w)):
        best = choose(chosen == i, w[i], best)
    return jnp.take_along_axis(f, chosen[:, None], axis=1)[:, 0], best
