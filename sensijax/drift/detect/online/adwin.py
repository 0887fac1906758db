"""ADWIN: a window that keeps what agrees with the present, as an exponential histogram."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.one_program import one_program
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

    Raises:
      ArgumentError: if a number is out of range.

    Reference:
      Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SIAM International Conference on
      Data Mining 2007, section 3.

    Example:
      >>> round(float(epsilon_cut(500, 500, 0.16, 0.002)), 5)
      0.12995
    """
    for name, value, low in (("n0", n0, 1), ("n1", n1, 1), ("variance", variance, 0)):
        check_number(name, value, low)
    check_number("delta", delta, 0, 1, open_low=True)
    return _epsilon_cut(*(jnp.asarray(a, jnp.float32) for a in (n0, n1, variance, delta)))


@one_program
def _epsilon_cut(n0: Array, n1: Array, variance: Array, delta: Array) -> Array:
    inverse, confidence = 1 / n0 + 1 / n1, jnp.log(2 * jnp.log(n0 + n1) / delta)
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
        low, carry = self._lower(self._low(state, 1), [], (value.astype(jnp.float32)[None], jnp.zeros(1), jnp.int32(1)))
        state = self._upper(state, low, carry, state.tick + 1)
        return self._judged(state, state.tick % self.clock == 0)

    def check_state(self, state: ADWINState) -> None:
        if len(set((np.asarray(state.tick) % self.clock).ravel().tolist())) > 1:
            raise ArgumentError("state", "streams at different places of the clock", "streams that began together")

    def steps(self, state: ADWINState, values: Array, fresh: ADWINState, restart: Array) -> tuple[ADWINState, Info]:
        # Streams lie along the last axis here, which keeps the inner loops long. The clock is shared: an alarm comes at
        # a look, so a restart there leaves the ticks of all streams equal up to a multiple of `clock`.
        state = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), state)
        (streams, length), clock = values.shape, self.clock
        phase, width = state.tick[0] % clock, self._width(state.count)
        zeros, padded = jnp.zeros((clock, streams)), jnp.pad(values, ((0, 0), (0, max(clock - length, 0))))

        def block(state: ADWINState, index: Array) -> tuple[ADWINState, tuple[Info, Array]]:
            start = jnp.maximum(index * clock - phase, 0)
            end = jnp.minimum((index + 1) * clock - phase, length)
            m = jnp.maximum(end - start, 0)
            first = jnp.minimum(start, padded.shape[1] - clock)  # a slice of `clock` values must fit
            new = jax.lax.dynamic_slice_in_dim(padded, first, clock, axis=1).T
            low, carry = jax.lax.cond(
                (m == clock) & self._is_steady(state.count),
                lambda low: self._lower_steady(low, new),
                lambda low: self._lower(low, [], (jnp.roll(new, first - start, 0), zeros, jnp.full(streams, m))),
                self._low(state, clock),
            )
            state = self._upper(state, low, carry, state.tick + m)
            # A block without its last value has no look. That is one question for all streams, so a real branch.
            state, info = self._judged(state, (index + 1) * clock - phase <= length)
            # Nothing is in use where the counts are 0, so that a restart leaves the buckets themselves alone.
            again = info.drift & restart
            count, tick = jnp.where(again[None], 0, state.count), jnp.where(again, 0, state.tick)
            state = ADWINState(state.mean, state.squares, count, tick)
            return state, (info, self._width(state.count))

        blocks = jnp.arange(-(-length // clock) + 1)
        state, (looks, after) = jax.lax.scan(block, state, blocks)
        # From looks to values: a verdict stands at its own value, and the window grows by one from value to value.
        times = phase + jnp.arange(length) + 1
        look = times // clock - 1
        before = jnp.where((look >= 0)[:, None], after[jnp.maximum(look, 0)], (width - phase)[None])
        ends = (blocks + 1) * clock - phase - 1

        def at_ends(of_look: Array, of_value: Array) -> Array:
            return of_value.at[:, ends].set(of_look.T, mode="drop")

        nothing = jnp.zeros(values.shape, bool)
        info = Info(
            at_ends(looks.drift, nothing),
            nothing,
            at_ends(looks.statistic, jnp.zeros(values.shape)),
            at_ends(looks.width, (before + (times % clock)[:, None]).T),
        )
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), state), info

    # Values go into the rows from below. One by one, a row that comes to M + 1 buckets merges its two oldest: it ends
    # with M or M - 1. In one go, of N = count + m buckets the (N - M + 1) // 2 oldest pairs are merged, and the same
    # buckets remain. Lower rows, to which several buckets come at once, are unrolled: each has shapes of its own.

    def _low(self, state: ADWINState, length: int) -> tuple[Array, Array, Array]:
        """The lower rows, where `length` values come at once."""
        rows = 0
        while length > 1 and rows < self.rows:
            rows, length = rows + 1, (length + 1) // 2
        return state.mean[:rows], state.squares[:rows], state.count[:rows]

    def _lower(self, low: tuple, done: list, carry: tuple) -> tuple[tuple, tuple]:
        """The lower rows that are not done with the first m of the buckets in the carry, and what they pass on."""
        for row in range(len(done), len(low[0])):
            carry, kept = self._row(carry, (*(x[row] for x in low), 2.0**row))
            done.append(kept)
        mean, squares, m = carry
        return tuple(jnp.stack(x) for x in zip(*done, strict=True)), (mean[0], squares[0], m)  # () where no row is low

    def _lower_steady(self, low: tuple, new: Array) -> tuple[tuple, tuple]:
        """As `_lower` for `clock` values, where the rows have their steady counts: there all places are known."""
        mean, squares, done = new, jnp.zeros(new.shape), []
        for row, count in enumerate(self._steady()):
            unused, passed = self.buckets - count, (count + len(mean) - self.buckets + 1) // 2
            here = [jnp.concatenate([own[row, unused:], x]) for own, x in zip(low[:2], (mean, squares), strict=True)]
            pad = jnp.zeros((unused, *new.shape[1:]))
            done.append((*(jnp.concatenate([pad, x[2 * passed :]]) for x in here), low[2][row]))
            (a, b), (sa, sb) = ((x[0 : 2 * passed : 2], x[1 : 2 * passed : 2]) for x in here)
            mean, squares = (a + b) / 2, sa + sb + (a - b) ** 2 * (2.0**row / 2)
        return self._lower(low, done, (mean, squares, jnp.full(new.shape[1:], len(mean), jnp.int32)))

    def _steady(self) -> list[int]:
        """The counts to which the lower rows come back after every `clock` values: one for each time that 2 divides it.

        Such a row receives an even number of buckets, and then keeps M - 1 of them or M for ever.
        """
        counts: list[int] = []
        arrived = [self.clock * k for k in range(1, 4 * self.buckets)]  # in a row's first blocks
        while arrived[-1] % 2 == arrived[-2] % 2 and len(counts) < self.rows - 1:
            passed = [max(n - self.buckets + 1, 0) // 2 for n in arrived]
            counts.append(arrived[-1] - 2 * passed[-1])
            arrived = passed
        return counts

    def _is_steady(self, count: Array) -> Array:
        """bool, whether that is so in all streams."""
        counts = jnp.array(self._steady(), jnp.int32).reshape(-1, *(1,) * (count.ndim - 1))
        return (count[: len(counts)] == counts).all()

    def _upper(self, state: ADWINState, low: tuple, carry: tuple, tick: Array) -> ADWINState:
        """The rows above, to each of which one bucket comes at most. Where a row is full, all its places are known."""
        first = len(low[0]) if low else 0
        rows = (state.mean, state.squares, state.count)
        rows = tuple(x.at[:first].set(new) for x, new in zip(rows, low, strict=True)) if low else rows

        def come(carry: tuple) -> tuple:
            row, (all_mean, all_squares, all_count), mean, squares, m = carry
            own_mean, own_squares, count = all_mean[row], all_squares[row], all_count[row]
            some, full = m > 0, (m > 0) & (count == self.buckets)
            kept = (
                jnp.where(some[None], jnp.concatenate([own_mean[1:], mean[None]]), own_mean),
                jnp.where(some[None], jnp.concatenate([own_squares[1:], squares[None]]), own_squares),
                count + m - 2 * full.astype(jnp.int32),
            )
            rows = tuple(x.at[row].set(k) for x, k in zip((all_mean, all_squares, all_count), kept, strict=True))
            half = jnp.exp2(row.astype(jnp.float32)) / 2
            passed = own_squares[0] + own_squares[1] + (own_mean[0] - own_mean[1]) ** 2 * half
            return row + 1, rows, (own_mean[0] + own_mean[1]) / 2, passed, full.astype(jnp.int32)

        begin = (jnp.int32(first), rows, *carry)
        _, rows, *_ = jax.lax.while_loop(lambda c: (c[0] < self.rows) & (c[-1] > 0).any(), come, begin)
        return ADWINState(rows[0], rows[1], rows[2], tick)

    def _row(self, carry: tuple, row: tuple) -> tuple[tuple, tuple]:
        """A row with the first m of the buckets that come to it, and those that it passes on."""
        (mean, squares, m), (own_mean, own_squares, count, size) = carry, row
        most, length = self.buckets, len(mean)
        here = (jnp.concatenate([own_mean, mean]), jnp.concatenate([own_squares, squares]))
        merged = jnp.maximum((count + m - most + 1) // 2, 0)
        kept = [_from(x, m, length, most) for x in here]
        oldest = [_from(x, most - count, most, (length + 1) // 2 * 2) for x in here]
        (a, b), (sa, sb) = ((x[0::2], x[1::2]) for x in oldest)
        return ((a + b) / 2, sa + sb + (a - b) ** 2 * (size / 2), merged), (*kept, count + m - 2 * merged)

    def _judged(self, state: ADWINState, look: Array) -> tuple[ADWINState, Info]:
        """Where it is time for a look, the window cut until no cut is called for."""

        def quiet(count: Array) -> tuple[Array, Info]:
            width = self._width(count)
            return count, say(jnp.zeros(width.shape, bool), jnp.zeros(width.shape), width)

        def shorten(carry: tuple) -> tuple:
            count, cut, drift, statistic, begun = carry
            found, width = self._cuts(state, count)
            cut = cut & (found > 1) & (begun | (width > self.grace))
            row = jnp.arange(self.rows).reshape(-1, *(1,) * cut.ndim)
            oldest = jnp.max(jnp.where(count > 0, row, 0), axis=0)
            count = count - (cut[None] & (row == oldest[None])).astype(jnp.int32)
            return count, cut, drift | cut, jnp.where(begun, statistic, found), jnp.bool_(True)

        def judge(count: Array) -> tuple[Array, Info]:
            yes = jnp.ones(count.shape[1:], bool)
            begin = (count, yes, ~yes, jnp.zeros(yes.shape), jnp.bool_(False))
            count, _, drift, statistic, _ = jax.lax.while_loop(lambda carry: carry[1].any(), shorten, begin)
            return count, say(drift, statistic, self._width(count))

        count, info = jax.lax.cond(look, judge, quiet, state.count)
        return ADWINState(state.mean, state.squares, count, state.tick), info

    def _width(self, count: Array) -> Array:
        sizes = (1 << jnp.arange(self.rows, dtype=jnp.int32)).reshape(-1, *(1,) * (count.ndim - 1))
        return jnp.sum(count * sizes, axis=0)

    def _cuts(self, state: ADWINState, count: Array) -> tuple[Array, Array]:
        """The largest difference of means over its bound, and how many values the window has.

        Three passes from the oldest row in use to the youngest, with a few numbers for each stream that stay in cache:
        the mean, the variance, the cuts.
        """
        zero = jnp.zeros(count.shape[1:])
        in_use = jnp.any(count.reshape(self.rows, -1) > 0, axis=1)
        last = jnp.max(jnp.where(in_use, jnp.arange(self.rows), 0))
        least, less = jnp.float32(self.minimum), jnp.float32(self.shorter)

        def each(of_bucket: Callable[..., Any], carry: Any) -> Any:
            def row(i: Array, carry: Any) -> Any:
                r = last - i
                size, unused = jnp.exp2(r.astype(jnp.float32)), self.buckets - count[r]
                for place in range(self.buckets):
                    n = jnp.where(place >= unused, size, 0)
                    carry = of_bucket(carry, n, state.mean[r, place], state.squares[r, place])
                return carry

            return jax.lax.fori_loop(0, last + 1, row, carry)

        n, total = each(lambda c, n, mean, _: (c[0] + n, c[1] + n * mean), (zero, zero))
        center = total / jnp.maximum(n, 1)
        around = each(lambda c, n, mean, s: c + jnp.where(n > 0, s, 0) + n * (mean - center) ** 2, zero)
        variance = around / jnp.maximum(n, 1)
        confidence = jnp.log(2 * jnp.log(jnp.maximum(n, 2)) / jnp.float32(self.delta))
        steep, flat = 2 * variance * confidence, 2 / 3 * confidence

        def cut(carry: tuple, size: Array, mean: Array, _: Array) -> tuple:
            # With deviations from the window's mean both parts' sums are opposite: u0/n0 - u1/n1 = u0 n / (n0 n1).
            n0, u0, most = carry
            n0, u0 = n0 + size, u0 + size * (mean - center)
            a, b = jnp.maximum(n0, least), jnp.maximum(n - n0, least)
            inverse = (a + b - 2 * less) / ((a - less) * (b - less))
            ratio = jnp.abs(u0) * n / (a * b * (jnp.sqrt(steep * inverse) + flat * inverse))
            allowed = (size > 0) & (n0 >= least) & (n - n0 >= least)
            return n0, u0, jnp.maximum(most, jnp.where(allowed, ratio, 0))

        return each(cut, (zero, zero, zero))[2], n.astype(jnp.int32)


def _from(x: Array, start: Array, most: int, length: int) -> Array:
    """x[start : start + length] along the first axis, with another start in 0..most for each stream, in log2 steps."""
    reach = length + (1 << most.bit_length()) - 1
    x = x[:reach] if len(x) >= reach else jnp.concatenate([x, jnp.zeros((reach - len(x), *x.shape[1:]), x.dtype)])
    for bit in reversed(range(most.bit_length())):
        step = 1 << bit
        x = jnp.where(((start >> bit) & 1)[None] > 0, x[step:], x[:-step])
    return x[:length]
