"""The section on stressors of several families at once: alone, in pairs, all together; and what wrong labels hide."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from sensijax.campaign import Results
from sensijax.report import _annotators, _figures, _numbers, _stress_figures
from sensijax.report._words import Sentence, significant

FAMILIES = {
    "attack": "an adversary",
    "drift": "a drift of the distribution",
    "labels": "wrong labels",
    "perturbation": "a perturbation",
}
MOST_SLICES, MOST_EFFECTS = 6, 16


def section(results: Results, units: _numbers.Units) -> dict[str, Any] | None:
    """What is shown where stages of several families ran, or three stages or more together; else None.

    Args:
      results: of the campaign.
      units: of scores and losses.
    """
    stages = results.manifest["stages"]
    families = {about["family"] for about in stages.values()}
    most = max((len(results.manifest["scenarios"][name]["settings"]) for name in results.scenario_names), default=0)
    if not families & {"drift", "labels"} and most < 3:
        return None
    profile, effects = results.profile(), results.effects(max(most, 1), averaged=True)
    effects = effects.assign(clear=_clear(effects))
    scored = profile[profile.order > 0]
    return {
        "headline": _headline(effects, units),
        "families": [
            (name, FAMILIES[about["family"]], about["kind"], about["about"]) for name, about in stages.items()
        ],
        "story": [_story(effects, size, units) for size in sorted(set(scored.order))],
        "stages": _stage_rows(scored, units),
        "effects": _effect_rows(effects, units),
        "radar": _stress_figures.radar([profile], name="profile", label=_said(scored)) if len(profile) > 2 else None,
        "slices": _slices(results, units),
        "annotation": _annotation(results, units) if results.metric == "accuracy" else None,
        "power": _power(effects, units),
    }


def _headline(effects: pd.DataFrame, units: _numbers.Units) -> Sentence | None:
    """One sentence on what happens when everything comes together; None where no three stages ran together."""
    if effects.empty or (most := int(effects.order.max())) < 3:
        return None
    last = effects[effects.order == most].iloc[0]
    alone = effects[(effects.order == 1) & effects.stages.isin(last.stages.split(" x "))]
    total = float(alone.effect.sum())
    lead = f"All {most} together cost {units.number(last['drop'])}{units.long}."
    pairs = effects[(effects.order == 2) & effects.clear]
    what = (
        f"The {most} alone add up to {units.number(total)}. "
        + (
            f"What pairs do beyond their sum is settled for {_numbers.listed(_written(pairs.stages))}"
            if len(pairs)
            else "No pair is shown to do more or less than its sum"
        )
        + f"; what only all {most} do together is "
        + (f"{units.signed(last.effect)}" if last.clear else "not told from nothing")
        + f" ({units.interval(last.low, last.high)})."
    )
    return lead, what


def _written(stages: Iterable[str]) -> list[str]:
    """Sets of stages, as print has them."""
    return [names.replace(" x ", " × ") for names in stages]


def _clear(effects: pd.DataFrame) -> pd.Series:
    return significant(effects.rename(columns={"effect": "interaction"})) if len(effects) else pd.Series(dtype=bool)


def _story(effects: pd.DataFrame, size: int, units: _numbers.Units) -> dict[str, str]:
    """One step of the story: alone, pairs, three together, ..."""
    part = effects[effects.order == size]
    title = {1: "Alone", 2: "In pairs"}.get(size, f"All {size} together" if size == effects.order.max() else f"{size}")
    if part.empty:
        return {"title": title, "text": "Some smaller combination did not run, so nothing can be told apart here."}
    worst = part.loc[part["drop"].idxmax()]
    if size == 1:
        text = f"Costliest is {worst.stages}: {units.number(worst['drop'])}{units.long} averaged over its settings."
        free = part[~part.clear]
        if len(free):
            text += f" Not shown to cost anything: {_numbers.listed(free.stages.tolist())}."
        return {"title": title, "text": text}
    clear = part[part.clear]
    text = f"Costliest is {_written([worst.stages])[0]}: {units.number(worst['drop'])}{units.long} in all. "
    if clear.empty:
        text += "Nothing is shown beyond the sum of what its parts explain."
    else:
        effects = zip(_written(clear.stages), clear.effect, strict=True)
        said = [f"{stages} ({units.signed(effect)})" for stages, effect in effects]
        text += f"Beyond what their parts explain: {_numbers.listed(said)}."
    return {"title": title, "text": text}


def _stage_rows(profile: pd.DataFrame, units: _numbers.Units) -> list[dict[str, Any]]:
    low = min(0.0, float(profile.low.min()), float(profile.worst.min()))
    return [
        {
            "axis": row.axis,
            "scenarios": row.scenarios,
            "retained": _numbers.percent(row.retained),
            "interval": f"{_numbers.percent(row.low)} to {_numbers.percent(row.high)}",
            "worst": _numbers.percent(row.worst),
            "worst_scenario": row.worst_scenario,
            "bar": _figures.interval_bar(
                row.retained,
                row.low,
                row.high,
                scale=(low, max(1.0, float(profile.high.max()))),
                mark=1.0,
                label=f"{_numbers.percent(row.retained)} of the clean score kept",
            ),
        }
        for row in profile.itertuples()
    ]


def _effect_rows(effects: pd.DataFrame, units: _numbers.Units) -> list[dict[str, Any]]:
    top = effects[:MOST_EFFECTS]
    reach = float(np.nanmax(np.abs(top[["low", "high", "effect"]].to_numpy()), initial=1e-9))
    return [
        {
            "order": row.order,
            "stages": _written([row.stages])[0],
            "drop": units.number(row.drop),
            "effect": units.signed(row.effect),
            "interval": units.interval(row.low, row.high),
            "p": _numbers.p_value(row.p_holm),
            "significant": bool(row.clear),
            "bar": _figures.interval_bar(
                row.effect, row.low, row.high, scale=(-reach, reach), mark=None, label=f"{units.loss(row.effect)}"
            ),
        }
        for row in top.itertuples()
    ]


def _power(effects: pd.DataFrame, units: _numbers.Units) -> str:
    """What this campaign could have seen of the highest order."""
    if effects.empty or effects.order.max() < 2:
        return ""
    last = effects[effects.order == effects.order.max()]
    half = float((last.high - last.low).max()) / 2
    size = {2: "of two stages", 3: "of three stages"}.get(int(last.order.iloc[0]), f"of {last.order.iloc[0]} stages")
    return (
        f"The intervals of the effects {size} reach {units.number(half)}{units.long} to either side: "
        "a smaller one would not have been seen here."
    )


def _slices(results: Results, units: _numbers.Units) -> Any:
    """The score over two stages, a panel for each setting of a third."""
    stages = list(results.manifest["stages"])
    cells = {
        tuple((stage, value) for stage, value in about["settings"]): results.scores(name)
        for name, about in results.manifest["scenarios"].items()
        if name in set(results.scenario_names)
    }
    whole = [key for key in cells if len(key) >= 2]
    if not whole:
        return None
    three = max(
        itertools.combinations(stages, min(3, len(stages))),
        key=lambda names: sum({stage for stage, _ in key} <= set(names) for key in whole),
    )
    axes = [
        sorted({0.0, *(value for key in cells for stage, value in key if stage == name)})
        if results.manifest["stages"][name]["identity"] == 0
        else sorted({results.manifest["stages"][name]["identity"], *(v for k in cells for s, v in k if s == name)})
        for name in three
    ]
    last = axes[2][:MOST_SLICES] if len(three) == 3 else [None]
    grids = []
    for slice_at in last:
        grid = np.full((len(axes[0]), len(axes[1])), np.nan)
        for i, j in itertools.product(range(len(axes[0])), range(len(axes[1]))):
            chosen = [(three[0], axes[0][i]), (three[1], axes[1][j])]
            chosen += [(three[2], slice_at)] if slice_at is not None else []
            key = tuple((s, v) for s, v in chosen if v != results.manifest["stages"][s]["identity"])
            if key in cells:
                grid[i, j] = float(np.nanmean(cells[key]))
        grids.append(grid)
    titles = [f"{three[2]} at {value:g}" for value in last if value is not None] or [""]
    return {
        "svg": _stress_figures.slices(
            grids,
            titles,
            three[:2],
            axes[:2],
            units=units,
            name="slices",
            label=f"{units.score_name} over {three[0]} and {three[1]}"
            + (f", by {three[2]}" if len(three) == 3 else ""),
        ),
        "rows": three[0],
        "columns": three[1],
        "panels": three[2] if len(three) == 3 else None,
    }


def _annotation(results: Results, units: _numbers.Units) -> dict[str, Any] | None:
    """What wrong labels hide: measured beside true accuracy, and who is taken for whom."""
    noisy = [name for name, about in results.manifest["stages"].items() if about["family"] == "labels"]
    table = results.annotation()
    table = table[table.wrong_labels > 0]
    if not noisy or table.empty:
        return None
    names = results.manifest["scenarios"]
    alone = [name for name in table.scenario if len(names[name]["settings"]) == 1]
    shown = table[table.scenario.isin(alone)] if alone else table[:8]
    worst = shown.loc[shown.wrong_labels.idxmax()].scenario
    counts = results.sql(
        "select target, observed, sum(weight) as n from responses "
        f"where scenario = '{worst}' group by all order by all"  # a scenario's name holds no quote
    )
    k = results.manifest["model"]["outputs"]
    matrix = np.zeros((k, k))
    matrix[counts.target.to_numpy(), counts.observed.to_numpy()] = counts.n.to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
    classes = results.manifest["model"]["classes"] or [str(i) for i in range(k)]
    agree = _annotators.agreements(results)
    return {
        "rows": [
            {
                "scenario": row.scenario,
                "wrong": _numbers.percent(row.wrong_labels),
                "measured": units.score(row.measured),
                "true": units.score(row.true),
                "gap": units.signed(row.gap),
                "alpha": _annotators.coefficient(alpha[0]) if alpha is not None else "–",
                "alpha_interval": _annotators.interval(alpha[1], alpha[2]) if alpha is not None else "",
                "corrected": "–" if np.isnan(row.corrected) else units.score(row.corrected),
                "interval": "" if np.isnan(row.corrected) else units.interval(row.low, row.high),
                "bar": _figures.dumbbell(
                    row.true,
                    row.measured,
                    label=f"true accuracy {units.score(row.true)}, measured {units.score(row.measured)}",
                ),
            }
            for row, alpha in ((row, agree.get(row.scenario)) for row in shown.itertuples())
        ],
        "agreed": any(name in agree for name in shown.scenario),
        "panels": _annotators.panels(results, classes),
        "scenario": worst,
        "svg": _stress_figures.confusion(
            matrix, classes, name="annotators", label=f"Share of each true class that was written down as each: {worst}"
        )
        if k <= 20
        else None,
    }


def _said(profile: pd.DataFrame) -> str:
    return "; ".join(f"{row.axis}: {_numbers.percent(row.retained)} kept" for row in profile.itertuples())
