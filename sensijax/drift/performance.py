"""How well a model does where nobody has labelled anything yet: confidence-based performance estimation."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key
from sensijax.drift.detect._door import check_level, generator

CALIBRATIONS = ("beta", "isotonic", "temperature", "none")
_PURPOSE = 0xCB9E
_LEAST = 30
_TINY = 1e-7  # from 0 and 1, where a logit is needed
_RIDGE = 1e-3  # keeps the logistic fit finite where scores separate the classes


@dataclasses.dataclass(frozen=True, eq=False)
class EstimatedPerformance:
    """What a model's metrics are expected to be, chunk by chunk.

    Attributes:
      start: int64 `[C]`, each chunk's first row.
      size: int64 `[C]`, its rows.
      estimate: for each metric float64 `[C]`; NaN where it cannot be had (no row that is predicted to be a 1).
      lower, upper: likewise, the interval in which the metric that labels would show lies at the level asked for.
      reference: each metric on the reference, by its labels.
      beyond: float64 `[C]`, the fraction of rows whose score lies outside of those of the reference, where the
        calibration is continued flat.
    """

    start: np.ndarray
    size: np.ndarray
    estimate: dict[str, np.ndarray]
    lower: dict[str, np.ndarray]
    upper: dict[str, np.ndarray]
    reference: dict[str, float]
    beyond: np.ndarray

    def changed(self, metric: str) -> np.ndarray:
        """bool `[C]`, whether the reference's value lies outside of the interval."""
        if metric not in self.estimate:
            raise ArgumentError("metric", repr(metric), f"one of {', '.join(self.estimate)}")
        return (self.reference[metric] < self.lower[metric]) | (self.reference[metric] > self.upper[metric])


def cbpe(
    probabilities: Any,
    *,
    reference: Any,
    labels: Any,
    key: jax.Array,
    chunk: int | None = None,
    calibration: str = "beta",
    threshold: float = 0.5,
    level: float = 0.95,
    resamples: int = 200,
) -> EstimatedPerformance:
    """Expected metrics from the model's own probabilities, made honest on a labelled reference.

    With c_i the calibrated chance that example i is a 1, a chunk is expected to have sum of c_i over the rows predicted
    to be 1 true positives, and so on: accuracy, precision, recall, F1 and AUROC follow. For K classes it is the
    accuracy alone: the mean calibrated chance that the predicted class is right.

    **What it assumes.** That a score means what it meant in the reference: P(y | score) has not changed. Shifts of the
    inputs that keep this are followed. Concept drift is *not* seen, as there is nothing in a score that could show it:
    labels that have swapped their meaning leave every number here as it was. Rows whose scores no reference row had
    (`beyond`) are guesses. The reference must not be data that the model was trained on.

    The interval is one for what labels will show. It holds what is drawn there (each label by its chance c_i, so a
    small chunk has a wide one) and what the calibration does not know (the reference is resampled and fitted again).

    Args:
      probabilities: `[N]` in [0, 1], of class 1, or `[N, K]` with rows that sum to one: what is to be judged.
      reference: `[R]` or `[R, K]`, the same for examples whose labels are known; R >= 30.
      labels: integers `[R]`, the reference's: 0 and 1, or classes in [0, K). Both right and wrong, or both classes.
      key: a typed PRNG key, scalar, for the interval.
      chunk: rows of a chunk; all together unless given. The last one has what is left.
      calibration: "beta" (three parameters), "temperature" (one factor on the logit), "isotonic" (any map that rises,
        as NannyML has it; it fits the noise of the reference a little, and with 2,000 rows is 0.004 too sure of
        itself), or "none" for probabilities that are calibrated.
      threshold: from which probability on a row is predicted to be a 1; of no use for K classes.
      level: of the interval, in (0, 1).
      resamples: draws for the interval, >= 100.

    Returns:
      Estimates and intervals for each chunk, beside the metrics of the reference.

    Raises:
      ArgumentError: if probabilities are none, shapes disagree, the reference has fewer than 30 rows or only one class.

    Reference:
      NannyML's documentation, "Confidence-based performance estimation". Calibration: Zadrozny and Elkan,
      "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002; Kull, Silva Filho and
      Flach, "Beta calibration", AISTATS 2017; Guo, Pleiss, Sun and
      Weinberger, "On calibration of modern neural networks", ICML 2017.

    Example:
      >>> rng = np.random.default_rng(1)
      >>> p = rng.uniform(size=3000)
      >>> y = (rng.uniform(size=3000) < p).astype(int)
      >>> found = cbpe(p[2000:], reference=p[:2000], labels=y[:2000], key=jax.random.key(0))
      >>> realised = np.mean((p[2000:] >= 0.5) == y[2000:])
      >>> bool(found.lower["accuracy"][0] < realised < found.upper["accuracy"][0])
      True
    """
    new, old = _probabilities("probabilities", probabilities), _probabilities("reference", reference)
    if new.shape[1:] != old.shape[1:]:
        raise ArgumentError("reference", f"shape {list(old.shape)}", f"that of `probabilities`, {list(new.shape)}")
    y = _labels(labels, old)
    if calibration not in CALIBRATIONS:
        raise ArgumentError("calibration", repr(calibration), f"one of {', '.join(CALIBRATIONS)}")
    if not 0 < threshold < 1:
        raise ArgumentError("threshold", repr(threshold), "a probability strictly between 0 and 1")
    for name, value, least in (("chunk", chunk, 1), ("resamples", resamples, 100)):
        if value is not None and (isinstance(value, bool) or int(value) != value or value < least):
            raise ArgumentError(name, repr(value), f"an integer >= {least}")
    alpha, rng = check_level(1 - check_level(level)), generator(check_key(key), _PURPOSE)
    if old.ndim == 2:  # of the predicted class, and whether it is right
        y = (old.argmax(1) == y).astype(np.int64)
        new, old = new.max(1), old.max(1)
    if y.min() == y.max():
        what = "class" if np.ndim(reference) == 1 else "kind of outcome (all right, or all wrong)"
        raise ArgumentError("labels", f"one {what}", "labels with which a score can be calibrated: both")
    several = np.ndim(reference) == 2
    measures = {"accuracy": _certain} if several else {"accuracy": _accuracy, **_BINARY}
    cut = -np.inf if several else threshold

    order = np.argsort(old, kind="stable")
    old, y = old[order], y[order].astype(np.float64)
    fitted = _calibrated(calibration, old, y, np.ones_like(y), new)
    counts = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), size=resamples)
    starts = np.arange(0, len(new), chunk or len(new))
    parts = [slice(s, s + (chunk or len(new))) for s in starts]
    estimate = {name: np.array([f(new[p], fitted[p], cut, True) for p in parts]) for name, f in measures.items()}
    drawn = {name: np.full((resamples, len(parts)), np.nan) for name in measures}
    for b, weights in enumerate(counts):
        chances = _calibrated(calibration, old, y, weights.astype(np.float64), new)
        outcomes = (rng.random(len(new)) < chances).astype(np.float64)
        for i, part in enumerate(parts):
            for name, f in measures.items():
                drawn[name][b, i] = f(new[part], outcomes[part], cut, False)
    bounds = {name: _interval(d, alpha) for name, d in drawn.items()}
    outside = (new < old[0]) | (new > old[-1])
    return EstimatedPerformance(
        starts,
        np.array([len(new[p]) for p in parts]),
        estimate,
        {name: bound[0] for name, bound in bounds.items()},
        {name: bound[1] for name, bound in bounds.items()},
        {name: float(f(old, y, cut, False)) for name, f in measures.items()},
        np.array([outside[p].mean() for p in parts]),
    )


