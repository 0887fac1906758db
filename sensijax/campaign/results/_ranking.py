"""The stages, worst first: what each does alone, averaged over its settings."""

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from sensijax.campaign.results._results import Results


def ranking_of(results: "Results") -> pd.DataFrame:
    """The table behind `Results.ranking`."""
    rows = []
    for stage, about in results.manifest["stages"].items():
        alone = results.curve(stage)
        alone = alone[alone.scenario != "clean"]
        if alone.empty:
            continue
        mean = results._drops([list(alone.scenario)])
        worst = alone.loc[alone["drop"].fillna(-np.inf).idxmax()]
        verdicts = dict(zip(alone.severity, alone.verdict, strict=True))
        in_order = sorted(set(about["values"]) - {about["identity"]}, key=lambda value: abs(value - about["identity"]))
        robust = list(itertools.takewhile(lambda value: verdicts.get(value) == "robust", in_order))  # noqa: B023 - used here alone
        rows.append(
            {
                "stage": stage,
                "kind": about["kind"],
                "mean_drop": mean.mean[0],
                "low": mean.low[0],
                "high": mean.high[0],
                "worst_drop": worst["drop"],
                "worst_at": worst.severity,
                "breaks_at": next((value for value in in_order if verdicts.get(value) == "fragile"), np.nan),
                "robust_to": robust[-1] if robust else np.nan,
                **({"flip_rate": alone.flip_rate.mean()} if "flip_rate" in alone else {}),
            }
        )
    columns = ["stage", "kind", "mean_drop", "low", "high", "worst_drop", "worst_at", "breaks_at", "robust_to"]
    if not rows:
        return pd.DataFrame(columns=columns)
    table = pd.DataFrame(rows).sort_values("mean_drop", ascending=False, kind="stable", na_position="first")
    return table.reset_index(drop=True)
