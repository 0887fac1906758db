"""What the sections of the report show, as plain tables: results in, data frames out."""

import math
from typing import Any

import numpy as np
import pandas as pd

from sensijax import measure
from sensijax.campaign import Results


def planned(manifest: dict[str, Any], stage: str) -> dict[str, float]:
    """The scenarios in which a stage is alone, and their settings: all of the plan's, finished or not."""
    return {
        name: s["settings"][0][1]
        for name, s in manifest["scenarios"].items()
        if [x for x, _ in s["settings"]] == [stage]
    }


def stage_table(results: Results) -> pd.DataFrame:
    """The ranking, with what each stage's settings come to.

    Returns:
      The columns of `Results.ranking`, and: axis, settings (planned, without the identity), finished, robust, fragile,
      undecided (how many of them), nonfinite (whether the verdict is fragile because of outputs that are not finite),
      top (the largest planned), worst_scenario and its interval (worst_low, worst_high).
    """
    table = results.ranking()
    rows = []
    for row in table.itertuples():
        alone = singles(results, row.stage)
        known = alone.dropna(subset=["drop"])
        worst = known.loc[known["drop"].idxmax()] if len(known) else None
        settings = planned(results.manifest, row.stage)
        rows.append(
            {
                "axis": results.manifest["stages"][row.stage]["axis"],
                "settings": len(settings),
                "finished": len(alone),
                **{verdict: int((alone.verdict == verdict).sum()) for verdict in ("robust", "fragile", "undecided")},
                "nonfinite": results.metric == "r2" and bool((alone.nonfinite_outputs > 0).any()),
                "top": max(settings.values(), default=math.nan),
                "worst_scenario": "" if worst is None else worst.scenario,
                "worst_low": math.nan if worst is None else worst.low,
                "worst_high": math.nan if worst is None else worst.high,
            }
        )
    columns = [
        "axis",
        "settings",
        "finished",
        "robust",
        "fragile",
        "undecided",
        "nonfinite",
        "top",
        "worst_scenario",
        "worst_low",
        "worst_high",
    ]
    return table.join(pd.DataFrame(rows, columns=columns))


def singles(results: Results, stage: str) -> pd.DataFrame:
    """The finished scenarios in which a stage is alone, by setting."""
    table = results.curve(stage)
    return table[table.scenario != "clean"].reset_index(drop=True)


def strongest(results: Results, stage: str) -> pd.Series | None:
    """A stage's finished scenario at the highest severity (on another axis: with the largest loss); None if there is
    none."""
    alone = singles(results, stage)
    if alone.empty:
        return None
    if results.manifest["stages"][stage]["axis"] == "severity" or alone["drop"].isna().all():
        return alone.iloc[-1]
    return alone.loc[alone["drop"].idxmax()]


def middle(results: Results, stage: str) -> pd.Series:
    """A stage's finished scenario in the middle of its settings."""
    alone = singles(results, stage)
    return alone.iloc[(len(alone) - 1) // 2 if len(alone) % 2 else len(alone) // 2]


def curve_points(results: Results, stage: str) -> pd.DataFrame:
    """A stage's curve for a figure: x, score, the bounds of the score (low, high), verdict; the clean point included.

    The score's bounds are the clean score minus the bounds of the loss, so that a marker's verdict can be read off: the
    whole band above the tolerance's line is robust, below it fragile.
    """
    table = results.curve(stage)
    score = table.loc[table.scenario == "clean", results.metric].iloc[0]
    points = pd.DataFrame(
        {
            "x": table.severity,
            "score": table[results.metric],
            "low": score - table.high,
            "high": score - table.low,
            "verdict": table.verdict,
        }
    )
    return points.sort_values("x", kind="stable").reset_index(drop=True)


def confidence_table(results: Results, stages: list[str]) -> pd.DataFrame:
    """Confidence against accuracy: clean, then each stage at its strongest.

    Returns:
      Columns: where, scenario, accuracy, confidence, ece, and the gap confidence - accuracy with its 95 % interval
      (low, high) over examples and seeds; empty for a regression. Rows whose output is not finite have no confidence:
      an example with one is left out of the gap.
    """
    columns = ["where", "scenario", "accuracy", "confidence", "ece", "gap", "low", "high"]
    if results.metric != "accuracy":
        return pd.DataFrame(columns=columns)
    table = results.scenarios().set_index("scenario")
    chosen = {"clean": "clean"} | {
        row.scenario: row.scenario for s in stages if (row := strongest(results, s)) is not None
    }
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in chosen)
    rows = results.sql(
        f"select scenario, seed, example, case when status = 'ok' then confidence - correct::double end as gap "
        f"from responses where scenario in ({quoted}) order by seed, example"
    )
    found = []
    for scenario, own in rows.groupby("scenario", sort=False):
        gaps = own.pivot(index="seed", columns="example", values="gap").to_numpy(np.float64)
        gap = measure.paired_bootstrap(gaps, binary=False)
        fact = table.loc[scenario]
        found.append(
            {
                "where": chosen[scenario],
                "scenario": scenario,
                "accuracy": fact.accuracy,
                "confidence": fact.confidence,
                "ece": fact.ece,
                "gap": float(gap.mean),
                "low": float(gap.low),
                "high": float(gap.high),
            }
        )
    order = {name: i for i, name in enumerate(chosen)}
    return (
        pd.DataFrame(found, columns=columns).sort_values("scenario", key=lambda s: s.map(order)).reset_index(drop=True)
    )


def worst_scenarios(results: Results, stages: pd.DataFrame, most: int = 3) -> list[str]:
    """The worst setting of each of the stages that cost most, where its loss is above 0 for certain.

    Not of stages that change no answer, but only what it is compared with.
    """
    flips = results.scenarios().set_index("scenario").flip_rate
    certain = stages[(stages.worst_low > 0) & (stages.worst_scenario.map(flips).fillna(0) > 0)]
    return list(certain.sort_values("worst_drop", ascending=False, kind="stable").worst_scenario[:most])


def pair_matrices(interactions: pd.DataFrame, significant: pd.Series, order: list[str]) -> dict[str, Any] | None:
    """The pairs as matrices over the stages that take part, for the heatmap; None if there is no pair.

    Where a pair ran at several settings, the highest one is taken.
    """
    if interactions.empty:
        return None
    table = interactions.assign(significant=significant, sum=interactions.at_first + interactions.at_second)
    table = table.sort_values("sum", kind="stable").drop_duplicates(["first", "second"], keep="last")
    names = [s for s in order if s in {*table["first"], *table["second"]}]
    place = {name: i for i, name in enumerate(names)}
    k = len(names)
    alone, pair, effect, marked = (
        np.full(k, np.nan),
        np.full((k, k), np.nan),
        np.full((k, k), np.nan),
        np.zeros((k, k), bool),
    )
    for row in table.itertuples():
        i, j = place[row.first], place[row.second]
        alone[i], alone[j] = row.drop_first, row.drop_second
        at = min(i, j), max(i, j)
        pair[at], effect[at], marked[at] = row.drop_pair, row.interaction, row.significant
    return {
        "stages": names,
        "alone": alone,
        "pair": pair,
        "interaction": effect,
        "significant": marked,
        "several": len(table) < len(interactions),
    }
