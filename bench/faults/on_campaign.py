"""Faults of a campaign: `sensijax.run` in forked processes, with JAX and its compiled programs, struck in mid-run."""

import os
import pathlib
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable

import numpy as np

import sensijax as sj
from bench.faults import mounts
from bench.faults.failpoints import ERRORS, Disk, Failpoint
from bench.faults.ledger import SAID, Ledger, Tally, Victim, forked
from bench.faults.story import DAMAGES, Account, Outcome, damage, parts_of, some_file
from bench.faults.subject import run, write_module
from sensijax.campaign import verify
from sensijax.campaign.store._store import Store
from sensijax.core import StoreError

KINDS = (
    "kill -9",
    "kill -9 of the group",
    "power cut",
    "call fails",
    "stopped meanwhile",
    "disk full",
    "read-only folder",
    "damage",
    "clock jumps",
    "two runs",
    "three runs",
    "code edit",
)
DAY = 86_400


class CampaignStories:
    """Stories of this level; what an undisturbed run leaves behind is found out once, for both versions of the code.

    Args:
      home: a folder for all of them.
      kind: the only kind of fault; by seed, if None.
    """

    def __init__(self, home: pathlib.Path, kind: str | None = None):
        self.home, self.kind, self.programs = home, kind, home / "programs"
        self.modules = (home / "stages.py", home / "edited.py")
        self.parts: list[dict[str, str]] = []
        self.manifests: list[dict] = []
        self.rankings: list[str] = []
        self.calls: dict[str, int] = {}
        for module, factor in zip(self.modules, (0.4, 0.7), strict=True):
            write_module(module, factor)
            if not self.parts or kind in (None, "code edit"):
                self._undisturbed(module)
        self.rows = {
            tile["id"]: len(tile["scenarios"]) * len(tile["seeds"]) * (tile["stop"] - tile["start"])
            for manifest in self.manifests
            for tile in manifest["tiles"]
        }

    def _undisturbed(self, module: pathlib.Path) -> None:
        folder = self.home / f"whole-{module.stem}"
        shutil.rmtree(folder, ignore_errors=True)
        ledger = Ledger(self.home / f"{module.stem}.ledger")

        def watched() -> None:
            disk = Disk(folder, self.home / "aside", None)
            disk.arm()
            run(folder, module, self.programs, ledger)
            ledger.write("passed", disk.seen)

        code = forked(watched, ledger).wait()
        tally = Tally.of(ledger.lines())
        if code:
            raise RuntimeError(f"the undisturbed run failed: {tally.crashes or tally.said}")
        self.calls = tally.passed
        index = self.modules.index(module)
        manifest = Store(folder).read_json("campaign.json")
        assert manifest is not None
        self.parts[index:] = [parts_of(folder)]
        self.manifests[index:] = [manifest]
        self.rankings[index:] = [value for _, event, value in ledger.lines() if event == "ranking"][-1:]

    def tell(self, seed: int) -> list[Outcome]:
        """What happens in one story, and what is left of it."""
        with tempfile.TemporaryDirectory(dir=self.home) as home:
            return _Story(self, seed, pathlib.Path(home)).tell()


