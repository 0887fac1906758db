"""The gallery: every perturbation of images at every severity, on one picture, as a contact sheet.

Everything is placed in pixels of a sheet of 100 dots per inch; saved at more, it is the same sheet, sharper.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sensijax.core import ArgumentError, key_for
from sensijax.data import photo
from sensijax.perturb import image
from sensijax.report._figures import INK, QUIET, RULE

SEVERITIES = (0, 1, 2, 3, 4, 5)
_STYLE: dict[Any, Any] = {"font.family": ["DejaVu Sans"], "text.parse_math": False}
_DPI = 100
_PICTURE, _GAP, _CAPTION = 116, 6, 17  # the longer side of a picture, what lies between two, the numbers under one
_LABEL, _ROW_GAP, _BLOCK_GAP, _MARGIN = 122, 13, 44, 30
_TITLE, _HEADING = 52, 24
_ONE_BLOCK = 10  # more rows than this stand in two blocks, side by side
_CAPTION_LENGTH = 19  # characters under a picture


def gallery(
    ops: Sequence[Any] | None = None,
    x: Float[Array | np.ndarray, "H W C"] | None = None,
    *,
    size: int = 224,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Figure:
    """Draws perturbations (rows) at severities 0 to 5 (columns) on one picture.

    Under each picture are the parameters that the severity sets, in the order in which they stand under the name. Every
    row is one compiled program, a few seconds each at 224 px.

    Args:
      ops: perturbation classes, or anything with `.at(severity)`; all of `sensijax.perturb.image.ALL` unless given,
        those of ImageNet-C first.
      x: float32 `[H, W, C]` in [0, 1]; `sensijax.data.photo()` unless given, reduced to 32 px for that scale.
      size: whose scale of severity, 224 or 32, for perturbations that have both.
      seed: of the random draws.
      progress: called with (rows done, rows, name of the next), for those who wait.

    Returns:
      A matplotlib figure, drawn without pyplot: `gallery().savefig("gallery.png", dpi=150)`.

    Raises:
      ArgumentError: if there is nothing to draw, something has no severity scale, or `x` is not an image.

    Example:
      >>> from sensijax.perturb import image
      >>> figure = gallery([image.Contrast, image.Fog], size=32)
      >>> len(figure.axes[0].images)
      12
    """
    ops = image.ALL if ops is None else tuple(ops)
    if not ops:
        raise ArgumentError("ops", "nothing", "at least one perturbation class")
    for op in ops:
        if not hasattr(op, "at"):
            raise ArgumentError("ops", repr(op), "perturbation classes, or anything with .at(severity)")
    if size not in (224, 32):
        raise ArgumentError("size", repr(size), "224 or 32, the sides for which scales were published")
    x = jnp.asarray(_embedded(size) if x is None else x)
    image.GaussianNoise.domain.check_shape(x)
    rows = []
    for done, op in enumerate(ops):
        if progress is not None:
            progress(done, len(ops), op.__name__)
        rows.append(_row(op, x, size, seed))
    if progress is not None:
        progress(len(ops), len(ops), "")
    return _sheet(rows, (x.shape[0], x.shape[1]), f"severity scale of {size} px, seed {seed}")


def _embedded(size: int) -> np.ndarray:
    x = photo()
    side = len(x) // size
    return x.reshape(size, side, size, side, 3).mean((1, 3), dtype=np.float32) if side > 1 else x


@dataclasses.dataclass(frozen=True)
class _Row:
    name: str
    parameters: tuple[str, ...]
    captions: tuple[str, ...]  # by severity
    pictures: np.ndarray | None  # uint8 [severity, H, W, C]
    refusal: str = ""


def _row(op: Any, x: Array, size: int, seed: int) -> _Row:
    options = {"size": size} if "size" in inspect.signature(op.at).parameters else {}
    severities = jnp.asarray(SEVERITIES, jnp.float32)
    names, captions = _parameters(op.at(severities, **options))
    try:
        program = jax.jit(jax.vmap(lambda s, k, v: op.at(s, **options)(k, v), in_axes=(0, None, None)))
        out = np.asarray(program(severities, key_for(seed, op.__name__, 0), x))
    except ArgumentError as error:  # it does not work on such an image: the others do
        return _Row(op.__name__, names, captions, None, error.right)
    return _Row(op.__name__, names, captions, np.round(out * 255).astype(np.uint8))


def _parameters(stacked: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the numbers that the severity sets, and the numbers at every severity; as many as there is room for.

    What names are left out is said in the last.
    """
    names, captions, left_out = [], [""] * len(SEVERITIES), 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(stacked):
        values = np.asarray(leaf)
        if values.shape != (len(SEVERITIES),) or np.ptp(values) == 0:
            continue
        longer = [f"{caption}  {_short(v)}".strip() for caption, v in zip(captions, values.tolist(), strict=True)]
        if left_out or max(map(len, longer)) > _CAPTION_LENGTH:
            left_out += 1
            continue
        names.append(str(getattr(path[-1], "name", path[-1])).replace("_", " "))
        captions = longer
    return (*names, *([f"and {left_out} more"] if left_out else [])), tuple(captions)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value + 0.0:.3g}"


