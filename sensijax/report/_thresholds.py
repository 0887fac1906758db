"""The section "thresholds": how much of each perturbation is too much, from the curves that the campaign stored."""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sensijax.campaign import Results
from sensijax.report import _damage_figures, _figures, _numbers, _words

RESAMPLES = 1000
_SEED = 0x7468726573686F6C64  # no seed that data are made with: resamples that know the data's draws would lie
MOST_CURVES = 6


class Crossing(NamedTuple):
    """Where the mean loss of a stage first exceeds the tolerance, between tested settings by a straight line.

    Attributes:
      at: the setting; infinity if it never does within what was tested, NaN if nothing can be said.
      low, high: 95 % interval over other examples; infinity where it is open.
      top: the last setting that was tested.
      left_out: examples without a score at some setting, which have no part in this.
    """

    at: float
    low: float
    high: float
    top: float
    left_out: int


class Survival(NamedTuple):
    """Of the answers that are right when clean: the share that no setting up to here has lost.

    Attributes:
      settings: float64 `[K]`, from no perturbation on, by distance from it.
      share: float64 `[K]`, mean over examples and seeds.
      low, high: float64 `[K]`, 95 % interval over other examples.
      back: share of those once lost that are right again at the last setting.
    """

    settings: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    back: float


def losses(results: Results, stage: str) -> tuple[np.ndarray, np.ndarray]:
    """A stage's settings `[K]`, the identity first, and each example's loss there, mean over seeds, `[K, N]`."""
    curve = results.curve(stage)
    clean = results.scores("clean")
    loss = np.stack([(clean - results.scores(name)).mean(axis=0) for name in curve.scenario])
    return curve.severity.to_numpy(np.float64), loss


def resampled_means(values: np.ndarray) -> np.ndarray:
    """Means over resampled examples: float64 `[K, N]` to `[RESAMPLES, K]`, the same resamples for every stage.

    Of many examples the means are drawn from the normal law that they have, so memory does not grow with them.
    """
    n = values.shape[1]
    if n <= 2000:
        return _weights(n) @ values.T
    root = np.linalg.svd(np.cov(values) / n, hermitian=True)
    spread = root.U * np.sqrt(root.S)
    return values.mean(axis=1) + np.random.default_rng(_SEED).normal(size=(RESAMPLES, len(values))) @ spread.T


@functools.lru_cache(maxsize=4)
def _weights(n: int) -> np.ndarray:
    return np.random.default_rng(_SEED).multinomial(n, np.full(n, 1 / n), RESAMPLES) / n


def crossing(settings: np.ndarray, loss: np.ndarray, tolerance: float) -> Crossing:
    """Where the mean of losses `[K, N]` at settings `[K]` first exceeds the tolerance, with a bootstrap interval."""
    sound = np.isfinite(loss).all(axis=0)
    left_out, loss = int((~sound).sum()), loss[:, sound]
    n, top = loss.shape[1], float(settings[-1])
    if n < 2:
        return Crossing(math.nan, math.nan, math.nan, top, left_out)
    means = np.concatenate([loss.mean(axis=1)[None], resampled_means(loss)])
    over = means > tolerance
    first = np.where(over.any(axis=1), over.argmax(axis=1), 0)
    rows = np.arange(len(means))
    before = np.maximum(first - 1, 0)
    rise = means[rows, first] - means[rows, before]
    part = np.divide(tolerance - means[rows, before], rise, out=np.zeros(len(means)), where=rise > 0)
    at = settings[before] + part * (settings[first] - settings[before])
    at = np.where(over.any(axis=1), at, np.inf * np.sign(top - settings[0] or 1))
    low, high = np.quantile(np.abs(at[1:] - settings[0]), [0.025, 0.975], method="inverted_cdf")
    sign = np.sign(top - settings[0]) or 1
    return Crossing(float(at[0]), float(settings[0] + sign * low), float(settings[0] + sign * high), top, left_out)


def survival(results: Results, stage: str) -> Survival | None:
    """How the answers that are right when clean are lost along a stage's settings.

    None for a regression, and for a stage that changes what examples are called or how much each counts: a lost answer
    would not be the model's doing.
    """
    curve = results.curve(stage)
    facts = [results.manifest["scenarios"][name] for name in curve.scenario]
    if results.metric != "accuracy" or any(about["weighted"] or about["relabelled"] for about in facts):
        return None
    right = np.stack([results.scores(name) for name in curve.scenario])  # [K, seeds, N]
    begun = (right[0] == 1).all(axis=0)
    right = right[:, :, begun] == 1
    n = right.shape[2]
    if n < 2:
        return None
    alive = np.logical_and.accumulate(right, axis=0)
    each = alive.mean(axis=1)  # [K, N]
    low, high = np.quantile(resampled_means(each), [0.025, 0.975], axis=0)
    lost = ~alive[-1]
    back = float((right[-1] & lost).sum() / lost.sum()) if lost.any() else math.nan
    return Survival(curve.severity.to_numpy(np.float64), each.mean(axis=1), low, high, back)


