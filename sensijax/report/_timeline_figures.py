"""The figure of a timeline: the drift, what the model did meanwhile, and when each monitor spoke up."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sensijax.campaign.results._timelines import Watched, what_counts
from sensijax.report._figures import _STYLE, INK, QUIET, RULE, _inline

FINDS, AGAIN, FALSE, NEITHER = "#009e73", "#a6dccb", "#d55e00", "#b5b5b5"
ACCURACY, CONFIDENCE, WRITTEN = "#1f3b57", "#a85b00", "#56b4e9"
EPISODE = "#f3ead9"
MOST_ROWS, MOST_POINTS = 24, 400  # streams with a row of their own in a lane; points of a line
_WIDE, _LEFT, _RIGHT = 8.4, 1.55, 1.0  # inches


def timeline(one: Watched, watches: Mapping[str, str], *, name: str, label: str) -> Markup:
    """Time to the right; strength, accuracy and confidence, and one lane for each monitor.

    Args:
      one: the timeline.
      watches: what each monitor does, in few words.
      name: a prefix for the ids in the SVG, unique in the document.
      label: what a reader who cannot see it should know.
    """
    monitors = list(one.alarms)
    heights = [0.62, 1.5, *(_lane_height(len(one.seeds)) for _ in monitors)]
    gaps = [0.16, 0.14, *(0.08 for _ in monitors)]
    total = sum(heights) + sum(gaps) + 0.2 + 0.38
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure, top, rows = Figure(figsize=(_WIDE, total)), total - 0.2, []
        for height, gap in zip(heights, gaps, strict=True):
            top -= height
            wide = _WIDE - _LEFT - _RIGHT
            rows.append(figure.add_axes((_LEFT / _WIDE, top / total, wide / _WIDE, height / total)))
            top -= gap
        for axes in rows:
            axes.set_xlim(0, len(one.strength))
            axes.tick_params(axis="x", labelbottom=False, length=0)
            for begin, end in episodes(one):
                axes.axvspan(begin, end, color=EPISODE, linewidth=0, zorder=0)
        _strength(rows[0], one)
        _model(rows[1], one)
        for axes, monitor in zip(rows[2:], monitors, strict=True):
            _lane(axes, one, monitor, watches[monitor])
        rows[-1].tick_params(axis="x", labelbottom=True, length=2.5)
        rows[-1].set_xlabel("step", labelpad=2)
        rows[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        return _inline(figure, name, label)


def episodes(one: Watched) -> list[tuple[int, int]]:
    """From where to where the drift is on: from a change away from no drift to the end of the return."""
    on = one.strength != 0
    for change in one.changes:
        if abs(change.after) > abs(change.before):
            on = on | (np.arange(len(on)) == change.at)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]]).astype(int)))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def verdicts(one: Watched, monitor: str) -> np.ndarray:
    """What each alarm is: int8 `[S, T]`, 1 finds a change, 2 a repeat, 3 false, 4 neither; 0 where there is none."""
    begins, ignored = what_counts(one.strength, one.changes, one.about["horizon"])
    fired = one.alarms[monitor]
    found = np.where(fired, np.where(ignored, 4, 3), 0).astype(np.int8)
    for begin, end in _spans(one, begins):
        inside = fired[:, begin:end] & ~ignored[begin:end]
        first = inside & (np.cumsum(inside, axis=1) == 1)
        found[:, begin:end][inside] = 2
        found[:, begin:end][first] = 1
    return found


def inside_episodes(one: Watched, begins: np.ndarray) -> np.ndarray:
    """bool `[T]`, the steps at which an alarm finds a change."""
    inside = np.zeros(len(one.strength), bool)
    for begin, end in _spans(one, begins):
        inside[begin:end] = True
    return inside


def _spans(one: Watched, begins: np.ndarray) -> list[tuple[int, int]]:
    """Of each change to be found: from where to where an alarm finds it."""
    horizon, ends = one.about["horizon"], np.append(begins, len(one.strength))[1:]
    return [
        (int(begin), int(end if horizon is None else min(end, begin + horizon)))
        for begin, end in zip(begins, ends, strict=True)
    ]


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the `window` values up to each step, of fewer at the beginning: `[S, T]`."""
    total = np.cumsum(np.pad(np.asarray(values, np.float64), ((0, 0), (1, 0))), axis=1)
    ends = np.arange(1, total.shape[1])
    starts = np.maximum(ends - window, 0)
    return (total[:, ends] - total[:, starts]) / (ends - starts)


def window_of(steps: int) -> int:
    """Over how many steps the model's lines are averaged."""
    return max(10, 10 * round(steps / 200))


