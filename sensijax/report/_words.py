"""The report's sentences: what the tables say, in plain words, and never more than their intervals do.

The rules, each tested on tables made by hand:

- A stage "hurts most" only if no other stage's interval reaches its lower bound; otherwise all that might are named.
- A loss is claimed only where the whole interval lies above 0.
- A stage is "withstood" only if every planned setting is finished and robust; one undecided setting is too much.
- "Breaks" is the verdict fragile: the whole interval lies above the tolerance.
- An interaction is claimed only if it survives Holm's correction and its interval excludes 0.
"""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from sensijax.report._numbers import Units, count, listed, setting

LEVEL = 0.05
"""Below it, a p-value that Holm corrected is called significant."""

Sentence = tuple[str, str]
"""A short claim, and what supports it."""


def headline(
    scenarios: pd.DataFrame,
    stages: pd.DataFrame,
    interactions: pd.DataFrame,
    confidence: pd.DataFrame,
    tolerance: float,
    units: Units,
) -> list[Sentence]:
    """The few sentences that a reader takes away.

    Args:
      scenarios: `Results.scenarios()`.
      stages: `_tables.stage_table`.
      interactions: `Results.interactions()`.
      confidence: `_tables.confidence_table`.
      tolerance: the acceptable loss.
      units: of scores and losses.

    Returns:
      The sentences, the most important first.
    """
    perturbed = scenarios[scenarios.scenario != "clean"]
    if perturbed.empty:
        return [("Nothing was perturbed.", "Only the clean baseline is there, so nothing can be said of robustness.")]
    found = [
        hurts_most(stages, units) if len(stages) else worst_scenario(perturbed, units),
        breaks(stages, tolerance, units),
        withstands(stages, tolerance, units),
        undecided(perturbed, tolerance, units),
        together(interactions, units),
        overconfident(confidence, tolerance, units),
        nonfinite(perturbed),
    ]
    return [sentence for sentence in found if sentence is not None]


def hurts_most(stages: pd.DataFrame, units: Units) -> Sentence:
    """Which stage costs most, or that this is not settled, or that none costs anything for certain."""
    known = stages.dropna(subset=["mean_drop", "low", "high"])
    if known.empty:
        return "Which stage hurts most cannot be said.", "There are too few finite results."
    largest = known.loc[known.mean_drop.idxmax()]
    without = stages.stage[stages.nonfinite]
    rest = f" Outputs that are not finite, under {listed(without)}, have no part in this." if len(without) else ""
    if not (known.low > 0).any():
        return (
            "No stage alone is shown to cost anything.",
            "Every interval of the mean loss reaches down to 0 or below. The largest mean "
            f"is that of {largest.stage}: {_loss(largest.mean_drop, largest.low, largest.high, units)}.{rest}",
        )
    rivals = known[known.high >= known.low.max()]
    if len(rivals) > 1:
        return (
            "Which stage hurts most is not settled.",
            f"The intervals of {listed(rivals.stage)} overlap. The largest mean is that of "
            f"{largest.stage}: {_averaged(largest)} {_loss(largest.mean_drop, largest.low, largest.high, units)}"
            f"{_worst(largest, units)}.{rest}",
        )
    worst = rivals.iloc[0]
    most = "hurts most" if len(known) > 1 else "hurts"
    return (
        f"{_capital(worst.stage)} {most}.",
        f"{_capital(_averaged(worst))} the model loses "
        f"{_loss(worst.mean_drop, worst.low, worst.high, units)}{_worst(worst, units)}.{rest}",
    )


def worst_scenario(perturbed: pd.DataFrame, units: Units) -> Sentence:
    """The scenario with the largest loss, where no stage ran alone."""
    known = perturbed.dropna(subset=["drop", "low", "high"])
    if known.empty:
        return "Which scenario hurts most cannot be said.", "There are too few finite results."
    worst = known.loc[known["drop"].idxmax()]
    if worst.low <= 0:
        return (
            "No loss is certain.",
            f"Even the interval of the largest, that of {worst.scenario}, reaches down to 0 or below.",
        )
    return (
        f"The largest loss observed is {_loss(worst['drop'], worst.low, worst.high, units)}.",
        f"The scenario is {worst.scenario}. It was picked out of {count(len(perturbed), 'scenario')}, which "
        f"exaggerates its loss.",
    )


