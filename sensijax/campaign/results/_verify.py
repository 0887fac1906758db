"""Verifying a run: that its parts hold what the manifest says, no more and no less."""

import dataclasses
import itertools
import os
from collections.abc import Iterator
from typing import Any

import duckdb

from sensijax.campaign.results._reading import Part, groups, rows_of
from sensijax.campaign.store._location import open_store
from sensijax.core.errors import StoreError

_ADDRESSES = """
    select filename, scenario, seed, count(*), count(distinct example), min(tile), max(tile), min(model), max(model),
           min(data), max(data), min(program), max(program)
    from read_parquet(?, filename = true) group by all
"""


@dataclasses.dataclass(frozen=True)
class Findings:
    """What `verify` found.

    Attributes:
      faults: in words; none if all is sound.
      parts: intact parts of the campaign's tiles.
      rows: their rows.
      complete: whether every tile is there.
    """

    faults: tuple[str, ...]
    parts: int
    rows: int
    complete: bool


def verify(folder: str | os.PathLike) -> Findings:
    """Checks every part of a run against its digest, its address and the manifest's hashes.

    A part whose bytes do not match its name is moved to quarantine (the next run computes it anew).

    Args:
      folder: a campaign's folder, or its URL; there, every byte is read again.

    Returns:
      What was found.

    Raises:
      StoreError: if it is no campaign's folder.
    """
    store = open_store(folder)
    manifest = store.read_json("campaign.json")
    if manifest is None:
        raise StoreError(f"{store.location} is no campaign's folder: it has no campaign.json")
    tiles = {tile["id"]: tile for tile in manifest["tiles"]}
    scan = store.scan(tiles, afresh=True)
    faults = [f"{name}: its bytes do not match its digest; moved to quarantine" for name in scan.damaged]
    faults += [
        f"tile {tile}: two parts of different content; the computation is not deterministic" for tile in scan.conflicts
    ]
    examples = store.folder / "examples" / manifest["examples"]
    rows = 0
    if scan.parts:
        connection = store.connect(list(scan.parts.values()), examples)
        parts = {str(path): (tiles[tile], path.name) for tile, path in scan.parts.items()}
        sized = [Part(path, rows_of(tiles[tile]), tuple(tiles[tile]["scenarios"])) for tile, path in scan.parts.items()]
        for paths in groups(sized):
            for path, found in _addresses(connection, paths).items():
                about, name = parts[path]
                if isinstance(found, duckdb.Error):
                    faults.append(f"{name}: cannot be read as a tile ({str(found).splitlines()[0]})")
                    continue
                rows += sum(count for _, _, count, *_ in found)
                faults += [f"{name}: {what}" for what in _faults(found, about, manifest)]
    return Findings(tuple(faults), len(scan.parts), rows, len(scan.parts) == len(tiles))


def _faults(found: list[tuple], tile: dict[str, Any], manifest: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a part, from what `_ADDRESSES` says of it."""
    n = tile["stop"] - tile["start"]
    if {(name, seed) for name, seed, *_ in found} != set(itertools.product(tile["scenarios"], tile["seeds"])):
        yield "holds other scenarios or seeds than the plan says"
    if any(count != n or distinct != n for _, _, count, distinct, *_ in found):
        yield "an example is missing or there twice"
    hashes = tile["id"], manifest["model"]["digest"], manifest["data"]["digest"], tile["program"]
    if any(row[4:] != tuple(h for own in hashes for h in (own, own)) for row in found):
        yield "rows carry another tile's, model's, data set's or program's hash"


def _addresses(connection: duckdb.DuckDBPyConnection, paths: list[str]) -> dict[str, list[tuple] | duckdb.Error]:
    """What each file holds, by its path; for one that cannot be read, why."""
    found: dict[str, Any] = {path: [] for path in paths}
    try:
        for path, *about in connection.execute(_ADDRESSES, [paths]).fetchall():
            found[path].append(tuple(about))
    except duckdb.Error as error:
        if len(paths) == 1:
            return {paths[0]: error}
        for path in paths:  # one by one: which is it?
            found |= _addresses(connection, [path])
    return found
