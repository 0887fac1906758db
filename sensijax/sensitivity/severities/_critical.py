"""The smallest severity that flips a prediction, example by example."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError, Model
from sensijax.core.rows import chunks
from sensijax.measure._binomial import clopper_pearson
from sensijax.sensitivity.derivatives._coupling import refuse_coupling
from sensijax.sensitivity.derivatives._pure import Pure, batch, program, pure
from sensijax.sensitivity.severities._stress import at_severities, check_scale, example_keys, labels, require_logits

_log = logging.getLogger(__name__)
STATUSES = ("flips", "never", "wrong when clean")


@dataclasses.dataclass(frozen=True, eq=False)
class CriticalSeverity:
    """At which severity each example is lost.

    Attributes:
      severity: float64 `[B]`, the smallest severity found at which the prediction is lost; it was evaluated there, and
        is at most `tolerance` above one at which it was evaluated as kept. Infinity where it is kept at every severity
        of the scan; 0 where it is wrong without perturbation.
      status: strings `[B]`: "flips", "never", "wrong when clean".
      returns: int64 `[B]`, how often along the scan a lost prediction comes back. Above 0 the response is not monotone:
        beyond the critical severity there are others that the example survives.
      nonfinite: int64 `[B]`, severities of the scan at which an output is not finite; such a prediction is lost.
      grid: float64 `[G]`, the severities of the scan, from 0.
      kept: bool `[G, B]`, the predictions of the scan. A loss and a return between two neighbours is not seen.
      tolerance: of the bisection, in units of severity.
      relative_to: what a prediction must equal to be kept: "label", or "clean" prediction.
    """

    severity: np.ndarray
    status: np.ndarray
    returns: np.ndarray
    nonfinite: np.ndarray
    grid: np.ndarray
    kept: np.ndarray
    tolerance: float
    relative_to: str

    def frame(self) -> Any:
        """A pandas table with a row for each example."""
        import pandas as pd

        columns = ("severity", "status", "returns", "nonfinite")
        return pd.DataFrame({"example": np.arange(len(self.severity)), **{c: getattr(self, c) for c in columns}})

    def survival(self, severities: Any = None, level: float = 0.95) -> Any:
        """The share of examples that have never been lost up to a severity, with its interval.

        A curve of accuracy counts predictions that come back, this one does not: it falls only. `kept`, beside it, is
        the share of the scan at that severity, where it was scanned.

        Args:
          severities: where, `[S]`; the grid unless given. Beyond the end of the scan nothing is known.
          level: of the intervals, in (0, 1), each for itself: Clopper and Pearson's, which cover at least that often.

        Returns:
          A pandas table: severity, survival, low, high, kept, n.

        Raises:
          ArgumentError: if a severity lies outside the scan, or the level outside (0, 1).
        """
        import pandas as pd

        at = self.grid if severities is None else np.atleast_1d(np.asarray(severities, np.float64))
        if len(wrong := at[~((at >= 0) & (at <= self.grid[-1]))]):
            raise ArgumentError("severities", f"{wrong[0]:g}", f"in [0, {self.grid[-1]:g}], the range of the scan")
        n = len(self.severity)
        alive = (self.severity[None] > at[:, None]).sum(axis=1)
        low, high = clopper_pearson(alive, n, _share("level", level))
        scanned = dict(zip(self.grid.tolist(), self.kept.mean(axis=1).tolist(), strict=True))
        kept = [scanned.get(float(s), np.nan) for s in at]
        return pd.DataFrame({"severity": at, "survival": alive / n, "low": low, "high": high, "kept": kept, "n": n})

    def quantile(self, q: float = 0.5, level: float = 0.95) -> tuple[float, float, float]:
        """The severity by which a share q of the examples is lost, with an interval from order statistics.

        Args:
          q: the share, in (0, 1).
          level: of the interval, which covers at least that often whatever the distribution.

        Returns:
          (quantile, low, high); infinity where fewer are lost.

        Raises:
          ArgumentError: if q or the level lies outside (0, 1).
        """
        from scipy.stats import binom

        _share("q", q)
        _share("level", level)
        ordered, n = np.sort(self.severity), len(self.severity)
        low = int(binom.ppf((1 - level) / 2, n, q))
        high = int(binom.ppf((1 + level) / 2, n, q)) + 1
        ends = np.concatenate([[0.0], ordered, [np.inf]])  # no order statistic bounds it: nothing is known
        return float(ordered[int(np.ceil(q * n)) - 1]), float(ends[low]), float(ends[high])


def critical_severity(
    model: Model | Callable,
    scale: Any,
    key: jax.Array,
    x: Any,
    y: Any = None,
    *,
    top: float = 5.0,
    scan: int = 40,
    tolerance: float = 1e-2,
    chunk: int = 256,
    **options: Any,
) -> CriticalSeverity:
    """The smallest severity that flips each prediction: a scan for the first bracket, then bisection inside it.

    All examples are bisected together, every row at a severity of its own. Random draws are fixed: an example meets
    the same noise at every severity. Predictions may come back at higher severities; `returns` counts how often, and
    the answer is the first loss that a scan of this width can see.

    Args:
      model: a `Model` that returns logits `[B, K]`, or such a function.
      scale: a perturbation class, or anything with `.at(severity)`.
      key: a typed key, folded with each example's place; or one key for each example, `sj.key_for(seed, stage, ids)`.
      x: floating batch `[B, ...]` in the perturbation's domain.
      y: integer labels `[B]`: lost is a prediction that is not the label, and one that is wrong without perturbation is
        lost at 0. None compares with the clean prediction instead.
      top: the end of the scan, on the scale's own axis.
      scan: intervals of the scan, >= 1; 40 put a node on every eighth of a severity. Two flips within one of them are
        not seen.
      tolerance: width of the last bracket, > 0.
      chunk: rows (example at severity) computed at once.
      **options: passed to `.at`, such as `size=32`.

    Returns:
      A `CriticalSeverity`.

    Raises:
      ArgumentError: if the model does not return logits, its examples influence each other, or an argument does not
        fit.

    Example:
      >>> from sensijax.perturb import image
      >>> def dark(x):  # class 1 as soon as the image's mean passes 0.75
      ...     return jnp.stack([jnp.full(len(x), 0.75), x.mean(axis=(1, 2, 3))], axis=1)
      >>> x = jnp.stack([jnp.full((8, 8, 1), v) for v in (0.5, 0.8)])
      >>> found = critical_severity(dark, image.Brightness, jax.random.key(0), x, np.array([0, 0]))
      >>> found.severity.round(1).tolist(), found.status.tolist()
      ([2.5, 0.0], ['flips', 'wrong when clean'])
    """
    check_scale(scale)
    if not top > 0:
        raise ArgumentError("top", top, "the end of the scan, > 0")
    scale.at(top, **options)  # refuses what is off the scale
    if isinstance(scan, bool) or not isinstance(scan, (int, np.integer)) or scan < 1:
        raise ArgumentError("scan", repr(scan), "a number of intervals >= 1")
    if not tolerance > 0:
        raise ArgumentError("tolerance", tolerance, "a width > 0")
    if chunk < 1:
        raise ArgumentError("chunk", chunk, "at least one row")
    function = pure(model, "model")
    x, spec = batch(function, x)
    classes = require_logits(spec, function.name)
    keys, n = example_keys(key, len(x)), len(x)
    target = None if y is None else np.asarray(labels(y, n, classes))
    refuse_coupling(function, x)

    run = program(_predict, function, scale, tuple(sorted(options.items())))

    def predictions(severity: np.ndarray, example: np.ndarray) -> np.ndarray:
        """The class of each row, -1 where an output is not finite."""
        return np.concatenate(list(_rows(run, function, severity, example, keys, x, chunk)))

    grid = np.linspace(0, top, scan + 1)
    rows = predictions(np.repeat(grid, n), np.tile(np.arange(n), scan + 1)).reshape(scan + 1, n)
    if target is None:
        target = rows[0]
        if (target < 0).any():
            raise ArgumentError("model", f"{(target < 0).sum()} clean outputs that are not finite", "finite logits")
    kept = rows == target[None]
    lost = ~kept.all(axis=0)
    first = np.argmin(kept, axis=0)
    low, high = grid[np.maximum(first - 1, 0)], grid[first]
    active = lost & (first > 0)
    while (active & (high - low > tolerance)).any():
        (open_,) = np.nonzero(active & (high - low > tolerance))
        middle = (low[open_] + high[open_]) / 2
        stays = predictions(middle, open_) == target[open_]
        low[open_], high[open_] = np.where(stays, middle, low[open_]), np.where(stays, high[open_], middle)
    severity = np.where(lost, high, np.inf)
    status = np.where(lost, np.where(first == 0, STATUSES[2], STATUSES[0]), STATUSES[1])
    returns = (kept[1:] & ~kept[:-1]).sum(axis=0)
    nonfinite = (rows < 0).sum(axis=0)
    if returns.any():
        _log.warning(
            "%d of %d predictions come back at a higher severity: the critical severity is that of the first loss",
            (returns > 0).sum(),
            n,
        )
    if nonfinite.any():
        _log.warning("%d of %d examples have outputs that are not finite: lost there", (nonfinite > 0).sum(), n)
    relative = "clean" if y is None else "label"
    return CriticalSeverity(severity, status, returns, nonfinite, grid, kept, float(tolerance), relative)


def _share(argument: str, value: float) -> float:
    if not 0 < value < 1:
        raise ArgumentError(argument, value, "strictly between 0 and 1")
    return value


def _rows(
    run: Callable, function: Pure, severity: np.ndarray, example: np.ndarray, keys: Any, x: Any, chunk: int
) -> Iterator[np.ndarray]:
    # Never more rows at once than a scan has examples: a bisection's last few would pay for a whole chunk.
    for rows, valid in chunks(len(severity), min(chunk, len(x))):
        at = jnp.asarray(severity[rows], jnp.float32)
        yield np.asarray(run(function.params, at, keys[example[rows]], x[example[rows]]))[:valid]


def _predict(apply: Callable, scale: Any, options: tuple) -> Callable:
    forward = at_severities(apply, scale, options)

    def predict(params: Any, severity: jax.Array, keys: jax.Array, x: jax.Array) -> jax.Array:
        logits = forward(params, severity, keys, x)
        finite = jnp.isfinite(logits).all(axis=1)
        return jnp.where(finite, jnp.argmax(logits, axis=1).astype(jnp.int32), jnp.int32(-1))

    return jax.jit(predict)
