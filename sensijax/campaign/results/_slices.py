"""A scenario in slices: groups of examples, and labels that are not what they should be."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensijax import label, measure
from sensijax.campaign.results._responses import linearised
from sensijax.core.errors import ArgumentError

if TYPE_CHECKING:
    from sensijax.campaign.results._results import Results


def groups_of(results: "Results", scenario: str) -> pd.DataFrame:
    """The table behind `Results.groups`."""
    slices = {
        "label": results._examples.label.to_numpy(),
        **{name: results._examples[name].to_numpy() for name in results.manifest["data"]["groups"]},
    }
    clean, scores = results._scores["clean"], results._scores[scenario]
    rows = []
    for group, values in slices.items():
        values = values if values.dtype.kind in "iu" else values.astype(str)
        for part in _parts_of(results, scenario, scores, values):
            inside = values == part.group
            rows.append(
                {
                    "group": group,
                    "value": str(part.group),
                    "n": part.n,
                    "accuracy": part.accuracy,
                    "low": part.low,
                    "high": part.high,
                    "clean": float(np.nanmean(clean[:, inside])),
                    "small": part.too_small,
                }
            )
    table = pd.DataFrame(rows, columns=["group", "value", "n", "accuracy", "low", "high", "clean", "small"])
    table["drop"] = table.clean - table.accuracy
    return table.sort_values(["small", "accuracy"], kind="stable").reset_index(drop=True)


def predictions_of(results: "Results", scenario: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, clean prediction and prediction of every row of a scenario whose input is finite."""
    results._known_scenario(scenario)
    if results.metric != "accuracy":
        raise ArgumentError("scenario", scenario, "predicted classes are a classifier's")
    rows = results._connection.execute(
        "select r.label, c.prediction as clean, r.prediction from read_parquet(?) r join read_parquet(?) c "
        "using (example) where r.scenario = ? and c.scenario = 'clean' and r.status <> 'nonfinite_input'",
        [results._parts_of([scenario]), results._parts_of(["clean"]), scenario],
    ).fetchnumpy()
    return rows["label"], rows["clean"], rows["prediction"]


def annotation_of(results: "Results") -> pd.DataFrame:
    """The table behind `Results.annotation`."""
    if results.metric != "accuracy":
        raise ArgumentError("results", "a regression", "classification: numbers are not called otherwise")
    names = [name for name, about in results._complete.items() if about["relabelled"]]
    table = results._connection.execute(
        "select scenario, sum(weight * correct::int) / sum(weight) as measured, "
        'sum(weight * (prediction = target)::int) / sum(weight) as "true", measured - "true" as gap, '
        "sum(weight * (observed <> target)::int) / sum(weight) as wrong_labels, count(*) as n "
        "from responses join scenario_order using (scenario) "
        "where list_contains(?, scenario) and status <> 'nonfinite_input' group by scenario, i order by i",
        [names],
    ).df()
    labels = {column: results._arrays(column, names) for column in ("observed", "prediction")} if names else {}
    corrected = [
        _corrected(results, name, labels["observed"][name], labels["prediction"][name]) for name in table.scenario
    ]
    table[["corrected", "low", "high"]] = np.array(corrected, np.float64).reshape(-1, 3)
    return table


def _corrected(
    results: "Results", scenario: str, observed: np.ndarray, predicted: np.ndarray
) -> tuple[float, float, float]:
    """The accuracy that the known noise allows to conclude, with its interval; NaN where it allows nothing."""
    stages = results.manifest["stages"]
    settings = results.manifest["scenarios"][scenario]["settings"]
    noises = [(stage, value) for stage, value in settings if stages[stage]["family"] == "labels"]
    nothing = float("nan"), float("nan"), float("nan")
    if len(noises) != 1 or scenario in results._weights:
        return nothing
    ((stage, value),) = noises
    transition = stages[stage]["transitions"].get(f"{value:.9g}")
    if transition is None:
        return nothing
    known = predicted >= 0
    try:
        label.corrected_accuracy(predicted[known].astype(int), observed[known].astype(int), transition)
    except ArgumentError:  # noise that hardly leaves the classes apart
        return nothing
    terms = np.linalg.inv(transition)[observed.astype(int), predicted.astype(int)]
    found = measure.paired_bootstrap(np.where(known, terms, 0.0)[None], binary=False)
    return float(found.mean[0]), float(found.low[0]), float(found.high[0])


def _parts_of(
    results: "Results", scenario: str, scores: np.ndarray, values: np.ndarray
) -> tuple[measure.GroupAccuracy, ...]:
    """The accuracy of each slice, with its interval; weighted within the slice where the scenario is."""
    if scenario not in results._weights:
        return measure.worst_group(scores, values).groups
    raw, weights, found = results._plain("score", [scenario])[scenario], results._weights[scenario], []
    for name in np.unique(values):
        inside = values == name
        if not weights[:, inside].sum():
            continue  # the drift leaves nobody of this group
        own = linearised(raw[:, inside], weights[:, inside])
        mean = measure.paired_bootstrap(own[None], binary=False)
        n = int(mean.n_examples[0])
        low, high = (float(np.clip(bound[0], 0, 1)) for bound in (mean.low, mean.high))
        found.append(measure.GroupAccuracy(name.item(), float(mean.mean[0]), low, high, n, too_small=n < 10))
    return tuple(found)