def _interval(drawn: np.ndarray, alpha: float) -> np.ndarray:
    """Quantiles `[2, C]` of draws `[B, C]`; NaN where a metric did not exist in half of them."""
    bounds = np.full((2, drawn.shape[1]), np.nan)
    for i, column in enumerate(drawn.T):
        some = column[np.isfinite(column)]
        if 2 * len(some) > len(column):
            bounds[:, i] = np.quantile(some, [alpha / 2, 1 - alpha / 2], method="weibull")
    return bounds


def _calibrated(how: str, scores: np.ndarray, y: np.ndarray, weights: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Chances of `new` after a fit to weighted outcomes y at sorted scores."""
    if how == "none":
        return new
    if how != "isotonic":
        columns = _columns(how, scores)
        beta = _logistic(columns, y, weights)
        if how == "beta" and (beta[:2] < 0).any():  # Kull et al.: the map must not fall, so that term goes
            keep = np.append(beta[:2] >= 0, True)
            beta = np.zeros(3)
            beta[keep] = _logistic(columns[:, keep], y, weights)
        return _sigmoid(_columns(how, new) @ beta)
    values, first = np.unique(scores, return_index=True)
    mass, ones = np.add.reduceat(weights, first), np.add.reduceat(weights * y, first)
    seen = mass > 0
    from scipy.optimize import isotonic_regression  # start-up that nothing else needs

    fit = isotonic_regression(ones[seen] / mass[seen], weights=mass[seen]).x
    return np.interp(new, values[seen], fit)


def _columns(how: str, p: np.ndarray) -> np.ndarray:
    p = np.clip(p, _TINY, 1 - _TINY)
    high, low = np.log(p), -np.log1p(-p)
    return (high + low)[:, None] if how == "temperature" else np.stack([high, low, np.ones_like(p)], axis=1)


def _logistic(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Newton's steps of a weighted logistic regression, halved where the loss would rise."""
    beta, ridge = np.zeros(x.shape[1]), _RIDGE * np.eye(x.shape[1])

    def loss(beta: np.ndarray) -> float:
        z = x @ beta
        return float(weights @ (np.logaddexp(0, z) - y * z) + beta @ ridge @ beta / 2)

    now = loss(beta)
    for _ in range(100):
        p = _sigmoid(x @ beta)
        slope = x.T @ (weights * (p - y)) + ridge @ beta
        step = np.linalg.solve((x * (weights * p * (1 - p))[:, None]).T @ x + ridge, slope)
        while (then := loss(beta - step)) > now + 1e-9 * abs(now):
            step = step / 2
        beta, last, now = beta - step, now, then
        if last - now < 1e-9 * max(abs(now), 1):
            break
    return beta


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(z / 2))


