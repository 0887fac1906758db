"""Faults of the store: synthetic tiles, committed by the real store in forked processes. No JAX program runs.

A run of this level does to the folder what a campaign's does, in the same order: stray files are cleared, the parts
are looked through, the small files are written, tiles are committed, a line is appended.
"""

import hashlib
import pathlib
import tempfile
import time

import numpy as np

from bench.faults.failpoints import ERRORS, Disk, Failpoint
from bench.faults.ledger import SAID, Ledger, Tally, forked
from bench.faults.story import DAMAGES, Account, Outcome, damage, parts_of, some_file
from sensijax.campaign.store._store import Coded, Store
from sensijax.core import StoreError

TILES, ROWS = 12, 64
NAMES = tuple(hashlib.blake2b(f"tile {k}".encode(), digest_size=16).hexdigest() for k in range(TILES))
MANIFEST = {"id": "synthetic", "tiles": list(NAMES), "tolerance": 0.02}
EXHIBIT = hashlib.blake2b(b"picture", digest_size=16).hexdigest()
LINE = {"tiles_total": TILES, "rows_per_second": 1234.5}

KINDS = ("kill -9", "torn write", "power cut", "call fails", "damage", "two runs")
STEPS = 5  # faults of a story at most


def columns(tile: str) -> dict:
    rng = np.random.default_rng(int(tile, 16) % 2**63)
    loss = rng.normal(size=ROWS).astype(np.float32)
    loss[::7] = np.nan
    return {
        "scenario": Coded(["clean", "a'b"], np.arange(ROWS) % 2),
        "example": np.arange(ROWS),
        "loss": loss,
    }


def run(folder: pathlib.Path, ledger: Ledger) -> None:
    """A run: what is missing is committed; then the rows are read and counted."""
    store = Store(folder)
    store.check_writable(1)
    before = store.recover_json("campaign.json")
    store.clear_strays()
    examples = store.write_examples({"example": np.arange(ROWS), "label": np.arange(ROWS) % 3})
    manifest = {**MANIFEST, "examples": examples.name}
    if before != manifest:
        if before is not None:
            store.write_json("history/before.json", before)
        store.write_json("campaign.json", manifest)
    store.write_json("environments/here.json", {"id": "here", "jax": "none"})
    decided = store.write_first("tuning/tile.json", {"micro_batch": 64})
    if decided != {"micro_batch": 64}:
        ledger.write("silent", f"tuning says {decided}")
    present = store.scan(NAMES).parts
    for tile in NAMES:
        if tile not in present:
            ledger.write("handed", tile)
            store.commit(tile, columns(tile), {"tile": tile, "model": "m'1"})
            ledger.write("acknowledged", tile)
    if store.find_exhibit(EXHIBIT) is None:
        store.commit_exhibit(EXHIBIT, {"x": np.arange(6.0)})
    if len(present) < TILES:
        store.append_line("runs.jsonl", LINE)
    rows, distinct, total = read(folder)
    ledger.write("rows", [rows, distinct, total])


def read(folder: pathlib.Path) -> tuple[int, int, float]:
    """As a reader would: rows, distinct addresses, and a sum over all numbers."""
    store = Store(folder)
    manifest = store.read_json("campaign.json")
    if manifest is None:
        raise StoreError("no campaign")
    parts = list(store.scan(manifest["tiles"]).parts.values())
    connection = store.connect(parts, folder / "examples" / manifest["examples"])
    query = "select count(*), count(distinct (tile, example)), sum(loss::double) from responses"
    found = connection.execute(query + " join examples using (example)").fetchone()
    assert found is not None
    return found


class StoreStories:
    """Stories of this level. What an undisturbed run leaves behind is found out once.

    Args:
      home: a folder for all of them.
      kind: the only kind of fault; drawn, if None.
    """

    def __init__(self, home: pathlib.Path, kind: str | None = None):
        self.home, self.kind = home, kind
        whole = home / "whole"
        whole.mkdir(parents=True)
        ledger = Ledger(home / "whole.ledger")

        def watched() -> None:
            disk = Disk(whole / "run", home / "whole.aside", None)
            disk.arm()
            run(whole / "run", ledger)
            ledger.write("passed", disk.seen)

        if forked(watched, ledger).wait():
            raise RuntimeError(f"the undisturbed run failed: {Tally.of(ledger.lines())}")
        self.calls = Tally.of(ledger.lines()).passed
        self.parts = parts_of(whole / "run")
        self.numbers = next(value for _, event, value in ledger.lines() if event == "rows")
        self.manifest = Store(whole / "run").read_json("campaign.json")

    def tell(self, seed: int, most: int = STEPS) -> list[Outcome]:
        """What happens in one story, and what is left of it."""
        with tempfile.TemporaryDirectory(dir=self.home) as home:
            return _Story(self, seed, pathlib.Path(home)).tell(most)


