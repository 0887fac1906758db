"""The store: a folder of immutable, digest-named Parquet parts. A part is a finished tile, or it is not there.

    campaign.json        what the folder is about: scenarios, stages, seeds, hashes, tiles
    parts/TILE-DIGEST.parquet
    examples/DIGEST.parquet      ids, labels and groups
    quarantine/          parts whose bytes did not match their names
    history/             earlier campaign.json files of this folder
    environments/        what the parts were computed with
    tuning/              the micro-batch that was measured
    claims/              in which environment processes that start at once have agreed to compute
    exhibits/            what the report shows beside the responses, such as adversarial examples of each attack
    runs.jsonl           one line for every run that computed something
    failures.jsonl       one line for every tile that was given up

On an object store (`_object_store.py`) the folder has the same names, and a part's commit marker replaces the rename.

A part is written to a temporary name, flushed to disk, and renamed to its final name, which holds the BLAKE2b digest of
its bytes: whatever happens, a name that is there and matches its bytes is a whole tile. Plain Parquet readers return
wrong values silently for most flipped bits; the digest does not. JSON files hold a checksum of themselves.
"""

import concurrent.futures
import contextlib
import dataclasses
import errno
import logging
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import duckdb
import numpy as np

from sensijax.campaign.store._columns import Coded as Coded
from sensijax.campaign.store._columns import ColumnWriter, quoted
from sensijax.campaign.store._guarded import guarded
from sensijax.campaign.store._sealed import sealed, unsealed
from sensijax.core.digest import file_digest
from sensijax.core.errors import StoreError
from sensijax.core.writing import TEMPORARY, flush, is_abandoned, made, replace, temporary_file, temporary_name

log = logging.getLogger(__name__)

LAYOUT = 2  # raised when the columns of a part change meaning

PART = re.compile(r"([0-9a-f]{32})-([0-9a-f]{32})\.(?:parquet|npz)")


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


