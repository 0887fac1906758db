"""The section on timelines: a drift in time, what the model did meanwhile, and who noticed."""

import contextlib
import math
from typing import Any

import pandas as pd
from scipy.special import gammainc

from sensijax.campaign import Results
from sensijax.campaign.results._timelines import Watched
from sensijax.core.errors import StoreError
from sensijax.report import _figures, _numbers, _timeline_figures, _timeline_words
from sensijax.report._words import LEVEL, Sentence


def section(results: Results) -> dict[str, Any] | None:
    """What is shown of the timelines that have run; None if there are none.

    Args:
      results: of the campaign.
    """
    watched = []
    for name in results.manifest.get("timelines", {}):  # older folders do not have them
        with contextlib.suppress(StoreError):  # not computed yet
            watched.append(results.timeline(name))
    if not watched:
        return None
    table, partners = results.timelines(), _timeline_words.partners(watched)
    return {
        "headline": _headline(watched[0], table[table.timeline == watched[0].name]),
        "each": [_timeline(n, one, table, partners) for n, one in enumerate(watched)],
        "several": any(len(one.seeds) > 1 for one in watched),
        "measured": any(
            "error" in one.signals and (one.signals["error"] != 1 - one.signals["correct"]).any() for one in watched
        ),
        "rows": any(len(one.seeds) <= _timeline_figures.MOST_ROWS for one in watched),
    }


def _headline(one: Watched, table: pd.DataFrame) -> Sentence | None:
    """One line for the top of the report: the first timeline's."""
    text = _timeline_words.monitors(one, table)
    return (f"Who notices “{one.name}”?", text) if text else None


def _timeline(n: int, one: Watched, table: pd.DataFrame, partners: dict[str, Watched]) -> dict[str, Any]:
    own = table[table.timeline == one.name]
    watches = {row.monitor: _timeline_words.watches(row) for row in own.itertuples()}
    return {
        "name": one.name,
        "about": _timeline_words.about(one),
        "sentence": _timeline_words.monitors(one, own),
        "model": _timeline_words.model(one),
        "beside": _timeline_words.beside(partners[one.name], one, table) if one.name in partners else "",
        "svg": _timeline_figures.timeline(
            one, watches, name=f"timeline-{n}", label=f"Timeline {one.name}: {_timeline_words.monitors(one, own)}"
        ),
        "horizon": one.about["horizon"],
        "rows": [_row(one, row) for row in own.itertuples()] + _baselines(own),
    }


def _row(one: Watched, row: Any) -> dict[str, Any]:
    changes, evaluation = row.streams * row.changes, one.evaluation[row.monitor]
    # More than it promises only where chance does not explain as many (a Poisson count's tail): a promise is a mean.
    expected = row.stated_per_10k * evaluation.quiet / 1e4
    alarms = evaluation.false_alarms if evaluation.quiet else 0
    over = alarms > 0 and bool(gammainc(alarms, expected) <= LEVEL)
    return {
        "monitor": row.monitor,
        "watches": _timeline_words.watches(row),
        "labels": "needs labels" if row.labels else "needs no labels",
        "found": f"{round(row.rate * changes)} of {changes}" if changes else "–",
        "interval": "" if math.isnan(row.low) else f"{_whole(row.low)} to {_whole(row.high)}",
        "bar": _figures.interval_bar(
            row.rate, row.low, row.high, scale=(0.0, 1.0), mark=row.chance, label=f"found {_numbers.percent(row.rate)}"
        )
        if changes
        else "",
        "chance": _whole(row.chance),
        "delay": _steps(row.mean_delay),
        "false": _numbers.number(row.false_per_10k, 1),
        "stated": f"≤ {_numbers.number(row.stated_per_10k, 1)}" if not math.isnan(row.stated_per_10k) else "–",
        "over": over,
        "baseline": False,
    }


def _baselines(table: pd.DataFrame) -> list[dict[str, Any]]:
    """What a detector that always fires would show, and one that never does: the same beside every monitor."""
    if table.empty:
        return []
    row = table.iloc[0]
    changes = row.streams * row.changes
    rest = {"watches": "", "labels": "", "interval": "", "bar": "", "stated": "–", "over": False, "baseline": True}
    return [
        {
            "monitor": f"{name} fires",
            "found": f"{round(rate * changes)} of {changes}" if changes else "–",
            "chance": "–",
            "delay": _steps(delay),
            "false": _numbers.number(false, 1),
            **rest,
        }
        for name, rate, delay, false in (
            ("always", row.always_rate, row.always_delay, row.always_false_per_10k),
            ("never", row.never_rate, float("nan"), row.never_false_per_10k),
        )
    ]


def _whole(fraction: float) -> str:
    return "–" if math.isnan(fraction) else f"{100 * fraction:.0f}%"


def _steps(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.0f}"
