"""The page of a campaign's Sobol indices: one HTML file."""

import os
import pathlib
from typing import Any

import numpy as np

from sensijax.campaign import CampaignSensitivity
from sensijax.report import _damage_figures, _figures, _numbers, _words
from sensijax.report._html import template, write_whole

MOST_PAIRS = 10


def write_sensitivity_report(found: CampaignSensitivity, path: str | os.PathLike | None = None) -> pathlib.Path:
    """Writes what drives the damage, over the whole box of severities, as one HTML file that needs no other.

    Args:
      found: from `campaign_sensitivity`, or `open_sensitivity`.
      path: the file to write; `sensitivity.html` in its folder unless given.

    Returns:
      The path.

    Raises:
      StoreError: if the file cannot be written.

    Example:
      >>> write_sensitivity_report(open_sensitivity("runs/digits"))   # doctest: +SKIP
      PosixPath('runs/digits/sensitivity.html')
    """
    html = template("sensitivity.html.j2").render(_content(found))
    if path is not None:
        return write_whole(pathlib.Path(path), html)
    written = write_whole(found.folder / "sensitivity.html", html)
    found.store.publish("sensitivity.html")
    return written


def strongest_pairs(found: CampaignSensitivity, most: int = MOST_PAIRS) -> list[tuple[str, str, float, float, float]]:
    """(first, second, share, low, high) of the pairs with the largest interactions; none without second order."""
    result = found.result
    if result.S2 is None or result.S2_interval is None:
        return []
    pairs = []
    for i, j in zip(*np.triu_indices(len(result.names), 1), strict=True):
        low, high = result.S2_interval[i, j]
        pairs.append((result.names[i], result.names[j], float(result.S2[i, j]), float(low), float(high)))
    return sorted(pairs, key=lambda pair: -pair[2])[:most]


def headline(found: CampaignSensitivity) -> list[str]:
    """The indices in words; a stage leads only if its interval lies above every other's."""
    result = found.result
    order = np.argsort(-result.ST, kind="stable")
    first, low = order[0], result.ST_interval[order[0], 0]
    rivals = [result.names[i] for i in order[1:] if result.ST_interval[i, 1] >= low]
    share = f"{_numbers.percent(float(result.ST[first]))} of the variance ({_range(result.ST_interval[first])})"
    name = result.names[first]
    if rivals:
        said = [
            f"No stage leads for certain: {name} has a part in {share}, {_numbers.listed(rivals)} maybe in as much."
        ]
    else:
        said = [f"{_words._capital(name)} drives the damage most: it has a part in {share}."]
    negligible = [result.names[i] for i in order if result.ST_interval[i, 1] < 0.01]
    if negligible:
        many = len(negligible) > 1
        verb, each = ("matter", " each") if many else ("matters", "")
        said.append(f"{_words._capital(_numbers.listed(negligible))} hardly {verb}: below 1%{each}, interval and all.")
    alone = float(result.S1.sum())
    said.append(f"What each does by itself adds up to {_numbers.percent(alone)}; the rest is what they do together.")
    pairs = strongest_pairs(found, 1)
    if pairs and pairs[0][3] > 0:
        first, second, share, low, high = pairs[0]
        said.append(f"The strongest pair is {first} and {second}: {_numbers.percent(share)} ({_range((low, high))}).")
    return said


def _content(found: CampaignSensitivity) -> dict[str, Any]:
    result, about = found.result, found.about
    order = np.argsort(-result.ST, kind="stable")
    top = float(max(result.ST_interval[:, 1].max(), result.S1_interval[:, 1].max(), 1e-9))
    names = [result.names[i] for i in order]
    return {
        "a": about,
        "headline": headline(found),
        "mean": f"{result.mean:.4g}",
        "spread": f"{np.sqrt(result.variance):.4g}",
        "evaluations": f"{result.n_evaluations:,}",
        "judged": f"{result.n_evaluations * about['data']['examples']:,}",
        "level": f"{result.level:.0%}",
        "svg": _damage_figures.shares(
            names,
            result.S1[order],
            result.S1_interval[order],
            np.maximum(result.ST - result.S1, 0)[order],
            name="shares",
            label="; ".join(f"{n}: {_numbers.percent(float(result.ST[i]))}" for n, i in zip(names, order, strict=True)),
            what="share of the variance, %",
        ),
        "rows": [
            {
                "stage": result.names[i],
                "kind": about["stages"][result.names[i]]["kind"],
                "range": "{low:g} to {high:g}".format(**about["stages"][result.names[i]]),
                **{
                    name: {
                        "value": _numbers.percent(float(value[i])),
                        "interval": _range(bounds[i]),
                        "bar": _figures.interval_bar(
                            float(value[i]), *map(float, bounds[i]), scale=(0.0, top), mark=None,
                            label=f"{_numbers.percent(float(value[i]))}, interval {_range(bounds[i])}",
                        ),
                    }
                    for name, value, bounds in (
                        ("ST", result.ST, result.ST_interval), ("S1", result.S1, result.S1_interval),
                    )
                },
            }
            for i in order
        ],
        "pairs": [
            {"names": f"{a}, {b}", "share": _numbers.percent(share), "interval": _range((low, high)), "clear": low > 0}
            for a, b, share, low, high in strongest_pairs(found)
        ],
    }  # fmt: skip


def _range(bounds: Any) -> str:
    low, high = (float(v) for v in bounds)
    return f"{_numbers.percent(low).removesuffix('%')} to {_numbers.percent(high)}"
