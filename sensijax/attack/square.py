"""Square: random search by squares, without gradients."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, Trace, fools
from sensijax.attack._l1_box import project_into_box
from sensijax.attack._norm import along, check_norm, choose, l1, l2, linf
from sensijax.attack._victim import Victim
from sensijax.attack._window import Window, bump
from sensijax.attack.losses import margin
from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static, struct

_FALLS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # the share of pixels in a square halves after these queries


@struct
class SquareTrace(Trace):
    """Attributes: the point with the highest margin so far.

    best: `[B, ...]`.
    best_margin: `[B]`.
    """

    best: Array
    best_margin: Float[Array, "B"]


class Square(Attack):
    """Random search: a change to a random square is kept if the margin becomes smaller. Sees logits alone.

    In L-infinity the values of a square move to a side of the ball, channel by channel; the search starts with vertical
    stripes. In L2 and L1 a square gets a bump with budget taken from another one. Fewer pixels change the longer it
    lasts.

    Attributes:
      eps: the budget, in the norm's unit, > 0.
      norm: `linf`, `l2` or `l1`, or its name.
      box: the closed range of valid inputs.
      queries: changes tried, >= 1; the start is one evaluation more.
      restarts: attempts from other random starts.
      p: the share of the pixels that the first squares cover, in (0, 1].
      rescale: whether the schedule of squares, which is for 10000 queries, is shortened to `queries`.
      axes: which axes of an example are height and width; others are channels. Examples with one axis are images one
        pixel high.

    Reference:
      Andriushchenko, Croce, Flammarion and Hein, "Square attack: a query-efficient black-box adversarial attack via
      random search", ECCV 2020; in L1, Croce and Hein, "Mind the box", ICML 2021. The authors' code draws one square
      for the whole batch in each step, so that verdicts depend on the batch: here each example has draws of its own.
      The code never lets a square touch the last line and column: here all places are equally likely.

    Example:
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4], [0.9, 0.1]], np.float32), np.array([0, 0])
      >>> Square(eps=0.2, queries=20)(jax.random.key(0), model, x, y).robust.tolist()
      [False, True]
    """

    queries: int = static(default=5000)
    restarts: int = static(default=1)
    p: float = static(default=0.8)
    rescale: bool = static(default=False)
    axes: tuple[int, int] = static(default=(0, 1))

    backwards = 0

    def __post_init__(self):
        super().__post_init__()
        check_norm(type(self), self.norm, linf, l2, l1)
        for name in ("queries", "restarts"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, getattr(self, name), "at least 1")
        if not 0 < self.p <= 1:
            raise ArgumentError("p", f"{self.p:g}", "a share in (0, 1]")

    @property
    def most_steps(self) -> int:
        return self.queries + 1

    @property
    def attempts(self) -> int:
        return self.restarts

    def begin(self, goal: Goal) -> SquareTrace:
        x = self._images(goal.x)
        start = self._restored(_MOVES[self.norm].start(self, goal.keys(0), x), goal.x)
        return SquareTrace(**self.trace(goal, start), best=start, best_margin=jnp.full(len(x), -jnp.inf, goal.x.dtype))

    def advance(self, victim: Victim, goal: Goal, state: SquareTrace) -> SquareTrace:
        keys = goal.keys(state.step + 1)
        logits = victim.logits(state.x, keys)
        value = margin(logits, goal.y, goal.target)
        state = self.noted(goal, state, fools(logits, goal), value)
        better = (state.step == 0) | (value > state.best_margin)
        best, best_margin = choose(better, state.x, state.best), jnp.where(better, value, state.best_margin)
        x = self._images(goal.x)
        tried = _MOVES[self.norm].step(self, keys, x, self._images(best), state.step)
        return dataclasses.replace(state, x=self._restored(tried, goal.x), best=best, best_margin=best_margin)

    def sides(self, image: tuple[int, int], step: Array, least: int) -> tuple[Array, Array]:
        """Height and width of the window at each row's step: int32 `[B]` each."""
        lines, columns = image
        sizes = []
        for halvings in range(len(_FALLS) + 1):
            pixels = self.p / 2**halvings * lines * columns
            if lines == 1:
                sizes.append((1, min(max(round(pixels), least), columns)))
            else:
                side = max(round(np.sqrt(pixels)), least)
                side = min(side + (least > 1 and side % 2 == 0), lines, columns)
                sizes.append((side, side))
        count = step * 10000 // self.queries if self.rescale else step
        level = jnp.sum(count[:, None] > jnp.asarray(_FALLS, jnp.int32)[None], axis=1, dtype=jnp.int32)
        chosen = jnp.asarray(sizes, jnp.int32)[level]
        return chosen[:, 0], chosen[:, 1]

    def _images(self, x: Array) -> Float[Array, "B H W C"]:
        if x.ndim == 2:
            return x[:, None, :, None]
        height, width = self.axes
        images = jnp.moveaxis(x, (height + 1, width + 1), (1, 2))
        return images.reshape(*images.shape[:3], -1)

    def _restored(self, images: Array, x: Array) -> Array:
        if x.ndim == 2:
            return images.reshape(x.shape)
        height, width = self.axes
        moved = jnp.moveaxis(x, (height + 1, width + 1), (1, 2))
        return jnp.moveaxis(images.reshape(moved.shape), (1, 2), (height + 1, width + 1))


class _Move(NamedTuple):
    """How a norm's search begins and goes on; both take the attack, typed keys `[B]` and images `[B, H, W, C]`."""

    start: Callable[..., Array]
    step: Callable[..., Array]


