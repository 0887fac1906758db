"""The contract of an online detector: a frozen value that steps a state through a stream."""

import dataclasses
from typing import Any, ClassVar, Self, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.one_program import one_program
from sensijax.core.struct import static, struct
from sensijax.core.values import has_value


@struct
class Info:
    """What a detector says after a value.

    Attributes:
      drift: bool, whether it calls the stream changed at this value.
      warning: bool, whether it is on its guard; never together with `drift`. False where a detector knows no warning.
      statistic: float32, what is compared with the threshold; each detector says which, and on which side drift lies.
      width: int32, how many of the latest values the detector takes for the present regime. At an alarm, t + 1 - width
        is its estimate of the index of the change.
    """

    drift: Bool[Array, "..."]
    warning: Bool[Array, "..."]
    statistic: Float[Array, "..."]
    width: Int32[Array, "..."]


@struct
@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, dataclasses.field))
class Detector:
    """A frozen pytree that looks at values one by one: `init() -> state`, `update(state, value) -> (state, info)`.

    Thresholds are leaves, sizes are static. State and value are pytrees and arrays of fixed shapes, so `update` can be
    scanned and mapped over streams; called value by value, it is one compiled program. A subclass states its fields,
    `init` and `update`, and in `domain` and `dimensions` which values it can work with; `run` checks the stream against
    them before it starts.

    Class attributes:
      domain: "numbers", "unit" (numbers in [0, 1]) or "binary" (0 and 1).
      dimensions: 0 if a value is a number, 1 if it is a vector.
      restarts: whether, as published, the detector starts anew after an alarm.
      random: whether `init` needs a key.
      threshold_field: the field that its statistic must exceed for drift, if the statistic itself does not depend on
        it; such a detector can be calibrated.
      distinct: whether `calibrate` draws its values so that the rows in a window differ, for a detector that compares
        them pairwise.
    """

    domain: ClassVar[str] = "numbers"
    dimensions: ClassVar[int] = 0
    restarts: ClassVar[bool] = True
    random: ClassVar[bool] = False
    threshold_field: ClassVar[str | None] = None
    distinct: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        struct(cls)
        if "update" in vars(cls):  # which a user may call value by value
            cls.update = one_program(cls.update)

    def init(self, key: Array | None = None) -> Any:
        """The state before the first value.

        Args:
          key: a typed PRNG key, scalar, for a detector that draws at random.
        """
        raise NotImplementedError

    def update(self, state: Any, value: Array) -> tuple[Any, Info]:
        """The state after one more value, and what the detector says; pure.

        Args:
          state: from `init` or `update`.
          value: float32, a number, or `[d]` where `dimensions` is 1.
        """
        raise NotImplementedError

    def fit(self, reference: np.ndarray) -> Self:
        """The same detector, knowing what the stream looks like without drift; for detectors that need it.

        Args:
          reference: float32 `[N]` or `[N, d]`.
        """
        return self

    def prepare(self, rows: Array) -> Array:
        """What `replay` need not compute again each time that a row of the reference comes by; pure.

        Args:
          rows: float32 `[N]` or `[N, d]`, the reference.

        Returns:
          `[N, ...]`.
        """
        return jnp.zeros(len(rows))

    def replay(self, state: Any, value: Array, prepared: Array) -> tuple[Any, Info]:
        """As `update`, for a row of the reference with what `prepare` has made of it."""
        return self.update(state, value)

    def check(self, stream: np.ndarray) -> None:
        """Refuses a stream that the detector cannot work with; `run` calls it.

        Args:
          stream: float32, its last axes those of a value.

        Raises:
          ArgumentError: if there is such a reason.
        """

    def check_state(self, state: Any) -> None:
        """Refuses a state of many streams that `steps` cannot go on from; `run` calls it."""

    def steps(self, state: Any, values: Array, fresh: Any, restart: Array) -> tuple[Any, Info]:
        """Many streams through many updates; pure.

        Args:
          state: of S streams, its leaves `[S, ...]`.
          values: float32 `[S, T]` or `[S, T, d]`.
          fresh: of S streams, the state that an alarm leads back to.
          restart: bool, whether an alarm does.

        Returns:
          The state afterwards, and for each value what was said: leaves `[S, T]`.
        """

        def step(state: Any, value: Array) -> tuple[Any, Info]:
            state, info = jax.vmap(self.update)(state, value)
            return choose(info.drift & restart, fresh, state), info

        state, infos = jax.lax.scan(step, state, jnp.swapaxes(values, 0, 1))
        return state, jax.tree.map(jnp.transpose, infos)


def choose(condition: Array, yes: Any, no: Any) -> Any:
    """One of two trees for each stream: leaves `[S, ...]`, condition bool `[S]` (or leaves `[...]` and one bool)."""

    def leaf(a: Array, b: Array) -> Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim)), a, b)

    return jax.tree.map(leaf, yes, no)


def say(drift: Array, statistic: Array, width: Array, warning: Array | None = None) -> Info:
    """An `Info` with the right types; a warning does not stand beside an alarm."""
    warning = jnp.zeros_like(drift) if warning is None else warning & ~drift
    return Info(drift, warning, statistic.astype(jnp.float32), width.astype(jnp.int32))


def check_number(argument: str, value: Any, low: float, high: float = np.inf, *, open_low: bool = False) -> None:
    """A number, or a stack of them, in [low, high] (or above low); what is traced was checked before."""
    if not has_value(value):
        return
    values = np.asarray(value)
    right = f"a number {'>' if open_low else '>='} {low:g}" + (f" and <= {high:g}" if high < np.inf else "")
    if values.dtype.kind not in "iuf":
        raise ArgumentError(argument, repr(value), right)
    fine = ((values > low) if open_low else (values >= low)) & (values <= high)
    if not fine.all():
        raise ArgumentError(argument, f"{values[~fine].ravel()[0]:g}", right)


def check_size(argument: str, value: Any, low: int, high: int | None = None) -> None:
    """A static integer in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low or (high and value > high):
        raise ArgumentError(argument, repr(value), f"an integer >= {low}" + (f" and <= {high}" if high else ""))