# --- the sheet -------------------------------------------------------------------------------------------------------


def _sheet(rows: Sequence[_Row], shape: tuple[int, int], about: str) -> Figure:
    height, width = (max(1, round(_PICTURE * side / max(shape))) for side in shape)
    labels = [_label(row) for row in rows]
    # A row is as high as its picture with its numbers, or as its label.
    row_height = max(height + _CAPTION, *(_label_height(*label) for label in labels)) + _ROW_GAP
    block_width = _LABEL + len(SEVERITIES) * (width + _GAP) - _GAP
    blocks = 1 if len(rows) <= _ONE_BLOCK else 2
    per_block = -(-len(rows) // blocks)
    across = 2 * _MARGIN + blocks * block_width + (blocks - 1) * _BLOCK_GAP
    down = 2 * _MARGIN + _TITLE + _HEADING + per_block * row_height - _ROW_GAP
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(across / _DPI, down / _DPI), dpi=_DPI, facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, across), ylim=(down, 0))
        axes.set_axis_off()
        count = f"{len(rows)} perturbations" if len(rows) > 1 else rows[0].name
        _write(axes, _MARGIN, _MARGIN, f"{count} at severities 0 to 5", 21, weight="bold")
        _write(axes, _MARGIN, _MARGIN + 29, f"0 is the image itself; {about}", 12, color=QUIET)
        for block in range(blocks):
            left, top = _MARGIN + block * (block_width + _BLOCK_GAP), _MARGIN + _TITLE
            for column, severity in enumerate(SEVERITIES):
                middle = left + _LABEL + column * (width + _GAP) + width / 2
                _write(axes, middle, top + 6, str(severity), 12, ha="center", color=QUIET)
            axes.plot([left, left + block_width], [top + _HEADING - 1] * 2, color=RULE, linewidth=0.6)
            for i, row in enumerate(rows[block * per_block : (block + 1) * per_block]):
                place = (left, top + _HEADING + 5 + i * row_height)
                _draw(axes, row, labels[block * per_block + i], place, (height, width))
        axes.set_xlim(0, across)
        axes.set_ylim(down, 0)
    return figure


def _draw(axes: Axes, row: _Row, label: tuple[str, str], place: tuple[float, float], picture: tuple[int, int]) -> None:
    (left, top), (height, width), (name, parameters) = place, picture, label
    _write(axes, left, top, name, 13, weight="bold", linespacing=1.15)
    _write(axes, left, top + 17 * (name.count("\n") + 1) + 2, parameters, 10, color=QUIET, linespacing=1.25)
    left += _LABEL
    if row.pictures is None:
        _write(axes, left, top, f"not on this image: {row.refusal}", 12, color=QUIET)
        return
    for column, pixels in enumerate(row.pictures):
        x = left + column * (width + _GAP)
        if pixels.shape[2] == 1:
            pixels = np.repeat(pixels, 3, axis=2)
        reduced = max(pixels.shape[:2]) > max(height, width)
        axes.imshow(
            pixels,
            extent=(x, x + width, top + height, top),
            aspect="auto",
            interpolation="hanning" if reduced else "nearest",
            interpolation_stage="rgba",
        )
        _write(axes, x + width / 2, top + height + 4, row.captions[column], 10, ha="center", color=QUIET)


def _write(axes: Axes, x: float, y: float, text: str, size: float, **style: Any) -> None:
    style = {"color": INK, "ha": "left", "va": "top", **style}
    axes.text(x, y, text, fontsize=size * 72 / _DPI, **style)


def _label(row: _Row) -> tuple[str, str]:
    """A row's name, broken between words where it is long, and its parameters, one to a line."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+", row.name) or [row.name]
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1] + word) > 13:
            lines.append("")
        lines[-1] += word
    return "\n".join(lines), "\n".join(row.parameters)


def _label_height(name: str, parameters: str) -> int:
    return 17 * (name.count("\n") + 1) + 2 + (13 * (parameters.count("\n") + 1) if parameters else 0)
