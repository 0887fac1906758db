"""What a model is still sure of under stress: coverage of sets, what abstaining buys, how far groups lie apart."""

from typing import Any

import numpy as np
import pandas as pd

from sensijax.campaign import Results, strongest_of
from sensijax.core.errors import ArgumentError
from sensijax.report import _figures, _numbers

ALPHA, ANSWERED, MOST_SCENARIOS, MOST_GROUPS = 0.1, 0.8, 12, 6
PROMISED = f"{100 * (1 - ALPHA):g}%"


def section(results: Results, units: _numbers.Units) -> dict[str, Any] | None:
    """What is shown of a classification; None for a regression, and where nothing but the clean baseline ran."""
    names = strongest_of(results)
    if results.metric != "accuracy" or not names:
        return None
    names = ["clean", *names[-MOST_SCENARIOS:]]
    return {
        "target": PROMISED,
        "coverage": _coverage(results, names),
        "sets": _sets(results),
        "abstention": _abstention(results, names, units),
        "gaps": [_gaps(results, group, names, units) for group in results.manifest["data"]["groups"][:MOST_GROUPS]],
    }


def _coverage(results: Results, names: list[str]) -> dict[str, Any] | None:
    table = results.coverage(ALPHA, scenarios=names)
    clean = table.iloc[0]
    if clean.status != "ok":
        return {"why": clean.status, "rows": []}
    differ = bool((table.coverage != table.observed).any())
    return {
        "why": None,
        "sentence": _promise(table),
        "calibrated_on": f"{int(clean.calibrated_on):,}",
        "differ": differ,
        "rows": [
            {
                "scenario": row.scenario,
                "coverage": _numbers.percent(row.coverage),
                "interval": _between(row.low, row.high, row.coverage),
                "observed": _numbers.percent(row.observed),
                "band": _between(row.band_low, row.band_high, row.band_low),
                "verdict": verdict(row.coverage, row.band_low, row.band_high),
                "bar": _figures.coverage_bar(
                    row.coverage,
                    row.low,
                    row.high,
                    target=1 - ALPHA,
                    band=(row.band_low, row.band_high),
                    label=f"covers {_numbers.percent(row.coverage)}, promised {PROMISED}",
                ),
            }
            for row in table.itertuples()
        ],
    }


def verdict(coverage: float, band_low: float, band_high: float) -> str:
    """What may be said of a coverage: it lies in its band, below or above it."""
    if np.isnan(coverage) or np.isnan(band_low):
        return "not known"
    return "below the band" if coverage < band_low else "above the band" if coverage > band_high else "within the band"


def _promise(table: pd.DataFrame) -> str:
    """The worst that becomes of the promise, if it is broken for certain."""
    stressed = table[(table.scenario != "clean") & table.coverage.notna()]
    broken = stressed[(stressed.high < 1 - ALPHA) & (stressed.coverage < stressed.band_low)]
    if broken.empty:
        return f"Under none of these is the promise of {PROMISED} shown to be broken."
    worst = broken.loc[broken.coverage.idxmin()]
    return (
        f"Promised to hold the right class {PROMISED} of the time, the sets hold it {_numbers.percent(worst.coverage)} "
        f"of the time ({_between(worst.low, worst.high, 0)}) under {worst.scenario}."
    )


def _sets(results: Results) -> dict[str, Any] | None:
    """Coverage and size by method, where the run has kept the outputs."""
    try:
        table = results.prediction_sets(ALPHA)
    except ArgumentError:  # stages of one family: nothing was kept
        return None
    by_scenario = {name: part.set_index("method") for name, part in table.groupby("scenario", sort=False)}
    return {
        "methods": [method.upper() for method in dict.fromkeys(table.method)],
        "n": f"{int(table.n.max()):,}",
        "rows": [
            {
                "scenario": name,
                "cells": [
                    (_numbers.percent(row.coverage), _numbers.number(row.mean_size, 2), _numbers.percent(row.empty))
                    for row in part.itertuples()
                ],
            }
            for name, part in by_scenario.items()
        ],
    }


def _abstention(results: Results, names: list[str], units: _numbers.Units) -> dict[str, Any] | None:
    table = results.abstention(ANSWERED, scenarios=names)
    if table.status.iloc[0] != "ok":
        return None
    return {
        "asked": f"{100 * ANSWERED:g}%",
        "threshold": _numbers.digits(table.threshold.iloc[0], 4),
        "rows": [
            {
                "scenario": row.scenario,
                "answered": _numbers.percent(row.answered),
                "accuracy": units.score(row.accuracy),
                "interval": units.interval(row.low, row.high) if row.status == "ok" else row.status,
                "all": units.score(row.accuracy_of_all),
                "aurc": _numbers.number(100 * row.aurc, 2),
                "aurc_interval": _between(row.aurc_low, row.aurc_high, row.aurc_low, decimals=2),
                "bar": _figures.dumbbell(
                    row.accuracy,
                    row.answered,
                    label=f"answers {_numbers.percent(row.answered)}, right {units.score(row.accuracy)} of the time",
                ),
            }
            for row in table.itertuples()
        ],
    }


def _gaps(results: Results, group: str, names: list[str], units: _numbers.Units) -> dict[str, Any]:
    """Of one group of the data; the reason where it has too few or too many values."""
    try:
        table = results.gaps(group, scenarios=names)
    except ArgumentError as error:
        return {"group": group, "why": f"{error.came}, not {error.right}", "rows": []}
    reach = float(np.nanmax(table[["high", "odds_high"]].to_numpy(), initial=1e-9))
    return {
        "group": group,
        "why": None,
        "rows": [
            {
                "scenario": row.scenario,
                "gap": units.number(row.accuracy_gap),
                "interval": units.interval(row.low, row.high),
                "odds": units.number(row.equalised_odds),
                "odds_interval": units.interval(row.odds_low, row.odds_high),
                "worst": "–" if row.worst is None else row.worst,
                "accuracy": units.score(row.worst_accuracy),
                "worst_interval": units.interval(row.worst_low, row.worst_high),
                "status": "" if row.status == "ok" else row.status,
                "bar": _figures.interval_bar(
                    row.accuracy_gap,
                    row.low,
                    row.high,
                    scale=(0.0, reach),
                    mark=None,
                    label=f"accuracies {units.number(row.accuracy_gap)} points apart",
                ),
            }
            for row in table.itertuples()
        ],
    }


def _between(low: float, high: float, known: float, decimals: int = 1) -> str:
    if np.isnan(known) or np.isnan(low):
        return "–"
    return f"{_numbers.number(100 * low, decimals)} to {_numbers.number(100 * high, decimals)}"
