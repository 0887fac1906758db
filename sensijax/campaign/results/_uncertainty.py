"""What a model is still sure of under each stress: the coverage of sets, and what abstaining buys.

Thresholds are fixed on clean examples and judged on others: a hash of its id says on which side an example is.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from sensijax import measure
from sensijax.core.errors import ArgumentError
from sensijax.measure._binomial import clopper_pearson, coverage_band
from sensijax.measure._validate import fraction, whole_number

if TYPE_CHECKING:
    from sensijax.campaign.results._results import Results

LEVEL = 0.95
# Rows as numbers: none where the input is not finite. An output that is not finite gives no set and no answer.
_LOSS = "case status when 'nonfinite_input' then null when 'ok' then loss else 'inf'::float end"
_CONFIDENCE = "case status when 'nonfinite_input' then null when 'ok' then confidence else '-inf'::float end"
_RIGHT = "case when status = 'nonfinite_input' then null else prediction = {} end"


@dataclasses.dataclass(frozen=True)
class AnswerShare:
    """Answers this share of clean examples, the surest.

    Attributes:
      share: in (0, 1).
    """

    share: float

    def __post_init__(self):
        fraction("share", self.share, "a share of the examples")

    def threshold(self, confidence: np.ndarray, correct: np.ndarray) -> float:
        """The confidence from which on so many of these examples are answered."""
        del correct
        return float(-np.sort(-confidence)[max(1, math.ceil(self.share * len(confidence))) - 1])


@dataclasses.dataclass(frozen=True)
class KeepRisk:
    """Answers as many clean examples as it can with at most this share of wrong answers.

    Attributes:
      risk: the share of wrong answers among those given, in (0, 1).
      delta: the probability with which that may fail on clean examples, in (0, 1).
    """

    risk: float
    delta: float = 0.05

    def __post_init__(self):
        fraction("risk", self.risk, "a share of wrong answers")
        fraction("delta", self.delta, "a probability")

    def threshold(self, confidence: np.ndarray, correct: np.ndarray) -> float:
        """That of `measure.threshold_for_risk`; infinite where no threshold keeps the risk."""
        return measure.threshold_for_risk(confidence, correct, self.risk, self.delta).threshold


def calibrates(ids: np.ndarray, split: int) -> np.ndarray:
    """Which examples thresholds are fixed on: about half of them, by a hash of (split, id) and nothing else.

    Args:
      ids: int64 `[N]`.
      split: which division, in [0, 2**64).

    Returns:
      bool `[N]`.
    """
    if whole_number("split", split, 0) >= 1 << 64:
        raise ArgumentError("split", split, "an integer in [0, 2**64)")
    key = split.to_bytes(8, "big")
    hashes = [hashlib.blake2b(int(i).to_bytes(8, "big"), digest_size=1, key=key).digest()[0] for i in ids]
    return np.array(hashes, np.uint8) % 2 == 1


def coverage_of(results: "Results", alpha: float, split: int = 0, scenarios: Iterable[str] = ()) -> pd.DataFrame:
    """The table behind `Results.coverage`; of some scenarios, if they are named."""
    fraction("alpha", alpha, "a share that may be missed")
    first, names = _halves(results, split), asked(results, scenarios)
    unspoilt = {name: without_annotation(results, name) for name in names if results._complete[name]["relabelled"]}
    losses = results._arrays(
        _LOSS, list(dict.fromkeys(["clean", *names, *filter(None, unspoilt.values())])), np.float32
    )
    wrong = results._arrays("observed <> target", list(unspoilt), np.int8) if unspoilt else {}
    scores = losses["clean"][0][first]
    scores = np.sort(scores[~np.isnan(scores)])
    n = len(scores)
    k = measure.conformal.rank_of(n, alpha) if n else 1
    threshold = scores[k - 1] if k <= n else np.inf
    rows = []
    for name in names:
        weights = results._weights[name][:, ~first] if name in results._weights else None
        observed = share_of(_at_most(losses[name][:, ~first], threshold), weights)
        true, status = observed, "ok"
        if name in wrong and (wrong[name] > 0).any():
            other = unspoilt[name]
            status = "ok" if other else "no true classes: the same inputs without annotation noise did not run"
            found = losses[other] if other else np.full_like(losses[name], np.nan)
            true = share_of(_at_most(found[:, ~first], threshold), weights)
        if k > n:
            status = f"too few examples: {n} to calibrate on, {measure.conformal.rank_of(n, alpha) if n else 1} needed"
        elif not observed.n:
            status = "nothing to judge"
        band = coverage_band(k, n, max(1, round(observed.effective)), LEVEL) if observed.n else (np.nan, np.nan)
        rows.append((name, *true[:3], *observed[:3], *band, observed.effective, n, status))
    columns = ["scenario", "coverage", "low", "high", "observed", "observed_low", "observed_high"]
    return pd.DataFrame(rows, columns=[*columns, "band_low", "band_high", "n_effective", "calibrated_on", "status"])


def abstention_of(results: "Results", at: Any, split: int = 0, scenarios: Iterable[str] = ()) -> pd.DataFrame:
    """The table behind `Results.abstention`; of some scenarios, if they are named."""
    first, names = _halves(results, split), asked(results, scenarios)
    at = at if isinstance(at, AnswerShare | KeepRisk) else AnswerShare(at)
    needed = list(dict.fromkeys(["clean", *names]))
    confidence = results._arrays(_CONFIDENCE, needed, np.float32)
    right = {label: results._arrays(_RIGHT.format(label), needed, np.int8) for label in ("target", "observed")}
    known, correct = confidence["clean"][0].astype(np.float32), right["target"]["clean"][0]
    usable = first & ~np.isnan(known)
    threshold = at.threshold(known[usable], correct[usable]) if usable.any() else np.nan
    rows = []
    for name in names:
        weights = results._weights.get(name)
        sure, true = confidence[name], right["target"][name]
        held = None if weights is None else weights[:, ~first]
        answered = np.where(np.isnan(sure), np.nan, sure >= threshold)[:, ~first]
        given = share_of(answered, held)
        accuracy, observed = (
            share_of(np.where(answered == 1, values[:, ~first], np.nan), held)
            for values in (true, right["observed"][name])
        )
        status = "ok" if accuracy.effective else "nothing answered"
        if not usable.any() or not given.n:
            status = "too few examples: one half is empty"
        whole = share_of(true[:, ~first], held).share
        row = (name, *given[:3], *accuracy[:3], observed.share, whole, *aurc_of(sure, true, weights), threshold)
        rows.append((*row, given.effective, int(usable.sum()), status))
    columns = ["scenario", "answered", "answered_low", "answered_high", "accuracy", "low", "high", "observed"]
    columns += ["accuracy_of_all", "aurc", "aurc_low", "aurc_high", "threshold", "n_effective", "fixed_on", "status"]
    return pd.DataFrame(rows, columns=columns)


def aurc_of(confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray | None) -> tuple[float, float, float]:
    """The area under the risk-coverage curve, the mean over seeds, with its 95 % interval over examples.

    The interval is that of a normal law, with the standard error from the area's influence function: with G the share
    at least as sure and l whether an answer is wrong, the area is E[-l log G], and an example moves it by
    -l log G - E[l' / G' for all that are at most as sure] + E[l] less the area.

    Args:
      confidence, correct: `[S, N]`; NaN for a row that does not count.
      weights: `[S, N]`, or None.

    Returns:
      (area, low, high). Where no answer is wrong the area is 0 and has no interval: its bounds are NaN.

    Example:
      >>> [round(v, 3) for v in aurc_of(np.linspace(1, 0, 50)[None], np.arange(50)[None] % 5 != 4, None)]
      [0.166, 0.048, 0.285]
    """
    areas, moved = [], np.full(confidence.shape, np.nan)
    for s, (sure, right) in enumerate(zip(confidence, correct, strict=True)):
        w = np.ones(len(sure)) if weights is None else weights[s]
        kept = ~np.isnan(sure) & (w > 0)
        if not kept.any():
            continue
        sure, wrong, p = sure[kept], 1 - right[kept], w[kept] / w[kept].sum()
        areas.append(measure.aurc(sure, 1 - wrong, w[kept]))
        _, level = np.unique(-sure, return_inverse=True)
        at_least = np.bincount(level, p).cumsum()
        less_sure = (np.bincount(level, p * wrong) / at_least)[::-1].cumsum()[::-1]
        influence = -wrong * np.log(at_least[level]) - less_sure[level] + p @ wrong
        moved[s, kept] = len(p) * p * (influence - p @ influence)
    seen = ~np.isnan(moved)
    n = int(seen.any(axis=0).sum())
    area = float(np.mean(areas)) if areas else float("nan")
    if n < 2 or not area > 0:
        return area, float("nan"), float("nan")
    mean = np.where(seen, moved, 0).sum(axis=0)[seen.any(axis=0)] / len(areas)
    half = float(ndtri((1 + LEVEL) / 2) * mean.std(ddof=1) / math.sqrt(n))
    return area, max(0.0, area - half), min(1.0, area + half)


# --- how -------------------------------------------------------------------------------------------------------------


class Share(NamedTuple):
    """A share with its interval: the mean over seeds; NaN and (0, 1) where no example counts.

    The interval is Clopper and Pearson's on `effective` examples, (sum w)^2 / sum w^2: seeds are of the same examples,
    and make none more. With weights it is an approximation.
    """

    share: float
    low: float
    high: float
    n: int
    effective: float


def share_of(values: np.ndarray, weights: np.ndarray | None) -> Share:
    """Of zeros and ones `[S, N]`, NaN for a row that does not count, with weights of the same shape."""
    w = np.where(np.isnan(values), 0.0, 1.0 if weights is None else weights)
    total, square = w.sum(axis=1), np.square(w).sum(axis=1)
    some = total > 0
    if not some.any():
        return Share(float("nan"), 0.0, 1.0, 0, 0.0)
    share = float(((w * np.nan_to_num(values)).sum(axis=1)[some] / total[some]).mean())
    effective = float((total[some] ** 2 / square[some]).mean())
    low, high = clopper_pearson(share * effective, effective, LEVEL)
    return Share(share, float(low), float(high), int((w > 0).any(axis=0).sum()), effective)


def _at_most(losses: np.ndarray, threshold: float) -> np.ndarray:
    return np.where(np.isnan(losses), np.nan, losses <= threshold)


def _halves(results: "Results", split: int) -> np.ndarray:
    if results.metric != "accuracy":
        raise ArgumentError("results", "a regression", "a classification: confidence is a classifier's")
    return calibrates(results.example_ids, split)


def asked(results: "Results", scenarios: Iterable[str]) -> list[str]:
    """Scenarios by name, each finished; all of them unless any are named."""
    for name in (names := list(scenarios)):
        results._known_scenario(name)
    return names or list(results._complete)


def without_annotation(results: "Results", name: str) -> str | None:
    """The scenario that shows the model the same inputs and spoils no label, if it ran.

    None too where an attack has aimed at the spoilt labels: without them it would have made other inputs.
    """
    families = {stage: about["family"] for stage, about in results.manifest["stages"].items()}
    settings = [tuple(setting) for setting in results._complete[name]["settings"]]
    order = [families[stage] for stage, _ in settings]
    if "labels" in order and "attack" in order[order.index("labels") :]:
        return None
    kept = [setting for setting in settings if families[setting[0]] != "labels"]
    by_settings = {tuple(map(tuple, about["settings"])): other for other, about in results._complete.items()}
    return by_settings.get(tuple(kept))
