"""What each section of the report shows: the tables' numbers, written out, and their figures."""

import math
from typing import Any

import numpy as np
import pandas as pd

from sensijax.campaign import Results, strongest_of
from sensijax.report import _figures, _numbers, _tables, _words

MOST_ROWS = 1000
"""Rows of the full table that are written out: a file that a browser opens at once."""

LEAST_R2 = -1.0
"""R^2 has no floor: what falls further is cut off rather than letting it flatten every other panel."""

_MOST_GROUPS, _MOST_CLASSES, _MOST_PAIRS = 14, 6, 10


def tiles(results: Results, perturbed: pd.DataFrame, units: _numbers.Units) -> list[tuple[str, str, str, str]]:
    """The four numbers at the top: (title, value, what is below it, verdict)."""
    score, low, high = results.baseline()
    found = [(f"Clean {units.score_name}", units.score(score), f"{units.interval(low, high)}", "")]
    for verdict, meaning in (
        ("robust", "loss within the tolerance"),
        ("undecided", "too few data to say"),
        ("fragile", "loss above the tolerance"),
    ):
        found.append(
            (f"{verdict.capitalize()} scenarios", f"{int((perturbed.verdict == verdict).sum()):,}", meaning, verdict)
        )
    return found


def ranking(results: Results, stages: pd.DataFrame, units: _numbers.Units) -> list[dict[str, Any]]:
    """The rows of the ranked table."""
    tolerance = results.manifest["tolerance"]
    scale = _scale(stages, tolerance)
    rows = []
    for row in stages.itertuples():
        robust_to = "all" if row.robust == row.settings else f"{row.robust_to:g}" if row.robust_to > 0 else "–"
        rows.append(
            {
                "stage": row.stage,
                "kind": row.kind if _plain(row.kind) != _plain(row.stage) else "",
                "loss": units.number(row.mean_drop),
                "interval": units.interval(row.low, row.high),
                "bar": _figures.interval_bar(
                    row.mean_drop,
                    row.low,
                    row.high,
                    scale=scale,
                    mark=tolerance,
                    label=(f"{units.loss(row.mean_drop)}, interval {units.interval(row.low, row.high)}"),
                ),
                "worst": units.number(row.worst_drop),
                "worst_interval": units.interval(row.worst_low, row.worst_high),
                "worst_at": _numbers.digits(row.worst_at, 6),
                "breaks_at": _numbers.digits(row.breaks_at, 6),
                "robust_to": robust_to,
                "flips": _numbers.percent(getattr(row, "flip_rate", math.nan)),
                "verdicts": list(
                    _tables.singles(results, row.stage)[["severity", "verdict"]].itertuples(index=False, name=None)
                ),
                "missing": row.settings - row.finished,
            }
        )
    return rows


def _scale(stages: pd.DataFrame, tolerance: float) -> tuple[float, float]:
    low = np.nanmin([0.0, *stages.low, *stages.mean_drop])
    high = np.nanmax([tolerance, *stages.high, *stages.mean_drop])
    return float(low), float(high)


def curves(results: Results, stages: pd.DataFrame, units: _numbers.Units) -> list[dict[str, Any]]:
    """A panel for each stage that ran alone."""
    manifest, clean = results.manifest, results.scenarios()[results.metric].iloc[0]
    points = {stage: _tables.curve_points(results, stage) for stage in stages.stage}
    if not points:
        return []
    values = np.concatenate([p[["score", "low", "high"]].to_numpy().ravel() for p in points.values()])
    lowest = float(np.nanmin([clean - manifest["tolerance"], *values]))
    if results.metric == "accuracy":
        ylim = max(0.0, min(math.floor(lowest * 20 - 0.2) / 20, 0.9)), 1.0
    else:  # R^2 has no floor: what falls far is cut off rather than letting it flatten every other panel
        ylim = max(lowest - 0.03, LEAST_R2), float(np.nanmax([clean, *values])) + 0.02
    axes = {stage: manifest["stages"][stage]["axis"] for stage in points}
    found = []
    for row in stages.itertuples():
        # Severities share one axis; a parameter's own axis has its own range.
        alike = (
            [p.x for s, p in points.items() if axes[s] == axes[row.stage]]
            if axes[row.stage] == "severity"
            else [points[row.stage].x]
        )
        low, high = float(min(x.min() for x in alike)), float(max(x.max() for x in alike))
        own = points[row.stage]
        found.append(
            {
                "stage": row.stage,
                "about": manifest["stages"][row.stage]["about"].replace("`", ""),
                "svg": _figures.curve(
                    own,
                    clean=clean,
                    tolerance=manifest["tolerance"],
                    axis=axes[row.stage],
                    xlim=(low, high if high > low else low + 1),
                    ylim=ylim,
                    units=units,
                    name=f"curve-{len(found)}",
                    label=_figures.describe(own, units, row.stage),
                ),
            }
        )
    return found


