"""The table of scenarios: score, drop, verdict and the means of every response."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sensijax import measure

if TYPE_CHECKING:
    from sensijax.campaign.results._results import Results


def summary_of(results: "Results") -> pd.DataFrame:
    """The table behind `Results.scenarios`."""
    names = list(results._complete)
    facts = _facts(results).set_index("scenario").reindex(names)
    drops = results._drops([[name] for name in names])
    tolerance = results.manifest["tolerance"]
    table = pd.DataFrame(
        {
            "scenario": names,
            "stages": ["+".join(stage for stage, _ in results._complete[n]["settings"]) or "clean" for n in names],
            "severity": [results._complete[n]["severity"] for n in names],
            results.metric: [_mean(results._scores[n]) for n in names],
            "drop": drops.mean,
            "low": drops.low,
            "high": drops.high,
            "p_value": drops.p_value,
        }
    )
    perturbed = table.scenario != "clean"
    table["p_holm"] = np.nan
    if perturbed.any():
        table.loc[perturbed, "p_holm"] = measure.holm(table.p_value[perturbed].to_numpy())
    table["verdict"] = [
        measure.verdict(low, high, tolerance).value for low, high in zip(table.low, table.high, strict=True)
    ]
    for column in facts.columns:
        table[column] = facts[column].to_numpy()
    table.loc[table.nonfinite_outputs > 0, "verdict"] = (
        measure.Verdict.FRAGILE.value if results.metric == "r2" else table.verdict
    )
    # Against itself the baseline loses nothing, and there is nothing to test.
    table.loc[~perturbed, ["low", "high"]] = 0.0
    table.loc[~perturbed, "p_value"] = np.nan
    table.loc[~perturbed, "verdict"] = ""
    return table


def _facts(results: "Results") -> pd.DataFrame:
    if results.metric == "r2":
        return results._connection.sql(
            "select scenario, sum(weight * loss) / sum(weight) filter (where loss is not null) as mse, "
            "sum(weight * shift) / sum(weight) filter (where shift is not null) as shift, "
            "count(*) filter (status <> 'nonfinite_input') as n, "
            "count(*) filter (status = 'nonfinite_output') as nonfinite_outputs, "
            "count(*) filter (status = 'nonfinite_input') as nonfinite_inputs from responses group by scenario"
        ).df()
    return pd.DataFrame(
        [
            {
                "scenario": name,
                "flip_rate": t.flip_rate,
                "nll": t.nll,
                "brier": t.brier,
                "ece": t.ece,
                "confidence": t.means["confidence"],
                "entropy": t.means["entropy"],
                "kl": t.means["kl"],
                "n": t.n,
                "nonfinite_outputs": t.n_nonfinite_output,
                "nonfinite_inputs": t.n_nonfinite_input,
            }
            for name, t in results._tallies.items()
        ]
    )


def _mean(scores: np.ndarray) -> float:
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if known.size else float("nan")
