"""What a story is made of: faults with their outcome, and a folder that is damaged by hand."""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections import Counter
from collections.abc import Mapping

import numpy as np

from bench.faults.ledger import Ledger, Tally


@dataclasses.dataclass
class Outcome:
    """What one fault did.

    Attributes:
      seed, step: which story, which of its faults.
      level: "store" or "campaign".
      kind, place: what happened, and where.
      tiles: of the whole campaign; rows: of all of them.
      missing, duplicates, silent: rows that were lost though acknowledged, or are not there in the end; rows that are
        there twice; rows, or numbers of the manifest and the statistics, that are wrong and were believed.
      again: tiles whose results had been handed to the store, and had to be computed again, or were.
      beyond: those of them that were not the one in hand of a process that was struck, and were not damaged.
      shared: tiles that two runs at once both computed.
      seconds: until the fault was judged.
      wrong: what else went wrong, in words: a traceback where words belong, a file left over.
    """

    seed: int
    step: int
    level: str
    kind: str
    place: str
    tiles: int
    rows: int
    missing: int = 0
    duplicates: int = 0
    silent: int = 0
    again: int = 0
    beyond: int = 0
    shared: int = 0
    seconds: float = 0.0
    wrong: list[str] = dataclasses.field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not (self.missing or self.duplicates or self.silent or self.wrong)


DAMAGES = ("bit", "byte", "half", "empty", "longer", "gone")


def damage(rng: np.random.Generator, path: pathlib.Path, how: str) -> None:
    """Changes a file as a bad disk, a bad copy or a bad day would.

    Args:
      rng: decides where.
      path: the file.
      how: one of `DAMAGES`: a flipped bit, another byte, a part of the file, none of it, something behind it, or the
        file is gone.
    """
    content = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
        return
    if how in ("bit", "byte") and content:
        place = int(rng.integers(len(content)))
        content[place] ^= 1 << int(rng.integers(8)) if how == "bit" else int(rng.integers(1, 256))
    if how == "half":
        content = content[: int(rng.integers(0, max(1, len(content))))]
    if how == "empty":
        content = bytearray()
    if how == "longer":
        content += bytes(rng.integers(0, 256, int(rng.integers(1, 100)), dtype=np.uint8))
    path.write_bytes(content)


def some_file(rng: np.random.Generator, folder: pathlib.Path) -> pathlib.Path | None:
    """A file of a folder: first which of its folders, then which file; none of quarantine."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name != "quarantine"]
    if not files:
        return None
    chosen = str(rng.choice(sorted({str(path.parent) for path in files})))
    among = [path for path in files if str(path.parent) == chosen]
    return among[int(rng.integers(len(among)))]


def parts_of(folder: pathlib.Path) -> dict[str, str]:
    """Names of what lies under final names, and the digests of its bytes."""
    found = {}
    for path in (folder / "parts").glob("*.parquet"):
        with contextlib.suppress(FileNotFoundError):
            found[path.name] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return found


class Account:
    """Counts what a folder has and what it cost, fault after fault, from the ledger and from the names of parts.

    Args:
      folder: the folder.
      ledger: what its victims wrote.
      expected: names and digests of the parts that an undisturbed run leaves.
      rows: of each tile.
    """

    def __init__(self, folder: pathlib.Path, ledger: Ledger, expected: Mapping[str, str], rows: Mapping[str, int]):
        self.folder, self.ledger, self.expected, self.rows = folder, ledger, expected, rows
        self._lines = 0  # of the ledger, that are accounted for
        self._had: set[str] = set()  # tiles that were there, whole
        self._due: Counter[str] = Counter()  # how often a tile may have been handed over by the end

    @property
    def tiles(self) -> set[str]:
        """The tiles that are there, under their names and with their bytes."""
        there = parts_of(self.folder)
        return {name.split("-")[0] for name, digest in there.items() if self.expected.get(name) == digest}

    def after(self, outcome: Outcome, struck: int, together: bool, damaged: bool) -> None:
        """Judges what a fault left.

        Args:
          outcome: where to note it.
          struck: how many processes were struck: each may lose the one tile in its hand.
          together: whether runs were at work side by side.
          damaged: whether the fault was damage: then what is lost is not the store's fault, as long as it is told.
        """
        lines = self.ledger.lines()[self._lines :]
        self._lines += len(lines)
        tally, tiles = Tally.of(lines), self.tiles
        handed = Counter(tally.handed)
        lost = (self._had | set(handed) | tally.acknowledged) - tiles
        acknowledged = lost & (self._had | tally.acknowledged)
        outcome.again += len(lost)
        if damaged:
            self._due.update(lost)
        else:
            outcome.missing += sum(self.rows[tile] for tile in acknowledged)
            outcome.beyond += max(0, len(lost) - struck)
            names = [name for name, digest in parts_of(self.folder).items() if self.expected.get(name) != digest]
            known = {name for name in names if name not in self.expected}
            outcome.duplicates += sum(self.rows.get(name.split("-")[0], 1) for name in known)
            outcome.silent += sum(self.rows[name.split("-")[0]] for name in names if name in self.expected)
        twice = sum(handed.values()) - len(handed) + len(set(handed) & self._had)
        outcome.again += twice
        if together:
            outcome.shared += twice
        else:
            outcome.beyond += twice
        outcome.silent += sum(event == "silent" for _, event, _ in lines)
        outcome.wrong += tally.crashes
        self._had = tiles

    def at_end(self, outcome: Outcome, code: int) -> None:
        """Judges the folder after the last run, which nobody struck."""
        lines = self.ledger.lines()[self._lines :]
        tally = Tally.of(lines)
        if code:
            outcome.wrong.append(f"the last run ended with {code}: {[*tally.crashes, *tally.said][-1:]}")
        there = parts_of(self.folder)
        rows = {name: self.rows.get(name.split("-")[0], 1) for name in {*there, *self.expected}}
        outcome.missing += sum(rows[name] for name in self.expected if name not in there)
        outcome.duplicates += sum(rows[name] for name in there if name not in self.expected)
        outcome.silent += sum(rows[name] for name, digest in there.items() if self.expected.get(name, digest) != digest)
        outcome.silent += sum(event == "silent" for _, event, _ in lines)
        outcome.beyond += len(tally.handed) - len(set(tally.handed) - self._had)
        outcome.wrong += [f"left over: {path.name}" for path in self.folder.rglob(".tmp*")]