def pairs(results: Results, interactions: pd.DataFrame, units: _numbers.Units) -> dict[str, Any] | None:
    """The heatmap and the strongest interactions; None if no pair can be measured."""
    significant = _words.significant(interactions) if len(interactions) else pd.Series(dtype=bool)
    matrices = _tables.pair_matrices(interactions, significant, list(results.manifest["stages"]))
    if matrices is None:
        return None
    several, names = matrices.pop("several"), matrices["stages"]
    top = interactions[:_MOST_PAIRS]
    reach = float(np.nanmax(np.abs(top[["low", "high", "interaction"]].to_numpy()), initial=1e-9))
    settings = {*interactions.at_first, *interactions.at_second}
    axes = {stage["axis"] for name, stage in results.manifest["stages"].items() if name in names}
    at = _numbers.setting(axes.pop(), settings.pop()) if len(settings) == len(axes) == 1 else None
    return {
        "count": len(interactions),
        "several": several,
        "at": at,
        "k": len(names),
        "found": int(significant.sum()),
        "svg": _figures.heatmap(
            **matrices,
            units=units,
            name="pairs",
            label=(
                f"Matrix of {len(interactions)} pairs of {len(names)} stages; the table below lists the strongest "
                f"interactions"
            ),
        ),
        "rows": [
            {
                "first": row.first,
                "second": row.second,
                "at": f"{row.at_first:g}" if row.at_first == row.at_second else f"{row.at_first:g}, {row.at_second:g}",
                "drop_first": units.number(row.drop_first),
                "drop_second": units.number(row.drop_second),
                "drop_pair": units.number(row.drop_pair),
                "interaction": units.signed(row.interaction),
                "interval": units.interval(row.low, row.high),
                "p": _numbers.p_value(row.p_holm),
                "significant": bool(significant[row.Index]),
                "bar": _figures.interval_bar(
                    row.interaction,
                    row.low,
                    row.high,
                    scale=(-reach, reach),
                    mark=None,
                    label=(f"{units.loss(row.interaction)}, interval {units.interval(row.low, row.high)}"),
                ),
            }
            for row in top.itertuples()
        ],
    }


def mode(results: Results, scenario: str, units: _numbers.Units) -> dict[str, Any]:
    """How one scenario goes wrong: confusions, and the classes named more or less often."""
    shift = results.distribution_shift(scenario)
    fact = results.scenarios().set_index("scenario").loc[scenario]
    change = np.nan_to_num(shift.change)
    largest = [int(k) for k in np.argsort(-np.abs(change), kind="stable")[:_MOST_CLASSES] if change[k]]
    most = float(np.max(np.abs(change), initial=1e-9))
    return {
        "scenario": scenario,
        "score": units.score(fact.accuracy),
        "flips": _numbers.percent(fact.flip_rate),
        "confusions": [
            {
                "label": _class(results, c.label),
                "predicted": _class(results, c.predicted),
                "clean": f"{c.clean_count:,}",
                "count": f"{c.count:,}",
                "share": _numbers.percent(c.share),
            }
            for c in results.error_modes(scenario).itertuples()
        ],
        "shift": _numbers.percent(shift.total_variation),
        "classes": [
            {
                "name": _class(results, k),
                "clean": _numbers.percent(shift.clean[k]),
                "perturbed": _numbers.percent(shift.perturbed[k]),
                "change": units.signed(change[k]),
                "bar": _figures.change_bar(change[k], most=most, label=f"{units.signed(change[k])} points"),
            }
            for k in largest
        ],
    }


def groups(results: Results, stages: pd.DataFrame, units: _numbers.Units) -> dict[str, Any] | None:
    """The groups under the worst stage at the middle of its settings; None if no stage ran alone."""
    if results.metric != "accuracy" or stages.empty:
        return None
    scenario = _tables.middle(results, stages.stage.iloc[0])
    table = results.groups(scenario.scenario)
    ranked = table[~table.small]
    if len(ranked):
        worst = ranked.iloc[0]
        name = _class(results, int(worst.value)) if worst.group == "label" else worst.value
        kind = "the class" if worst.group == "label" else worst.group
        sentence = _words.lowest_group(f"{kind} {name}", worst, scenario.accuracy, units)
    else:
        sentence = "Every group has fewer than 10 examples: too few to rank."
    return {
        "scenario": scenario.scenario,
        "sentence": sentence,
        "overall": units.score(scenario.accuracy),
        "more": max(0, len(table) - _MOST_GROUPS),
        "rows": [
            {
                "group": "class" if g.group == "label" else g.group,
                "value": _class(results, int(g.value)) if g.group == "label" else g.value,
                "n": f"{g.n:,}",
                "small": g.small,
                "score": units.score(g.accuracy),
                "interval": units.interval(g.low, g.high),
                "clean": units.score(g.clean),
                "drop": units.number(g.drop),
                "bar": _figures.interval_bar(
                    g.accuracy,
                    g.low,
                    g.high,
                    scale=(0.0, 1.0),
                    mark=scenario.accuracy,
                    label=(f"{units.score(g.accuracy)}, interval {units.interval(g.low, g.high)}"),
                ),
            }
            for g in table[:_MOST_GROUPS].itertuples()
        ],
    }