def breaks(stages: pd.DataFrame, tolerance: float, units: Units) -> Sentence | None:
    """The stages with a fragile setting, and the first one."""
    broken = stages[stages.fragile > 0]
    if broken.empty:
        return None
    who = [
        f"{row.stage} ({'first ' if row.axis == 'severity' else ''}at {setting(row.axis, row.breaks_at)})"
        for row in broken.itertuples()
    ]
    lead = (
        f"{len(broken)} of {count(len(stages), 'stage')} {'breaks' if len(broken) == 1 else 'break'} it."
        if len(broken) < len(stages)
        else f"All {len(stages)} stages break it."
        if len(stages) > 1
        else "The only stage breaks it."
    )
    infinite = ", or outputs are not finite," if broken.nonfinite.any() else ""
    return (
        lead,
        f"The whole interval of the loss lies above the tolerance of {units.tolerance(tolerance)}{infinite} under "
        f"{listed(who, 8)}.",
    )


def withstands(stages: pd.DataFrame, tolerance: float, units: Units) -> Sentence | None:
    """The stages of which every planned setting is finished and robust; and those that are neither broken nor
    withstood."""
    if stages.empty:
        return None
    held = stages[(stages.robust == stages.settings) & (stages.settings > 0)]
    between = stages[(stages.robust < stages.settings) & (stages.fragile == 0)]
    rest = f" Neither broken nor shown to be withstood throughout: {listed(between.stage, 12)}." if len(between) else ""
    within = f"within the tolerance of {units.tolerance(tolerance)}"
    if held.empty:
        return (
            "No stage is withstood throughout.",
            f"None is shown to stay {within} at every setting that was planned.{rest}",
        )
    tops = set(zip(held.axis, held.top, strict=True))
    where = (
        f"at every severity tested, up to {held.top.iloc[0]:g}"
        if len(tops) == 1 and held.axis.iloc[0] == "severity"
        else "at every setting tested"
    )
    lead = (
        f"It withstands {len(held)} of {count(len(stages), 'stage')}."
        if len(held) < len(stages) or len(stages) == 1
        else f"It withstands all {len(stages)} stages."
    )
    return lead, f"The whole interval of the loss stays {within} {where}, under {listed(held.stage, 12)}.{rest}"


def undecided(perturbed: pd.DataFrame, tolerance: float, units: Units) -> Sentence:
    """How many scenarios have no verdict, and what would help."""
    open_ = int((perturbed.verdict == "undecided").sum())
    if not open_:
        return (
            "Every scenario has a verdict.",
            f"All {len(perturbed):,} scenarios are either robust or fragile at the tolerance of "
            f"{units.tolerance(tolerance)}."
            if len(perturbed) > 1
            else "There is one.",
        )
    return (
        f"{open_:,} of {count(len(perturbed), 'scenario')} {'is' if open_ == 1 else 'are'} undecided.",
        f"The tolerance of {units.tolerance(tolerance)} lies within the interval of the loss. More examples (and "
        f"seeds, where a stage "
        "draws at random) would narrow it.",
    )


def together(interactions: pd.DataFrame, units: Units) -> Sentence | None:
    """Whether pairs do more, or less, than the sum of their members."""
    if interactions.empty:
        return None
    clear = interactions[significant(interactions)]
    pairs = count(len(interactions), "pair")
    if clear.empty:
        return (
            "No pair is shown to be more, or less, than the sum of its two members.",
            f"Holm's correction has paid for looking at {pairs}. This is no proof that they add up.",
        )
    top = clear.iloc[0]
    more = top.interaction > 0
    low, high = (top.low, top.high) if more else (-top.high, -top.low)
    return (
        f"{len(clear)} of {pairs} {'does' if len(clear) == 1 else 'do'} not simply add up.",
        f"{'' if len(clear) == 1 else 'Most of all '}{top['first']} followed by {top['second']}: together they cost "
        f"{_loss(abs(top.interaction), low, high, units)} {'more' if more else 'less'} than the sum of what each "
        f"costs alone "
        "(significant after Holm's correction).",
    )


