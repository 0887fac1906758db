"""Writing a file as a whole or not at all: a temporary name, flushed to disk, then renamed."""

import contextlib
import os
import pathlib
import platform
import uuid
from collections.abc import Iterator

TEMPORARY = ".tmp "  # how the names of temporary files begin


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


def replace(path: pathlib.Path, data: bytes) -> None:
    """Puts this content in the place of a file, or makes the file: readers see the old one or the new one."""
    with temporary_file(path, data) as temporary:
        os.replace(temporary, path)
        flush(path.parent)


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
