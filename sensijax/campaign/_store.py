"""The store: a folder of immutable, digest-named Parquet parts. A part is a finished tile, or it is not there.

    campaign.json        what the folder is about: scenarios, stages, seeds, hashes, tiles
    parts/TILE-DIGEST.parquet
    examples/DIGEST.parquet      ids, labels and groups
    quarantine/          parts whose bytes did not match their names
    history/             earlier campaign.json files of this folder
    environments/        what the parts were computed with
    tuning/              the micro-batch that was measured
    pictures/            some adversarial examples of each attack, for the report
    runs.jsonl           one line for every run that computed something

A part is written to a temporary name, flushed to disk, and renamed to its final name, which holds the BLAKE2b digest of
its bytes: whatever happens, a name that is there and matches its bytes is a whole tile. Plain Parquet readers return
wrong values silently for most flipped bits; the digest does not.
"""

import dataclasses
import errno
import json
import os
import pathlib
import platform
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np

from sensijax.core.digest import file_digest
from sensijax.core.errors import StoreError

LAYOUT = 2  # raised when the columns of a part change meaning

_PART = re.compile(r"([0-9a-f]{32})-([0-9a-f]{32})\.(?:parquet|npz)")


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a look at the parts found.

    Attributes:
      parts: tile id to the file of its part, digests verified.
      damaged: file names that did not match their bytes and were moved to `quarantine/`.
      conflicts: tiles for which two different parts exist: the computation is not deterministic, or was changed.
    """

    parts: Mapping[str, pathlib.Path]
    damaged: tuple[str, ...]
    conflicts: tuple[str, ...]


class Coded(NamedTuple):
    """A column of few distinct words: `words[codes[i]]` in row i.

    DuckDB spells the words out; handing it Python strings, a row at a time, would cost more than all else.
    """

    words: Sequence[str]
    codes: np.ndarray


class Store:
    """A campaign's folder.

    Args:
      folder: where; made when the first thing is written.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)
        self._writer: duckdb.DuckDBPyConnection | None = None

    # --- parts -------------------------------------------------------------------------------------------------------

    def commit(
        self, tile: str, columns: Mapping[str, np.ndarray | Coded], constants: Mapping[str, Any]
    ) -> pathlib.Path:
        """Writes a finished tile: temporary file, fsync, rename, fsync of the folder. Then it is there for good.

        Args:
          tile: the tile's id.
          columns: name to array `[rows]` or `Coded`; NaN in a float column becomes NULL.
          constants: name to the value that every row has.

        Returns:
          The part's path.

        Raises:
          StoreError: if the disk is full or the folder cannot be written; nothing partial is left under a final name.
        """
        return self._write(
            self.folder / "parts", f"{tile}-", ".parquet", lambda path: self._copy(path, columns, constants)
        )

    def write_examples(self, columns: Mapping[str, np.ndarray]) -> pathlib.Path:
        """Writes the table of examples (id, label, groups); the same content always has the same name."""
        return self._write(self.folder / "examples", "", ".parquet", lambda path: self._copy(path, columns, {}))

    def commit_arrays(self, unit: str, arrays: Mapping[str, np.ndarray]) -> pathlib.Path:
        """Writes a finished unit of an evaluation as `units/UNIT-DIGEST.npz`, the way `commit` writes a tile.

        The same arrays give the same bytes, and so the same name.
        """

        return self._write(self.folder / "units", f"{unit}-", ".npz", lambda path: _save(path, arrays))

    def commit_picture(self, address: str, arrays: Mapping[str, np.ndarray]) -> pathlib.Path:
        """Writes arrays for the report as `pictures/ADDRESS-DIGEST.npz`, the way `commit` writes a tile."""
        return self._write(self.folder / "pictures", f"{address}-", ".npz", lambda path: _save(path, arrays))

    def find_picture(self, address: str) -> pathlib.Path | None:
        """The file of a picture, if it is there and intact."""
        return self._scan("pictures", {address}).parts.get(address)

    def scan_units(self, units: Iterable[str]) -> Scan:
        """Finds the files of these units, as `scan` finds parts."""
        return self._scan("units", set(units))

    def scan(self, tiles: Iterable[str] | None = None) -> Scan:
        """Finds the parts of these tiles (all, if None) and verifies their digests; damaged ones go to quarantine.

        Raises:
          StoreError: if a part cannot be read at all (permissions, I/O).
        """
        return self._scan("parts", None if tiles is None else set(tiles))

    def _scan(self, folder: str, wanted: set[str] | None) -> Scan:
        parts: dict[str, pathlib.Path] = {}
        damaged, conflicts = [], []
        for path in sorted((self.folder / folder).glob("*")):
            match = _PART.fullmatch(path.name)
            if not match or (wanted is not None and match[1] not in wanted):
                continue
            try:
                intact = file_digest(path) == match[2]
            except OSError as error:
                raise StoreError(f"cannot read {path}: {error}") from error
            if not intact:
                self._quarantine(path)
                damaged.append(path.name)
            elif match[1] in parts:
                conflicts.append(match[1])  # the first by name wins, the same on every machine
            else:
                parts[match[1]] = path
        return Scan(parts, tuple(damaged), tuple(conflicts))

    def tiles(self) -> set[str]:
        """The ids of all tiles that have a part, by name alone (not verified)."""
        matches = (_PART.fullmatch(path.name) for path in (self.folder / "parts").glob("*.parquet"))
        return {match[1] for match in matches if match}

    def clear_strays(self) -> int:
        """Removes temporary files of this machine's writers that no longer live; returns how many."""
        removed = 0
        for path in [*self.folder.glob(".tmp *"), *self.folder.glob("*/.tmp *")]:
            _, host, pid, _ = path.name.split(" ")
            if host == platform.node() and not _alive(int(pid)):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def connect(self, parts: Sequence[pathlib.Path], examples: pathlib.Path | None) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection (in memory) with the views `responses` and `examples` over these parts.

        Raises:
          StoreError: if there is no part yet, or the table of examples is damaged.
        """
        if not parts:
            raise StoreError(f"{self.folder} holds no finished tile yet: `sensijax run` computes them")
        connection = duckdb.connect()
        files = ", ".join(_quote(str(path)) for path in parts)
        connection.execute(f"create view responses as select * from read_parquet([{files}])")
        if examples is not None:
            if not examples.exists() or file_digest(examples) != examples.stem:
                raise StoreError(f"{examples} is missing or damaged: run the campaign again to write it anew")
            connection.execute(f"create view examples as select * from read_parquet([{_quote(str(examples))}])")
        return connection

    # --- small files -------------------------------------------------------------------------------------------------

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The content of a JSON file of the folder, or None if there is none.

        Raises:
          StoreError: if it is there and cannot be read.
        """
        path = self.folder / name
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot read {path}: {error}") from error

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Replaces a JSON file of the folder as a whole: readers see the old one or the new one."""
        path = self.folder / name
        with self._guard(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.parent / _temporary()
            with open(temporary, "w") as file:
                json.dump(content, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _fsync(path.parent)

    def append_line(self, name: str, content: Mapping[str, Any]) -> None:
        """Appends one line to a JSON-lines file of the folder."""
        path = self.folder / name
        with self._guard(path), open(path, "a") as file:
            file.write(json.dumps(content) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """The lines of a JSON-lines file; a torn last line, left by a kill, does not count."""
        path = self.folder / name
        if not path.exists():
            return []
        lines = []
        for line in path.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
        return lines

    # --- how ---------------------------------------------------------------------------------------------------------

    def _write(
        self, folder: pathlib.Path, prefix: str, suffix: str, write: Callable[[pathlib.Path], None]
    ) -> pathlib.Path:
        with self._guard(folder):
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / _temporary()
            try:
                write(temporary)
                _fsync(temporary)
                final = folder / f"{prefix}{file_digest(temporary)}{suffix}"
                os.replace(temporary, final)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _fsync(folder)
        return final

    def _copy(
        self, path: pathlib.Path, columns: Mapping[str, np.ndarray | Coded], constants: Mapping[str, Any]
    ) -> None:
        if self._writer is None:
            # One thread and no insertion-order freedom: the same rows give the same bytes.
            self._writer = duckdb.connect(config={"threads": 1})
        fields = [f"{_expression(name, column)} as {_name(name)}" for name, column in columns.items()]
        fields += [f"{_quote(v) if isinstance(v, str) else v} as {_name(k)}" for k, v in constants.items()]
        table = {name: _plain(column) for name, column in columns.items()}
        self._writer.register("tile", table)
        try:
            self._writer.execute(
                f"copy (select {', '.join(fields)} from tile) to {_quote(str(path))} (format parquet, compression zstd)"
            )
        finally:
            self._writer.unregister("tile")

    def _quarantine(self, path: pathlib.Path) -> None:
        target = self.folder / "quarantine"
        with self._guard(target):
            target.mkdir(exist_ok=True)
            os.replace(path, target / path.name)

    def _guard(self, path: pathlib.Path) -> "_Guard":
        return _Guard(path)


class _Guard:
    """Turns the operating system's and DuckDB's I/O errors into one that says what stays and what to do."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (OSError, duckdb.IOException)):
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
            advice = "the disk is full: free some space and run again" if full else "check the folder and run again"
            raise StoreError(f"cannot write {self.path}: {error}; {advice}; every finished tile is kept") from error


def _save(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _expression(name: str, column: np.ndarray | Coded) -> str:
    if isinstance(column, Coded):
        return f"[{', '.join(map(_quote, column.words))}][{_name(name)} + 1]"
    return (
        f"case when isnan({_name(name)}) then null else {_name(name)} end" if column.dtype.kind == "f" else _name(name)
    )


def _plain(column: np.ndarray | Coded) -> np.ndarray:
    array = column.codes if isinstance(column, Coded) else column
    return np.ascontiguousarray(array.astype(object) if array.dtype.kind == "U" else array)


def _temporary() -> str:
    return f".tmp {platform.node()} {os.getpid()} {uuid.uuid4().hex}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _fsync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
