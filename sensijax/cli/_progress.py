"""Live progress: a bar on a terminal, one plain line every 30 s elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:  # importing it for good would import JAX
    from sensijax import campaign

LINE_SECONDS = 30.0


class Shown:
    """What `run` calls with its progress.

    Attributes:
      last: the last progress that came.
    """

    def __init__(self, console: Console, bar: Progress | None, unit: str):
        self.last: campaign.Progress | None = None
        self._console, self._bar, self._unit = console, bar, unit
        self._task = bar.add_task("starting", total=None, note="") if bar else None
        self._next_line = 0.0

    def __call__(self, progress: "campaign.Progress") -> None:
        new_phase = self.last is None or progress.phase != self.last.phase
        self.last = progress
        if self._bar is not None and self._task is not None:
            rate = f"{progress.computed / progress.seconds:,.0f} inputs/s  " if progress.computed else ""
            note = f"{rate}{progress.scenario}"
            self._bar.update(
                self._task,
                description=progress.phase,
                completed=progress.tiles,
                total=progress.tiles_total or None,
                note=note,
            )
        elif new_phase or time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            share = (
                f" {progress.tiles}/{progress.tiles_total} {self._unit}"
                + (f", {progress.rows:,}/{progress.rows_total:,} inputs" if progress.rows_total else "")
                + (f", {progress.scenario}" if not progress.rows_total and progress.scenario else "")
                if progress.tiles_total
                else ""
            )
            self._console.print(
                f"[{progress.seconds:6.1f} s] {progress.phase}{share}", markup=False, highlight=False, soft_wrap=True
            )


@contextlib.contextmanager
def shown_progress(console: Console, unit: str = "tiles") -> Iterator[Shown]:
    """Shows the progress of what runs inside, in the way that suits the console."""
    if not console.is_terminal:
        yield Shown(console, None, unit)
        return
    columns = (
        TextColumn("{task.description:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Shown(console, bar, unit)
