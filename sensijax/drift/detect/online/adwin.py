"""ADWIN: a window that keeps what agrees with the present, as an exponential histogram."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static, struct
from sensijax.drift.detect.online._detector import Detector, Info, check_number, check_size, say


def epsilon_cut(n0: Any, n1: Any, variance: Any, delta: Any) -> Array:
    """How far the means of two parts of a window may lie apart before ADWIN cuts it.

    sqrt(2 v ln(2 / delta') / m) + 2 ln(2 / delta') / (3 m), with 1 / m = 1 / n0 + 1 / n1, delta' = delta / ln(n0 + n1).

    Args:
      n0, n1: values in the parts, >= 1.
      variance: of the whole window, 0 or more.
      delta: the level, in (0, 1).

    Returns:
      float32, of the common shape.

    Reference:
      Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SIAM International Conference on
      Data Mining 2007, section 3.

    Example:
      >>> round(float(epsilon_cut(500, 500, 0.16, 0.002)), 5)
      0.12995
    """
    n0, n1, variance, delta = (jnp.asarray(a, jnp.float32) for a in (n0, n1, variance, delta))
    return _epsilon(1 / n0 + 1 / n1, variance, jnp.log(2 * jnp.log(n0 + n1) / delta))


def _epsilon(inverse: Array, variance: Array, confidence: Array) -> Array:
    return jnp.sqrt(2 * inverse * variance * confidence) + 2 / 3 * confidence * inverse


@struct
class ADWINState:
    """The histogram: row r holds up to M buckets of 2^r values each, the oldest first, pushed against the row's end.

    Attributes:
      mean: float32 `[rows, M]`, of each bucket.
      squares: float32 `[rows, M]`, sum of squared deviations from it.
      count: int32 `[rows]`, buckets that are in use.
      tick: int32, values so far.
    """

    mean: Float[Array, "rows buckets"]
    squares: Float[Array, "rows buckets"]
    count: Int32[Array, "rows"]
    tick: Int32[Array, ""]


class ADWIN(Detector):
    """Adaptive windowing of a mean, for values in [0, 1] or on such a scale.

    Every `clock` values, the window is cut wherever its older part's mean differs from the younger part's by
    `epsilon_cut` or more; then its oldest bucket is dropped, and it is looked at again. The statistic is the largest
    difference over its bound: drift above 1. As published, the window is only shortened at an alarm and goes on.

    Against other programs: river 0.26.1 (and MOA, by the authors) counts each part `minimum - 1` values shorter in the
    bound, which `shorter=4` does here, and starts from an empty window after an alarm, which `run(..., restart=True)`
    does; with both, alarms are those of river on the golden streams. There the first alarm is at 1023, by either bound;
    Frouros 0.9 calls 1055, one look later.

    Buckets hold means and squared deviations, and the window's are made of them at every look: nothing is subtracted
    from a running total, so no digits are lost over time. Many streams in `run` share the clock: what a look costs is
    paid once in `clock` values, and 32 insertions are one pass through the rows.

    Attributes:
      delta: the level, in (0, 1).
      shorter: how many values each part counts less in the bound, >= 0 and < `minimum`; 0 as published.
      clock: values between looks, >= 1.
      minimum: values that each part must have, >= 1.
      grace: no look before the window has more values than this.
      buckets: M >= 2, buckets of a size that are kept.
      rows: sizes of buckets. The window holds up to M (2^rows - 1) values, and forgets the oldest beyond; 16 rows of 5
        hold 327,675.

    Reference:
      Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SIAM International Conference on
      Data Mining 2007.

    Example:
      >>> import numpy as np
      >>> from sensijax.drift.detect import run
      >>> found = run(ADWIN(), np.repeat([0.2, 0.8], 500))
      >>> found.alarms.tolist(), found.changes[-1].tolist()
      ([543, 575, 671], 512)
    """

    delta: ArrayLike = 0.002
    shorter: ArrayLike = 0.0
    clock: int = static(default=32)
    minimum: int = static(default=5)
    grace: int = static(default=10)
    buckets: int = static(default=5)
    rows: int = static(default=16)

    restarts: ClassVar[bool] = False

    def __post_init__(self):
        check_number("delta", self.delta, 0, 1, open_low=True)
        check_size("clock", self.clock, 1)
        check_size("minimum", self.minimum, 1)
        check_number("shorter", self.shorter, 0, self.minimum - 1)
        check_size("grace", self.grace, 1)
        check_size("buckets", self.buckets, 2)
        check_size("rows", self.rows, 2, 22)  # beyond, float32 cannot count the values

    def init(self, key: Array | None = None) -> ADWINState:
        shape = (self.rows, self.buckets)
        return ADWINState(jnp.zeros(shape), jnp.zeros(shape), jnp.zeros(self.rows, jnp.int32), jnp.int32(0))

    def update(self, state: ADWINState, value: Array) -> tuple[ADWINState, Info]:
        state = self._insert(state, value[None], jnp.int32(1))
        return jax.lax.cond(state.tick % self.clock == 0, self._look, lambda s: (s, self._quiet(s)), state)

    def check_state(self, state: ADWINState) -> None:
        if len(set((np.asarray(state.tick) % self.clock).ravel().tolist())) > 1:
            raise ArgumentError("state", "streams at different places of the clock", "streams that began together")

    def steps(self, state: ADWINState, values: Array, fresh: ADWINState, restart: Array) -> tuple[ADWINState, Info]:
        # Streams lie along the last axis here, which keeps the inner loops long. The clock is shared: an alarm comes at
        # a look, so a restart there leaves the ticks of all streams equal up to a multiple of `clock`.
        state, fresh = (jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), tree) for tree in (state, fresh))
        (length, streams), clock = values.shape, self.clock
        phase, width = state.tick[0] % clock, self._width(state.count)
        padded = jnp.concatenate([values, jnp.zeros((2 * clock, streams), values.dtype)])

        def block(state: ADWINState, index: Array) -> tuple[ADWINState, tuple[Info, Array]]:
            start = jnp.maximum(index * clock - phase, 0)
            m = jnp.clip(jnp.minimum((index + 1) * clock - phase, length) - start, 0, clock)
            new = jax.lax.dynamic_slice_in_dim(padded, start, clock)
            state = self._insert(state, new, jnp.full(streams, m))
            # A block without its last value has no look. That is one question for all streams, so a real branch.
            whole = (index + 1) * clock - phase <= length
            state, info = jax.lax.cond(whole, self._look, lambda s: (s, self._quiet(s)), state)
            again = info.drift & restart
            state = jax.tree.map(lambda a, b: jnp.where(_for_leaf(again, a.ndim), a, b), fresh, state)
            return state, (info, self._width(state.count))

        state, (looks, after) = jax.lax.scan(block, state, jnp.arange(-(-length // clock) + 1))
        # From looks to values: a verdict stands at its own value, and the window grows by one from value to value.
        times = phase + jnp.arange(length) + 1
        look, since = times // clock - 1, times % clock
        at = (since == 0)[:, None]
        earlier = jnp.where((look >= 0)[:, None], after[jnp.maximum(look, 0)], (width - phase)[None]) + since[:, None]
        there = jax.tree.map(lambda leaf: leaf[jnp.maximum(look, 0)], looks)
        info = Info(
            at & there.drift, at & there.warning, jnp.where(at, there.statistic, 0), jnp.where(at, there.width, earlier)
        )
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), state), info

    def _insert(self, state: ADWINState, new: Array, m: Array) -> ADWINState:
        """Inserts the first m of the values `new` `[L, ...]`, a row at a time.

        One by one, a row that comes to M + 1 buckets merges its two oldest, and so ends with M or M - 1. In one go, of
        N = count + m buckets the (N - M + 1) // 2 oldest pairs are merged, and the same buckets remain.
        """
        tick, carry, rows = state.tick + m, (new.astype(jnp.float32), jnp.zeros(new.shape), m), []
        of_rows = (state.mean, state.squares, state.count, 2.0 ** jnp.arange(self.rows, dtype=jnp.float32))
        first = 0
        while len(carry[0]) > 1 and first < self.rows:  # fewer and fewer arrive: each row has a shape of its own
            carry, row = self._row(carry, jax.tree.map(lambda leaf: leaf[first], of_rows))  # noqa: B023
            rows.append(row)
            first += 1
        parts = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)] if rows else []
        if first < self.rows:
            parts.append(jax.lax.scan(self._row, carry, jax.tree.map(lambda leaf: leaf[first:], of_rows))[1])
        mean, squares, count = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
        return ADWINState(mean, squares, count, tick)

    def _row(self, carry: tuple, row: tuple) -> tuple[tuple, tuple]:
        """A row with the first m of the buckets that come to it, and those that it passes on."""
        (mean, squares, m), (own_mean, own_squares, count, size) = carry, row
        most, length = self.buckets, len(mean)
        here = (jnp.concatenate([own_mean, mean]), jnp.concatenate([own_squares, squares]))
        merged = jnp.maximum((count + m - most + 1) // 2, 0)
        kept = [_from(x, m, length, most) for x in here]
        oldest = [_from(x, most - count, most, (length + 1) // 2 * 2) for x in here]
        (a, b), (sa, sb) = ((x[0::2], x[1::2]) for x in oldest)
        passed = ((a + b) / 2, sa + sb + (a - b) ** 2 * (size / 2), merged)
        return passed, (*kept, count + m - 2 * merged)

    def _look(self, state: ADWINState) -> tuple[ADWINState, Info]:
        """Cuts the window until no cut is called for."""

        def shorten(carry: tuple) -> tuple:
            count, cut, drift, statistic, begun = carry
            found, width = self._cuts(state, count)
            cut = cut & (found > 1) & (begun | (width > self.grace))
            row = jnp.arange(self.rows).reshape(-1, *(1,) * cut.ndim)
            oldest = jnp.max(jnp.where(count > 0, row, 0), axis=0)
            count = count - (cut[None] & (row == oldest[None])).astype(jnp.int32)
            return count, cut, drift | cut, jnp.where(begun, statistic, found), jnp.bool_(True)

        yes = jnp.ones(state.count.shape[1:], bool)
        begin = (state.count, yes, ~yes, jnp.zeros(yes.shape), jnp.bool_(False))
        count, _, drift, statistic, _ = jax.lax.while_loop(lambda carry: carry[1].any(), shorten, begin)
        state = dataclasses.replace(state, count=count)  # type: ignore[type-var]
        return state, say(drift, statistic, self._width(count))

    def _quiet(self, state: ADWINState) -> Info:
        width = self._width(state.count)
        return say(jnp.zeros(width.shape, bool), jnp.zeros(width.shape), width)

    def _width(self, count: Array) -> Array:
        sizes = (1 << jnp.arange(self.rows, dtype=jnp.int32)).reshape(-1, *(1,) * (count.ndim - 1))
        return jnp.sum(count * sizes, axis=0)

    def _cuts(self, state: ADWINState, count: Array) -> tuple[Array, Array]:
        """The largest difference of means over its bound, and how many values the window has."""
        more = (1,) * (count.ndim - 1)
        used = jnp.arange(self.buckets).reshape(1, -1, *more) >= self.buckets - count[:, None]
        sizes = (2.0 ** jnp.arange(self.rows, dtype=jnp.float32)).reshape(-1, 1, *more)
        size = jnp.where(used, sizes, 0)
        n = jnp.sum(size, axis=(0, 1))
        mean = jnp.sum(size * state.mean, axis=(0, 1)) / jnp.maximum(n, 1)
        centred = state.mean - mean[None, None]
        variance = jnp.sum(jnp.where(used, state.squares, 0) + size * centred**2, axis=(0, 1)) / jnp.maximum(n, 1)
        # With deviations from the window's mean the two parts' sums are opposite: u0 / n0 - u1 / n1 = u0 n / (n0 n1).
        n0, u0 = _up_to(size), _up_to(size * centred)
        n1 = n[None, None] - n0
        allowed = used & (n0 >= self.minimum) & (n1 >= self.minimum)
        n0, n1 = jnp.where(allowed, n0, self.minimum), jnp.where(allowed, n1, self.minimum)
        less = jnp.float32(self.shorter)
        confidence = jnp.log(2 * jnp.log(jnp.maximum(n, 2)) / jnp.float32(self.delta))
        epsilon = _epsilon(1 / (n0 - less) + 1 / (n1 - less), variance[None, None], confidence[None, None])
        ratio = jnp.abs(u0) * n[None, None] / (n0 * n1) / epsilon
        return jnp.max(jnp.where(allowed, ratio, 0), axis=(0, 1)), n.astype(jnp.int32)


def _from(x: Array, start: Array, most: int, length: int) -> Array:
    """x[start : start + length] along the first axis, with another start in 0..most for each stream, in log2 steps."""
    reach = length + (1 << most.bit_length()) - 1
    x = x[:reach] if len(x) >= reach else jnp.concatenate([x, jnp.zeros((reach - len(x), *x.shape[1:]), x.dtype)])
    for bit in reversed(range(most.bit_length())):
        step = 1 << bit
        x = jnp.where(((start >> bit) & 1)[None] > 0, x[step:], x[:-step])
    return x[:length]


def _up_to(x: Array) -> Array:
    """Sums `[rows, M, ...]` from the oldest bucket (last row, first place) up to each, itself included."""
    within = [x[:, 0]]
    for place in range(1, x.shape[1]):
        within.append(within[-1] + x[:, place])
    older = [jnp.zeros_like(x[0, 0])]
    for row in reversed(range(1, x.shape[0])):
        older.append(older[-1] + within[-1][row])
    return jnp.stack(within, axis=1) + jnp.stack(older[::-1])[:, None]


def _for_leaf(condition: Array, ndim: int) -> Array:
    """The condition of each stream `[S]`, shaped for leaves `[..., S]`."""
    return condition.reshape((1,) * (ndim - 1) + condition.shape)
