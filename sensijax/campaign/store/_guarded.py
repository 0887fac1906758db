"""What a disk says when it cannot be written, in words that say what stays and what to do."""

import contextlib
import errno
import pathlib
from collections.abc import Iterator

import duckdb

from sensijax.core.errors import StoreError


@contextlib.contextmanager
def guarded(path: pathlib.Path) -> Iterator[None]:
    """Turns the operating system's and DuckDB's I/O errors into one that says what stays and what to do."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        advice = "the disk is full: free some space and run again" if full else "check the folder and run again"
        raise StoreError(f"cannot write {path}: {error}; {advice}; every finished tile is kept") from error
