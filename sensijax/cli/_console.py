"""The two consoles, and what every command prints alike."""

import pathlib

from rich.console import Console

from sensijax.core.errors import StoreError

out = Console()
err = Console(stderr=True)


def say(text: object, style: str | None = None, *, console: Console = out) -> None:
    """Prints a line as it is: no markup, no highlighting, no wrapping of paths and commands."""
    console.print(str(text), style=style, markup=False, highlight=False, soft_wrap=True)


def make_folder(folder: pathlib.Path) -> None:
    """Makes a folder, with those above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error}") from error


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
