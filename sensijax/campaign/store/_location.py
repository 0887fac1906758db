"""Where a campaign is kept: a folder of this machine, or a URL."""

import os
import pathlib
import re
import urllib.parse
import urllib.request

from sensijax.campaign.store._store import Store
from sensijax.core.errors import ArgumentError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.+)")
_SQUASHED = re.compile(r"(s3a?|gs|gcs|az|abfss?|memory|file|https?|hdfs|sftp):/+[^/].*")


def is_url(location: str | os.PathLike) -> bool:
    """Whether a location is a URL (`s3://bucket/run`), and no path.

    Example:
      >>> is_url("s3://bucket/run"), is_url("runs/digits"), is_url("file:///runs/digits")
      (True, False, True)
    """
    return bool(_URL.fullmatch(os.fspath(location)))


def open_store(location: str | os.PathLike) -> Store:
    """Opens the place where a campaign is kept.

    Args:
      location: a folder, or the URL of one that fsspec knows: `s3://bucket/run` (extra `s3`), `gs://bucket/run`
        (extra `gcs`), `memory://run`; `file:///run` is the folder `/run`. Nothing is read or written yet.

    Returns:
      The store.

    Raises:
      ArgumentError: for a URL that is none, or whose scheme nobody knows.
      MissingExtraError: if the package for its scheme is not installed.

    Example:
      >>> open_store("runs/digits").location
      'runs/digits'
    """
    text = os.fspath(location)
    match = _URL.fullmatch(text)
    if match is None:
        if "://" in text or _SQUASHED.fullmatch(text):
            raise ArgumentError(
                "store", repr(location), 'a path, or a URL as a string: "s3://bucket/run" (pathlib drops a slash)'
            )
        return Store(pathlib.Path(text))
    if match[1].lower() == "file":
        return Store(urllib.request.url2pathname(urllib.parse.urlsplit(text).path))
    from sensijax.campaign.store._object_store import ObjectStore

    return ObjectStore(text)


def open_folder(location: str | os.PathLike) -> Store:
    """Opens a place that has to be a folder of this machine: an evaluation's.

    Raises:
      ArgumentError: for the URL of an object store.
    """
    store = open_store(location)
    if type(store) is not Store:
        raise ArgumentError("store", repr(location), "a folder: an attack's adversarial sets are kept in folders")
    return store
