"""Verifying a run: that its parts hold what the manifest says, no more and no less."""

import dataclasses
import os

import duckdb

from sensijax.campaign._location import open_store
from sensijax.core.errors import StoreError

_ADDRESSES = """
    select scenario, seed, count(*), count(distinct example), min(tile) = $1 and max(tile) = $1,
           min(model) = $2 and max(model) = $2, min(data) = $3 and max(data) = $3,
           min(program) = $4 and max(program) = $4
    from read_parquet($5) group by all
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
        model, data = manifest["model"]["digest"], manifest["data"]["digest"]
        for tile, path in scan.parts.items():
            about = tiles[tile]
            expected = {(name, seed) for name in about["scenarios"] for seed in about["seeds"]}
            n = about["stop"] - about["start"]
            try:
                found = connection.execute(_ADDRESSES, [tile, model, data, about["program"], str(path)]).fetchall()
            except duckdb.Error as error:
                faults.append(f"{path.name}: cannot be read as a tile ({str(error).splitlines()[0]})")
                continue
            rows += sum(count for _, _, count, *_ in found)
            if {(name, seed) for name, seed, *_ in found} != expected:
                faults.append(f"{path.name}: holds other scenarios or seeds than the plan says")
            if any(count != n or distinct != n for _, _, count, distinct, *_ in found):
                faults.append(f"{path.name}: an example is missing or there twice")
            if not all(all(hashes) for _, _, _, _, *hashes in found):
                faults.append(f"{path.name}: rows carry another tile's, model's, data set's or program's hash")
    return Findings(tuple(faults), len(scan.parts), rows, len(scan.parts) == len(tiles))
