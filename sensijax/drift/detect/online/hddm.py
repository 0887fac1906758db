"""HDDM: means of bounded values compared by Hoeffding's bound (plain means) or McDiarmid's (weighted ones)."""

from typing import ClassVar

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int32

from sensijax.core.struct import static, struct
from sensijax.drift.detect.online._detector import Detector, Info, check_number, choose, say
from sensijax.drift.detect.online._sums import Mean, add, no_values


@struct
class HDDMAState:
    """All values; those up to the cut before a rise; those up to the cut before a fall."""

    all: Mean
    low: Mean
    high: Mean


class HDDM_A(Detector):  # noqa: N801 (the paper's name)
    """Drift detection with Hoeffding's bounds, A-test, for values in [0, 1].

    A cut is kept where the mean so far plus its bound was least. Drift where the mean of all values exceeds that up to
    the cut by more than sqrt((1 / n_cut - 1 / n) ln(2 / drift) / 2). The statistic is the difference over this bound:
    drift from 1 on. It starts anew after an alarm. Means are compensated. Alarms are those of river 0.26.1.

    Attributes:
      drift: the level of an alarm, in (0, 1); not a false alarm rate of a stream, as there is a test at every value.
      warning: the level of a warning, in (0, 1).
      two_sided: whether falls are drift, too.

    Reference:
      Frias-Blanco, del Campo-Avila, Ramos-Jimenez, Morales-Bueno, Ortiz-Diaz and Caballero-Mota, "Online and
      non-parametric drift detection methods based on Hoeffding's bounds", IEEE Transactions on Knowledge and Data
      Engineering 27 (2015).

    Example:
      >>> import numpy as np
      >>> from sensijax.drift.detect import run
      >>> run(HDDM_A(), np.repeat([0.2, 0.8], 100)).alarms.tolist()
      [111]
    """

    drift: ArrayLike = 0.001
    warning: ArrayLike = 0.005
    two_sided: bool = static(default=False)

    domain: ClassVar[str] = "unit"

    def __post_init__(self):
        check_number("drift", self.drift, 0, 1, open_low=True)
        check_number("warning", self.warning, 0, 1, open_low=True)

    def init(self, key: Array | None = None) -> HDDMAState:
        return HDDMAState(no_values(), no_values(), no_values())

    def update(self, state: HDDMAState, value: Array) -> tuple[HDDMAState, Info]:
        everything = add(state.all, value)

        def bound(mean: Mean) -> Array:
            n = jnp.maximum(mean.n, 1).astype(jnp.float32)
            return jnp.sqrt(jnp.log(1 / jnp.float32(self.drift)) / (2 * n))

        def cut(kept: Mean, sign: int) -> Mean:
            better = sign * kept.value + bound(kept) >= sign * everything.value + bound(everything)
            return choose((kept.n == 0) | better, everything, kept)

        low, high = cut(state.low, 1), cut(state.high, -1)

        def ratio(kept: Mean, sign: int, level: ArrayLike) -> Array:
            rest = (everything.n - kept.n).astype(jnp.float32)
            m = rest / kept.n.astype(jnp.float32) / everything.n.astype(jnp.float32)
            epsilon = jnp.sqrt(m / 2 * jnp.log(2 / jnp.float32(level)))
            difference = sign * (everything.value - kept.value)
            return jnp.where(rest > 0, difference / jnp.where(rest > 0, epsilon, 1), -jnp.inf)

        def most(level: ArrayLike) -> Array:
            up = ratio(low, 1, level)
            return jnp.maximum(up, ratio(high, -1, level)) if self.two_sided else up

        statistic = most(self.drift)
        rises = ratio(low, 1, self.drift) >= statistic
        width = everything.n - jnp.where(rises, low.n, high.n)
        info = say(statistic >= 1, jnp.maximum(statistic, 0), width, most(self.warning) >= 1)
        return HDDMAState(everything, low, high), info


@struct
class Weighted:
    """An exponentially weighted mean, and the sum of its squared weights; whether there was any value."""

    mean: Float[Array, ""]
    squares: Float[Array, ""]
    some: Bool[Array, ""]