class _Story:
    def __init__(self, stories: StoreStories, seed: int, home: pathlib.Path):
        self.about, self.seed, self.home = stories, seed, home
        self.folder, self.aside = home / "run", home / "aside"
        self.rng = np.random.default_rng([0, seed])
        self.ledger = Ledger(home / "ledger")
        self.account = Account(self.folder, self.ledger, stories.parts, dict.fromkeys(NAMES, ROWS))

    def tell(self, most: int) -> list[Outcome]:
        outcomes = [self._fault(step) for step in range(int(self.rng.integers(1, most + 1)))]
        struck = [outcome for outcome in outcomes if outcome is not None]
        started = time.perf_counter()
        code = forked(lambda: run(self.folder, self.ledger), self.ledger).wait()
        if struck:
            self.account.at_end(struck[-1], code)
            if not code:
                self._judge_contents(struck[-1])
            struck[-1].seconds += time.perf_counter() - started
        self.ledger.close()
        return struck

    def _judge_contents(self, outcome: Outcome) -> None:
        numbers = [value for _, event, value in self.ledger.lines() if event == "rows"][-1]
        outcome.silent += TILES * ROWS * (numbers != self.about.numbers)
        store = Store(self.folder)
        outcome.silent += store.read_json("campaign.json") != self.about.manifest
        outcome.silent += any(line != LINE for line in store.read_lines("runs.jsonl"))

    # --- faults ------------------------------------------------------------------------------------------------------

    def _fault(self, step: int) -> Outcome | None:
        """One fault; None if its place was not reached, because less was left to do."""
        kind = self.about.kind or str(self.rng.choice(KINDS, p=[0.3, 0.12, 0.22, 0.14, 0.14, 0.08]))
        if kind == "damage" and not self.folder.exists():
            kind = "kill -9"
        started = time.perf_counter()
        outcome = Outcome(self.seed, step, "store", kind, "", TILES, TILES * ROWS)
        struck = self._damage(outcome) if kind == "damage" else self._strike(outcome, kind)
        outcome.seconds = time.perf_counter() - started
        return outcome if struck else None

    def _strike(self, outcome: Outcome, kind: str) -> bool:
        failpoint = self._failpoint(kind)
        outcome.place = str(failpoint)

        def struck() -> None:
            Disk(self.folder, self.aside, failpoint).arm()
            run(self.folder, self.ledger)

        victim = forked(struck, self.ledger)
        other = forked(lambda: run(self.folder, self.ledger), self.ledger) if kind == "two runs" else None
        code = victim.wait()
        if other is not None and (ended := other.wait()):
            outcome.wrong.append(f"the other of two runs ended with {ended}: {Tally.of(self.ledger.lines()).said[-1:]}")
        if code == SAID:
            said = Tally.of(self.ledger.lines()).said[-1]
            if kind != "call fails" or "cannot write" not in said:
                outcome.wrong.append(f"said: {said}")
        self.account.after(outcome, struck=int(code != 0), together=other is not None, damaged=False)
        return code != 0 or kind == "two runs"

    def _failpoint(self, kind: str) -> Failpoint:
        how = {"torn write": "torn", "power cut": "power", "call fails": "error"}.get(kind)
        if how is None:
            how = str(self.rng.choice(["before", "after"]))
        calls = ["fsync", "copy"] if how == "torn" else [call for call, count in self.about.calls.items() if count]
        call = str(self.rng.choice(calls))
        # Later runs have less to do: places near the beginning are reached by them as well.
        most = self.about.calls[call] if self.rng.random() < 0.6 else min(8, self.about.calls[call])
        error = int(self.rng.choice(ERRORS))
        return Failpoint(call, int(self.rng.integers(most)), how, error, float(self.rng.random()))

    def _damage(self, outcome: Outcome) -> bool:
        path = some_file(self.rng, self.folder)
        if path is None:
            return False
        how = str(self.rng.choice(DAMAGES))
        outcome.place = f"{how}: {path.relative_to(self.folder).parts[0]}"
        damage(self.rng, path, how)

        def reader() -> None:  # the truth, or a sentence, before any run mends it
            rows, distinct, _ = read(self.folder)
            lines = Store(self.folder).read_lines("runs.jsonl")
            if rows != distinct or rows % ROWS or any(line != LINE for line in lines):
                self.ledger.write("silent", f"{rows} rows, {distinct} of them distinct; {lines}")

        forked(reader, self.ledger).wait()
        self.account.after(outcome, struck=0, together=False, damaged=True)
        return True
