"""Writing a file as a whole or not at all: a temporary name, flushed to disk, then renamed."""

import contextlib
import errno
import os
import pathlib
import platform
import uuid
from collections.abc import Iterator

import duckdb

from sensijax.core.errors import StoreError

TEMPORARY = ".tmp "  # how the names of temporary files begin


@contextlib.contextmanager
def guarded(path: pathlib.Path) -> Iterator[None]:
    """Turns the operating system's and DuckDB's I/O errors into one that says what stays and what to do."""
    try:
        yield
    except (OSError, duckdb.IOException) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        advice = "the disk is full: free some space and run again" if full else "check the folder and run again"
        raise StoreError(f"cannot write {path}: {error}; {advice}; every finished tile is kept") from error


@contextlib.contextmanager
def temporary_file(path: pathlib.Path, data: bytes) -> Iterator[pathlib.Path]:
    """A file with this content beside a path, flushed to disk; gone in the end unless it was renamed."""
    made(path.parent)
    temporary = path.parent / temporary_name()
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name() -> str:
    """A name that no other writer takes, and that says who writes."""
    return f"{TEMPORARY}{machine()} {os.getpid()} {uuid.uuid4().hex}"


def machine() -> str:
    """Where a process id means this process: the host's name, and on Linux which container's counting it is."""
    with contextlib.suppress(OSError):
        return f"{platform.node()}+{os.stat('/proc/self/ns/pid').st_ino}"
    return platform.node()


def is_abandoned(temporary: pathlib.Path) -> bool:
    """Whether a temporary file was left by a process of this machine that no longer lives."""
    _, host, pid, _ = temporary.name.split(" ")
    return host == machine() and not _alive(int(pid))


def made(folder: pathlib.Path) -> None:
    """Makes a folder and those above it; their names are flushed to disk as well, or a power cut may take them away."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        with contextlib.suppress(PermissionError):  # a folder above that we may not read
            flush(one.parent)


def flush(path: pathlib.Path) -> None:
    """Flushes a file, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
