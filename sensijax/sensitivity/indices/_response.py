"""A response along a severity: its values and its exact slopes, example by example."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError, Model
from sensijax.core.rows import chunks
from sensijax.measure import paired_bootstrap
from sensijax.sensitivity.derivatives._coupling import refuse_coupling
from sensijax.sensitivity.derivatives._nonfinite import NonFinite, located
from sensijax.sensitivity.derivatives._pure import Pure, batch, forward_way, program, pure, pushforward
from sensijax.sensitivity.severities._stress import at_severities, check_scale, example_keys, labels

_log = logging.getLogger(__name__)
_NUDGE = 1e-3
Response = Callable[[jax.Array, jax.Array], jax.Array]


def cross_entropy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """The loss of one example: -log of the label's probability, in nats.

    Args:
      outputs: logits `[K]`.
      y: the label, an integer scalar in [0, K).

    Returns:
      A scalar >= 0.

    Example:
      >>> round(float(cross_entropy(jnp.zeros(4), jnp.int32(0))), 4)
      1.3863
    """
    return -jax.nn.log_softmax(outputs)[y]


def margin(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """The label's logit minus the largest other, of one example: positive where it is right.

    Piecewise linear for a ReLU network, so its curvature is zero almost everywhere.

    Args:
      outputs: logits `[K]`, K >= 2.
      y: the label, an integer scalar in [0, K).

    Returns:
      A scalar, in units of the logits.

    Example:
      >>> float(margin(jnp.array([3.0, 1.0, 0.0]), jnp.int32(0)))
      2.0
    """
    return outputs[y] - jnp.max(outputs.at[y].set(-jnp.inf))


@dataclasses.dataclass(frozen=True, eq=False)
class ResponseCurve:
    """A response of each example, and its slope, along a severity.

    Attributes:
      severity: float64 `[S]`, increasing.
      response: float64 `[S, B]`.
      slope: float64 `[S, B]`, the exact derivative with respect to the severity; at 0 that to the right.
      mode: "forward", or "reverse" where a `custom_vjp` blocks forward mode.
      nonfinite: what in responses and slopes is not finite.
    """

    severity: np.ndarray
    response: np.ndarray
    slope: np.ndarray
    mode: str
    nonfinite: NonFinite

    def frame(self, level: float = 0.95) -> Any:
        """A pandas table with a row for each severity: means over examples with intervals of other examples.

        An example whose response or slope is not finite at a severity is left out there; `n` counts the rest.
        """
        import pandas as pd

        columns: dict[str, Any] = {"severity": self.severity}
        for name, values in (("response", self.response), ("slope", self.slope)):
            finite = np.where(np.isfinite(self.response) & np.isfinite(self.slope), values, np.nan)
            found = paired_bootstrap(finite[:, None], binary=False, level=level)
            columns |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
        return pd.DataFrame(columns | {"n": found.n_examples})


def response_curve(
    model: Model | Callable,
    scale: Any,
    key: jax.Array,
    x: Any,
    y: Any,
    severities: Any = None,
    *,
    response: Response = cross_entropy,
    chunk: int = 256,
    **options: Any,
) -> ResponseCurve:
    """A response at many severities with its exact slope at each, one forward-mode pass for both.

    Random draws are fixed, so an example meets the same noise at every severity, and its curve is one function whose
    slope is the one given. Published scales are tables with straight lines between their integers: there the slope is
    that to the right.

    Args:
      model: a `Model`, or a function of a batch `[B, ...]` to outputs `[B, ...]`.
      scale: a perturbation class, or anything with `.at(severity)`.
      key: a typed key, folded with each example's place; or one key for each example, `sj.key_for(seed, stage, ids)`.
      x: floating batch `[B, ...]` in the perturbation's domain.
      y: what the response compares with, `[B, ...]`: integer labels, or targets.
      severities: `[S]`, increasing, >= 0; the middles of 40 intervals of [0, 5] unless given, none of which is a knot
        of a table.
      response: `(outputs, y) -> scalar` of one example, a function of a module for programs to be kept; `cross_entropy`
        unless given.
      chunk: rows (example at severity) computed at once.
      **options: passed to `.at`, such as `size=32`.

    Returns:
      A `ResponseCurve`.

    Raises:
      ArgumentError: if an argument does not fit, or the model's examples influence each other.

    Example:
      >>> from sensijax.perturb import image
      >>> mean, first = (lambda x: x.mean(axis=(1, 2))), (lambda outputs, y: outputs[0])
      >>> x, y, key = jnp.full((2, 8, 8, 1), 0.5), np.zeros(2), jax.random.key(0)
      >>> curve = response_curve(mean, image.Brightness, key, x, y, [0, 1.5], response=first)
      >>> curve.response.round(3).tolist(), curve.slope.round(3).tolist()
      ([[0.5, 0.5], [0.65, 0.65]], [[0.1, 0.1], [0.1, 0.1]])
    """
    check_scale(scale)
    if severities is None:
        severities = (np.arange(40) + 0.5) / 8
    at = np.asarray(severities, np.float64)
    if at.ndim != 1 or not len(at) or not np.isfinite(at).all() or (at < 0).any() or (np.diff(at) <= 0).any():
        raise ArgumentError("severities", np.array2string(at, threshold=5), "increasing severities >= 0, [S]")
    scale.at(jnp.asarray(at, jnp.float32), **options)
    if chunk < 1:
        raise ArgumentError("chunk", chunk, "at least one row")
    function = pure(model, "model")
    x, spec = batch(function, x)
    n, keys = len(x), example_keys(key, len(x))
    y = targets(y, spec, response)
    refuse_coupling(function, x)

    # At 0 the perturbation selects its input, so that the slope there is zero on paper: two slopes beside it stand in.
    at_zero = at[0] == 0
    extra = np.array([_NUDGE, 2 * _NUDGE]) if at_zero else np.zeros(0)
    every = np.concatenate([at, extra])
    width = min(chunk, len(every) * n)
    first = jnp.arange(width) % n
    forward = responses(function.apply, scale, tuple(sorted(options.items())), response)
    probe = Pure(lambda p, s: forward(p, s, keys[first], x[first], y[first]), function.params, False, function.name)
    way = forward_way(probe, jnp.full(width, at[-1], jnp.float32))
    run = program(_slopes, function, scale, tuple(sorted(options.items())), response, way)

    def rows() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for part, valid in chunks(len(every) * n, width):
            severity, example = np.divmod(part, n)
            s = jnp.asarray(every[severity], jnp.float32)
            value, slope = run(function.params, s, keys[example], x[example], y[example])
            yield np.asarray(value, np.float64)[:valid], np.asarray(slope, np.float64)[:valid]

    value, slope = (np.concatenate(parts).reshape(len(every), n) for parts in zip(*rows(), strict=True))
    if at_zero:
        slope[0] = 2 * slope[len(at)] - slope[len(at) + 1]
    value, slope = value[: len(at)], slope[: len(at)]
    if not slope.any():
        _log.warning("every slope is zero: the response does not move, or moves in steps (a rate, a rounding)")
    return ResponseCurve(at, value, slope, way, located({"response": value, "slope": slope}, "the curve"))


def targets(y: Any, spec: jax.ShapeDtypeStruct, response: Response) -> jax.Array:
    """Labels or targets on the device, one for each example; labels in range where the response reads logits."""
    y, n = np.asarray(y), spec.shape[0]
    if response in (cross_entropy, margin):
        if len(spec.shape) != 2 or spec.shape[1] < 2:
            raise ArgumentError("response", response.__name__, f"a response of outputs {list(spec.shape[1:])}")
        return labels(y, n, spec.shape[1])
    if y.shape[:1] != (n,):
        raise ArgumentError("y", f"shape {list(y.shape)}", f"one for each of {n} examples")
    return jnp.asarray(y, jnp.int32 if y.dtype.kind in "iu" else None)


def responses(apply: Callable, scale: Any, options: tuple, response: Response) -> Callable:
    """`(params, severity[R], keys[R], x[R], y[R]) -> response[R]`."""
    forward = at_severities(apply, scale, options)

    def run(params: Any, severity: jax.Array, keys: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        return jax.vmap(response)(forward(params, severity, keys, x), y)

    return run


def _slopes(apply: Callable, scale: Any, options: tuple, response: Response, way: str) -> Callable:
    run = responses(apply, scale, options, response)

    def slopes(params: Any, severity: jax.Array, keys: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        # Rows do not influence each other, so one tangent of ones serves them all.
        ones = jnp.ones_like(severity)
        return pushforward(lambda p, s: run(p, s, keys, x, y), params, severity, ones, way)

    return jax.jit(slopes)
