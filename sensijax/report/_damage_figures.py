"""Figures of the sections on thresholds and on what drives the damage."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from sensijax.report._figures import _STYLE, QUIET, RULE, _inline

# Okabe and Ito's palette, and a marker for each.
SERIES = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "D"), ("#cc79a7", "^"), ("#e69f00", "v"), ("#56b4e9", "P"))


def survival(curves: Mapping[str, Any], *, name: str, label: str) -> Markup:
    """Shares of right answers never lost, by severity: a stepped line with its interval for each stage.

    Args:
      curves: stage to an object with settings, share, low and high, each `[K]`; at most six.
      name: a prefix for the ids in the SVG, unique in the document.
      label: what a reader who cannot see it should know.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(6.4, 3.0))
        axes = figure.add_axes((0.085, 0.15, 0.68, 0.81))
        axes.axhline(50, color=RULE, linewidth=0.8, linestyle=(0, (4, 2.5)))
        for (colour, marker), curve in zip(SERIES, curves.values(), strict=False):
            x = np.asarray(curve.settings)
            axes.fill_between(x, 100 * curve.low, 100 * curve.high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(x, 100 * curve.share, color=colour, marker=marker, markersize=4, clip_on=False)
        # Names stand at the ends of their lines, moved apart where they would touch.
        ends = [(float(100 * curve.share[-1]), stage) for stage, curve in curves.items()]
        places = _apart([value for value, _ in ends], 6.2, 3.0, 97.0)
        last = max(float(np.max(curve.settings)) for curve in curves.values())
        for (colour, _), (value, stage), place in zip(SERIES, ends, places, strict=False):
            text = stage if len(stage) <= 18 else f"{stage[:17]}…"
            axes.annotate(
                f"{text}  {value:.0f}%", (last, place), (8, 0), textcoords="offset points", va="center", color=colour,
                annotation_clip=False,
            )  # fmt: skip
        axes.set_ylim(0, 100)
        axes.set_xlim(0, last)
        axes.set_xlabel("severity", labelpad=2)
        axes.set_ylabel("right answers never lost, %", labelpad=3)
        return _inline(figure, name, label)


def shares(
    stages: Sequence[str],
    alone: np.ndarray,
    interval: np.ndarray,
    together: np.ndarray,
    *,
    name: str,
    label: str,
    what: str = "share of the variation of the loss, %",
) -> Markup:
    """Shares of the variance by stage: by itself, and hatched what it has in interactions; the largest on top.

    Args:
      stages: K names, the largest first.
      alone: float64 `[K]`.
      interval: float64 `[K, 2]`, of `alone`.
      together: float64 `[K]`, the shares of the interactions that a stage takes part in.
      name, label: as in `survival`.
      what: below the axis.
    """
    k = len(stages)
    names = [s if len(s) <= 18 else f"{s[:17]}…" for s in stages]
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        height = 0.55 + 0.25 * k
        figure = Figure(figsize=(6.4, height))
        left = 0.06 + 0.0115 * max(map(len, names))
        axes = figure.add_axes((left, 0.42 / height, 0.97 - left, 0.25 * k / height))
        place = np.arange(k)[::-1]
        solid, pale = np.maximum(100 * alone, 0), np.maximum(100 * together, 0)
        axes.barh(place, solid, 0.62, color="#4477aa")
        axes.barh(place, pale, 0.62, left=solid, color="#d8c59a", edgecolor="white", linewidth=0)
        axes.hlines(place, np.maximum(100 * interval[:, 0], 0), 100 * interval[:, 1], color="#16283d", linewidth=1.4)
        axes.axvline(0, color=QUIET, linewidth=0.8)
        axes.set_yticks(place, names)
        axes.set_ylim(-0.6, k - 0.4)
        axes.set_xlim(0, None)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(what, labelpad=2)
        return _inline(figure, name, label)


def _apart(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near these values, at least `gap` from one another, inside [low, high] if there is room."""
    order = np.argsort(values)
    placed = np.clip(np.asarray(values, float)[order], low, high)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    over = placed[-1] - high if len(placed) else 0
    if over > 0:
        placed[-1] -= over
        for i in range(len(placed) - 2, -1, -1):
            placed[i] = min(placed[i], placed[i + 1] - gap)
    found = np.empty(len(placed))
    found[order] = placed
    return found.tolist()
