"""Two runs side by side, paired: the same examples under the same perturbations, with the same random draws."""

import numpy as np
import pandas as pd

from sensijax import measure
from sensijax.campaign.results._results import Results
from sensijax.core.errors import ArgumentError


def compare(a: Results, b: Results) -> pd.DataFrame:
    """Compares two runs (two models, say), scenario by scenario.

    Rows are paired by scenario, seed and example's id; a scenario is the same only if its stages and parameters are.

    Args:
      a: the first run.
      b: the second run.

    Returns:
      Columns: scenario, a and b (accuracy or R^2), difference (b - a; above 0 the second is better) with its interval
      (low, high), p_value (no difference), p_holm (corrected over all scenarios), drop_a, drop_b. Strongest difference
      first. `.attrs["left_out"]` lists the scenarios that only one of the runs has, or has otherwise.

    Raises:
      ArgumentError: if the runs have no scenario, no seed or no example in common, or are of different tasks.
    """
    if a.metric != b.metric:
        raise ArgumentError("b", b.metric, f"a run of the same task: {a.metric}")
    seeds = [s for s in a.manifest["seeds"] if s in b.manifest["seeds"]]
    same = [
        n
        for n in a.scenario_names
        if n in b.scenario_names and a.manifest["scenarios"][n]["digest"] == b.manifest["scenarios"][n]["digest"]
    ]
    ids, in_a, in_b = np.intersect1d(a.example_ids, b.example_ids, return_indices=True)
    for name, common in (("scenario", same), ("seed", seeds), ("example", ids)):
        if not len(common):
            raise ArgumentError("b", f"no {name} in common", f"a run that shares {name}s with the first")
    rows_a = [a.manifest["seeds"].index(s) for s in seeds]
    rows_b = [b.manifest["seeds"].index(s) for s in seeds]
    score_a = np.stack([a.scores(n)[np.ix_(rows_a, in_a)] for n in same])
    score_b = np.stack([b.scores(n)[np.ix_(rows_b, in_b)] for n in same])
    difference = measure.paired_bootstrap(score_b - score_a, binary=a.metric == "accuracy")
    mean_a, mean_b = np.nanmean(score_a, axis=(1, 2)), np.nanmean(score_b, axis=(1, 2))
    clean = same.index("clean")
    table = (
        pd.DataFrame(
            {
                "scenario": same,
                "a": mean_a,
                "b": mean_b,
                "difference": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "p_value": difference.p_value,
                "p_holm": measure.holm(difference.p_value),
                "drop_a": mean_a[clean] - mean_a,
                "drop_b": mean_b[clean] - mean_b,
            }
        )
        .sort_values("difference", key=np.abs, ascending=False, kind="stable")
        .reset_index(drop=True)
    )
    table.attrs["left_out"] = sorted(
        set(a.scenario_names) ^ set(b.scenario_names) | (set(a.scenario_names) & set(b.scenario_names)) - set(same)
    )
    table.attrs["examples"], table.attrs["seeds"] = len(ids), seeds
    return table