class _Story:
    def __init__(self, stories: CampaignStories, seed: int, home: pathlib.Path):
        self.about, self.seed, self.home = stories, seed, home
        self.folder = home / "disk" / "run"
        self.folder.parent.mkdir()
        self.rng = np.random.default_rng([1, seed])
        self.ledger = Ledger(home / "ledger")
        self.account = Account(self.folder, self.ledger, stories.parts[0], stories.rows)

    def tell(self) -> list[Outcome]:
        kind = self.about.kind or KINDS[self.seed % len(KINDS)]  # each in its turn: some are costly, none is left out
        manifest = self.about.manifests[0]
        rows = sum(self.about.rows[tile["id"]] for tile in manifest["tiles"])
        outcome = Outcome(self.seed, 0, "campaign", kind, "", len(manifest["tiles"]), rows)
        started = time.perf_counter()
        {
            "kill -9": self._killed,
            "kill -9 of the group": self._group_killed,
            "power cut": self._killed,
            "call fails": self._failed,
            "stopped meanwhile": self._stopped,
            "disk full": self._full,
            "read-only folder": self._read_only,
            "damage": self._damaged,
            "clock jumps": self._clock,
            "two runs": self._together,
            "three runs": self._together,
            "code edit": self._edited,
        }[kind](outcome)
        code = self._go().wait()
        self.account.at_end(outcome, code)
        if not code:
            self._judge_contents(outcome)
        outcome.seconds = time.perf_counter() - started
        self.ledger.close()
        return [outcome]

    # --- runs --------------------------------------------------------------------------------------------------------

    def _go(self, before: Callable[[], object] = lambda: None, module: int = 0) -> Victim:
        about = self.about

        def work() -> None:
            before()
            run(self.folder, about.modules[module], about.programs, self.ledger)

        return forked(work, self.ledger)

    def _armed(self, how: str) -> tuple[Failpoint, Callable[[], object]]:
        calls = self.about.calls
        names = ["fsync", "replace", "copy"] if how == "stop" else [name for name, count in calls.items() if count]
        call = str(self.rng.choice(names))  # a run that is stopped is stopped in mid-sweep
        nth = int(self.rng.integers(calls[call]))
        point = Failpoint(call, nth, how, int(self.rng.choice(ERRORS)), float(self.rng.random()))
        return point, lambda: Disk(self.folder, self.home / "aside", point).arm()

    def _wait_for(self, victim: Victim, tiles: int) -> int | None:
        """Waits until so many tiles are acknowledged; the victim's exit code, if it ended before."""
        while True:
            pid, status = os.waitpid(victim.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if len(Tally.of(self.ledger.lines()).acknowledged) >= tiles:
                return None
            time.sleep(0.002)

    # --- faults ------------------------------------------------------------------------------------------------------

    def _killed(self, outcome: Outcome) -> None:
        how = "power" if outcome.kind == "power cut" else str(self.rng.choice(["before", "after"]))
        point, arm = self._armed(how)
        outcome.place = str(point)
        code = self._go(arm).wait()
        if code != -signal.SIGKILL:
            outcome.wrong.append(f"not killed: ended with {code}")
        self.account.after(outcome, struck=1, together=False, damaged=False)

    def _group_killed(self, outcome: Outcome) -> None:
        tiles = int(self.rng.integers(outcome.tiles))
        outcome.place = f"after {tiles} tiles"
        victim = self._go(os.setsid)
        if self._wait_for(victim, tiles) is None:
            os.killpg(victim.pid, signal.SIGKILL)
            victim.wait()
        self.account.after(outcome, struck=1, together=False, damaged=False)

    def _failed(self, outcome: Outcome) -> None:
        point, arm = self._armed("error")
        outcome.place = str(point)
        code = self._go(arm).wait()
        if code == SAID and "cannot" not in (said := Tally.of(self.ledger.lines()).said[-1]):
            outcome.wrong.append(f"said: {said}")
        self.account.after(outcome, struck=1, together=False, damaged=False)

    def _stopped(self, outcome: Outcome) -> None:
        point, arm = self._armed("stop")
        outcome.place = str(point)
        sleeper = self._go(arm)
        asleep = sleeper.stopped()
        code = self._go().wait()
        if asleep:
            os.kill(sleeper.pid, signal.SIGCONT)
            woken = sleeper.wait()
            if code or woken:
                said = Tally.of(self.ledger.lines()).said[-1:]
                outcome.wrong.append(f"the run beside it ended with {code}, the one that slept with {woken}: {said}")
        self.account.after(outcome, struck=1, together=True, damaged=False)

    def _full(self, outcome: Outcome) -> None:
        """In a process of its own, whose mounts end with it; what it leaves on its disk is copied back."""
        kilobytes = int(self.rng.integers(60, 420))
        outcome.place = f"a disk of {kilobytes} kB"
        disk, kept = self.folder.parent, self.home / "kept"

        def story() -> None:
            if not (mounts.isolate() and mounts.small_disk(disk, kilobytes)):
                self.ledger.write("skipped", "no mounts")
                return
            code = self._go().wait()
            if code:
                said = Tally.of(self.ledger.lines()).said[-1:]
                if code != SAID or not any(word in said[0] for word in ("disk is full", "bytes free")):
                    self.ledger.write("wrong", f"a full disk: ended with {code}: {said}")
                _readable(self.folder)
            shutil.copytree(disk, kept)

        self._alone(outcome, story)
        if kept.exists():
            shutil.rmtree(disk)
            kept.rename(disk)
        self.account.after(outcome, struck=1, together=False, damaged=False)

    def _read_only(self, outcome: Outcome) -> None:
        """Half a campaign in a folder that nothing can be written to: it is read, a damaged part is left out."""
        tiles = int(self.rng.integers(1, outcome.tiles - 1))
        outcome.place = f"after {tiles} tiles"
        self._kill_after(tiles)
        self.account.after(outcome, struck=1, together=False, damaged=False)
        spoilt = self.rng.random() < 0.5

        def story() -> None:
            if not mounts.isolate():
                self.ledger.write("skipped", "no mounts")
                return
            if spoilt:
                path = sorted((self.folder / "parts").glob("*.parquet"))[-1]
                damage(self.rng, path, "byte")
            if not mounts.read_only(self.folder, True):
                self.ledger.write("skipped", "no mounts")
                return
            code = self._go().wait()
            said = Tally.of(self.ledger.lines()).said[-1:]
            if code != SAID or "cannot write" not in said[0]:
                self.ledger.write("wrong", f"a read-only folder: ended with {code}: {said}")
            _readable(self.folder)

        self._alone(outcome, story)
        self.account.after(outcome, struck=0, together=False, damaged=spoilt)

    def _alone(self, outcome: Outcome, story: Callable[[], None]) -> None:
        code = forked(story, self.ledger).wait(240)
        for _, event, value in self.ledger.lines():
            if event == "wrong" and value not in outcome.wrong:
                outcome.wrong.append(value)
            if event == "skipped":
                outcome.place += f" (not done: {value})"
        if code:
            outcome.wrong.append(f"ended with {code}: {Tally.of(self.ledger.lines()).said[-1:]}")

    def _kill_after(self, tiles: int) -> None:
        victim = self._go()
        if self._wait_for(victim, tiles) is None:
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait()

    def _damaged(self, outcome: Outcome) -> None:
        self._kill_after(int(self.rng.integers(1, outcome.tiles)))
        self.account.after(outcome, struck=1, together=False, damaged=False)
        path = some_file(self.rng, self.folder)
        assert path is not None
        how = str(self.rng.choice(DAMAGES))
        outcome.place = f"{how}: {path.relative_to(self.folder).parts[0]}"
        damage(self.rng, path, how)
        expected = self.about.manifests[0]

        def reader() -> None:
            manifest = _readable(self.folder)
            if manifest is not None and manifest != expected:
                self.ledger.write("silent", "campaign.json says something else")

        forked(reader, self.ledger).wait()
        self.account.after(outcome, struck=0, together=False, damaged=True)

    def _clock(self, outcome: Outcome) -> None:
        """Clocks that jump by up to a day with every look, files from the future, and a kill."""
        jumps = random.Random(self.seed)
        now = time.time

        def jump() -> None:
            time.time = lambda: now() + jumps.uniform(-DAY, DAY)
            time.time_ns = lambda: int(1e9 * time.time())

        tiles = int(self.rng.integers(1, outcome.tiles))
        outcome.place = f"kill after {tiles} tiles"
        victim = self._go(jump)
        if self._wait_for(victim, tiles) is None:
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait()
        for path in self.folder.rglob("*"):
            at = now() + jumps.uniform(-1000 * DAY, 1000 * DAY)
            os.utime(path, (at, at))
        self.account.after(outcome, struck=1, together=False, damaged=False)
        if code := self._go(jump).wait():
            outcome.wrong.append(f"under jumping clocks: ended with {code}")
        self.account.after(outcome, struck=0, together=False, damaged=False)

    def _together(self, outcome: Outcome) -> None:
        runs = 2 if outcome.kind == "two runs" else 3
        point, arm = self._armed("before")
        one_dies = self.rng.random() < 0.5
        outcome.place = f"one of them: {point}" if one_dies else "from the start"
        victims = [self._go(arm if one_dies and k == 0 else lambda: None) for k in range(runs)]
        codes = [victim.wait(240) for victim in victims]
        if any(codes[1:]) or codes[0] not in (0, -signal.SIGKILL):
            outcome.wrong.append(f"ended with {codes}: {Tally.of(self.ledger.lines()).said[-1:]}")
        self.account.after(outcome, struck=int(codes[0] != 0), together=True, damaged=False)

    def _edited(self, outcome: Outcome) -> None:
        """Killed in mid-campaign, its code edited, run to the end; then the edit is taken back."""
        tiles = int(self.rng.integers(1, outcome.tiles))
        outcome.place = f"after {tiles} tiles"
        self._kill_after(tiles)
        self.account.after(outcome, struck=1, together=False, damaged=False)
        before = parts_of(self.folder)
        if code := self._go(module=1).wait():
            outcome.wrong.append(f"with the edited code: ended with {code}")
        told = [value for _, event, value in self.ledger.lines() if event == "told"][-1:]
        if not told or not any("kept apart" in line for line in told[0]):
            outcome.wrong.append(f"the edit was not told: {told}")
        there, edited = parts_of(self.folder), self.about.parts[1]
        outcome.missing += sum(self.about.rows[name.split("-")[0]] for name in before if name not in there)
        outcome.missing += sum(self.about.rows[name.split("-")[0]] for name in edited if name not in there)
        ranking = [value for _, event, value in self.ledger.lines() if event == "ranking"][-1]
        outcome.silent += outcome.rows * (ranking != self.about.rankings[1])
        # From here on, both sets belong there.
        self.account.expected = {**self.about.parts[0], **edited}
        self.account.after(outcome, struck=0, together=False, damaged=False)

    # --- judging -----------------------------------------------------------------------------------------------------

    def _judge_contents(self, outcome: Outcome) -> None:
        ranking = [value for _, event, value in self.ledger.lines() if event == "ranking"][-1]
        outcome.silent += outcome.rows * (ranking != self.about.rankings[0])

        def reader() -> None:
            findings = verify(self.folder)
            if findings.faults or not findings.complete:
                self.ledger.write("silent", findings.faults)
            if Store(self.folder).read_json("campaign.json") != self.about.manifests[0]:
                self.ledger.write("silent", "campaign.json says something else")

        if code := forked(reader, self.ledger).wait():
            outcome.wrong.append(f"verify ended with {code}: {Tally.of(self.ledger.lines()).crashes[-1:]}")
        silent = [value for _, event, value in self.ledger.lines() if event == "silent"]
        outcome.silent += len(silent)
        outcome.wrong += [str(value) for value in silent]


def _readable(folder: pathlib.Path) -> dict | None:
    """Reads what is there: the manifest, the rows and the statistics; None if a sentence came instead."""
    try:
        results = sj.Results.open(folder)
        frame = results.frame()
        results.statistics()
    except StoreError:
        return None
    if frame.duplicated(["scenario", "seed", "example"]).any() or len(frame) != results.completeness.rows:
        raise AssertionError("rows are there twice, or more or fewer than is said")
    return results.manifest
