"""Figures about attacks: robust accuracy over budgets, what broke what, and pictures of adversarial examples."""

import base64
import io
from collections.abc import Sequence

import matplotlib
import matplotlib.image
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from sensijax.report._figures import _STYLE, BAND, QUIET, RULE, _inline

PARTS = ("#0072b2", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8a6d3b", "#666666")
"""For the parts of an attack, in order (Okabe and Ito's palette); robust is green, wrong without an attack grey."""
ROBUST, WRONG = "#009e73", "#b8bec4"


def robust_curve(
    budgets: Sequence[float],
    share: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    norm: str,
    trusted: bool,
    name: str,
    label: str,
) -> Markup:
    """Robust accuracy over budgets, from the unattacked accuracy at 0 on, with its interval as a band.

    Args:
      budgets: ascending, 0 first.
      share, low, high: fractions.
      norm: of the budgets.
      trusted: False draws the curve dashed, with hollow marks: an upper bound not to be trusted.
      name: a prefix for the ids in the SVG, unique in the document.
      label: what a reader who cannot see it should know.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(5.2, 2.9))
        axes = figure.add_axes((0.1, 0.17, 0.87, 0.78))
        x, y = np.asarray(budgets), 100 * np.asarray(share)
        axes.axhline(y[0], color=RULE, linewidth=0.8)
        axes.fill_between(x, 100 * np.asarray(low), 100 * np.asarray(high), color=BAND, linewidth=0)
        style = "-" if trusted else (0, (4, 2.5))
        axes.plot(x, y, color="#34495e", linestyle=style)
        axes.plot(x[:1], y[:1], "o", color="#222222", markerfacecolor="white", markersize=5, clip_on=False)
        face = "#34495e" if trusted else "white"
        axes.plot(x[1:], y[1:], "s", color="#34495e", markerfacecolor=face, markersize=4.6, clip_on=False)
        axes.set_ylim(0, 100)
        axes.set_xlim(0, x[-1] * 1.02)
        axes.locator_params(axis="x", nbins=8)
        axes.set_xlabel(f"budget: largest change allowed, in the {norm} norm", labelpad=3)
        axes.set_ylabel("accuracy, %", labelpad=3)
        axes.tick_params(labelcolor=QUIET)
        return _inline(figure, name, label)


def shares(counts: Sequence[int], colours: Sequence[str], *, label: str) -> Markup:
    """Counts as parts of one bar."""
    total, x, parts = max(sum(counts), 1), 0.0, []
    for count, colour in zip(counts, colours, strict=True):
        width = round(220 * count / total, 2)
        if width:
            parts.append(f'<rect x="{round(x, 2)}" y="0" width="{width}" height="14" fill="{colour}"/>')
        x += width
    return Markup(
        f'<svg class="shares" viewBox="0 0 220 14" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def picture(x: np.ndarray, low: float, high: float) -> Markup:
    """An image `[H, W, C]` (C = 1 or 3) as a PNG in a data URL; `low` is black and `high` white."""
    scaled = np.clip((x.astype(np.float64) - low) / (high - low), 0, 1)
    pixels = np.round(255 * scaled).astype(np.uint8)
    pixels = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    step = -(-max(pixels.shape[:2]) // 160)  # no more pixels than are shown
    file = io.BytesIO()
    matplotlib.image.imsave(file, pixels[::step, ::step].copy(), format="png")
    return Markup(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}")


def is_picture(shape: Sequence[int]) -> bool:
    """Whether examples of this shape can be drawn."""
    return len(shape) == 3 and shape[-1] in (1, 3)
