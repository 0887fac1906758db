"""Page and Hinkley's test: how far the sum of deviations from the running mean has come from its extreme."""

from typing import ClassVar

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static, struct
from sensijax.drift.detect.online._detector import Detector, Info, check_number, check_size, say
from sensijax.drift.detect.online._sums import Mean, add, no_values

_SIDES = ("up", "down", "both")


@struct
class PageHinkleyState:
    """The running mean; for either side the sum's distance from its extreme, the extreme, and values since then."""

    mean: Mean
    gap: Float[Array, "2"]
    extreme: Float[Array, "2"]
    since: Int32[Array, "2"]


class PageHinkley(Detector):
    """Page-Hinkley test of a mean that moves up or down.

    m_T = sum over t of (x_t - mean_t - delta), with mean_t that of the values up to t; drift where m_T - min m_t >
    threshold, and likewise downwards. The statistic is the larger distance. It starts anew after an alarm. Alarms are
    those of river 0.26.1. The change is dated at the extreme, which with a small delta can lie long before it.

    Carried is the distance from the minimum, not the sum: it stays near 0, where float32 keeps its digits, while the
    sum itself falls by delta a step for ever. The mean is compensated.

    Attributes:
      threshold: lambda > 0, in the units of the values; `calibrate` finds it for an expected run time.
      delta: the change that is tolerated, >= 0.
      forgetting: in (0, 1], the weight that the sum keeps from step to step; 1 is Page's own test.
      minimum: how many values come before the first verdict, >= 1.
      side: "up", "down" or "both".

    Reference:
      Page, "Continuous inspection schemes", Biometrika 41 (1954); Hinkley, "Inference about the change-point from
      cumulative sum tests", Biometrika 58 (1971). Forgetting: Gama, Sebastiao and Rodrigues, "On evaluating stream
      learning algorithms", Machine Learning 90 (2013).

    Example:
      >>> import numpy as np
      >>> from sensijax.drift.detect import run
      >>> run(PageHinkley(threshold=10.0), np.repeat([0.0, 1.0], 200)).alarms.tolist()
      [210]
    """

    threshold: ArrayLike = 50.0
    delta: ArrayLike = 0.005
    forgetting: ArrayLike = 0.9999
    minimum: int = static(default=30)
    side: str = static(default="both")

    threshold_field: ClassVar[str | None] = "threshold"

    def __post_init__(self):
        check_number("threshold", self.threshold, 0, open_low=True)
        check_number("delta", self.delta, 0)
        check_number("forgetting", self.forgetting, 0, 1, open_low=True)
        check_size("minimum", self.minimum, 1)
        if self.side not in _SIDES:
            raise ArgumentError("side", repr(self.side), f"one of {', '.join(_SIDES)}")

    def init(self, key: Array | None = None) -> PageHinkleyState:
        # The first deviation makes the first extreme: before it, any sum is a new one.
        return PageHinkleyState(no_values(), jnp.zeros(2), jnp.full(2, jnp.inf), jnp.zeros(2, jnp.int32))

    def update(self, state: PageHinkleyState, value: Array) -> tuple[PageHinkleyState, Info]:
        mean = add(state.mean, value)
        deviation = value.astype(jnp.float32) - mean.value
        step = jnp.stack([deviation, -deviation]) - jnp.float32(self.delta)
        keep = jnp.float32(self.forgetting)
        # Of the new sum, keep (gap + extreme) + step, the part above the old extreme; for keep = 1 the extreme cancels.
        first = jnp.isinf(state.extreme)
        above = keep * state.gap + step - (1 - keep) * jnp.where(first, 0, state.extreme)
        lower = first | (above < 0)
        extreme = jnp.where(lower, jnp.where(first, 0, state.extreme) + above, state.extreme)
        gap = jnp.where(lower, 0, above)
        since = jnp.where(lower, 0, state.since + 1)
        watched = jnp.array([self.side != "down", self.side != "up"])
        tested = jnp.where(watched & (mean.n >= self.minimum), gap, 0)
        side = jnp.argmax(tested)
        drift = tested[side] > jnp.float32(self.threshold)
        return PageHinkleyState(mean, gap, extreme, since), say(drift, tested[side], since[side])