class Store:
    """A campaign's folder.

    Args:
      folder: where; made when the first thing is written.

    Attributes:
      folder: the folder.
      location: what names it: what `open_store` opens again, in any process.
      is_remote: whether `folder` is a mirror of what lies elsewhere.
    """

    is_remote = False

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)
        self.location = str(self.folder)
        self._columns = ColumnWriter()

    @property
    def name(self) -> str:
        """What it is called in a report, and in the commands that somebody beside it would type."""
        return self.folder.resolve().name

    def __reduce__(self) -> tuple:
        return type(self), (os.path.abspath(self.folder),)

    def check_writable(self, bytes_needed: int = 0) -> None:
        """Makes the folder and finds out whether it can be written.

        Args:
          bytes_needed: about how much is going to be written.

        Raises:
          StoreError: if it cannot be made or written, or the disk has less room.
        """
        try:
            made(self.folder)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise StoreError(f"cannot write to the folder {self.folder}: {error}") from error
        free = shutil.disk_usage(self.folder).free
        if free < bytes_needed:
            raise StoreError(
                f"{self.folder} has {free:,} bytes free; what is missing of the campaign needs about {bytes_needed:,}"
            )

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
            self.folder / "parts", f"{tile}-", ".parquet", lambda path: self._columns.write(path, columns, constants)
        )

    def write_examples(self, columns: Mapping[str, np.ndarray]) -> pathlib.Path:
        """Writes the table of examples (id, label, groups); the same content always has the same name."""
        return self._write(
            self.folder / "examples", "", ".parquet", lambda path: self._columns.write(path, columns, {})
        )

    def commit_arrays(self, unit: str, arrays: Mapping[str, np.ndarray]) -> pathlib.Path:
        """Writes a finished unit of an evaluation as `units/UNIT-DIGEST.npz`, the way `commit` writes a tile.

        The same arrays give the same bytes, and so the same name.
        """

        return self._write(self.folder / "units", f"{unit}-", ".npz", lambda path: _save(path, arrays))

    def commit_exhibit(self, address: str, arrays: Mapping[str, np.ndarray]) -> pathlib.Path:
        """Writes an exhibit as `exhibits/ADDRESS-DIGEST.npz`, the way `commit` writes a tile."""
        return self._write(self.folder / "exhibits", f"{address}-", ".npz", lambda path: _save(path, arrays))

    def find_exhibit(self, address: str) -> pathlib.Path | None:
        """The file of an exhibit, if it is there and intact."""
        return self._scan("exhibits", {address}).parts.get(address)

    def scan_units(self, units: Iterable[str]) -> Scan:
        """Finds the files of these units, as `scan` finds parts."""
        return self._scan("units", set(units))

    def scan(self, tiles: Iterable[str] | None = None, *, afresh: bool = False) -> Scan:
        """Finds the parts of these tiles (all, if None) and verifies their digests; damaged ones go to quarantine.

        Args:
          tiles: their ids.
          afresh: read every byte where it is stored, even if an intact copy of it is at hand. A folder has no copies.

        Raises:
          StoreError: if a part cannot be read at all (permissions, I/O).
        """
        return self._scan("parts", None if tiles is None else set(tiles), afresh)

    def _scan(self, folder: str, wanted: set[str] | None, afresh: bool = False) -> Scan:
        paths = sorted((self.folder / folder).glob("*"))
        found = [(path, match) for path in paths if (match := PART.fullmatch(path.name))]
        found = [(path, match) for path, match in found if wanted is None or match[1] in wanted]
        parts: dict[str, pathlib.Path] = {}
        damaged, conflicts = [], []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:  # hashing lets other threads run
            digests = threads.map(lambda one: _digest(one[0]), found)
            for (path, match), actual in zip(found, digests, strict=True):
                if actual is None:  # another run has just moved it to quarantine
                    continue
                if actual != match[2]:
                    self._set_apart(path)
                    damaged.append(path.name)
                elif match[1] in parts:
                    conflicts.append(match[1])  # the first by name wins, the same on every machine
                else:
                    parts[match[1]] = path
        return Scan(parts, tuple(damaged), tuple(conflicts))

    def tiles(self) -> set[str]:
        """The ids of all tiles that have a part, by name alone (not verified)."""
        matches = (PART.fullmatch(path.name) for path in (self.folder / "parts").glob("*.parquet"))
        return {match[1] for match in matches if match}

    def clear_strays(self) -> int:
        """Removes temporary files of this machine's writers that no longer live; returns how many."""
        removed = 0
        for path in [*self.folder.glob(f"{TEMPORARY}*"), *self.folder.glob(f"*/{TEMPORARY}*")]:
            if is_abandoned(path):
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def connect(self, parts: Sequence[pathlib.Path], examples: pathlib.Path | None) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection (in memory) with the views `responses` and `examples` over these parts.

        Raises:
          StoreError: if there is no part yet, or the table of examples is damaged.
        """
        if not parts:
            raise StoreError(f"{self.location} holds no finished tile yet: `sensijax run` computes them")
        connection = duckdb.connect()
        files = ", ".join(quoted(str(path)) for path in parts)
        connection.execute(f"create view responses as select * from read_parquet([{files}])")
        if examples is not None:
            if not examples.exists() or file_digest(examples) != examples.stem:
                raise StoreError(f"{examples} is missing or damaged: run the campaign again to write it anew")
            connection.execute(f"create view examples as select * from read_parquet([{quoted(str(examples))}])")
        return connection

    # --- small files -------------------------------------------------------------------------------------------------

    def read_bytes(self, name: str) -> bytes | None:
        """The content of a file of the folder, or None if there is none.

        Raises:
          StoreError: if it is there and cannot be read.
        """
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {self.folder / name}: {error}") from error

    def write_bytes(self, name: str, data: bytes) -> None:
        """Replaces a file of the folder as a whole: readers see the old one or the new one."""
        path = self.folder / name
        with guarded(path):
            replace(path, data)

    def publish(self, name: str) -> None:
        """Makes a file that was written into `folder` part of the store; in a folder it is that already."""

    def write_first(self, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Writes a JSON file unless it is there already: of several writers, the first decides for all.

        Returns:
          What the file holds in the end.
        """
        self._create(name, sealed(content, indent=1))
        found = self.recover_json(name)
        if found is None:
            self.write_json(name, content)
        return found or dict(content)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The content of a JSON file of the folder, or None if there is none.

        Raises:
          StoreError: if it is there and cannot be read, or does not match its checksum.
        """
        data = self.read_bytes(name)
        return None if data is None else unsealed(data, f"{self.location}/{name}")

    def recover_json(self, name: str) -> dict[str, Any] | None:
        """As `read_json`, for a run that can write the file anew: a damaged one is put aside and counts as none."""
        data = self.read_bytes(name)
        try:
            return None if data is None else unsealed(data, f"{self.location}/{name}")
        except StoreError:
            log.warning("%s/%s was damaged: a copy is in quarantine, it is written anew", self.location, name)
            self.write_bytes(f"quarantine/{name.rsplit('/', 1)[-1]}", data or b"")
            return None

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Replaces a JSON file of the folder as a whole: readers see the old one or the new one."""
        self.write_bytes(name, sealed(content, indent=1))

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder of the folder, in order; none if there is none."""
        return sorted(path.name for path in (self.folder / folder).glob("*") if not path.name.startswith("."))

    def environments(self) -> list[str]:
        """The ids of the environments that wrote here."""
        return [name.removesuffix(".json") for name in self.names("environments") if name.endswith(".json")]

    def probe(self, token: str) -> None:
        """Leaves a sign: whoever works on the same folder sees it, see `has_probe`."""
        self.write_bytes(f"probes/{token}", b"")

    def has_probe(self, token: str) -> bool:
        """Whether a sign was left here: False in a folder that another machine does not share."""
        return token in self.names("probes")

    def remove_probe(self, token: str) -> None:
        """Takes a sign away again, if it is there."""
        with guarded(self.folder / "probes"):
            (self.folder / "probes" / token).unlink(missing_ok=True)

    def append_line(self, name: str, content: Mapping[str, Any]) -> None:
        """Appends one line to a JSON-lines file of the folder; what a kill left of a line before it stays apart."""
        path = self.folder / name
        with guarded(path), open(path, "ab+") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(0, length - 1))
            torn = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * torn + sealed(content) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            if not length:
                flush(path.parent)

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """The lines of a JSON-lines file; what is damaged or torn does not count, and is logged."""
        lines = []
        for line in (self.read_bytes(name) or b"").splitlines():
            try:
                lines.append(unsealed(line, name))
            except StoreError:
                log.warning("%s/%s: a line is damaged and does not count", self.location, name)
        return lines

    # --- how ---------------------------------------------------------------------------------------------------------

    def _write(
        self, folder: pathlib.Path, prefix: str, suffix: str, write: Callable[[pathlib.Path], None]
    ) -> pathlib.Path:
        with guarded(folder):
            made(folder)
            temporary = folder / temporary_name()
            try:
                write(temporary)
                flush(temporary)
                final = folder / f"{prefix}{file_digest(temporary)}{suffix}"
                os.replace(temporary, final)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            flush(folder)
        return final

    def _create(self, name: str, data: bytes) -> None:
        """Writes a file unless there is one of this name."""
        path = self.folder / name
        with guarded(path), temporary_file(path, data) as temporary:
            try:
                os.link(temporary, path)
                flush(path.parent)
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK):
                    raise
                if not path.exists():  # a disk without hard links: two at the very same moment may both think so
                    os.replace(temporary, path)

    def _set_apart(self, path: pathlib.Path) -> None:
        """Moves a damaged file to quarantine; where nothing can be written, readers leave it out all the same."""
        try:
            self._quarantine(path)
        except StoreError as error:
            log.warning("%s is damaged and cannot be moved to quarantine: %s", path, error)

    def _quarantine(self, path: pathlib.Path) -> None:
        target = self.folder / "quarantine"
        with guarded(target):
            made(target)
            with contextlib.suppress(FileNotFoundError):  # another run was faster
                os.replace(path, target / path.name)


def _digest(path: pathlib.Path) -> str | None:
    try:
        return file_digest(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error}") from error


def _save(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