def confidence(results: Results, table: pd.DataFrame, units: _numbers.Units) -> dict[str, Any] | None:
    """Confidence beside accuracy, and reliability diagrams, clean and stressed; None for a regression."""
    if table.empty:
        return None
    diagrams = [("clean", "#1f3b57"), *((name, "#a85b00") for name in _told_apart(results, table))]
    return {
        "rows": [
            {
                "scenario": row.scenario,
                "accuracy": units.score(row.accuracy),
                "confidence": units.score(row.confidence),
                "gap": units.signed(row.gap),
                "interval": units.interval(row.low, row.high),
                "ece": units.number(row.ece),
                "sure": row.low > results.manifest["tolerance"],
                "bar": _figures.dumbbell(
                    row.accuracy,
                    row.confidence,
                    label=(f"accuracy {units.score(row.accuracy)}, mean confidence {units.score(row.confidence)}"),
                ),
            }
            for row in table.itertuples()
        ],
        "diagrams": [
            (
                name,
                _figures.reliability(
                    results.reliability(name),
                    colour=colour,
                    name=f"reliability-{i}",
                    label=(f"Reliability diagram of {name}: accuracy against confidence, in 15 bins"),
                ),
            )
            for i, (name, colour) in enumerate(diagrams)
        ],
    }


def _told_apart(results: Results, table: pd.DataFrame) -> list[str]:
    """The scenarios whose reliability is drawn beside the clean one: under stages of several families each family at
    its strongest, by the stage that costs most, and all together; otherwise the least accurate."""
    stages = results.manifest["stages"]
    if len({about["family"] for about in stages.values()}) < 2:
        worst = table.loc[table.accuracy.idxmin()]
        return [worst.scenario] if worst.scenario != "clean" else []
    accuracy = results.scenarios().set_index("scenario").accuracy
    found: dict[str, str] = {}
    for name in strongest_of(results):
        settings = results.manifest["scenarios"][name]["settings"]
        family = stages[settings[0][0]]["family"] if len(settings) == 1 else ""
        if family not in found or accuracy[name] < accuracy[found[family]]:
            found[family] = name
    return list(found.values())


def outputs(results: Results, stages: pd.DataFrame) -> list[dict[str, Any]]:
    """A regression's errors and shifts, clean and under each stage at its strongest."""
    clean = results.scenarios().iloc[0]
    rows = [clean, *(row for stage in stages.stage if (row := _tables.strongest(results, stage)) is not None)]
    return [
        {
            "scenario": row.scenario,
            "r2": _numbers.R2.score(row.r2),
            "mse": _numbers.digits(row.mse, 4),
            "shift": _numbers.digits(row["shift"], 4),
            "nonfinite": f"{int(row.nonfinite_outputs):,}",
        }
        for row in rows
    ]


def robustness(results: Results, stages: pd.DataFrame, units: _numbers.Units) -> str:
    """Robustness beside speed, in two sentences."""
    runs = results.statistics()
    if not runs or stages.empty:
        return ""
    score, low, high = results.baseline()
    kept = float(stages.mean_drop.mean())
    return (
        f"Robustness beside speed: this model scores {units.score(score)} on clean inputs "
        f"({units.interval(low, high)}) and loses "
        f"{units.number(kept)}{units.long} averaged over its {_numbers.count(len(stages), 'stage')}. "
        f"On {runs[-1]['device']}, {runs[-1]['rows_per_second']:,.0f} perturbed inputs were judged per second, "
        f"perturbation included."
    )


def full_table(scenarios: pd.DataFrame, units: _numbers.Units) -> dict[str, Any]:
    """Every scenario with every number."""
    extra = [
        ("flip_rate", "flips", _numbers.percent),
        ("nll", "NLL", _numbers.fixed),
        ("brier", "Brier", _numbers.fixed),
        ("ece", "ECE", _numbers.percent),
        ("confidence", "confidence", _numbers.percent),
        ("entropy", "entropy", _numbers.fixed),
        ("kl", "KL", _numbers.fixed),
        ("mse", "MSE", _numbers.fixed),
        ("shift", "shift", _numbers.fixed),
    ]
    extra = [(column, head, written) for column, head, written in extra if column in scenarios]
    metric = "accuracy" if "accuracy" in scenarios else "r2"
    return {
        "heads": [head for _, head, _ in extra],
        "rows": [
            [
                row.scenario,
                units.score(row[metric]),
                units.number(row["drop"]),
                "–" if row.scenario == "clean" else units.interval(row.low, row.high),
                _numbers.p_value(row.p_holm),
                row.verdict,
                *(written(row[column]) for column, _, written in extra),
                f"{int(row.n):,}",
                f"{int(row.nonfinite_outputs):,}",
            ]
            for _, row in scenarios[:MOST_ROWS].iterrows()
        ],
    }


def _class(results: Results, k: int) -> str:
    names = results.manifest["model"]["classes"]
    return "no prediction" if k < 0 else names[k] if names else f"class {k}"


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
