"""Figures of sensitivity: functions that draw on matplotlib axes and return them.

Without axes they make a `matplotlib.figure.Figure` of their own, reached as `axes.figure`: pyplot, and with it global
state, is left to the user. Colours are Okabe and Ito's, which the colour-blind tell apart; every series has a marker of
its own besides.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.sensitivity.derivatives._spectrum import Singular
from sensijax.sensitivity.indices._converge import Convergence
from sensijax.sensitivity.indices._response import ResponseCurve
from sensijax.sensitivity.indices._result import Result, _is_pairs, _output
from sensijax.sensitivity.severities._critical import CriticalSeverity
from sensijax.sensitivity.surrogates._surface import Surface

INK, QUIET, RULE = "#222222", "#666666", "#d0d0d0"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = "osD^vP"


def tornado(result: Result, ax: Any = None, *, output: int = 0, most: int = 20) -> Any:
    """Indices by input with their intervals, the largest on top.

    Args:
      result: of a global sensitivity analysis.
      ax: matplotlib axes; new ones if absent.
      output: which output, if the function has several.
      most: inputs shown at most; how many are left out is said.

    Returns:
      The axes.

    Example:
      >>> tornado(sobol(f, space, key=key)).figure.savefig("indices.svg")   # doctest: +SKIP
    """
    names: tuple[str, ...] = getattr(result, "names")  # noqa: B009
    shown = [m for m in result._measures() if not _is_pairs(m[1], len(names)) and m[0] in result._plotted()]
    columns = [(i, _output(v, output, 1), None if b is None else _output(b, output, 2)) for i, v, b in shown]
    order = np.argsort(-np.abs(columns[-1][1]), kind="stable")[:most][::-1]
    ax = _axes(ax, (4.6, 0.55 + 0.34 * len(order) + 0.25))
    offset = np.linspace(0.16, -0.16, len(columns)) if len(columns) > 1 else np.zeros(1)
    for j, (index, value, bounds) in enumerate(columns):
        place, colour = np.arange(len(order)) + offset[j], COLOURS[j % len(COLOURS)]
        ax.hlines(place, 0, value[order], color=colour, linewidth=3.5, alpha=0.28)
        if bounds is not None:
            ax.hlines(place, bounds[order, 0], bounds[order, 1], color=colour, linewidth=1.2)
        ax.plot(value[order], place, MARKERS[j % len(MARKERS)], color=colour, markersize=4.5, label=index)
    ax.set_yticks(np.arange(len(order)), [names[i] for i in order])
    ax.set_ylim(-0.6, len(order) - 0.4)
    ax.axvline(0, color=QUIET, linewidth=0.8)
    _plain(ax)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(frameon=False, loc="lower right")
    if len(names) > len(order):
        ax.set_xlabel(f"{len(names) - len(order)} smaller ones left out", color=QUIET)
    return ax


def pairs(result: Result, ax: Any = None, *, output: int = 0) -> Any:
    """A heatmap of the second order; pairs whose interval holds 0 are written in grey.

    Args:
      result: with second order: of `sobol(..., second_order=True)`, or of `pce`.
      ax: matplotlib axes; new ones if absent.
      output: which output, if the function has several.

    Returns:
      The axes.

    Raises:
      ArgumentError: if the result has no second order.

    Example:
      >>> pairs(pce(f, space, key=key))   # doctest: +SKIP
    """
    names: tuple[str, ...] = getattr(result, "names")  # noqa: B009
    found = [m for m in result._measures() if _is_pairs(m[1], len(names))]
    if not found:
        right = "a result with second order: sobol(..., second_order=True), or pce"
        raise ArgumentError("result", type(result).__name__, right)
    index, value, bounds = found[0]
    value, bounds = _output(value, output, 2), None if bounds is None else _output(bounds, output, 3)
    ax = _axes(ax, (1.6 + 0.5 * len(names), 1.1 + 0.45 * len(names)))
    largest = max(float(np.nanmax(np.abs(value), initial=0.0)), 1e-12)
    picture = ax.imshow(value, cmap="PuOr_r", vmin=-largest, vmax=largest)
    ax.figure.colorbar(picture, ax=ax, label=index, shrink=0.8).outline.set_visible(False)
    ax.set_xticks(np.arange(len(names)), names, rotation=45, ha="right")
    ax.set_yticks(np.arange(len(names)), names)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if len(names) <= 12:
        for i, j in zip(*np.where(np.isfinite(value)), strict=True):
            clear = bounds is None or bounds[i, j, 0] > 0 or bounds[i, j, 1] < 0
            dark = abs(value[i, j]) > 0.6 * largest
            ink = ("white" if dark else INK) if clear else "#8a8a8a"
            ax.text(j, i, f"{value[i, j]:.2f}", ha="center", va="center", color=ink, fontsize=7)
    return ax


def convergence(found: Convergence, ax: Any = None) -> Any:
    """Half of the widest interval against n, the tolerance, and what 1 / sqrt(n) would give.

    Args:
      found: from `converge`.
      ax: matplotlib axes; new ones if absent.

    Returns:
      The axes.

    Example:
      >>> convergence(converge(sobol, f, space, key=key, tolerance=0.01))   # doctest: +SKIP
    """
    ax, n = _axes(ax, (4.2, 2.8)), np.asarray(found.n, float)
    ax.loglog(n, found.half_width, "o-", color=COLOURS[0], label="half of the widest interval")
    ax.loglog(n, found.half_width[0] * np.sqrt(n[0] / n), ":", color=QUIET, label="as 1 / sqrt(n)")
    ax.axhline(found.tolerance, color=COLOURS[1], linewidth=1, linestyle=(0, (4, 2.5)), label="tolerance")
    ax.set_xlabel("n")
    _plain(ax)
    ax.legend(frameon=False)
    return ax


def curve(found: ResponseCurve, ax: Any = None, *, level: float = 0.95) -> Any:
    """A mean response along a severity, its interval over examples, and its exact slope as a short line at each node.

    Args:
      found: from `response_curve`.
      ax: matplotlib axes; new ones if absent.
      level: of the intervals.

    Returns:
      The axes.

    Example:
      >>> curve(response_curve(model, image.Fog, key, x, y))   # doctest: +SKIP
    """
    table = found.frame(level)
    ax = _axes(ax, (4.2, 2.8))
    s = table.severity.to_numpy()
    ax.fill_between(s, table.response_low, table.response_high, color=COLOURS[0], alpha=0.18, linewidth=0)
    ax.plot(s, table.response, color=COLOURS[0], label=f"mean response, {level:.0%} interval")
    reach = 0.35 * float(np.ptp(s)) / max(len(s) - 1, 1)
    for k, (at, value, slope) in enumerate(zip(s, table.response, table.slope, strict=True)):
        ends = np.array([-reach, reach])
        label = "exact slope" if k == 0 else None
        ax.plot(at + ends, value + slope * ends, color=COLOURS[1], linewidth=2.2, solid_capstyle="butt", label=label)
    ax.set_xlabel("severity")
    ax.set_ylabel("response")
    _plain(ax)
    ax.legend(frameon=False)
    return ax


def contours(
    found: Surface, first: str | None = None, second: str | None = None, ax: Any = None, *,
    at: Mapping[str, float] | None = None, levels: int = 10,
) -> Any:  # fmt: skip
    """Contours of a surface's surrogate over two stressors, with the measured points and their downhill slopes.

    Args:
      found: from `surface`.
      first, second: names of the axes; the first two stressors unless given.
      ax: matplotlib axes; new ones if absent.
      at: severities of the others; the middle of the box unless given. Measured points are drawn where there are none.
      levels: of the contours, about.

    Returns:
      The axes.

    Raises:
      ArgumentError: if a name is unknown, or there are fewer than two stressors.

    Example:
      >>> contours(surface(model, {"noise": image.GaussianNoise, "fog": image.Fog}, key, x, y))   # doctest: +SKIP
    """
    if len(found.names) < 2:
        raise ArgumentError("surface", f"{len(found.names)} stressor", "two or more; `curve` draws one")
    first, second = first or found.names[0], second or found.names[1]
    for name in (first, second, *(at or {})):
        if name not in found.names:
            raise ArgumentError("name", repr(name), f"one of {', '.join(found.names)}")
    if first == second:
        raise ArgumentError("second", repr(second), f"another stressor than {first!r}")
    i, j = found.names.index(first), found.names.index(second)
    ends = [found.space.inputs[name].support[1] for name in found.names]
    centre = np.array([(at or {}).get(name, end / 2) for name, end in zip(found.names, ends, strict=True)])
    u, v = np.meshgrid(np.linspace(0, ends[i], 61), np.linspace(0, ends[j], 61))
    points = np.tile(centre, (u.size, 1))
    points[:, i], points[:, j] = u.ravel(), v.ravel()
    ax = _axes(ax, (4.4, 3.5))
    height = found.predict(points).reshape(u.shape)
    filled = ax.contourf(u, v, height, levels=levels, cmap="YlOrBr")
    ax.contour(u, v, height, levels=filled.levels, colors=INK, linewidths=0.4, alpha=0.5)
    ax.figure.colorbar(filled, ax=ax, label="response").outline.set_visible(False)
    if len(found.names) == 2:
        ax.plot(*found.severities[:, [i, j]].T, "o", color=INK, markersize=2.5, clip_on=False, label="measured")
    ax.set_xlabel(first)
    ax.set_ylabel(second)
    ax.set_title(
        f"missed at unseen points: {100 * found.cross_validated:.2g} % of the variance", fontsize=8, color=QUIET
    )
    _plain(ax)
    return ax


def survival(found: CriticalSeverity | Mapping[str, CriticalSeverity], ax: Any = None, *, level: float = 0.95) -> Any:
    """The share of examples that no severity up to here has lost, with its interval; one curve for each stressor.

    Args:
      found: from `critical_severity`; or several of them by name.
      ax: matplotlib axes; new ones if absent.
      level: of the intervals.

    Returns:
      The axes.

    Example:
      >>> survival({"fog": critical_severity(model, image.Fog, key, x, y)})   # doctest: +SKIP
    """
    each = found if isinstance(found, Mapping) else {"": found}
    if not each:
        raise ArgumentError("found", "nothing", "at least one result of critical_severity")
    ax = _axes(ax, (4.2, 2.8))
    for k, (name, one) in enumerate(each.items()):
        table, colour = one.survival(level=level), COLOURS[k % len(COLOURS)]
        ax.fill_between(table.severity, table.low, table.high, step="post", color=colour, alpha=0.15, linewidth=0)
        ax.step(table.severity, table.survival, where="post", color=colour, label=name or None)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("severity")
    ax.set_ylabel("share never lost")
    _plain(ax)
    if isinstance(found, Mapping):
        ax.legend(frameon=False)
    return ax


def directions(found: Singular, ax: Any = None, *, shape: tuple[int, ...] | None = None) -> Any:
    """The right singular vectors as images, side by side: grey is no change, one colour up and the other down.

    Args:
      found: from `singular` at one image `[H, W]`, `[H, W, 1]` or `[H, W, 3]` (of a colour image the mean is shown).
      ax: matplotlib axes; new ones if absent.
      shape: of the image, where it was handed over flat.

    Returns:
      The axes.

    Raises:
      ArgumentError: if the input is no image.

    Example:
      >>> directions(singular(lambda x: model(x[None])[0], image, k=4))   # doctest: +SKIP
    """
    vectors = np.asarray(found.right, np.float64) if hasattr(found.right, "shape") else None
    if vectors is not None and shape is not None and math.prod(vectors.shape[1:]) == math.prod(shape):
        vectors = vectors.reshape(len(vectors), *shape)
    if vectors is None or vectors.ndim not in (3, 4):
        came = "a pytree" if vectors is None else f"directions {list(vectors.shape[1:])}"
        raise ArgumentError("found", came, "directions of one image [H, W] or [H, W, C]; or give its `shape`")
    pictures = vectors if vectors.ndim == 3 else vectors.mean(axis=-1)
    k, height, width = pictures.shape
    gap = max(1, width // 10)
    canvas = np.full((height, k * width + (k - 1) * gap), np.nan)
    for i, picture in enumerate(pictures):
        canvas[:, i * (width + gap) : i * (width + gap) + width] = picture / np.abs(picture).max()
    ax = _axes(ax, (1.5 * k, 1.9))
    ax.imshow(canvas, cmap="PuOr_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_xticks([i * (width + gap) + (width - 1) / 2 for i in range(k)], [f"{v:.3g}" for v in found.values[:k]])
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.set_xlabel("singular value: change of the outputs for a step of length 1")
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def _axes(ax: Any, size: tuple[float, float]) -> Any:
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").add_subplot()


def _plain(ax: Any) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(RULE)
    ax.tick_params(colors=QUIET, labelsize=8)
    ax.yaxis.label.set_color(QUIET)
    ax.xaxis.label.set_color(QUIET)