def _uniform(keys: Array, *shape: int) -> Array:
    return jax.vmap(lambda key: jax.random.uniform(key, shape, jnp.float32))(keys)


def _signs(uniform: Array) -> Array:
    return jnp.where(uniform < 0.5, np.float32(-1), np.float32(1))


# --- L-infinity ------------------------------------------------------------------------------------------------------


def _stripes(attack: Square, keys: Array, x: Array) -> Array:
    signs = _signs(_uniform(keys, 1, *x.shape[2:]))
    return attack.clip(x + along(attack.eps, x) * signs)


def _flat_square(attack: Square, keys: Array, x: Array, best: Array, step: Array) -> Array:
    image, channels = (x.shape[1], x.shape[2]), x.shape[3]
    uniform = _uniform(keys, 2 + channels)
    height, width = attack.sides(image, step, 1)
    inside = Window.somewhere(uniform[:, :2], height, width, image).mask(image)
    # Twice the budget from anywhere in the ball is beyond its side; on that side a value ends.
    side = attack.clip(x + along(attack.eps, x) * _signs(uniform[:, 2:])[:, None, None, :])
    return jnp.where(inside[..., None], side, best)


# --- L2 and L1 -------------------------------------------------------------------------------------------------------


def _l2_size(delta: Array, axes: tuple[int, ...]) -> Array:
    return jnp.sqrt(jnp.sum(delta**2, axis=axes, keepdims=True))


def _l1_size(delta: Array, axes: tuple[int, ...]) -> Array:
    return jnp.sum(jnp.abs(delta), axis=axes, keepdims=True)


def _l2_share(eps: Array, whole: Array, windows: Array, channels: int) -> Array:
    return jnp.sqrt(jnp.maximum(eps**2 - whole**2, 0.0) / channels + windows**2)


def _l1_share(eps: Array, whole: Array, windows: Array, channels: int) -> Array:
    return jnp.maximum(eps - whole, 0.0) + windows * channels


def _l2_fit(attack: Square, x: Array, delta: Array) -> Array:
    return attack.clip(x + along(attack.eps, x) * delta / jnp.maximum(_l2_size(delta, (1, 2, 3)), np.float32(1e-12)))


def _l1_fit(attack: Square, x: Array, delta: Array) -> Array:
    within = attack.eps * np.float32(1 - 1e-6)  # so that rounding does not carry the sum beyond the budget
    return attack.clip(x + project_into_box(delta, x, within, attack.box))


class _Bumps(NamedTuple):
    """A norm's own part of the search by bumps: see `_l2_*` and `_l1_*`."""

    power: int
    size: Callable[[Array, tuple[int, ...]], Array]
    share: Callable[[Array, Array, Array, int], Array]
    fit: Callable[[Square, Array, Array], Array]

    def start(self, attack: Square, keys: Array, x: Array) -> Array:
        """Tiles of bumps, five along the height, each of random sign and direction."""
        lines, columns, channels = x.shape[1:]
        side = max(lines // 5, 1)
        border = max((lines - 5 * side) // 2, 0)
        corner, extent = jnp.zeros(2, jnp.int32), jnp.full(2, side, jnp.int32)
        window = Window(corner, corner, extent, extent)
        tile = bump(window, jnp.array([False, True]), (side, side), self.power, self.size)
        line, column = (np.arange(n) - border for n in (lines, columns))
        valid = ((line[:, None] >= 0) & (column[None, :] >= 0)).astype(np.float32)
        upright, turned = tile[:, *np.ix_(line % side, column % side)] * valid[None]
        tiles = np.ix_(np.maximum(line, 0) // side, np.maximum(column, 0) // side)
        uniform = _uniform(keys, lines // side + 1, columns // side + 1, channels + 1)[:, *tiles]
        bumps = jnp.where(uniform[..., 0] < 0.5, upright[None], turned[None])
        return self.fit(attack, x, bumps[..., None] * _signs(uniform[..., 1:]))

    def step(self, attack: Square, keys: Array, x: Array, best: Array, step: Array) -> Array:
        """A new bump on what is in one window, with the budget of another, and with what was left of all."""
        image, channels = (x.shape[1], x.shape[2]), x.shape[3]
        uniform = _uniform(keys, 5 + channels)
        height, width = attack.sides(image, step, 3)
        here = Window.somewhere(uniform[:, :2], height, width, image)
        in_here = here.mask(image)[..., None]
        in_there = Window.somewhere(uniform[:, 2:4], height, width, image).mask(image)[..., None]
        delta = best - x
        old = jnp.where(in_here, delta, 0.0)
        windows = self.size(jnp.where(in_here | in_there, delta, 0.0), (1, 2))
        turned = (uniform[:, 4] < 0.5) & (height == width)
        new = bump(here, turned, image, self.power, self.size)[..., None] * _signs(uniform[:, 5:])[:, None, None, :]
        new = new + old / (self.size(old, (1, 2)) + np.float32(1e-12))
        new = new / (self.size(new, (1, 2)) + np.float32(1e-12))
        new = new * self.share(along(attack.eps, x), self.size(delta, (1, 2, 3)), windows, channels)
        return self.fit(attack, x, jnp.where(in_here, new, jnp.where(in_there, 0.0, delta)))


_l2_bumps = _Bumps(2, _l2_size, _l2_share, _l2_fit)
_l1_bumps = _Bumps(4, _l1_size, _l1_share, _l1_fit)
_MOVES: dict[Any, _Move] = {
    linf: _Move(_stripes, _flat_square),
    l2: _Move(_l2_bumps.start, _l2_bumps.step),
    l1: _Move(_l1_bumps.start, _l1_bumps.step),
}