def significant(interactions: pd.DataFrame) -> pd.Series:
    """Which interactions survive Holm's correction, with an interval on one side of 0."""
    return (interactions.p_holm <= LEVEL) & ((interactions.low > 0) | (interactions.high < 0))


def nonfinite(perturbed: pd.DataFrame) -> Sentence | None:
    """The scenarios under which the model returned NaN or an infinity."""
    bad = perturbed[perturbed.nonfinite_outputs > 0]
    if bad.empty:
        return None
    return (
        "Some outputs are not finite.",
        f"Under {count(len(bad), 'scenario')} the model returned NaN or an infinity, "
        f"{count(int(bad.nonfinite_outputs.sum()), 'time')} in all (first under {bad.scenario.iloc[0]}).",
    )


def overconfident(confidence: pd.DataFrame, tolerance: float, units: Units) -> Sentence | None:
    """Whether the model still trusts itself where it is least accurate; said if the excess is above the tolerance for
    certain.

    Args:
      confidence: columns where, accuracy, confidence, gap (confidence - accuracy) with its interval (low, high).
      tolerance: as large an excess is passed over.
      units: of the accuracy.
    """
    known = confidence.dropna(subset=["low", "accuracy"])
    if known.empty:
        return None
    worst = known.loc[known.accuracy.idxmin()]
    if worst.low <= tolerance:
        return None
    return (
        "Where it fails, it does not notice.",
        f"Under {worst['where']} it is right {units.score(worst.accuracy)} of the time with a mean "
        f"confidence of {units.score(worst.confidence)}: {units.number(worst.gap)} points too sure of itself "
        f"({units.interval(worst.low, worst.high)}).",
    )


def lowest_group(name: str, group: Any, overall: float, units: Units) -> str:
    """The group with the lowest accuracy, and whether its interval lies below that of all (accuracy, low, high)."""
    certain = (
        "Its whole interval lies below the overall accuracy."
        if group.high < overall
        else "Its interval reaches the overall accuracy, so this may be chance."
    )
    return (
        f"Lowest is {name}: right {units.score(group.accuracy)} of the time "
        f"({units.interval(group.low, group.high)}), against {units.score(overall)} overall. {certain}"
    )


def tested(manifest: dict, rows: int, scenarios: int) -> tuple[str, str]:
    """Two sentences on what was tested."""
    n_stages, seeds = len(manifest["stages"]), len(manifest["seeds"])
    classes = manifest["model"]["outputs"]
    kind = f"classifier of {classes} classes" if manifest["task"] == "classification" else "regression"
    return (
        f"The model “{manifest['model']['name']}” ({kind}) was tested on "
        f"{count(manifest['data']['examples'], 'example')} of "
        f"“{manifest['data']['name']}”, clean and under {count(n_stages, 'stage')} of perturbation: "
        f"{listed(list(manifest['stages']), 12)}.",
        f"{count(scenarios, 'scenario')} (the clean baseline is one) with {count(seeds, 'seed')} of random draws make "
        f"{count(rows, 'judged input')}.",
    )


