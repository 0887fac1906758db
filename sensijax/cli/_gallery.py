"""`sensijax gallery`: which perturbations, on which image, into which file."""

import argparse
import io
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError  # a dependency of matplotlib
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sensijax.core.errors import ArgumentError, did_you_mean

if TYPE_CHECKING:  # importing it for good is slow
    from matplotlib.figure import Figure

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
JPEG_BYTES = 1_500_000  # what a page loads at once
_QUALITIES = (92, 88, 84, 80, 75, 70, 60, 50)


def gallery(arguments: argparse.Namespace, out: Console, err: Console) -> None:
    """Draws the sheet, writes the file, and says so."""
    path = pathlib.Path(arguments.out)
    if path.suffix.lower() not in FORMATS:
        raise ArgumentError("--out", str(path), f"a file name that ends in {', '.join(FORMATS)}")
    from sensijax.core import enable_compile_cache

    ops = named(arguments.op) if arguments.op else None
    x = None
    if arguments.image:
        x, changes = read_image(pathlib.Path(arguments.image), arguments.size)
        if changes:
            err.print(f"{arguments.image}: {changes}", markup=False, highlight=False, soft_wrap=True)
    enable_compile_cache()
    figure = _drawn(ops, x, arguments.size, arguments.seed, err)
    content = encoded(figure, FORMATS[path.suffix.lower()])
    present = path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    out.print(
        f"{'wrote over' if present else 'wrote'} {path}: {len(content) / 1e6:.1f} MB",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def named(names: list[str]) -> list[Any]:
    """The perturbations of these names: `Fog`, or `fog` as in a spec.

    Raises:
      ArgumentError: for a name that is not known, with the closest one.
    """
    from sensijax.campaign import kinds

    known = {key: op for kind, op in kinds().items() for key in (kind, op.__name__)}
    for name in names:
        if name not in known:
            raise ArgumentError("--op", repr(name), did_you_mean(name, known))
    return list(dict.fromkeys(known[name] for name in names))


def read_image(path: pathlib.Path, side: int) -> tuple[np.ndarray, str]:
    """An image file as one example of a given side.

    Args:
      path: anything that Pillow reads; turned as its EXIF data say, transparent parts on white.
      side: what the scale of severity is for, px. The middle square is cut out and brought to this side.

    Returns:
      (x, changes): float32 `[side, side, C]` in [0, 1] with C = 1 for grey files, else 3; and in words what was done.

    Raises:
      ArgumentError: if it is no image.
    """
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode in ("I", "I;16", "I;16B", "F"):  # 16 bits or more: scaled by what such files can hold
                values = np.asarray(picture, np.float32)
                picture = Image.fromarray(values / np.float32(1 if picture.mode == "F" else 65535) * 255)
            elif picture.mode not in ("L", "RGB"):
                grey = picture.mode in ("1", "LA")
                rgba = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert(
                    "L" if grey else "RGB"
                )
            else:
                picture.load()
    except UnidentifiedImageError as error:
        raise ArgumentError("--image", str(path), "a picture that Pillow can read, such as a PNG or a JPEG") from error
    width, height = picture.size
    changes = []
    if width != height:
        changes.append(f"the middle square of {width}x{height} px")
    if min(width, height) != side:
        changes.append(f"{'reduced' if min(width, height) > side else 'enlarged'} to {side}x{side} px")
    x = np.asarray(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS), np.float32)
    x = np.clip(x / np.float32(255), 0, 1)
    return (x[..., None] if x.ndim == 2 else x), ", ".join(changes)


def encoded(figure: "Figure", kind: str) -> bytes:
    """The figure as PNG, exact; or as JPEG, at the best quality that stays within `JPEG_BYTES`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if kind == "png":
        file = io.BytesIO()
        figure.savefig(file, format="png", pil_kwargs={"optimize": True})
        return file.getvalue()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    content = b""
    for quality in _QUALITIES:
        file = io.BytesIO()
        pixels.save(file, "jpeg", quality=quality, optimize=True, progressive=True)
        content = file.getvalue()
        if len(content) <= JPEG_BYTES:
            break
    return content


def _drawn(ops: list[Any] | None, x: np.ndarray | None, size: int, seed: int, err: Console) -> "Figure":
    from sensijax.report import gallery as draw

    if not err.is_terminal:
        return draw(ops, x, size=size, seed=seed)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=name or "drawing")

        return draw(ops, x, size=size, seed=seed, progress=show)
