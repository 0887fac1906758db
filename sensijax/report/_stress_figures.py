"""Figures of stressors in combination: a radar of profiles, slices of a cube of scores, what annotators wrote."""

from collections.abc import Sequence

import matplotlib
import matplotlib.colors
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from sensijax.report._figures import _STYLE, INK, QUIET, RULE, _inline, _on
from sensijax.report._numbers import Units

COLOURS = ("#1f3b57", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def radar(profiles: Sequence[pd.DataFrame], *, name: str, label: str) -> Markup:
    """The profiles of one model or several: an axis for each set of stages, from 0 to the clean score.

    Args:
      profiles: tables of `Results.profile`, of the same axes.
      name, label: as in `curve`.
    """
    axes_names = profiles[0].axis.tolist()
    angles = np.linspace(0, 2 * np.pi, len(axes_names), endpoint=False)
    closed = np.append(angles, angles[:1])
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(5.4, 3.6))
        axes = figure.add_axes((0.28, 0.12, 0.44, 0.76), projection="polar")
        axes.set_theta_offset(np.pi / 2)  # type: ignore[attr-defined]
        axes.set_theta_direction(-1)  # type: ignore[attr-defined]
        for k, profile in enumerate(profiles):
            kept = profile.set_index("axis").loc[axes_names]
            colour = COLOURS[k % len(COLOURS)]
            line = np.append(kept.retained, kept.retained.iloc[0])
            worst = np.append(kept.worst, kept.worst.iloc[0])
            axes.plot(closed, line, color=colour, linewidth=1.5, label=profile.model.iloc[0])
            axes.fill(closed, line, color=colour, alpha=0.12, linewidth=0)
            axes.plot(closed, worst, color=colour, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.set_ylim(0, 1)
        axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["25", "50", "75", "100%"], fontsize=6.5)
        axes.set_xticks(angles, [text.replace(" + ", " +\n") for text in axes_names], fontsize=7.5)
        axes.tick_params(axis="x", pad=9)
        axes.grid(color=RULE, linewidth=0.5)
        axes.spines["polar"].set_color(RULE)
        if len(profiles) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1.25, 1.1), frameon=False, fontsize=7)
        return _inline(figure, name, label)


def slices(
    grids: Sequence[np.ndarray],
    titles: Sequence[str],
    stages: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    units: Units,
    name: str,
    label: str,
) -> Markup:
    """Scores over two stages, side by side for the settings of a third.

    Args:
      grids: P arrays `[R, C]` of scores; NaN where a scenario did not run.
      titles: of the panels.
      stages: the names of the rows' and the columns' stage.
      values: their settings, R and C numbers.
      units: of the scores.
      name, label: as in `curve`.
    """
    rows, columns = grids[0].shape
    wide, tall = max(1.9, 0.5 * columns), 0.3 * rows
    across = min(len(grids), 3)
    down = -(-len(grids) // across)
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(0.75 + (wide + 0.2) * across, (tall + 0.75) * down))
        low = min(float(np.nanmin(grid)) for grid in grids)
        high = max(float(np.nanmax(grid)) for grid in grids)
        colours = matplotlib.colormaps["cividis"]
        total = figure.get_size_inches()
        for k, (grid, title) in enumerate(zip(grids, titles, strict=True)):
            left, bottom = 0.7 + k % across * (wide + 0.2), (down - 1 - k // across) * (tall + 0.75) + 0.42
            axes = figure.add_axes((left / total[0], bottom / total[1], wide / total[0], tall / total[1]))
            for i in range(rows):
                for j in range(columns):
                    if np.isnan(grid[i, j]):
                        continue
                    share = (grid[i, j] - low) / max(high - low, 1e-9)
                    colour = colours(share)
                    axes.fill_between([j, j + 1], i, i + 1, color=colour, linewidth=0)
                    axes.text(
                        j + 0.5,
                        i + 0.5,
                        units.score(grid[i, j]),
                        ha="center",
                        va="center",
                        fontsize=7,
                        color=_on(colour),
                    )
            axes.set_xlim(0, columns)
            axes.set_ylim(rows, 0)
            axes.set_xticks(np.arange(columns) + 0.5, [f"{v:.3g}" for v in values[1]])
            axes.set_yticks(np.arange(rows) + 0.5, [f"{v:.3g}" for v in values[0]] if k % across == 0 else [""] * rows)
            axes.tick_params(length=0)
            for spine in axes.spines.values():
                spine.set_visible(False)
            axes.set_xlabel(stages[1], labelpad=2)
            if k % across == 0:
                axes.set_ylabel(stages[0], labelpad=3)
            axes.set_title(title, fontsize=8, color=INK, pad=4)
        return _inline(figure, name, label)


def confusion(matrix: np.ndarray, classes: Sequence[str], *, name: str, label: str) -> Markup:
    """How often each class was written down for each true one.

    Args:
      matrix: `[K, K]`, rows that sum to 1; NaN for a class without examples.
      classes: K names.
      name, label: as in `curve`.
    """
    k = len(matrix)
    side = max(2.6, 0.3 * k)
    colours = matplotlib.colormaps["YlOrBr"]
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(side + 0.7, side + 0.5))
        axes = figure.add_axes(
            (0.6 / (side + 0.7), 0.4 / (side + 0.5), (side - 0.1) / (side + 0.7), (side - 0.1) / (side + 0.5))
        )
        for i in range(k):
            for j in range(k):
                if np.isnan(matrix[i, j]):
                    continue
                colour = "#e3e8ee" if i == j else colours(min(1.0, 2.5 * matrix[i, j]))
                axes.fill_between([j, j + 1], i, i + 1, color=colour, linewidth=0)
                if matrix[i, j] >= 0.005:
                    ink = QUIET if i == j else _on(matplotlib.colors.to_rgba(colour)[:3])
                    axes.text(
                        j + 0.5, i + 0.5, f"{100 * matrix[i, j]:.0f}", ha="center", va="center", fontsize=6.5, color=ink
                    )
        axes.set_xlim(0, k)
        axes.set_ylim(k, 0)
        axes.set_xticks(np.arange(k) + 0.5, list(classes), fontsize=7)
        axes.set_yticks(np.arange(k) + 0.5, list(classes), fontsize=7)
        axes.tick_params(length=0)
        axes.set_xlabel("written down as, %", labelpad=2)
        axes.set_ylabel("is", labelpad=2)
        return _inline(figure, name, label)


