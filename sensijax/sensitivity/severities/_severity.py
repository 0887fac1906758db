"""Exact derivatives of outputs with respect to the parameters of a perturbation, and whether to trust them."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError, Model
from sensijax.core.rows import chunks
from sensijax.sensitivity.derivatives._coupling import refuse_coupling
from sensijax.sensitivity.derivatives._nonfinite import NonFinite, located
from sensijax.sensitivity.derivatives._pure import Pure, batch, forward_is_open, program, pure, pushforward
from sensijax.sensitivity.severities._stress import Family, at_identity, example_keys, of_parameters, of_severity, under

_log = logging.getLogger(__name__)
_NUDGE = 1e-3
"""How far from the identity the one-sided derivative is taken, twice, to be extrapolated back."""

STATUSES = ("agrees", "flat", "zero", "misleading", "rough", "jump", "unbounded", "nonfinite")


@dataclasses.dataclass(frozen=True, eq=False)
class SeverityDerivative:
    """Derivatives of outputs with respect to parameters of a perturbation, each beside its finite difference.

    `status` says, example by example, what the comparison means:

    - "agrees": the derivative is that of the finite difference.
    - "flat": both are zero.
    - "zero": the derivative is zero, yet the outputs move: the parameter acts in steps (a rate of pixels, a rounding).
    - "misleading": the two differ: a surrogate derivative (rounding that lets gradients through), or a kink nearby.
    - "rough": finite differences with two steps differ from each other as well: at this scale there is no slope.
    - "jump": at the identity only: the outputs move at once by a finite amount, so that no slope describes them.
    - "unbounded": at the identity only: the slope grows without bound towards it (the root of shot noise).
    - "nonfinite": a value is not finite.

    Attributes:
      names: of the parameters: `"density"`, `"links[1].std"`, `"weights[0]"`, or `("severity",)`.
      at: float64, the value of each parameter.
      outputs: `[B, ...]`, under the perturbation as it stands.
      derivative: name to `[B, ...]`, d outputs / d parameter, in units of the outputs per unit of the parameter.
      finite_difference: name to `[B, ...]`, the same by differences of second order.
      status: name to strings `[B]`.
      side: name to "both", "right" or "left": one-sided where a perturbation is the identity.
      step: name to the step of the finite difference, in units of the parameter.
      mode: "forward", or "reverse" where a `custom_vjp` blocks forward mode.
      skipped: parameters without derivative, because they are integers or booleans.
      nonfinite: what in outputs and derivatives is not finite.
    """

    names: tuple[str, ...]
    at: Mapping[str, float]
    outputs: np.ndarray
    derivative: Mapping[str, np.ndarray]
    finite_difference: Mapping[str, np.ndarray]
    status: Mapping[str, np.ndarray]
    side: Mapping[str, str]
    step: Mapping[str, float]
    mode: str
    skipped: tuple[str, ...]
    nonfinite: NonFinite

    def frame(self) -> Any:
        """A pandas table with a row for each parameter: root mean squares, their disagreement, shares of statuses."""
        import pandas as pd

        rows = []
        for name in self.names:
            exact, finite = self.derivative[name], self.finite_difference[name]
            scale = np.sqrt(np.mean(np.square(finite)))
            rows.append(
                {
                    "parameter": name,
                    "at": self.at[name],
                    "side": self.side[name],
                    "derivative_rms": np.sqrt(np.mean(np.square(exact))),
                    "finite_difference_rms": scale,
                    "disagreement": np.sqrt(np.mean(np.square(exact - finite))) / scale if scale else np.nan,
                    **{status: float(np.mean(self.status[name] == status)) for status in STATUSES},
                }
            )
        return pd.DataFrame(rows)


def severity_derivative(
    model: Model | Callable,
    perturbation: Any,
    key: jax.Array,
    x: Any,
    *,
    severity: float | None = None,
    side: int = 1,
    step: float = 0.01,
    tolerance: float = 0.1,
    chunk: int = 256,
    **options: Any,
) -> SeverityDerivative:
    """d outputs / d every parameter of a perturbation, exact, one JVP a parameter; random draws are held fixed.

    With `severity` the derivative is the one with respect to the severity itself, through the scale's `.at`. Published
    scales are tables with straight lines between their integers, so at an integer the slope is that to its right, and
    so is the finite difference.

    At the identity (severity 0) a perturbation hands back its input by a selection, and the plain derivative is zero
    although the outputs move as soon as the severity does. There the derivative is one-sided: exact derivatives at
    1e-3 and 2e-3 beside the identity, extrapolated to it. Where these grow towards the identity, or the outputs jump,
    `status` says so.

    Args:
      model: a `Model`, or a function of a batch `[B, ...]` to outputs `[B, ...]`.
      perturbation: at one setting, `image.Fog.at(3)`; with `severity`, the class (or anything with `.at`).
      key: a typed key, folded with each example's place; or one key for each example, `sj.key_for(seed, stage, ids)`.
      x: floating batch `[B, ...]` in the perturbation's domain.
      severity: where on the scale, if the severity is what varies.
      side: at the identity, 1 for growing and -1 for falling parameters (a contrast falls from 1). A severity grows.
      step: of the finite difference, relative to the parameter's size; absolute for a severity and for a parameter
        that is 0.
      tolerance: the relative disagreement up to which the two agree.
      chunk: examples computed at once.
      **options: passed to `.at`, such as `size=32`.

    Returns:
      A `SeverityDerivative`.

    Raises:
      ArgumentError: if the perturbation is not of the kind described, `key`, `x` or an option does not fit, or the
        examples of the batch influence each other.

    Example:
      >>> from sensijax.perturb import image
      >>> model = Model(lambda w, x: x.sum(axis=(1, 2, 3))[:, None] * w, jnp.ones((1, 2)))
      >>> x = jnp.full((3, 8, 8, 1), 0.5)
      >>> d = severity_derivative(model, image.Brightness, jax.random.key(0), x, severity=0)
      >>> d.side["severity"], d.derivative["severity"].round(2)[0].tolist(), d.status["severity"].tolist()
      ('right', [6.4, 6.4], ['agrees', 'agrees', 'agrees'])
    """
    if side not in (1, -1):
        raise ArgumentError("side", side, "1 (growing) or -1 (falling)")
    for name, value in (("step", step), ("tolerance", tolerance)):
        if not value > 0:
            raise ArgumentError(name, value, "a number > 0")
    if options and severity is None:
        raise ArgumentError("options", sorted(options), "options go to `.at`: give the class, and `severity=`")
    function = pure(model, "model")
    x, spec = batch(function, x)
    family = of_parameters(perturbation) if severity is None else of_severity(perturbation, severity, options)
    keys = example_keys(key, len(x))
    refuse_coupling(function, x)
    identity = _identity(family, severity is not None)
    if severity is not None:
        side = 1

    run = _Runs(function, family, keys, x, spec, chunk)
    outputs = run.value(family.theta)
    derivative, finite, status, sides, steps = {}, {}, {}, {}, {}
    at = dict(zip(family.names, np.concatenate([np.ravel(t) for t in family.theta]).astype(float), strict=True))
    for i, name in enumerate(family.names):
        size = 1.0 if severity is not None else abs(at[name]) or 1.0
        h = steps[name] = step * size
        one_sided = identity[i] or severity is not None
        if identity[i]:
            sides[name] = "right" if side > 0 else "left"
            near, far = (run.tangent(run.moved(i, side * e * size), i) for e in (_NUDGE, 2 * _NUDGE))
            derivative[name] = 2 * near - far
        else:
            sides[name] = "both" if severity is None else "right"
            derivative[name] = run.tangent(family.theta, i)
            near = far = derivative[name]
        finite[name], coarse = (run.difference(outputs, i, s, side if one_sided else 0) for s in (h / 2, h))
        status[name] = _statuses(outputs, derivative[name], finite[name], coarse, h / 2, tolerance)
        if identity[i]:
            jumped = run.value(run.moved(i, side * _NUDGE * size)) - outputs
            _at_the_identity(status[name], jumped, near, far, _NUDGE * size, outputs)
        said = {s: int(np.sum(status[name] == s)) for s in STATUSES[2:] if (status[name] == s).any()}
        if said:
            _log.warning("d outputs / d %s is not to be trusted for some of %d examples: %s", name, len(x), said)
    wrong = located({"outputs": outputs, **derivative}, "outputs and derivatives")
    return SeverityDerivative(
        family.names, at, outputs, derivative, finite, status, sides, steps, run.way, family.skipped, wrong
    )


class _Runs:
    """Values, tangents and differences of the perturbed model, in chunks of one shape."""

    def __init__(self, function: Pure, family: Family, keys: jax.Array, x: jax.Array, spec: Any, chunk: int):
        if chunk < 1:
            raise ArgumentError("chunk", chunk, "at least one example")
        self.family, self.params, self.keys, self.x = family, function.params, keys, x
        self.chunk = min(chunk, len(x))
        first = jnp.arange(self.chunk)
        whole = under(function.apply, family.rebuild)
        probe = Pure(lambda p, theta: whole(p, theta, family.rest, keys[first], x[first]), self.params, False, "")
        self.way = "forward" if forward_is_open(probe, family.theta) else "reverse"
        if self.way == "reverse":
            _log.warning(
                "%s has a custom_vjp, which forward mode cannot pass: derivatives by two reverse passes", function.name
            )
        self._value = program(_value, function, family.rebuild)
        self._tangent = program(_tangent, function, family.rebuild, self.way)

    def value(self, theta: tuple) -> np.ndarray:
        return self._rows(lambda keys, x: self._value(self.params, theta, self.family.rest, keys, x))

    def tangent(self, theta: tuple, i: int) -> np.ndarray:
        along = self._unit(i)
        return self._rows(lambda keys, x: self._tangent(self.params, theta, self.family.rest, along, keys, x))

    def difference(self, outputs: np.ndarray, i: int, h: float, side: int) -> np.ndarray:
        """Second order: central, or over h and 2 h on one side."""
        if not side:
            return (self.value(self.moved(i, h)) - self.value(self.moved(i, -h))) / (2 * h)
        near, far = (self.value(self.moved(i, side * s)) for s in (h, 2 * h))
        return side * (4 * near - 3 * outputs - far) / (2 * h)

    def moved(self, i: int, by: float) -> tuple:
        return tuple(t + e * jnp.asarray(by, t.dtype) for t, e in zip(self.family.theta, self._unit(i), strict=True))

    def _unit(self, i: int) -> tuple:
        flat = np.zeros(len(self.family.names))
        flat[i] = 1
        parts, start = [], 0
        for t in self.family.theta:
            parts.append(jnp.asarray(flat[start : start + t.size].reshape(t.shape), t.dtype))
            start += t.size
        return tuple(parts)

    def _rows(self, call: Callable) -> np.ndarray:
        return np.concatenate(list(self._chunks(call)))

    def _chunks(self, call: Callable) -> Iterator[np.ndarray]:
        for rows, valid in chunks(len(self.x), self.chunk):
            yield np.asarray(call(self.keys[rows], self.x[rows]), np.float64)[:valid]


def _identity(family: Family, severity: bool) -> np.ndarray:
    """For each scalar parameter: does a perturbation that it belongs to do nothing here?"""
    leaves = at_identity(family.rebuild(family.theta, family.rest))
    if severity:
        return np.array([leaves.any()])
    floating = leaves[np.array(family.rebuild.floating)]  # type: ignore[attr-defined]
    return np.repeat(floating, [t.size for t in family.theta])


def _statuses(
    outputs: np.ndarray, exact: np.ndarray, fine: np.ndarray, coarse: np.ndarray, h: float, tolerance: float
) -> np.ndarray:
    """What each example's derivative is worth, from differences with two steps."""

    def length(values: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square(values.reshape(len(values), -1)).sum(axis=1))

    with np.errstate(invalid="ignore"):
        # What rounding of the outputs in float32 does to a difference, generously.
        noise = 16 * np.finfo(np.float32).eps * length(outputs) / h
        moves = np.maximum(length(fine), length(coarse))
        # Against each difference by its own size: one of them may straddle a kink.
        agrees = [length(exact - d) <= tolerance * np.maximum(length(d), length(exact)) + noise for d in (fine, coarse)]
        settled = length(fine - coarse) <= tolerance * moves + noise
        finite = np.isfinite(moves + length(exact))
        return np.select(
            [
                ~finite,
                (length(exact) == 0) & (moves <= noise),
                length(exact) == 0,
                agrees[0] | agrees[1],
                ~settled,
            ],
            ["nonfinite", "flat", "zero", "agrees", "rough"],
            "misleading",
        ).astype("<U10")


def _at_the_identity(
    status: np.ndarray, jumped: np.ndarray, near: np.ndarray, far: np.ndarray, nudge: float, outputs: np.ndarray
) -> None:
    """Overrides statuses where there is no one-sided slope at all."""

    def length(values: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square(values.reshape(len(values), -1)).sum(axis=1))

    rounding = 64 * np.finfo(np.float32).eps * length(outputs)
    with np.errstate(invalid="ignore"):
        # A slope like s**-p grows by 2**p from 2 s to s; the root's is 1.41.
        status[length(near) > 1.25 * length(far) + rounding] = "unbounded"
        # Far beyond what the slope explains over the nudge.
        status[length(jumped) > 10 * nudge * np.maximum(length(near), length(far)) + rounding] = "jump"


def _value(apply: Callable, rebuild: Callable) -> Callable:
    return jax.jit(under(apply, rebuild))


def _tangent(apply: Callable, rebuild: Callable, way: str) -> Callable:
    run = under(apply, rebuild)

    def tangent(params: Any, theta: Any, rest: Any, along: Any, keys: jax.Array, x: jax.Array) -> jax.Array:
        return pushforward(lambda p, t: run(p, t, rest, keys, x), params, theta, along, way)[1]

    return jax.jit(tangent)