def section(results: Results, stages: pd.DataFrame, units: _numbers.Units) -> dict[str, Any] | None:
    """What the section shows; None if no stage ran alone at two settings or more."""
    tolerance = results.manifest["tolerance"]
    rows, drawn, nearest, others = [], {}, [], []
    for stage in stages.stage:
        settings, loss = losses(results, stage)
        if len(settings) < 2:
            continue
        found = crossing(settings, loss, tolerance)
        kept = survival(results, stage)
        axis = results.manifest["stages"][stage]["axis"]
        if kept is not None and axis == "severity" and len(drawn) < MOST_CURVES:
            drawn[stage] = kept
        if math.isfinite(found.at):
            (nearest if axis == "severity" else others).append((found, stage))
        start = float(settings[0])
        rows.append(
            {
                "stage": stage,
                "order": (bool(axis != "severity"), math.inf if math.isnan(found.at) else abs(found.at - start)),
                "axis": "" if axis == "severity" else axis,
                "at": _said(found.at, found.top),
                "interval": _interval(found),
                "bar": _bar(found, start, _numbers.setting(axis, found.at)) if not math.isnan(found.at) else "",
                "tested": f"{start:g} to {found.top:g}",
                "half": "–" if kept is None else _half(kept),
                "lost": "–" if kept is None else _numbers.percent(1 - float(kept.share[-1])),
                "back": "–" if kept is None else _numbers.percent(kept.back),
                "left_out": found.left_out,
            }
        )
    if not rows:
        return None
    rows.sort(key=lambda row: row["order"])  # stable: those that never cross stay in the order of their damage
    return {
        "rows": rows,
        "sentence": _sentence(nearest, others, rows, units.tolerance(tolerance)),
        "unmoved": results.metric == "accuracy" and any(row["lost"] == "–" for row in rows),
        "svg": _damage_figures.survival(drawn, name="survival", label=_described(drawn)) if drawn else None,
        "curves": len(drawn),
        "left_out": max(row["left_out"] for row in rows),
    }


def _sentence(
    nearest: list[tuple[Crossing, str]], others: list[tuple[Crossing, str]], rows: list[dict[str, Any]], tolerance: str
) -> str:
    """Which stage uses up the tolerance first; stages on scales of their own cannot be ranked, and are listed."""
    if not nearest and not others:
        return f"No stage's mean loss exceeds {tolerance} within what was tested."
    stages = len(rows)
    stay = stages - len(nearest) - len(others)
    rest = "" if not stay else f" {_numbers.count(stay, 'stage')} of {stages} never {'does' if stay == 1 else 'do'}."
    axes = {row["stage"]: row["axis"] for row in rows}
    own = ""
    if others:
        own = _numbers.listed([f"{stage} at {axes[stage]} {_numbers.digits(found.at, 3)}" for found, stage in others])
    if not nearest:
        uses = "uses" if len(others) == 1 else "each use"
        return f"{_words._capital(own)} {uses} up the tolerance of {tolerance}.{rest}"
    nearest.sort(key=lambda pair: pair[0].at)
    first, stage = nearest[0]
    rivals = [name for found, name in nearest[1:] if found.low <= first.high]
    where = f"at severity {_numbers.digits(first.at, 3)} ({_interval(first)})"
    lead = f"{_words._capital(stage)} uses up the tolerance of {tolerance} first, {where}"
    early = f"; {_numbers.listed(rivals)} may do so as early" if rivals else ""
    apart = f", on {'a scale of its own' if len(others) == 1 else 'scales of their own'} {own}" if others else ""
    return f"{lead}{early}{apart}.{rest}"


def _said(at: float, top: float) -> str:
    return "–" if math.isnan(at) else f"not by {top:g}" if math.isinf(at) else _numbers.digits(at, 3)


def _interval(found: Crossing) -> str:
    if math.isnan(found.low):
        return "–"
    if math.isinf(found.low):
        return f"beyond {found.top:g}"
    high = f"beyond {found.top:g}" if math.isinf(found.high) else _numbers.digits(found.high, 3)
    return f"{_numbers.digits(found.low, 3)} to {high}"


def _bar(found: Crossing, start: float, label: str) -> Any:
    scale = (min(start, found.top), max(start, found.top))
    inside = [v if math.isfinite(v) else found.top for v in (found.low, found.high)]
    mean = found.at if math.isfinite(found.at) else math.nan
    low, high = inside if math.isfinite(found.low) else (math.nan, math.nan)
    said = f"{label}, interval {_interval(found)}" if math.isfinite(found.at) else _interval(found)
    return _figures.interval_bar(mean, low, high, scale=scale, mark=None, label=said)


def _half(kept: Survival) -> str:
    below = np.flatnonzero(kept.share < 0.5)
    if not len(below):
        return f"not by {kept.settings[-1]:g}"
    k = int(below[0])
    return f"{kept.settings[k - 1]:g} to {kept.settings[k]:g}" if k else f"{kept.settings[0]:g}"


def _described(drawn: dict[str, Survival]) -> str:
    parts = [f"{stage}: {_numbers.percent(float(kept.share[-1]))} left" for stage, kept in drawn.items()]
    return f"Share of right answers never lost, by severity. At the last setting {', '.join(parts)}"
