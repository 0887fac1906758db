"""The report's figures: SVG that can stand beside other SVG in one HTML document.

Matplotlib's `Figure` is used without pyplot, so nothing global is drawn on. What it writes is cut down to what a
browser needs: text stays text, ids are unique over the document, and nothing depends on the time or the machine.
"""

import math
import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

import matplotlib
import matplotlib.colors
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sensijax.measure import Reliability
from sensijax.report._numbers import Units, number

INK, QUIET, RULE, BAND = "#222222", "#666666", "#d0d0d0", "#c9d6e4"

# Okabe and Ito's palette, which the colour-blind tell apart; every verdict has a shape of its own besides.
VERDICTS = {"robust": ("#009e73", "o"), "undecided": ("#e69f00", "D"), "fragile": ("#d55e00", "s"), "": (INK, "o")}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8.0,
    "font.family": ["DejaVu Sans"],
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": QUIET,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "axes.formatter.useoffset": False,
}


def curve(
    points: pd.DataFrame,
    *,
    clean: float,
    tolerance: float,
    axis: str,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    units: Units,
    name: str,
    label: str,
) -> Markup:
    """One stage's panel: score against setting, the loss's interval as a band below the clean score, verdicts as
    markers.

    Args:
      points: columns x, score, low, high (bounds of the score), verdict; the clean point has the verdict "".
      clean: the clean score.
      tolerance: the acceptable loss.
      axis: what x is.
      xlim, ylim: shared by the panels.
      units: of the score.
      name: a prefix for the ids in the SVG, unique in the document.
      label: what a reader who cannot see it should know.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(3.1, 2.15))
        axes = figure.add_axes((0.15, 0.2, 0.82, 0.75))
        axes.axhline(clean * units.scale, color=RULE, linewidth=0.8)
        axes.axhline((clean - tolerance) * units.scale, color=QUIET, linewidth=0.8, linestyle=(0, (4, 2.5)))
        scaled = points.assign(**{c: points[c] * units.scale for c in ("score", "low", "high")})
        axes.fill_between(scaled.x, scaled.low, scaled.high, color=BAND, linewidth=0)
        axes.plot(scaled.x, scaled.score, color="#34495e")
        for verdict, (colour, marker) in VERDICTS.items():
            at = scaled[scaled.verdict == verdict]
            if len(at):
                face = "white" if verdict == "" else colour
                axes.plot(
                    at.x,
                    at.score,
                    marker,
                    color=colour,
                    markerfacecolor=face,
                    markersize=5 if marker == "o" else 4.6,
                    markeredgewidth=1.0,
                    clip_on=False,
                )
        axes.set_xlim(*xlim)
        axes.set_ylim(ylim[0] * units.scale, ylim[1] * units.scale)
        axes.locator_params(axis="y", nbins=5)
        if float(np.ptp(xlim)).is_integer() and np.ptp(xlim) <= 10:
            axes.set_xticks(np.arange(math.ceil(xlim[0]), math.floor(xlim[1]) + 1))
        else:
            axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(axis, labelpad=2)
        return _inline(figure, name, label)


def heatmap(
    stages: Sequence[str],
    alone: np.ndarray,
    pair: np.ndarray,
    interaction: np.ndarray,
    significant: np.ndarray,
    *,
    units: Units,
    name: str,
    label: str,
) -> Markup:
    """Pairs: above the diagonal what a pair costs, below it the interaction; on it what a stage costs alone.

    Args:
      stages: K names, in the order of application.
      alone: float `[K]`, loss of a stage alone at the pairs' setting.
      pair: float `[K, K]`, loss of the pair at [i, j], i < j; NaN where it did not run.
      interaction: float `[K, K]`, the same, at [i, j], i < j.
      significant: bool `[K, K]`, the same.
      units: of the loss.
      name, label: as in `curve`.
    """
    k = len(stages)
    most = max(np.nanmax(np.abs(np.append(pair, alone)), initial=0.0), 1e-9)
    strongest = max(np.nanmax(np.abs(interaction), initial=0.0), 1e-9)
    costs, effects = matplotlib.colormaps["YlOrBr"], matplotlib.colormaps["PuOr_r"]
    names = [s if len(s) <= 16 else f"{s[:15]}…" for s in stages]
    written = k <= 20
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        longest = max(map(len, names))
        cell, left, right, top = 0.56, 0.12 + 0.078 * longest, 0.1 + 0.045 * longest, 0.15 + 0.055 * longest
        width, height = left + cell * k + right, top + 0.72 * cell * k + 0.05
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((left / width, 0.05 / height, cell * k / width, 0.72 * cell * k / height))
        for row in range(k):
            for column in range(k):
                i, j = min(row, column), max(row, column)
                value = alone[i] if i == j else pair[i, j] if row < column else interaction[i, j]
                if np.isnan(value):
                    axes.add_patch(Rectangle((column, row), 1, 1, facecolor="#f4f4f4", edgecolor="white"))
                    continue
                # What may be chance is kept pale, so that the eye goes to what is not.
                depth = 0.42 if significant[i, j] else 0.16
                colour = (
                    costs(0.75 * max(value, 0) / most) if row <= column else effects(0.5 + depth * value / strongest)
                )
                colour = (1.0, 1.0, 1.0, 1.0) if row <= column and value <= 0 else colour
                axes.add_patch(
                    Rectangle(
                        (column, row),
                        1,
                        1,
                        facecolor=colour,
                        edgecolor="white" if i != j else INK,
                        linewidth=0.8,
                        zorder=2 if i == j else 1,
                    )
                )
                if written:
                    marked = row > column and significant[i, j]
                    text = units.signed(value) if row > column else units.number(value)
                    axes.text(
                        column + 0.5,
                        row + 0.5,
                        f"{text}*" if marked else text,
                        ha="center",
                        va="center",
                        zorder=3,
                        fontsize=7.5,
                        fontweight="bold" if marked else "normal",
                        color=_on(colour),
                    )
        axes.set_xlim(0, k)
        axes.set_ylim(k, 0)
        axes.set_xticks(np.arange(k) + 0.5, names, rotation=40, ha="left", rotation_mode="anchor", color=INK)
        axes.set_yticks(np.arange(k) + 0.5, names, color=INK)
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False, pad=3)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return _inline(figure, name, label)


def reliability(diagram: Reliability, *, colour: str, name: str, label: str) -> Markup:
    """Accuracy against confidence, bin by bin; the area of a dot is the share of predictions in its bin."""
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(3.4, 2.9))
        axes = figure.add_axes((0.15, 0.16, 0.8, 0.8))
        axes.plot([0, 100], [0, 100], color=QUIET, linewidth=0.8, linestyle=(0, (4, 2.5)))
        full = diagram.counts > 0
        confidence, accuracy = 100 * diagram.confidence[full], 100 * diagram.accuracy[full]
        axes.vlines(confidence, accuracy, confidence, color=RULE, linewidth=1.0)
        axes.scatter(
            confidence,
            accuracy,
            s=8 + 130 * diagram.counts[full] / max(diagram.counts.sum(), 1),
            color=colour,
            alpha=0.85,
            linewidths=0,
            clip_on=False,
        )
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("confidence, %", labelpad=2)
        axes.set_ylabel("right, %", labelpad=2)
        return _inline(figure, name, label)


def interval_bar(
    mean: float, low: float, high: float, *, scale: tuple[float, float], mark: float | None, label: str
) -> Markup:
    """A mean and its interval on a scale that the rows of a table share; 0 is the solid rule, `mark` the dashed one."""
    place = _placer(scale)
    parts = [f'<line x1="{place(0)}" x2="{place(0)}" y1="1" y2="17" stroke="#bbbbbb"/>']
    if mark is not None and scale[0] <= mark <= scale[1]:
        parts.append(
            f'<line x1="{place(mark)}" x2="{place(mark)}" y1="1" y2="17" stroke="{QUIET}" stroke-dasharray="2.5 2"/>'
        )
    if not (math.isnan(low) or math.isnan(high)):
        parts.append(f'<line x1="{place(low)}" x2="{place(high)}" y1="9" y2="9" stroke="#6b8cae" stroke-width="5"/>')
    if not math.isnan(mean):
        parts.append(f'<circle cx="{place(mean)}" cy="9" r="3" fill="#1f3b57"/>')
    return _small(parts, label)


def dumbbell(accuracy: float, confidence: float, *, label: str) -> Markup:
    """Accuracy (filled) and mean confidence (hollow) on a scale from 0 to 1."""
    place = _placer((0.0, 1.0))
    parts = ['<line x1="4" x2="156" y1="9" y2="9" stroke="#dddddd"/>']
    if not (math.isnan(accuracy) or math.isnan(confidence)):
        parts += [
            f'<line x1="{place(accuracy)}" x2="{place(confidence)}" y1="9" y2="9" stroke="#d9a066" stroke-width="3"/>',
            f'<circle cx="{place(confidence)}" cy="9" r="4" fill="white" stroke="#a85b00" stroke-width="1.6"/>',
        ]
    if not math.isnan(accuracy):
        parts.append(f'<circle cx="{place(accuracy)}" cy="9" r="4" fill="#1f3b57"/>')
    return _small(parts, label)


def coverage_bar(
    coverage: float, low: float, high: float, *, target: float, band: tuple[float, float], label: str
) -> Markup:
    """A coverage with its interval on a scale from 0 to 1; the target is dashed, behind it the band, if any."""
    place = _placer((0.0, 1.0))
    parts = ['<line x1="4" x2="156" y1="9" y2="9" stroke="#dddddd"/>']
    if not math.isnan(band[0]):
        left, right = place(band[0]), place(band[1])
        parts.append(f'<rect x="{left}" y="2" width="{max(1.0, round(right - left, 1))}" height="14" fill="{BAND}"/>')
    at = place(target)
    parts.append(f'<line x1="{at}" x2="{at}" y1="1" y2="17" stroke="{QUIET}" stroke-dasharray="2.5 2"/>')
    if not math.isnan(coverage):
        left, right = place(low), place(high)
        parts.append(f'<line x1="{left}" x2="{right}" y1="9" y2="9" stroke="#6b8cae" stroke-width="3"/>')
        parts.append(f'<circle cx="{place(coverage)}" cy="9" r="3.5" fill="#1f3b57"/>')
    return _small(parts, label)


def change_bar(value: float, *, most: float, label: str) -> Markup:
    """A signed change as a bar to the left or the right of 0."""
    place = _placer((-most, most))
    left, right = sorted((place(0), place(value)))
    colour = "#b35806" if value > 0 else "#542788"
    return _small(
        [
            '<line x1="80" x2="80" y1="1" y2="17" stroke="#bbbbbb"/>',
            f'<rect x="{left}" y="4" width="{round(right - left, 1)}" height="10" fill="{colour}"/>',
        ],
        label,
    )


def _placer(scale: tuple[float, float]):
    low, high = scale
    span = (high - low) or 1.0
    return lambda value: round(4 + 152 * (min(max(value, low), high) - low) / span, 1)


def _small(parts: Sequence[str], label: str) -> Markup:
    return Markup(
        f'<svg class="bar" viewBox="0 0 160 18" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _on(colour: tuple[float, ...]) -> str:
    """Ink that can be read on this colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return "white" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.22 else INK


def _inline(figure: Figure, name: str, label: str) -> Markup:
    """The figure as an <svg> element that can stand in an HTML document beside others."""
    file = StringIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.S)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, count=1, flags=re.S)  # it would apply to the whole document
    root, rest = svg.split(">", 1)
    box = re.search(r'viewBox="([^"]*)"', root)[1]  # type: ignore[index]
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', rest))
    rest = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", rest)
    rest = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', rest).replace("url(#", f"url(#{name}-")
    # Hundredths of a point are finer than any screen; only attributes are rounded, never the text between tags.
    rest = re.sub(r'"[^"]*"', lambda m: re.sub(r"(\d+\.\d{2})\d+", r"\1", m[0]), rest)
    rest = re.sub(r"\n\s*", "\n", rest)
    return Markup(f'<svg class="figure" viewBox="{escape(box)}" role="img" aria-label="{escape(label)}">{rest}')


def describe(points: pd.DataFrame, units: Units, stage: str) -> str:
    """A curve in words, for readers who cannot see it."""
    said = ", ".join(
        f"{number(x, 2).rstrip('0').rstrip('.')}: {units.score(score)}"
        for x, score in zip(points.x, points.score, strict=True)
    )
    return f"{stage}, {units.score_name} by setting: {said}"
