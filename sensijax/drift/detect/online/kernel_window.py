"""Online MMD: the kernel distance of the latest values from a reference."""

import dataclasses
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static, struct
from sensijax.drift.detect.online._detector import Detector, Info, check_number, check_size, say

_PAIRS = 1000  # rows of the reference whose distances make the median


@struct
class OnlineMMDState:
    """The latest vectors, their mean kernel with the reference, their kernels with each other, how many there are."""

    window: Float[Array, "w d"]
    cross: Float[Array, "w"]
    gram: Float[Array, "w w"]
    count: Int32[Array, ""]


class OnlineMMD(Detector):
    """Maximum mean discrepancy of a sliding window from a reference, for a stream of vectors.

    The statistic is the unbiased MMD^2 with the kernel exp(-|x - y|^2 / (2 bandwidth^2)) between the reference and the
    latest `window` vectors; drift where it exceeds the threshold, from the moment when the window is full. It starts
    anew after an alarm. A step costs N + W kernels: sums over pairs that stay are kept. No threshold is right for all
    data: `calibrate(key, OnlineMMD(window=20), reference, ert=1000)` finds that of an expected run time.

    Attributes:
      threshold: of MMD^2, > 0; infinite until calibrated.
      window: W >= 2. Short windows find large shifts fast, long ones small shifts at all.
      bandwidth: > 0; the median distance between rows of the reference unless given.
      reference: float32 `[N, d]`; `fit` sets it.
      within: mean kernel between different rows of the reference; `fit` sets it.

    Reference:
      Gretton, Borgwardt, Rasch, Schoelkopf and Smola, "A kernel two-sample test", Journal of Machine Learning Research
      13 (2012). Thresholds by expected run time: Cobb, Van Looveren and Klaise, "Sequential multivariate change
      detection with calibrated and memoryless false detection rates", AISTATS 2022.

    Example:
      >>> from sensijax.drift.detect.online import run
      >>> rng = np.random.default_rng(0)
      >>> detector = OnlineMMD(threshold=0.2, window=10).fit(rng.normal(size=(200, 3)))
      >>> run(detector, rng.normal(size=(100, 3)) + np.repeat([0, 2], 50)[:, None]).alarms.tolist()[0]
      54
    """

    threshold: ArrayLike = np.inf
    bandwidth: ArrayLike | None = None
    reference: Any = None
    within: ArrayLike = 0.0
    window: int = static(default=20)

    dimensions: ClassVar[int] = 1
    threshold_field: ClassVar[str | None] = "threshold"
    distinct: ClassVar[bool] = True

    def __post_init__(self):
        check_number("threshold", self.threshold, 0, open_low=True)
        check_number("bandwidth", self.bandwidth, 0, open_low=True)
        check_size("window", self.window, 2)

    def fit(self, reference: np.ndarray) -> Self:
        x = np.asarray(reference, np.float32)
        if x.ndim != 2 or len(x) < 2 * self.window:
            raise ArgumentError(
                "reference", f"shape {list(x.shape)}", f"[N, d] with N >= {2 * self.window}, twice the window"
            )
        bandwidth = float(_median(x) if self.bandwidth is None else np.asarray(self.bandwidth))
        centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
        norms = np.square(centred).sum(1)
        total = 0.0
        for rows in range(0, len(x), 1024):  # in float64, and never N x N at once
            part = slice(rows, rows + 1024)
            squares = norms[part, None] + norms[None] - 2 * centred[part] @ centred.T
            total += np.exp(-np.maximum(squares, 0) / (2 * bandwidth**2)).sum()
        within = (total - len(x)) / (len(x) * (len(x) - 1))
        fields = {"bandwidth": np.float32(bandwidth), "reference": x, "within": np.float32(within)}
        return dataclasses.replace(self, **fields)  # type: ignore[type-var]

    def init(self, key: Array | None = None) -> OnlineMMDState:
        if self.reference is None:
            raise ArgumentError("reference", None, "OnlineMMD(...).fit(reference), or calibrate")
        w = self.window
        return OnlineMMDState(jnp.zeros((w, self.reference.shape[1])), jnp.zeros(w), jnp.zeros((w, w)), jnp.int32(0))

    def check(self, stream: np.ndarray) -> None:
        self.init()
        if stream.shape[-1] != self.reference.shape[1]:
            raise ArgumentError("stream", f"{stream.shape[-1]} features", f"the reference's {self.reference.shape[1]}")
        if stream.shape[-2] < self.window:
            raise ArgumentError("stream", f"{stream.shape[-2]} values", f"at least the {self.window} of the window")

    def update(self, state: OnlineMMDState, value: Array) -> tuple[OnlineMMDState, Info]:
        value = value.astype(jnp.float32)
        state, among, cross = self._slide(state, value, jnp.mean(self._kernels(jnp.asarray(self.reference), value)))
        return state, self._judge(state, jnp.float32(self.within) + among - 2 * cross)

    def prepare(self, rows: Array) -> Array:
        # A row of the reference is left out of its own mean kernel.
        n = len(rows)
        return jax.lax.map(lambda row: (jnp.sum(self._kernels(rows, row)) - 1) / (n - 1), rows, batch_size=64)

    def replay(self, state: OnlineMMDState, value: Array, prepared: Array) -> tuple[OnlineMMDState, Info]:
        # All rows of the window are left out of the reference, not each of itself alone: the rest is then to the window
        # what a reference is to new values, and errs about their distribution as a reference of n - w rows does.
        state, among, cross = self._slide(state, value, prepared)
        n, w = len(self.reference), self.window
        to_rest = ((n - 1) * cross - (w - 1) * among) / (n - w)
        pairs = (n - w) * (n - w - 1)
        kept, gone, back = (jnp.float32(count / pairs) for count in (n * (n - 1), 2 * w * (n - 1), w * (w - 1)))
        rest = kept * jnp.float32(self.within) - gone * cross + back * among
        return state, self._judge(state, rest + among - 2 * to_rest)

    def _slide(self, state: OnlineMMDState, value: Array, mean: Array) -> tuple[OnlineMMDState, Array, Array]:
        """The state after a value, the mean kernel among the window's, and theirs with the reference."""
        window = jnp.concatenate([state.window[1:], value[None]])
        cross = jnp.concatenate([state.cross[1:], mean[None]])
        row = self._kernels(window, value)
        gram = jnp.concatenate([jnp.concatenate([state.gram[1:, 1:], row[:-1, None]], axis=1), row[None]])
        w, count = self.window, jnp.minimum(state.count + 1, self.window)
        among = 2 * jnp.sum(jnp.tril(gram, -1)) / (w * (w - 1))
        return OnlineMMDState(window, cross, gram, count), among, jnp.mean(cross)

    def _judge(self, state: OnlineMMDState, distance: Array) -> Info:
        full = state.count == self.window
        return say(full & (distance > jnp.float32(self.threshold)), jnp.where(full, distance, 0), state.count)

    def _kernels(self, rows: Array, value: Array) -> Array:
        scale = -0.5 / jnp.square(jnp.asarray(self.bandwidth, jnp.float32))
        return jnp.exp(scale * jnp.sum(jnp.square(rows - value[None]), axis=1))


def _median(x: np.ndarray) -> float:
    """The median distance between rows, of at most 1,000 of them that are spread over the whole."""
    some = x[np.linspace(0, len(x) - 1, min(len(x), _PAIRS)).astype(int)].astype(np.float64)
    some = some - some.mean(0)
    norms = np.square(some).sum(1)
    squares = (norms[:, None] + norms[None] - 2 * some @ some.T)[np.triu_indices(len(some), 1)]
    median = float(np.sqrt(np.median(np.maximum(squares, 0))))
    if not median > 0:
        raise ArgumentError("reference", "rows that are equal in most pairs", "rows that vary, or a bandwidth")
    return median
