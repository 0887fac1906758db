"""The store on objects: a part is there once its commit marker is, and a mirror on this machine is what is read.

    parts/TILE-DIGEST.parquet                 the bytes; an object without a marker does not count
    commits/parts/TILE-DIGEST.parquet.json    {"bytes": ..., "digest": ...}: written last
    runs/TIME-ID.json                         one object for every line of runs.jsonl: objects cannot be appended to

All else has the names of a folder. Objects are written whole, names with digests never change their content, and every
request may be sent twice: a lost answer, a killed writer or two writers at once leave nothing that is half there.

The mirror holds parts that were written or read here. It may be removed at any time; it is never the truth.
"""

import concurrent.futures
import hashlib
import json
import logging
import os
import pathlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import duckdb

from sensijax.campaign.store._guarded import guarded
from sensijax.campaign.store._remote import Entry, Remote
from sensijax.campaign.store._sealed import sealed, unsealed
from sensijax.campaign.store._store import PART, Scan, Store
from sensijax.core import cache_folder, digest
from sensijax.core.digest import file_digest
from sensijax.core.errors import StoreError
from sensijax.core.writing import temporary_file

log = logging.getLogger(__name__)

AT_ONCE = 16  # requests under way while parts are fetched
KEPT = ("parts", "units", "exhibits", "examples")  # folders of digest-named objects with markers
GRACE = timedelta(days=1)  # how long an object without a marker may belong to a writer that still lives