@struct
class HDDMWState:
    """All values; on either side (rise, fall) the cut, the values up to it, and those since."""

    all: Weighted
    cut: Float[Array, "2"]
    before: tuple[Weighted, Weighted]
    since: tuple[Weighted, Weighted]
    n: Int32[Array, "2"]


class HDDM_W(Detector):  # noqa: N801 (the paper's name)
    """Drift detection with McDiarmid's bounds, W-test, for values in [0, 1].

    As `HDDM_A`, with exponentially weighted means: of the values up to the cut, and of those since. Drift where the
    second exceeds the first by more than sqrt(sum of squared weights * ln(1 / drift) / 2). The statistic is the
    difference over this bound: drift above 1. It starts anew after an alarm. Alarms are those of river 0.26.1, which
    starts the sum of squared weights at 1 before the first value, not after it. The cut stays where the bound was
    least, which can be long before a change: it does not date one.

    Attributes:
      drift: the level of an alarm, in (0, 1); not a false alarm rate of a stream, as there is a test at every value.
      warning: the level of a warning, in (0, 1).
      weight: lambda in (0, 1], that of the latest value.
      two_sided: whether falls are drift, too.

    Reference:
      Frias-Blanco, del Campo-Avila, Ramos-Jimenez, Morales-Bueno, Ortiz-Diaz and Caballero-Mota, "Online and
      non-parametric drift detection methods based on Hoeffding's bounds", IEEE Transactions on Knowledge and Data
      Engineering 27 (2015).

    Example:
      >>> import numpy as np
      >>> from sensijax.drift.detect import run
      >>> run(HDDM_W(), np.repeat([0.2, 0.8], 100)).alarms.tolist()
      [128]
    """

    drift: ArrayLike = 0.001
    warning: ArrayLike = 0.005
    weight: ArrayLike = 0.05
    two_sided: bool = static(default=False)

    domain: ClassVar[str] = "unit"

    def __post_init__(self):
        check_number("drift", self.drift, 0, 1, open_low=True)
        check_number("warning", self.warning, 0, 1, open_low=True)
        check_number("weight", self.weight, 0, 1, open_low=True)

    def init(self, key: Array | None = None) -> HDDMWState:
        nothing = Weighted(jnp.float32(0), jnp.float32(1), jnp.bool_(False))
        return HDDMWState(
            nothing, jnp.full(2, jnp.inf), (nothing, nothing), (nothing, nothing), jnp.zeros(2, jnp.int32)
        )

    def update(self, state: HDDMWState, value: Array) -> tuple[HDDMWState, Info]:
        weight, value = jnp.float32(self.weight), value.astype(jnp.float32)

        def added(to: Weighted) -> Weighted:
            mean = jnp.where(to.some, to.mean + weight * (value - to.mean), value)
            return Weighted(mean, weight * weight + (1 - weight) ** 2 * to.squares, jnp.bool_(True))

        everything, nothing = added(state.all), self.init().all
        bound = jnp.sqrt(everything.squares * jnp.log(1 / jnp.float32(self.drift)) / 2)
        cuts, befores, sinces, counts, ratios, warnings = [], [], [], [], [], []
        for side, sign in enumerate((1, -1)):
            point = sign * everything.mean + bound
            better = point < state.cut[side]
            before = choose(better, everything, state.before[side])
            since = choose(better, nothing, added(state.since[side]))
            both = before.some & since.some
            difference = sign * (since.mean - before.mean)
            spread = (before.squares + since.squares) / 2
            ratio, warning = (
                jnp.where(both, difference / jnp.sqrt(spread * jnp.log(1 / jnp.float32(level))), -jnp.inf)
                for level in (self.drift, self.warning)
            )
            cuts.append(jnp.where(better, point, state.cut[side]))
            counts.append(jnp.where(better, 0, state.n[side] + 1))
            for kept, one in ((befores, before), (sinces, since), (ratios, ratio), (warnings, warning)):
                kept.append(one)
        sides = slice(2 if self.two_sided else 1)
        ratio, warning, n = jnp.stack(ratios[sides]), jnp.stack(warnings[sides]), jnp.stack(counts)
        side = jnp.argmax(ratio)
        info = say(ratio[side] > 1, jnp.maximum(ratio[side], 0), n[side], warning.max() > 1)
        return HDDMWState(everything, jnp.stack(cuts), tuple(befores), tuple(sinces), n), info
