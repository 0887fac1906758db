"""Failpoints: at the n-th call of one kind that touches a folder, something happens. They live in the victim alone.

The product knows nothing of them: the functions of `os`, `open` and DuckDB are replaced in a process that is forked to
be the victim.
"""

import builtins
import dataclasses
import errno
import os
import pathlib
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import duckdb

CALLS = ("open", "mkdir", "fsync", "replace", "link", "unlink", "copy")
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)

_COPY = re.compile(r"^copy .* to '((?:[^']|'')*)' \(", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Failpoint:
    """Where and how a victim is struck.

    Attributes:
      call: one of `CALLS`.
      nth: at which of these calls, from 0.
      how: "before" or "after" (kill -9 there); "torn" (the file has only a part of its bytes, then kill -9); "power"
        (what was not flushed is lost, then kill -9); "error" (the call fails); "stop" (SIGSTOP, until somebody sends
        SIGCONT).
      error: the errno, for "error".
      share: of the bytes that a torn file keeps, of the changes that a power cut lets through.
    """

    call: str
    nth: int
    how: str
    error: int = 0
    share: float = 0.0

    def __str__(self) -> str:
        what = {"error": f"{errno.errorcode.get(self.error)} at", "power": "power cut after", "torn": "torn write at"}
        return f"{what.get(self.how, self.how)} {self.call} {self.nth}"


class Disk:
    """Sees every call of this process that changes files under a folder, and strikes at one of them.

    Args:
      folder: whose files count.
      aside: a folder outside of it, on the same file system, for what a power cut has to bring back.
      strike: when to strike; None: never, only `seen` is kept.
    """

    def __init__(self, folder: pathlib.Path, aside: pathlib.Path, strike: Failpoint | None):
        self.folder, self.aside, self.strike = str(folder.absolute()), aside, strike
        self.seen: dict[str, int] = dict.fromkeys(CALLS, 0)
        self._open, self._truncate, self._link = builtins.open, os.truncate, os.link
        self._lengths: dict[str, int] = {}  # bytes of a file that are on the disk for sure
        self._undo: list[tuple[str, Callable[[], None]]] = []  # changes of folders that are not, with their folder
        self._kept = 0
        aside.mkdir(parents=True, exist_ok=True)

    def arm(self) -> None:
        """Replaces the functions, for the rest of this process."""
        builtins.open = self._opening(builtins.open)
        os.mkdir = self._around("mkdir", os.mkdir, lambda path, *_, **__: [path])
        os.fsync = self._around("fsync", os.fsync, lambda descriptor: [os.readlink(f"/proc/self/fd/{descriptor}")])
        for name in ("replace", "link"):
            setattr(os, name, self._around(name, getattr(os, name), lambda source, target, **_: [source, target]))
        os.unlink = self._around("unlink", os.unlink, lambda path, **_: [path])
        connect = duckdb.connect
        duckdb.connect = lambda *args, **kwargs: _Connection(connect(*args, **kwargs), self)  # type: ignore[assignment]

    # --- calls -------------------------------------------------------------------------------------------------------

    def copying(self, path: str, copy: Callable[[], Any]) -> Any:
        """DuckDB's `copy ... to PATH`."""
        return self._around("copy", lambda _: copy(), lambda path: [path])(path)

    def _opening(self, real: Callable) -> Callable:
        around = self._around("open", real, lambda path, *_, **__: [path])

        def opened(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            writes = isinstance(path, (str, os.PathLike)) and set(mode) & set("wax+")
            return (around if writes else real)(path, mode, *args, **kwargs)

        return opened

    def _around(self, call: str, real: Callable, touched: Callable[..., list[Any]]) -> Callable:
        def replaced(*args: Any, **kwargs: Any) -> Any:
            paths = [os.path.abspath(os.fspath(path)) for path in touched(*args, **kwargs)]
            if call == "fsync" and paths[0] == os.path.dirname(self.folder):  # the folder's own name
                self._done(call, paths, None)
            if not all(path.startswith(self.folder) for path in paths):
                return real(*args, **kwargs)
            strike = self.strike
            struck = strike is not None and (strike.call, strike.nth) == (call, self.seen[call])
            self.seen[call] += 1
            if struck and strike is not None:
                self._before(strike, paths, lambda: real(*args, **kwargs))
            undo = self._prepared(call, paths)
            try:
                result = real(*args, **kwargs)
            except OSError:  # such as a folder that is there already
                if struck and strike is not None:
                    self._after(strike)
                raise
            self._done(call, paths, undo)
            if struck and strike is not None:
                self._after(strike)
            return result

        return replaced

    def _before(self, strike: Failpoint, paths: list[str], call: Callable[[], Any]) -> None:
        path = paths[-1]
        if strike.how == "before":
            _die()
        if strike.how == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if strike.how == "torn":
            if strike.call == "copy":
                call()
            if os.path.isfile(path):
                old = self._lengths.get(path, 0)
                self._truncate(path, old + int(strike.share * (os.path.getsize(path) - old)))
            _die()
        if strike.how == "error":
            if strike.call in ("copy", "fsync") and os.path.isfile(path):  # what a full disk leaves behind
                self._truncate(path, int(strike.share * os.path.getsize(path)))
            if strike.call == "copy":
                raise duckdb.IOException(f'IO Error: Could not write file "{path}": {os.strerror(strike.error)}')
            raise OSError(strike.error, os.strerror(strike.error), path)

    def _after(self, strike: Failpoint) -> None:
        if strike.how == "power":
            self._cut(strike.share)
        if strike.how in ("after", "power"):
            _die()

    # --- what would be on the disk -----------------------------------------------------------------------------------

    def _prepared(self, call: str, paths: list[str]) -> Callable[[], None] | None:
        """How to undo a change of a folder's names, from what is there before it."""
        if self.strike is None or self.strike.how != "power":
            if call == "open" and os.path.isfile(paths[-1]):
                self._lengths.setdefault(paths[-1], os.path.getsize(paths[-1]))
            return None
        path = paths[-1]
        if call == "open":
            if os.path.exists(path):
                self._lengths.setdefault(path, os.path.getsize(path))
                return None
            return lambda: _gone(path)
        if call in ("copy", "link"):
            return lambda: _gone(path)
        if call == "mkdir":
            return lambda: shutil.rmtree(path, ignore_errors=True)
        if call in ("replace", "unlink") and os.path.exists(path):
            self._kept += 1
            kept = str(self.aside / f"{self._kept} {os.getpid()}")
            self._link(path, kept)
            if call == "unlink":
                return lambda: self._link(kept, path)
        else:
            kept = None
        if call == "replace":
            return lambda: self._moved_back(paths[0], path, kept)
        return None

    def _moved_back(self, source: str, target: str, kept: str | None) -> None:
        os.rename(target, source)
        if kept is not None:
            self._link(kept, target)

    def _done(self, call: str, paths: list[str], undo: Callable[[], None] | None) -> None:
        path = paths[-1]
        if call == "fsync":
            if os.path.isdir(path):
                self._undo = [(folder, step) for folder, step in self._undo if folder != path]
            else:
                self._lengths[path] = os.path.getsize(path)
        elif call in ("open", "copy"):
            self._lengths.setdefault(path, 0)
        elif call in ("replace", "link"):
            self._lengths[path] = self._lengths.get(paths[0], os.path.getsize(path))
        if undo is not None:
            self._undo.append((os.path.dirname(path), undo))

    def _cut(self, share: float) -> None:
        """Unflushed bytes are gone, and so are the last of the unflushed changes of folders."""
        lengths = {path: length for path, length in self._lengths.items() if os.path.isfile(path)}
        for path, length in lengths.items():
            if os.path.getsize(path) > length:
                self._truncate(path, length)
        survive = int(share * (len(self._undo) + 1))
        for _, undo in reversed(self._undo[survive:]):
            undo()


class _Connection:
    """A DuckDB connection that tells when it writes a file."""

    def __init__(self, real: Any, disk: Disk):
        self._real, self._disk = real, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, query: str, *args: Any) -> Any:
        written = _COPY.match(query)
        if written:
            return self._disk.copying(written[1].replace("''", "'"), lambda: self._real.execute(query, *args))
        return self._real.execute(query, *args)


def _gone(path: str) -> None:
    if os.path.exists(path):
        os.remove(path)


def _die() -> None:
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def points(seen: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Every failpoint that an undisturbed run passed."""
    for call, count in seen.items():
        yield from ((call, nth) for nth in range(count))