def banners(completeness, finished: int, planned: int, nonfinite_inputs: int, examples: int) -> list[tuple[str, str]]:
    """What a reader must know first: (kind, sentence) pairs, kind "alarm" or "note"."""
    found = []
    if not completeness.complete:
        found.append(
            (
                "alarm",
                f"This run is not complete: {finished:,} of {count(planned, 'scenario')} and "
                f"{completeness.tiles:,} of {count(completeness.tiles_total, 'tile')} are finished "
                f"({completeness.rows:,} of {count(completeness.rows_total, 'row')}). Everything below speaks of "
                f"finished "
                "scenarios only; running the campaign again computes the rest.",
            )
        )
    if completeness.damaged:
        found.append(
            (
                "alarm",
                f"{count(len(completeness.damaged), 'part')} of the results did not match "
                f"{'its' if len(completeness.damaged) == 1 else 'their'} digest and {_were(completeness.damaged)} "
                f"moved to quarantine.",
            )
        )
    if completeness.conflicts:
        found.append(
            (
                "alarm",
                f"{count(len(completeness.conflicts), 'tile')} {_were(completeness.conflicts)} computed twice with "
                "different content: the computation is not deterministic. One of the two is shown.",
            )
        )
    if nonfinite_inputs:
        verb, be = ("holds", "is") if nonfinite_inputs == 1 else ("hold", "are")
        found.append(
            (
                "note",
                f"{count(nonfinite_inputs, 'example')} of {examples:,} {verb} NaN or an infinity "
                f"before any perturbation, and {be} left out of every number.",
            )
        )
    if completeness.stale:
        found.append(
            (
                "note",
                f"The folder also holds {count(completeness.stale, 'tile')} of earlier campaigns; they are not used "
                f"here.",
            )
        )
    return found


def limitations(manifest: dict, scenarios: int, pairs: int, drawn: int) -> list[str]:
    """What this run does not show.

    Args:
      manifest: of the campaign.
      scenarios: finished ones, without the clean baseline.
      pairs: of which the interaction was measured.
      drawn: how many of the scenarios ran for more than one seed.
    """
    n, seeds = manifest["data"]["examples"], len(manifest["seeds"])
    if seeds == 1:
        of_seeds = (
            "One seed was drawn. The intervals speak of other examples, and say nothing about how another draw of "
            "the random "
            "perturbations would have turned out."
        )
    else:
        of_seeds = (
            f"{drawn:,} of {count(scenarios, 'scenario')} draw at random and ran for {seeds} seeds; their intervals "
            f"cover the choice "
            "of examples and of "
            f"seeds{', though three or fewer seeds say little about rare draws' if seeds <= 3 else ''}. "
            "The others draw nothing: their intervals cover the choice of examples."
        )
    found = [
        "Every perturbation is synthetic. A model that withstands simulated fog has not been shown to withstand fog.",
        f"The numbers come from {count(n, 'example')} of “{manifest['data']['name']}”. They carry over to inputs of "
        f"the same kind, and "
        "no interval covers data of another kind.",
        of_seeds,
        f"Each interval is a 95% interval for its own scenario. Among {count(scenarios, 'scenario')} about one in "
        f"twenty may miss, and "
        "verdicts rest on these intervals one by one. The p-values marked Holm are corrected over all "
        f"{count(scenarios, 'scenario')}"
        + (f", those of interactions over all {count(pairs, 'pair')}." if pairs else "."),
        "The worst of many is picked after looking, so its loss is exaggerated a little: the ranking's first place, "
        "the worst "
        "setting, the worst group.",
        f"Stages are applied in the order in which they are listed ({listed(list(manifest['stages']), 12)}); in "
        f"another order a pair may "
        "do something else.",
    ]
    if pairs:
        found.insert(
            5,
            "An interaction below 0 can be a ceiling: an example that one stage already costs cannot be lost again "
            "to the "
            "other. It need not mean that one undoes the other.",
        )
    return found


def _loss(value: float, low: float, high: float, units: Units) -> str:
    return f"{units.number(value)}{units.long} ({units.interval(low, high)})"


def _averaged(row) -> str:
    return "averaged over its settings" if row.settings > 1 else f"at {setting(row.axis, row.top)}, the one tested,"


def _worst(row, units: Units) -> str:
    if row.settings < 2 or math.isnan(row.worst_drop) or math.isnan(row.worst_low):
        return ""
    top = ", the highest tested" if row.axis == "severity" and row.worst_at == row.top else ""
    return (
        f", and {units.number(row.worst_drop)} ({units.interval(row.worst_low, row.worst_high)}) at its worst, "
        f"{setting(row.axis, row.worst_at)}{top}"
    )


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _were(things: Iterable) -> str:
    return "was" if len(list(things)) == 1 else "were"