class ObjectStore(Store):
    """A campaign's folder at a URL.

    Args:
      url: such as "s3://bucket/run".

    Attributes:
      folder: the mirror on this machine.
      location: the URL.
    """

    is_remote = True

    def __init__(self, url: str):
        self.remote = Remote(url)
        name = self.remote.url.rsplit("/", 1)[-1] or "run"
        super().__init__(cache_folder() / "stores" / digest("store", self.remote.url) / name)
        self.location = self.remote.url

    @property
    def name(self) -> str:
        return self.location

    def __reduce__(self) -> tuple:
        return type(self), (self.location,)

    def check_writable(self, bytes_needed: int = 0) -> None:
        super().check_writable(bytes_needed)
        token, content = uuid.uuid4().hex, uuid.uuid4().bytes
        self.remote.put(f"probes/{token}", content)
        if self.remote.get(f"probes/{token}") != content:
            raise StoreError(f"{self.location}: an object was written and cannot be read back: choose another store")
        self.remote.remove(f"probes/{token}")

    # --- parts -------------------------------------------------------------------------------------------------------

    def _write(
        self, folder: pathlib.Path, prefix: str, suffix: str, write: Callable[[pathlib.Path], None]
    ) -> pathlib.Path:
        path = super()._write(folder, prefix, suffix, write)
        data = path.read_bytes()
        name = f"{folder.name}/{path.name}"
        self.remote.put(name, data)
        self.remote.put(_marker(name), json.dumps({"bytes": len(data), "digest": _digest(data)}).encode())
        return path

    def _scan(self, folder: str, wanted: set[str] | None, afresh: bool = False) -> Scan:
        # Markers first: an object is written before its marker, so what a marker names is in the later list.
        markers = self.remote.list(f"commits/{folder}")
        objects = self.remote.list(folder)
        names = []
        for marker in markers:
            match = PART.fullmatch(name := marker.removesuffix(".json"))
            if match and (wanted is None or match[1] in wanted):
                names.append((match[1], name))
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sensijax-fetch") as threads:
            found = threads.map(lambda one: self._fetch(folder, one[1], objects.get(one[1]), afresh), names)
            parts, damaged, conflicts = {}, [], []
            for (tile, name), path in zip(names, found, strict=True):
                if path is None:
                    damaged.append(name)
                elif tile in parts:
                    conflicts.append(tile)  # the first by name wins, the same on every machine
                else:
                    parts[tile] = path
        return Scan(parts, tuple(damaged), tuple(conflicts))

    def _fetch(self, folder: str, name: str, listed: Entry | None, afresh: bool = False) -> pathlib.Path | None:
        """The mirror's intact copy of an object; None if the object is damaged, which is then in quarantine."""
        path, named = self.folder / folder / name, _named(name)
        if not afresh and listed is not None and path.exists():
            if path.stat().st_size == listed.size and file_digest(path) == named:
                return path
        data = self.remote.get(f"{folder}/{name}")
        if data is None or _digest(data) != named:
            data = self.remote.get(f"{folder}/{name}")  # once more: was it the way, or is it the object?
        if data is None or _digest(data) != named:
            self._set_aside(folder, name, path)
            return None
        with guarded(path), temporary_file(path, data) as temporary:
            os.replace(temporary, path)
        return path

    def _set_aside(self, folder: str, name: str, path: pathlib.Path) -> None:
        """Moves a damaged object to quarantine; where nothing can be written, readers leave it out all the same."""
        try:  # The marker goes first: from then on the part is not there, whatever happens to this process.
            self.remote.move(_marker(f"{folder}/{name}"), f"quarantine/commits/{name}.json")
            self.remote.move(f"{folder}/{name}", f"quarantine/{name}")
        except StoreError as error:
            log.warning("%s/%s is damaged and cannot be moved to quarantine: %s", folder, name, error)
        with guarded(path):
            path.unlink(missing_ok=True)

    def tiles(self) -> set[str]:
        matches = (PART.fullmatch(name.removesuffix(".json")) for name in self.remote.list("commits/parts"))
        return {match[1] for match in matches if match}

    def clear_strays(self) -> int:
        """Removes what dead writers left: temporary files of the mirror, and objects without a marker, a day old.

        The store's own clock is asked, not this machine's. A writer that slept for longer than that, and goes on, is
        no danger: its marker then names an object that is not there, which counts as damaged.
        """
        removed = super().clear_strays()
        strays = []
        for folder in KEPT:
            objects = self.remote.list(folder)  # before the markers: what is finished meanwhile has one
            markers = self.remote.list(f"commits/{folder}")
            strays += [(f"{folder}/{n}", entry) for n, entry in objects.items() if f"{n}.json" not in markers]
        strays += [(f"probes/{name}", entry) for name, entry in self.remote.list("probes").items()]
        if not strays:
            return removed
        token = uuid.uuid4().hex
        self.probe(token)
        now = self.remote.list("probes")[token].written
        self.remove_probe(token)
        for name, entry in strays:
            if now is not None and entry.written is not None and now - entry.written > GRACE:
                self.remote.remove(name)
                removed += 1
        return removed

    def connect(self, parts: Sequence[pathlib.Path], examples: pathlib.Path | None) -> duckdb.DuckDBPyConnection:
        if parts and examples is not None:
            self._fetch("examples", examples.name, self.remote.list("examples").get(examples.name))
        return super().connect(parts, examples)

    # --- small files -------------------------------------------------------------------------------------------------

    def read_bytes(self, name: str) -> bytes | None:
        return self.remote.get(name)

    def write_bytes(self, name: str, data: bytes) -> None:
        self.remote.put(name, data)

    def publish(self, name: str) -> None:
        with guarded(self.folder / name):
            data = (self.folder / name).read_bytes()
        self.remote.put(name, data)

    def names(self, folder: str) -> list[str]:
        return list(self.remote.list(folder))

    def remove_probe(self, token: str) -> None:
        self.remote.remove(f"probes/{token}")

    def append_line(self, name: str, content: Mapping[str, Any]) -> None:
        line = f"{time.time_ns():020d}-{uuid.uuid4().hex}.json"  # by time, as a file's lines are
        self.remote.put(f"{_stem(name)}/{line}", sealed(content))

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        lines = []
        for one in self.remote.list(_stem(name)):
            try:
                lines.append(unsealed(self.remote.get(f"{_stem(name)}/{one}") or b"", one))
            except StoreError:
                log.warning("%s/%s/%s is damaged and does not count", self.location, _stem(name), one)
        return lines

    def _create(self, name: str, data: bytes) -> None:
        self.remote.create(name, data)


def _marker(name: str) -> str:
    return f"commits/{name}.json"


def _named(name: str) -> str:
    """The digest that an object's name promises."""
    return name.split(".")[0].split("-")[-1]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0]
