"""The figure of what happens inside a model: a grid of components by scenarios."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sensijax.report._figures import _STYLE, INK, _inline, _on

MOST_LETTERS = 26


def grid(
    values: np.ndarray,
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    marked: Sequence[tuple[int, int]],
    middle: float | None,
    name: str,
    label: str,
) -> tuple[Markup, int]:
    """Components downwards, scenarios to the right.

    Args:
      values: `[R, C]`, what the colour says; NaN stays empty.
      texts: C columns of R texts.
      rows, columns: their names.
      marked: cells (row, column) with a frame.
      middle: the value of no colour, of which both sides are told apart; None: from 0 on, where less is darker.
      name: a prefix for the ids in the SVG, unique in the document.
      label: what a reader who cannot see it should know.

    Returns:
      The figure, and how many pixels wide it is to be shown.
    """
    cell, height = 1.05, 0.27
    heads = [_wrapped(column) for column in columns]
    left = 0.15 + 0.066 * max(len(_short(row)) for row in rows)
    top = 0.12 + 0.125 * max(head.count("\n") + 1 for head in heads)
    wide, tall = left + cell * len(columns) + 0.3, top + height * len(rows) + 0.05
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(wide, tall))
        place = (left / wide, 0.05 / tall, cell * len(columns) / wide, height * len(rows) / tall)
        axes = figure.add_axes(place)
        reach = float(np.nanmax(np.abs(values - (middle or 0)), initial=1e-9))
        for i in range(len(rows)):
            for j in range(len(columns)):
                if np.isnan(values[i, j]):
                    continue
                if middle is None:
                    colour = matplotlib.colormaps["YlOrBr"](0.75 * (1 - min(values[i, j] / max(reach, 1.0), 1.0)))
                else:
                    colour = matplotlib.colormaps["PuOr_r"](0.5 + 0.36 * (values[i, j] - middle) / reach)
                axes.add_patch(Rectangle((j, i), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.8))
                weight = "bold" if (i, j) in marked else "normal"
                at = (j + 0.5, i + 0.5)
                axes.text(
                    *at, texts[j][i], ha="center", va="center", fontsize=7.5, color=_on(colour), fontweight=weight
                )
        for i, j in marked:
            axes.add_patch(
                Rectangle((j + 0.02, i + 0.05), 0.96, 0.9, fill=False, edgecolor=INK, linewidth=1.4, zorder=3)
            )
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        axes.set_xticks(np.arange(len(columns)) + 0.5, heads, color=INK, fontsize=7)
        axes.set_yticks(np.arange(len(rows)) + 0.5, [_short(row) for row in rows], color=INK)
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, pad=3)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return _inline(figure, name, label), round(108 * wide)


def _short(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def _wrapped(scenario: str) -> str:
    """A scenario's name with a line for each of its stages."""
    return scenario.replace("+", " +\n")