def _strength(axes: Axes, one: Watched) -> None:
    steps, peak = np.arange(len(one.strength)), float(np.abs(one.strength).max(initial=1e-9))
    bends = np.abs(np.diff(one.strength, 2, prepend=one.strength[0], append=one.strength[-1])) > 1e-6 * peak
    kept = bends | (steps % max(1, len(steps) // MOST_POINTS) == 0) | (steps == steps[-1])
    axes.fill_between(steps[kept], one.strength[kept], color="#d9b36c", linewidth=0, zorder=2)
    axes.set_ylim(min(0, 1.1 * float(one.strength.min(initial=0))), 1.25 * peak)
    axes.set_yticks([0, peak], ["0", f"{peak:.3g}"], fontsize=7)
    _named(axes, "drift", one.about["kind"])
    marked = one.changes if len(one.changes) <= 6 else one.changes[:1]
    for n, change in enumerate(marked):
        away = abs(change.after) > abs(change.before)
        said = {"sudden": "", "recurring": "", "gradual": "gradual ", "incremental": "gradual "}.get(change.kind, "")
        text = f"{said}drift from {change.at:,}" if away else f"back from {change.at:,}"
        axes.axvline(change.at, color=QUIET, linewidth=0.7, linestyle=(0, (3, 2)), zorder=3)
        late = change.at > 0.8 * len(steps)
        axes.annotate(
            text,
            (change.at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-2 if late else 2, 2),
            textcoords="offset points",
            ha="right" if late else "left",
            fontsize=6.8,
            color=QUIET,
        ) if n == 0 or _apart(marked, n, len(steps)) else None


def _apart(changes: Sequence, n: int, steps: int) -> bool:
    """Whether there is room for a label beside the one before."""
    return changes[n].at - changes[n - 1].at > 0.2 * steps


def _model(axes: Axes, one: Watched) -> None:
    """Accuracy and confidence of a classifier, the loss of a regression."""
    window = window_of(len(one.strength))
    if "correct" not in one.signals:
        lines = [("loss", one.signals["loss"], one.reference.get("loss"), ACCURACY, 1.0)]
    else:
        lines = [
            ("accuracy", one.signals["correct"], one.reference.get("correct"), ACCURACY, 100.0),
            ("confidence", one.signals["confidence"], one.reference.get("confidence"), CONFIDENCE, 100.0),
        ]
        if (one.signals["error"] != 1 - one.signals["correct"]).any():
            lines.append(("measured", 1 - one.signals["error"], None, WRITTEN, 100.0))
    ends, bounds = [], []
    for text, values, rest, colour, scale in lines:
        each = scale * smoothed(values, window)
        # Before, the mean is of fewer steps; and no screen shows more points than these.
        shown = slice(min(window, each.shape[1]) - 1, None, max(1, each.shape[1] // MOST_POINTS))
        steps, mean = np.arange(each.shape[1])[shown], each.mean(axis=0)[shown]
        if len(each) > 1:
            low, high = each.min(axis=0)[shown], each.max(axis=0)[shown]
            axes.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0, zorder=2)
            bounds += [low.min(), high.max()]
        axes.plot(steps, mean, color=colour, linewidth=1.2, zorder=4)
        if rest is not None:
            axes.axhline(scale * rest, color=colour, linewidth=0.7, linestyle=(0, (4, 2.5)), alpha=0.6, zorder=3)
        bounds += [mean.min(), mean.max()]
        ends.append((float(mean[-1]), text, colour))
    low, high = min(bounds), max(bounds)
    room = 0.06 * max(high - low, 1e-6)
    axes.set_ylim(low - room, (min(high + room, 100.8) if "correct" in one.signals else high + room))
    axes.locator_params(axis="y", nbins=5)
    _beside(axes, ends)
    percent = "%, " if "correct" in one.signals else ""
    _named(axes, "the model", f"{percent}mean of {window} steps")


def _beside(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Names at the ends of lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    least, place = 0.13 * (high - low), -np.inf
    for value, text, colour in sorted(ends):
        place = max(value, place + least)
        axes.annotate(
            text,
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=colour,
            annotation_clip=False,
        )


def _lane_height(streams: int) -> float:
    return float(np.clip(0.05 * streams, 0.3, 0.62))


def _lane(axes: Axes, one: Watched, monitor: str, watches: str) -> None:
    """Every alarm: a row for each stream, or, where there are many, the share of streams that fire."""
    kinds = verdicts(one, monitor)
    streams, steps = kinds.shape
    if streams <= MOST_ROWS:
        axes.set_ylim(streams, 0)
        for kind, colour in ((4, NEITHER), (2, AGAIN), (3, FALSE), (1, FINDS)):
            stream, step = np.nonzero(kinds == kind)
            axes.vlines(step, stream + 0.08, stream + 0.92, color=colour, linewidth=1.3, zorder=5 - (kind == 2))
    else:
        width = max(1, steps // 160)
        edges, below = np.arange(0, steps, width), 0.0
        for kind, colour in ((1, FINDS), (2, AGAIN), (3, FALSE), (4, NEITHER)):
            share = np.add.reduceat(kinds == kind, edges, axis=1).clip(0, 1).mean(axis=0)
            axes.bar(edges, share, width=width, bottom=below, align="edge", color=colour, linewidth=0, zorder=4)
            below = below + share
        axes.set_ylim(0, max(float(np.max(below)), 1e-9))
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
    _named(axes, monitor, watches)
    evaluation = one.evaluation[monitor]
    text = f"{evaluation.found} of {evaluation.changes} found" if evaluation.changes else ""
    text += f"\n{evaluation.false_alarms:,} false" if text else f"{evaluation.false_alarms:,} false"
    axes.annotate(
        text,
        (1.0, 0.5),
        xycoords="axes fraction",
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=6.8,
        color=INK,
        annotation_clip=False,
    )


def _named(axes: Axes, name: str, below: str) -> None:
    """What a row is, at its left."""
    short = name if len(name) <= 20 else f"{name[:19]}…"
    small = 6.3 * min(1.0, 31 / max(len(below), 1))  # so that it ends where the axes begin
    for text, up, size, colour in ((short, 4.5, 7.8, INK), (below, -5.5, small, QUIET)):
        axes.annotate(
            text,
            (0.0, 0.5),
            xycoords="axes fraction",
            xytext=(-_LEFT * 72 + 3, up),
            textcoords="offset points",
            va="center",
            fontsize=size,
            color=colour,
            annotation_clip=False,
        )