def confusions(matrices: np.ndarray, titles: Sequence[str], classes: Sequence[str], *, name: str, label: str) -> Markup:
    """Confusion matrices side by side, without numbers: right in grey, wrong in orange, the darker the more often.

    Args:
      matrices: `[A, K, K]`, rows that sum to 1; NaN for a class without labels.
      titles: A of them, short.
      classes: K names; written where they are short.
      name, label: as in `curve`.
    """
    k, across = matrices.shape[1], len(matrices) if len(matrices) <= 4 else 3 if len(matrices) <= 6 else 4
    down, side, gap, above = -(-len(matrices) // across), 1.5, 0.24, 0.3
    short = k <= 12 and max(map(len, classes)) <= 2
    wrong, right = matplotlib.colormaps["Oranges"], matplotlib.colormaps["Greys"]
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        total = (0.2 + (side + gap) * across, (side + above + 0.08) * down + 0.14)
        figure = Figure(figsize=total)
        for a, (matrix, title) in enumerate(zip(matrices, titles, strict=True)):
            left = 0.2 + a % across * (side + gap)
            bottom = total[1] - (a // across + 1) * (side + above + 0.08) + 0.08
            axes = figure.add_axes((left / total[0], bottom / total[1], side / total[0], side / total[1]))
            colours = np.ones((k, k, 4))
            shown = np.nan_to_num(matrix)
            colours[~np.eye(k, dtype=bool)] = wrong(np.clip(1.8 * shown, 0, 0.95))[~np.eye(k, dtype=bool)]
            colours[np.eye(k, dtype=bool)] = right(0.7 * shown)[np.eye(k, dtype=bool)]
            colours[np.isnan(matrix).any(axis=1)] = 1.0
            for i in range(k):
                for j in range(k):
                    if matrix[i, j] >= 0.005:
                        axes.fill_between([j, j + 1], i, i + 1, color=colours[i, j], linewidth=0)
            axes.set_xlim(0, k)
            axes.set_ylim(k, 0)
            axes.tick_params(length=0, labelsize=5.5, pad=1.5)
            marks = np.arange(k) + 0.5
            none = [""] * len(marks)
            axes.set_xticks(marks, list(classes) if short and a + across >= len(matrices) else none)
            axes.set_yticks(marks, list(classes) if short and a % across == 0 else none)
            for spine in axes.spines.values():
                spine.set_visible(True)
                spine.set_color(RULE)
            axes.set_title(title, fontsize=7, color=INK, pad=3)
        return _inline(figure, name, label)
