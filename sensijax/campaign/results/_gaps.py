"""Fairness under each stress: how far apart the groups of the data are treated."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensijax import measure
from sensijax.campaign.results._uncertainty import asked, share_of
from sensijax.core.errors import ArgumentError, did_you_mean

if TYPE_CHECKING:
    from sensijax.campaign.results._results import Results

SMALLEST, MOST_GROUPS = 10, 64
MOST_RATES = 1 << 26  # numbers that resampled tables of groups x classes x classes may hold

COLUMNS = [
    "scenario",
    "accuracy_gap",
    "low",
    "high",
    "equalised_odds",
    "odds_low",
    "odds_high",
    "worst",
    "worst_accuracy",
    "worst_low",
    "worst_high",
    "smallest",
    "status",
]


def gaps_of(results: "Results", group: str, resamples: int, scenarios: Iterable[str] = ()) -> pd.DataFrame:
    """The table behind `Results.gaps`; of some scenarios, if they are named."""
    known = results.manifest["data"]["groups"]
    if results.metric != "accuracy":
        raise ArgumentError("group", repr(group), "a classification's: rates are of classes")
    if group not in known:
        right = did_you_mean(group, known) if known else "a group of the data, which have none: Dataset(groups=...)"
        raise ArgumentError("group", repr(group), right)
    values = results._examples[group].to_numpy()
    values = values if values.dtype.kind in "iu" else values.astype(str)
    names = np.unique(values)
    if not 2 <= len(names) <= MOST_GROUPS:
        raise ArgumentError("group", f"{group!r} with {len(names)} values", f"2 to {MOST_GROUPS} values to compare")
    classes = results.manifest["model"]["outputs"]
    scenarios = asked(results, scenarios)
    columns = {
        name: results._arrays(f"case when status = 'nonfinite_input' then null else {name} end", scenarios, np.float32)
        for name in ("prediction", "target")
    }
    rows = []
    for name in scenarios:
        prediction, target = columns["prediction"][name], columns["target"][name]
        finite = ~np.any(np.isnan(prediction), axis=0)
        weights = results._weights[name][:, finite] if name in results._weights else None
        answers = prediction[:, finite].astype(np.int64), target[:, finite].astype(np.int64)
        rows.append((name, *_gaps(*answers, values[finite], names.tolist(), weights, classes, resamples)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _gaps(
    prediction: np.ndarray,
    target: np.ndarray,
    group: np.ndarray,
    names: list,
    weights: np.ndarray | None,
    classes: int,
    resamples: int,
) -> tuple:
    """One row: gaps with intervals, the group of lowest accuracy, how many are in the smallest, and what is amiss."""
    nan = float("nan")
    counts = np.ones(group.shape, bool) if weights is None else np.any(weights > 0, axis=0)
    sizes = {value: int(counts[group == value].sum()) for value in names}
    smallest = min(sizes, key=lambda value: sizes[value])
    if not sizes[smallest]:
        return (*[nan] * 6, None, nan, nan, nan, 0, f"no example in group {smallest}")
    many = resamples * len(names) * classes * (classes + 1) > MOST_RATES
    if many:  # right or wrong is all that can be resampled
        prediction, target = (prediction == target).astype(np.int64), np.ones_like(target)
    found = measure.fairness(
        prediction,
        target,
        group,
        classes=2 if many else classes,
        groups=names,
        weights=weights,
        smallest=SMALLEST,
        resamples=resamples,
    )
    odds, gap, amiss = found.equalised_odds, found.accuracy_gap, []
    if gap.status != "ok":
        amiss.append(gap.status)
    if many:
        odds = measure.Gap(nan, nan, nan, f"{classes} classes are too many for equalised odds")
    if odds.status != "ok" and odds.status not in amiss:
        amiss.append(odds.status)
    if sizes[smallest] < SMALLEST:
        amiss.append(f"only {sizes[smallest]} examples in group {smallest}")
    inside = group == found.worst
    right = (prediction == target)[:, inside].astype(np.float64)
    worst = share_of(right, None if weights is None else weights[:, inside])
    return (
        *(gap.value, gap.low, gap.high),
        *(odds.value, odds.low, odds.high),
        *((None, nan, nan, nan) if found.worst is None else (str(found.worst), *worst[:3])),
        sizes[smallest],
        "; ".join(amiss) or "ok",
    )