# A metric takes scores, the chance of a 1 (or, for labels, 0 and 1), the threshold, and whether these are chances.
def _certain(scores: np.ndarray, c: np.ndarray, cut: float, expected: bool) -> float:
    return float(c.mean())


def _table(scores: np.ndarray, c: np.ndarray, cut: float) -> tuple[float, float, float]:
    """True positives, false positives, false negatives."""
    positive = scores >= cut
    return float(c[positive].sum()), float((1 - c[positive]).sum()), float(c[~positive].sum())


def _accuracy(scores: np.ndarray, c: np.ndarray, cut: float, expected: bool) -> float:
    _, false, missed = _table(scores, c, cut)
    return 1 - (false + missed) / len(c)


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else float("nan")


def _precision(scores: np.ndarray, c: np.ndarray, cut: float, expected: bool) -> float:
    true, false, _ = _table(scores, c, cut)
    return _ratio(true, true + false)


def _recall(scores: np.ndarray, c: np.ndarray, cut: float, expected: bool) -> float:
    true, _, missed = _table(scores, c, cut)
    return _ratio(true, true + missed)


def _f1(scores: np.ndarray, c: np.ndarray, cut: float, expected: bool) -> float:
    true, false, missed = _table(scores, c, cut)
    return _ratio(2 * true, 2 * true + false + missed)


def _auroc(scores: np.ndarray, c: np.ndarray, cut: float, expected: bool) -> float:
    """Pairs of a 1 above a 0 over all pairs of a 1 and a 0, ties half; no example makes a pair with itself."""
    order = np.argsort(scores, kind="stable")
    scores, c = scores[order], c[order]
    first = np.flatnonzero(np.append(True, np.diff(scores) > 0))
    ones, zeros = np.add.reduceat(c, first), np.add.reduceat(1 - c, first)
    below = np.cumsum(zeros) - zeros
    own = float((c * (1 - c)).sum()) if expected else 0.0
    return _ratio(float((ones * (below + zeros / 2)).sum()) - own / 2, float(ones.sum() * zeros.sum()) - own)


_BINARY: dict[str, Callable[[np.ndarray, np.ndarray, float, bool], float]] = {
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "auroc": _auroc,
}


def _probabilities(name: str, given: Any) -> np.ndarray:
    p = np.asarray(given)
    least = _LEAST if name == "reference" else 1
    if p.dtype.kind != "f" or p.ndim not in (1, 2) or len(p) < least or (p.ndim == 2 and p.shape[1] < 2):
        right = f"floats [N] of class 1 or [N, K], K >= 2; N >= {least}"
        raise ArgumentError(name, f"{p.dtype}{list(p.shape)}", right)
    p = p.astype(np.float64)
    if (wrong := p[~((p >= 0) & (p <= 1))]).size:
        raise ArgumentError(name, f"{wrong.ravel()[0]:g}", "probabilities in [0, 1]")
    if p.ndim == 2 and (off := np.abs(p.sum(1) - 1)).max() > 1e-3:
        raise ArgumentError(name, f"a row that sums to {p.sum(1)[off.argmax()]:g}", "rows that sum to one")
    return p


def _labels(given: Any, p: np.ndarray) -> np.ndarray:
    y, classes = np.asarray(given), p.shape[1] if p.ndim == 2 else 2
    if y.dtype.kind not in "biu" or y.shape != p.shape[:1]:
        raise ArgumentError("labels", f"{y.dtype}{list(y.shape)}", f"integers [{len(p)}], one for each reference row")
    y = y.astype(np.int64)
    if (wrong := y[(y < 0) | (y >= classes)]).size:
        raise ArgumentError("labels", int(wrong[0]), f"a class in 0..{classes - 1}")
    return y
