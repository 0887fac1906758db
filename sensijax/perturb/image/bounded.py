"""A perturbation as strong as a distance from the original allows, example by example."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError, did_you_mean
from sensijax.core.struct import static
from sensijax.perturb._perturbation import Domain, Perturbation
from sensijax.perturb.image._straight_through import straight_through
from sensijax.perturb.image.perceptual import l2_distance, linf_distance, ms_ssim, psnr, ssim


@dataclasses.dataclass(frozen=True)
class Metric:
    """A measure of how close two images are, or how far apart, and what its numbers mean.

    Attributes:
      measure: `(x, y) -> scalar`, for one pair of images; traceable.
      high_is_close: True for a similarity, bounded by `at_least`; False for a distance, bounded by `at_most`.
      low, high: the closed range of bounds that make sense.
      none: the bound from which on only the original itself is allowed; None if there is no such bound.
    """

    measure: Callable[[Array, Array], Array]
    high_is_close: bool
    low: float = -math.inf
    high: float = math.inf
    none: float | None = None


METRICS = {
    # 120 dB is a root mean square of a millionth, 1/4000 of a byte's step; a sweep's settings cannot be infinite.
    "psnr": Metric(psnr, high_is_close=True, low=0.0, none=120.0),
    "ssim": Metric(ssim, high_is_close=True, low=-1.0, high=1.0, none=1.0),
    "ms_ssim": Metric(ms_ssim, high_is_close=True, low=0.0, high=1.0, none=1.0),
    "l2": Metric(l2_distance, high_is_close=False, low=0.0, none=0.0),
    "linf": Metric(linf_distance, high_is_close=False, low=0.0, high=1.0, none=0.0),
}


@dataclasses.dataclass(frozen=True, eq=False, init=False)
class _Code:
    """A perturbation class or a metric in a static field: compared by itself, digested by its name.

    The digest of a campaign's tile holds the lowered program too, so that two functions of one name are told apart.
    """

    name: str

    def __init__(self, held: Any, name: str | None = None):
        vars(self).update(held=held, name=name or _name_of(held))

    @property
    def held(self) -> Any:
        return vars(self)["held"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Code) and self.held == other.held

    def __hash__(self) -> int:
        return hash(self.held)


def _name_of(held: Any) -> str:
    named = held if hasattr(held, "__qualname__") else type(held)
    return f"{named.__module__}.{getattr(held, '__name__', named.__qualname__)}"


class Bounded(Perturbation):
    """A perturbation at the strongest severity that a bound on its distance from the original allows.

    Found for each example by bisection in [0, `severity`]; the draws are the key's at every severity, so they stay
    while it is sought. The returned image was itself measured and is within the bound, whatever the metric does on the
    way: where it is not monotone in severity, the bisection ends at one of the severities at which it crosses the
    bound, not always the highest; where nothing that was tried is within it, at severity 0, the original. If `severity`
    itself is within the bound, it is what is returned. Another program that measures the image again may differ from
    this one in the metric's last bits.

    The derivative with respect to the image is that of the perturbation at the severity that was found, held fixed. The
    derivatives with respect to `bound` and `severity` are zero.

    Attributes:
      bound: the least similarity, or the largest distance, in the metric's unit.
      severity: the most that is tried, on the perturbation's own scale; >= 0.
      scale: static; the perturbation class.
      metric: static; what is bounded.
      options: static; what else `at` of the class is given.
      steps: static; halvings, each of which computes the perturbation and the metric once more; 20 find the severity to
        `severity / 2**20`.

    Example:
      >>> from sensijax.perturb.image import Fog, ssim
      >>> x = jax.random.uniform(jax.random.key(0), (16, 16, 3))
      >>> haze = bounded(Fog, metric="ssim", at_least=0.9, size=32)
      >>> out, severity = haze.strongest(jax.random.key(1), x)
      >>> round(ssim(x, out).item(), 4), round(severity.item(), 2)
      (0.9, 2.08)
    """

    bound: Float[Array, "..."]
    severity: Float[Array, "..."]
    scale: _Code = static()
    metric: _Code = static()
    options: tuple[tuple[str, Any], ...] = static(default=())
    steps: int = static(default=20)

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        return _nature(self.scale, self.options)[0]

    @property
    def domain(self) -> Domain:  # type: ignore[override]
        return _nature(self.scale, self.options)[1]

    def at(self, severity: Any) -> "Bounded":  # type: ignore[override]
        """The same bound, and no more than this severity; an array of severities gives a stack."""
        if not isinstance(severity, Tracer):
            self._at(severity)  # refuses what is outside of the scale
        return dataclasses.replace(self, severity=jnp.asarray(severity, jnp.float32))

    def is_identity(self) -> Any:
        none = self.metric.held.none
        still = self.severity == 0
        if none is None:
            return still
        return still | (self.bound >= none if self.metric.held.high_is_close else self.bound <= none)

    def apply(self, key: Array, x: Array) -> Array:
        return _strongest(self, key, x)[0]

    def strongest(self, key: Array, x: Array) -> tuple[Array, Float[Array, ""]]:
        """The perturbed example, as `__call__` returns it, and the severity that was found for it.

        Args:
          key, x: as in `__call__`.

        Returns:
          (perturbed, severity): the severity is float32, a scalar in [0, `severity`].
        """
        perturbed, severity = _strongest(self, key, x)
        return jnp.where(self.is_identity(), x, perturbed), jnp.where(self.is_identity(), 0.0, severity)

    def _at(self, severity: Any) -> Perturbation:
        return self.scale.held.at(severity, **dict(self.options))

    def _allows(self, x: Array, y: Array) -> Array:
        metric = self.metric.held
        measured = metric.measure(x, y)
        return measured >= self.bound if metric.high_is_close else measured <= self.bound


@jax.jit  # outside of a program of the caller's, too, the search is compiled once
def _strongest(bounded: Bounded, key: Array, x: Array) -> tuple[Array, Array]:
    fixed, original = jax.lax.stop_gradient((bounded, x))

    def halve(step: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        within, beyond, best = state
        severity = jnp.where(step == 0, beyond, (within + beyond) * 0.5)
        tried = fixed._at(severity)(key, original)
        allowed = fixed._allows(original, tried)
        best = jnp.where(allowed, tried, best)
        return jnp.where(allowed, severity, within), jnp.where(allowed, beyond, severity), best

    start = (jnp.zeros((), jnp.float32), jnp.asarray(fixed.severity, jnp.float32), original)
    severity, _, best = jax.lax.fori_loop(0, bounded.steps + 1, halve, start)
    # The image that was measured, to the bit; the derivative is that of the same computation, outside of the loop.
    return straight_through(best, bounded._at(severity)(key, x)), severity


@functools.cache
def _nature(scale: _Code, options: tuple[tuple[str, Any], ...]) -> tuple[bool, Domain]:
    with jax.ensure_compile_time_eval():
        example = scale.held.at(0.0, **dict(options))
    return example.deterministic, example.domain


@dataclasses.dataclass(frozen=True)
class BoundedScale:
    """A bounded perturbation whose bound is still open: for sweeps over bounds. Made by `bounded`.

    Attributes:
      scale: the perturbation class.
      metric: what is bounded; for a function of the user's, the bound says in which direction.
      severity: the most that is tried.
      options: what else `at` of the class is given.
      steps: halvings.
    """

    scale: Any
    metric: str | Metric | Callable[[Array, Array], Array]
    severity: float = 5.0
    options: tuple[tuple[str, Any], ...] = ()
    steps: int = 20

    @property
    def __name__(self) -> str:
        metric = self.metric if isinstance(self.metric, str) else _name_of(self.metric).rpartition(".")[2]
        return f"{self.scale.__name__} within {metric}"

    def __call__(self, *, at_least: Any = None, at_most: Any = None) -> Bounded:
        """The perturbation within a bound; an array gives a stack. Arguments as in `bounded`."""
        if (at_least is None) == (at_most is None):
            raise ArgumentError(
                "at_least", "both at_least and at_most" if at_most is not None else "no bound", "exactly one of them"
            )
        argument, bound = ("at_least", at_least) if at_most is None else ("at_most", at_most)
        metric, name = self._resolved(high_is_close=at_most is None)
        if metric.high_is_close != (at_most is None):
            right = "at_least: it is higher where images are closer" if metric.high_is_close else "at_most: a distance"
            raise ArgumentError(argument, f"{bound} for {name}", right)
        _check_bound(argument, bound, metric, name)
        one = Bounded(
            bound=jnp.asarray(bound, jnp.float32),
            severity=jnp.asarray(0.0, jnp.float32),
            scale=_Code(self.scale),
            metric=_Code(metric, name),
            options=self.options,
            steps=self.steps,
        )
        return one.at(jnp.full(np.shape(bound), self.severity, jnp.float32))

    def at(self, severity: Any, *, at_least: Any = None, at_most: Any = None) -> Bounded:
        """The perturbation within a bound, and at no more than a severity."""
        return self(at_least=at_least, at_most=at_most).at(severity)

    def _resolved(self, high_is_close: bool) -> tuple[Metric, str]:
        if isinstance(self.metric, str):
            return METRICS[self.metric], self.metric
        if isinstance(self.metric, Metric):
            return self.metric, _name_of(self.metric.measure)
        return Metric(self.metric, high_is_close), _name_of(self.metric)


@overload
def bounded(
    scale: Any, metric: Any, *, at_least: Any, severity: float = ..., steps: int = ..., **options: Any
) -> Bounded: ...
@overload
def bounded(
    scale: Any, metric: Any, *, at_most: Any, severity: float = ..., steps: int = ..., **options: Any
) -> Bounded: ...
@overload
def bounded(scale: Any, metric: Any, *, severity: float = ..., steps: int = ..., **options: Any) -> BoundedScale: ...
def bounded(
    scale: Any,
    metric: str | Metric | Callable[[Array, Array], Array],
    *,
    at_least: Any = None,
    at_most: Any = None,
    severity: float = 5.0,
    steps: int = 20,
    **options: Any,
) -> Bounded | BoundedScale:
    """A perturbation that is as strong as a bound on its distance from the original allows.

    Args:
      scale: a perturbation class, a `perturb.chain(...)`, or anything with `.at(severity)`.
      metric: "ssim", "ms_ssim" or "psnr" (similarities: `at_least`), "l2" or "linf" (distances: `at_most`), a function
        `(x, y) -> scalar`, whose direction the bound says, or a `Metric`.
      at_least: the least similarity; an array gives a stack. SSIM of 1 and PSNR of 120 dB or more allow only the
        original.
      at_most: the largest distance; an array gives a stack.
      severity: the most that is tried.
      steps: halvings of the bisection.
      **options: fixed options of the scale (`size=32`).

    Returns:
      A `Bounded`; without a bound a `BoundedScale`, which a sweep gives its bounds:
      `sweep(bounded(Fog, metric="ssim"), at_least=[1.0, 0.95, 0.9])`.

    Raises:
      ArgumentError: if the metric is not known, the bound is outside its range or on its wrong side, or there is no
        severity scale.

    Example:
      >>> from sensijax.perturb.image import GaussianNoise
      >>> noise = bounded(GaussianNoise, metric="linf", at_most=8 / 255)
      >>> x = jnp.full((8, 8, 3), 0.5)
      >>> round(255 * linf_distance(x, noise(jax.random.key(0), x)).item(), 3)
      8.0
    """
    if isinstance(metric, str) and metric not in METRICS:
        raise ArgumentError("metric", repr(metric), did_you_mean(metric, METRICS))
    if not (isinstance(metric, (str, Metric)) or callable(metric)):
        raise ArgumentError("metric", repr(metric), f"one of {', '.join(METRICS)}, or a function (x, y) -> scalar")
    if not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ArgumentError("steps", repr(steps), "a number of halvings, 1 or more")
    _check_scale(scale, options)
    made = BoundedScale(scale, metric, severity, tuple(sorted(options.items())), int(steps))
    made.scale.at(severity, **options)  # refuses what is outside of the scale
    return made if at_least is None and at_most is None else made(at_least=at_least, at_most=at_most)


def _check_scale(scale: Any, options: dict[str, Any]) -> None:
    right = "a perturbation class with a severity scale (`.at(severity)`)"
    if isinstance(scale, Perturbation) or not hasattr(scale, "at"):
        shown = f"a {type(scale).__name__}" if not isinstance(scale, type) else scale.__name__
        raise ArgumentError("scale", shown, right)
    known = inspect.signature(scale.at).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        for name in options:
            if name not in known:
                raise ArgumentError(
                    name, "an unknown option", did_you_mean(name, [p for p in known if p != "severity"])
                )
    try:
        scale.at(0.0, **options)
    except NotImplementedError:
        raise ArgumentError("scale", scale.__name__, right) from None


def _check_bound(argument: str, bound: Any, metric: Metric, name: str) -> None:
    if isinstance(bound, Tracer):
        return
    given = np.asarray(bound, dtype=np.float64)
    wrong = given[~((given >= metric.low) & (given <= metric.high))]
    if wrong.size:
        right = f"a bound on {name} lies in [{metric.low:g}, {metric.high:g}]"
        raise ArgumentError(argument, f"{wrong.ravel()[0]:g}", right)
