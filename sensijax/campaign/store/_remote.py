"""The objects below a URL, through fsspec: whole reads and whole writes, tried again while the store may recover."""

import contextlib
import inspect
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from sensijax.campaign.store._remote_errors import explained, is_lasting, is_missing, is_there, no_bucket, not_offered
from sensijax.core.errors import ArgumentError, MissingExtraError, StoreError

T = TypeVar("T")

ATTEMPTS_BEFORE, ATTEMPTS = 4, 12  # of a request: until the store answered for the first time, and from then on
REQUEST_SECONDS = 120.0  # then a request that got no answer counts as lost: the clients' own limits have gaps
FIRST_DELAY, LONGEST_DELAY = 0.25, 8.0  # seconds; each delay is drawn from the upper half, so that workers spread

EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")}

# This module tries again, and says so: what botocore adds of its own would multiply.
_S3_CLIENT = {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 30}


class Entry(NamedTuple):
    """What a listing says of an object: its size in bytes, and when it was written (None if the store does not say)."""

    size: int
    written: datetime | None


class Remote:
    """The objects below a URL; names are relative to it.

    Args:
      url: such as "s3://bucket/run".

    Raises:
      ArgumentError: if no filesystem of this scheme is known.
      MissingExtraError: if the package for it is not installed.
    """

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self._fs, self._root = _filesystem(self.url)
        self._answered = False

    def get(self, name: str) -> bytes | None:
        """The bytes of an object, or None if there is none."""

        def read() -> bytes | None:
            try:
                return self._ask("cat_file", self._path(name))
            except Exception as error:
                if is_missing(error) and not no_bucket(error):
                    return None
                raise

        return self._persistently(read, f"read {name}")

    def put(self, name: str, data: bytes) -> None:
        """Writes an object, or replaces it, as a whole."""
        self._persistently(lambda: self._ask("pipe_file", self._path(name), data), f"write {name}")

    def create(self, name: str, data: bytes) -> None:
        """Writes an object unless there is one of this name.

        The store decides (`If-None-Match: *` on S3, a generation of 0 on GCS). Where it has no such request, this
        looks before it writes: two writers at the very same moment may then both believe that they were first, until
        they read.
        """

        def write() -> None:
            if not _creates(self._fs):
                return look_and_write()
            try:
                self._ask("pipe_file", self._path(name), data, mode="create")
            except Exception as error:
                if is_there(error):
                    return
                if not not_offered(error):
                    raise
                look_and_write()

        def look_and_write() -> None:
            if not self._ask("exists", self._path(name)):
                self._ask("pipe_file", self._path(name), data)

        self._persistently(write, f"write {name}")

    def list(self, folder: str) -> dict[str, Entry]:
        """The objects in a folder (not in folders of it), by their names there, in order."""

        def find() -> dict[str, dict[str, Any]]:
            self._fs.invalidate_cache()
            try:
                return self._ask("find", self._path(folder), detail=True)
            except FileNotFoundError:
                return {}

        found = self._persistently(find, f"list {folder}")
        start = self._path(folder).strip("/") + "/"
        names = {path.strip("/").removeprefix(start): facts for path, facts in found.items()}
        return {name: _entry(facts) for name, facts in sorted(names.items()) if "/" not in name}

    def remove(self, name: str) -> None:
        """Removes an object, if it is there."""

        def remove() -> None:
            try:
                self._ask("rm_file", self._path(name))
            except Exception as error:
                if not is_missing(error):
                    raise

        self._persistently(remove, f"remove {name}")

    def move(self, name: str, to: str) -> None:
        """Gives an object another name, if it is there: copied, then removed under the old one."""

        def copy() -> None:
            try:
                self._ask("cp_file", self._path(name), self._path(to))
            except Exception as error:
                if not is_missing(error) or no_bucket(error):
                    raise

        self._persistently(copy, f"move {name}")
        self.remove(name)

    # --- how ---------------------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """A request through the filesystem, with a limit of time where it can have one."""
        if not getattr(self._fs, "async_impl", False):
            return getattr(self._fs, method)(*arguments, **options)
        from fsspec.asyn import sync

        return sync(self._fs.loop, getattr(self._fs, f"_{method}"), *arguments, timeout=REQUEST_SECONDS, **options)

    def _persistently(self, call: Callable[[], T], doing: str) -> T:
        """Every request is one that may be sent twice: an answer that was lost does no harm."""
        attempt = 0
        while True:
            try:
                found = call()
                self._answered = True
                return found
            except Exception as error:
                attempt += 1
                lasting = is_lasting(error)
                if lasting or attempt >= (ATTEMPTS if self._answered else ATTEMPTS_BEFORE):
                    tried = "" if lasting else f", tried {attempt} times"
                    raise StoreError(explained(error, self.url, doing + tried)) from error
            time.sleep(min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))


def _filesystem(url: str) -> tuple[Any, str]:
    scheme = url.split("://", 1)[0]
    package, extra = EXTRAS.get(scheme, (None, "s3"))
    try:
        import fsspec
        import fsspec.config
    except ImportError as error:
        raise MissingExtraError(package or "fsspec", extra, f"a store at {scheme}://") from error
    options: dict[str, Any] = {"use_listings_cache": False}
    if package == "s3fs":
        configured = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        options["config_kwargs"] = {**_S3_CLIENT, **configured}
    try:
        fs, root = fsspec.url_to_fs(url, **options)
    except ImportError as error:
        if package is not None:
            raise MissingExtraError(package, extra, f"a store at {scheme}://") from error
        raise StoreError(f"a store at {scheme}:// needs a package: {error}") from error
    except ValueError as error:
        known = "s3://bucket/folder, gs://bucket/folder, memory://folder, or a plain path"
        raise ArgumentError("store", repr(url), f"a location that fsspec knows ({known})") from error
    if package == "s3fs":
        fs.retries = 1
    return fs, root.rstrip("/")


def _creates(fs: Any) -> bool:
    """Whether a filesystem has an exclusive write; the base class' own looks first, as we do."""
    from fsspec.spec import AbstractFileSystem

    own = getattr(type(fs), "_pipe_file", None) or type(fs).pipe_file
    return own is not AbstractFileSystem.pipe_file and "mode" in inspect.signature(own).parameters


def _entry(facts: dict[str, Any]) -> Entry:
    written = next((facts[key] for key in ("LastModified", "mtime", "updated", "created") if key in facts), None)
    if isinstance(written, (int, float)):
        written = datetime.fromtimestamp(written, UTC)
    if isinstance(written, str):
        with contextlib.suppress(ValueError):
            written = datetime.fromisoformat(written)
    dated = isinstance(written, datetime) and written.tzinfo is not None
    return Entry(int(facts.get("size") or 0), written if dated else None)  # type: ignore[arg-type]
