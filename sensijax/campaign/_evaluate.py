"""Carrying out an evaluation: what is missing of its ledger is computed; then results, flags and adversarial sets.

    attack.json          what the folder is about: model, data, attack, budgets, units
    units/UNIT-DIGEST.npz        one finished unit; DIGEST is that of the file's bytes
    adversarial/eps-EPS/         the adversarial set of one budget, with its flags: see `sensijax.attack.archive`
    finished.json        which units the adversarial sets were made from

and, as in a campaign's folder, quarantine/, history/, environments/, runs.jsonl. A kill costs the unit in hand.
"""

import dataclasses
import logging
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sensijax.attack import (
    Admitted,
    AttackResult,
    Loop,
    Pursued,
    Setting,
    Victim,
    admit,
    compile_ahead,
    diagnose,
    gather,
    load,
    monotone,
    pursue,
)
from sensijax.campaign._environment import environment, refuse_mixing
from sensijax.campaign._evaluation import Evaluation, Unit, block_of
from sensijax.campaign._run import Progress
from sensijax.campaign._spec import as_fraction
from sensijax.campaign.store._location import open_folder, open_store
from sensijax.campaign.store._store import Store
from sensijax.core import StoreError, digest

log = logging.getLogger(__name__)

MOST_SHOWN = 6
_FIELDS = ("found", "broken", "distance", "attempt", "forwards", "backwards")


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluated:
    """What an evaluation found. Made by `evaluate`, or by `Evaluated.open` from a folder.

    Attributes:
      folder: where it is.
      manifest: what `attack.json` says.
      results: an `AttackResult` for each budget, smallest first.
      parts: for each budget, what each part of the attack did: `attacked`, `broken`, `forwards`, `backwards`. What a
        smaller budget breaks is not attacked again.
      shown: some broken examples, for a picture: `budget`, `row` of the result, and the class that the model sees.
    """

    folder: pathlib.Path
    manifest: dict[str, Any]
    results: tuple[AttackResult, ...]
    parts: list[list[dict[str, int]]]
    shown: list[dict[str, int]]

    @classmethod
    def open(cls, folder: str | os.PathLike) -> "Evaluated":
        """Opens the folder of a finished evaluation; every digest is checked.

        Raises:
          StoreError: if it is no evaluation's folder, or not finished, or damaged.
        """
        store = open_folder(folder)
        manifest = read_manifest(store)
        finished = store.read_json("finished.json")
        if finished is None or finished["id"] != manifest["id"]:
            raise StoreError(f"{store.folder} is not finished: the same `sensijax attack` goes on from there")
        results = tuple(load(path) for path in archives(store.folder, manifest))
        return cls(store.folder, manifest, results, finished["parts"], finished["shown"])

    @property
    def budgets(self) -> tuple[float, ...]:
        return tuple(self.manifest["budgets"])

    def statistics(self) -> list[dict[str, Any]]:
        """What each run computed, oldest first."""
        return open_folder(self.folder).read_lines("runs.jsonl")


@dataclasses.dataclass(frozen=True)
class LedgerFindings:
    """What `verify_evaluation` found.

    Attributes:
      faults: in words; none if all is sound.
      parts: intact units.
      complete: whether every unit is there, and the adversarial sets.
      manifest: what `attack.json` says.
    """

    faults: tuple[str, ...]
    parts: int
    complete: bool
    manifest: dict[str, Any]


def verify_evaluation(folder: str | os.PathLike) -> LedgerFindings:
    """Checks every unit of an evaluation against its digest. The verdicts are checked by `sensijax.attack.verify`.

    A unit whose bytes do not match its name is moved to quarantine (the next run computes it anew).

    Raises:
      StoreError: if it is no evaluation's folder.
    """
    store = open_folder(folder)
    manifest = read_manifest(store)
    scan = store.scan_units(unit["id"] for unit in manifest["units"])
    faults = [f"{name}: its bytes do not match its digest; moved to quarantine" for name in scan.damaged]
    faults += [f"unit {unit}: two files of different content; not deterministic" for unit in scan.conflicts]
    finished = store.read_json("finished.json")
    names = digest(sorted(path.name for path in scan.parts.values()))
    whole = len(scan.parts) == len(manifest["units"])
    if whole and finished is not None and finished["id"] == manifest["id"] and finished["units"] != names:
        faults.append("the adversarial sets were made from other units than those that are there")
    done = finished is not None and finished["id"] == manifest["id"]
    return LedgerFindings(tuple(faults), len(scan.parts), whole and done, manifest)


def is_evaluation(folder: str | os.PathLike) -> bool:
    """Whether a folder is that of an evaluation."""
    return open_store(folder).read_bytes("attack.json") is not None


def read_manifest(store: Store) -> dict[str, Any]:
    manifest = store.read_json("attack.json")
    if manifest is None:
        raise StoreError(f"{store.folder} is no evaluation's folder: it has no attack.json")
    return manifest


def archives(folder: pathlib.Path, manifest: dict[str, Any]) -> list[pathlib.Path]:
    """Where the adversarial set of each budget lies, smallest first."""
    return [folder / "adversarial" / f"eps-{eps:.9g}" for eps in manifest["budgets"]]


def evaluate(
    evaluation: Evaluation,
    store: str | os.PathLike,
    *,
    loop: Loop | None = None,
    block: int | None = None,
    allow_mixed: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Evaluated:
    """Carries out an evaluation, or what is missing of it.

    Args:
      evaluation: what to find out.
      store: the folder; made if it is not there.
      loop: how to run; `Loop.here()` unless given.
      block: examples of a unit, which is what a kill can cost; no verdict depends on it.
      allow_mixed: go on in a folder whose units come from another environment.
      progress: called with a `Progress` as it goes on: its tiles are units.

    Returns:
      The results, complete and diagnosed.

    Raises:
      StoreError: if the folder cannot be written (what is finished stays), or another environment wrote into it.

    Example:
      >>> from sensijax import attack                                                   # doctest: +SKIP
      >>> evaluation = Evaluation(model, data, sj.sweep(attack.AutoAttack, eps=[8 / 255]))  # doctest: +SKIP
      >>> evaluate(evaluation, "runs/autoattack").results[0].robust_accuracy            # doctest: +SKIP
    """
    run = _Evaluating(evaluation, open_folder(store), loop or Loop.here(), progress or (lambda _: None))
    return run.execute(block or block_of(run.loop), allow_mixed)


class _Evaluating:
    def __init__(self, evaluation: Evaluation, store: Store, loop: Loop, report: Callable[[Progress], None]):
        self.evaluation, self.store, self.loop, self.report = evaluation, store, loop, report
        self.started = time.perf_counter()
        self.compile_seconds = 0.0
        self.computed = self.rows = 0
        self.forwards = self.backwards = 0
        self.ready: set[Any] = set()
        self.parts: list[list[dict[str, int]]] = []

    def execute(self, block: int, allow_mixed: bool) -> Evaluated:
        evaluation = self.evaluation
        self.report(Progress("planning"))
        here = environment()
        self.units = evaluation.units(block)
        manifest = evaluation.manifest(self.units, self.loop, block, here)
        self._open_folder(manifest, here, allow_mixed)
        scan = self.store.scan_units(unit.id for unit in self.units)
        for name in scan.damaged:
            log.warning("%s was damaged: moved to quarantine, will be computed again", name)
        names = digest(sorted(path.name for path in scan.parts.values()))
        finished = self.store.recover_json("finished.json")
        kept = None if finished is None else (finished["id"], finished["units"])
        if len(scan.parts) == len(self.units) and kept == (manifest["id"], names):
            self.report(Progress("done", len(self.units), len(self.units)))
            return Evaluated.open(self.store.folder)
        results = self._results(scan.parts)
        self._keep(manifest, results)
        self._finish(here)
        return Evaluated.open(self.store.folder)

    def _open_folder(self, manifest: dict[str, Any], here: dict[str, Any], allow_mixed: bool) -> None:
        before = self.store.recover_json("attack.json")
        if (self.store.folder / "campaign.json").exists():
            raise StoreError(f"{self.store.folder} is a campaign's folder: choose another for the attack")
        if not allow_mixed and any((self.store.folder / "units").glob("*.npz")):
            refuse_mixing(self.store, here)
        self.store.clear_strays()
        if before is not None and before["id"] != manifest["id"]:
            self.store.write_json(f"history/{before['id']}.json", before)
            log.warning("the folder held another evaluation: its units are kept apart")
        if before != manifest:
            self.store.write_json("attack.json", manifest)
        self.store.write_json(f"environments/{here['id']}.json", here)

    # --- the ledger --------------------------------------------------------------------------------------------------

    def _results(self, present: Any) -> list[AttackResult]:
        """Goes through the ledger in order, reading what is there and computing what is not."""
        evaluation, examples = self.evaluation, self.evaluation.examples
        self.victim = Victim.of(evaluation.model)
        self.report(self._progress("running", 0))
        admitted = admit(
            self.victim, evaluation.key, examples.x, examples.y, examples.ids, evaluation.at(0).box, self.loop
        )
        attacked, results, before = admitted.attacked, [], None
        names = [name for name, _ in evaluation.at(0).parts()]
        done = 0
        for budget in range(len(evaluation.budgets)):
            outcomes = [_nothing(attacked.x) for _ in names]
            if before is not None:
                for outcome, earlier in zip(outcomes, before, strict=True):
                    _take_over(outcome, earlier)
            self.parts.append([dict.fromkeys(("attacked", "broken", "forwards", "backwards"), 0) for _ in names])
            for unit in (unit for unit in self.units if unit.budget == budget):
                position = np.flatnonzero((admitted.index >= unit.start) & (admitted.index < unit.stop))
                left = position[~np.any([outcome.broken[position] for outcome in outcomes], axis=0)]
                arrays = self._unit(unit, names[unit.part], present.get(unit.id), admitted, left, done)
                for name in _FIELDS:
                    getattr(outcomes[unit.part], name)[left] = arrays[name]
                about = self.parts[budget][unit.part]
                about["attacked"] += len(left)
                for name in ("broken", "forwards", "backwards"):
                    about[name] += int(arrays[name].sum())
                done += 1
                broken = np.any([outcome.broken for outcome in outcomes], axis=0)
                robust = (len(attacked) - int(broken.sum())) / len(examples)
                self.report(self._progress("running", done, self._where(unit, names[unit.part]), robust))
            setting = Setting.of(evaluation.at(budget), evaluation.key, evaluation.model)
            results.append(gather(names, admitted, outcomes, setting=setting))
            before = outcomes
        return self._flagged(results)

    def _unit(
        self, unit: Unit, name: str, path: pathlib.Path | None, admitted: Admitted, left: np.ndarray, done: int
    ) -> dict[str, np.ndarray]:
        ids = admitted.ids[admitted.index[left]]
        if path is not None:
            with np.load(path, allow_pickle=False) as file:
                arrays = {key: file[key] for key in ("ids", *_FIELDS)}
            if not np.array_equal(arrays["ids"], ids):
                raise StoreError(f"{path} is about other examples: the computation is not deterministic")
            return arrays
        attack = self.evaluation.at(unit.budget)
        _, part = attack.parts()[unit.part]
        if len(left):
            self._compile(part, admitted, done)
        examples = admitted.attacked.take(left).under(name)
        targets = part.targets(admitted.logits[left], examples.y)

        def tell(ended: int, total: int) -> None:
            self.report(self._progress("running", done, f"{self._where(unit, name)}: {ended:,} of {total:,} attempts"))

        found = pursue(part, self.victim, examples, targets, self.loop, progress=tell)
        arrays = {"ids": ids, **{key: getattr(found, key) for key in _FIELDS}}
        self.store.commit_arrays(unit.id, arrays)
        self.computed, self.rows = self.computed + 1, self.rows + len(left)
        self.forwards, self.backwards = (
            self.forwards + int(found.forwards.sum()),
            self.backwards + int(found.backwards.sum()),
        )
        return arrays

    def _compile(self, part: Any, admitted: Admitted, done: int) -> None:
        structure = jax.tree.structure(part)
        if structure not in self.ready:
            self.ready.add(structure)
            self.report(self._progress("compiling", done))
            started = time.perf_counter()
            x = admitted.examples.x
            compile_ahead(part, self.victim, jax.ShapeDtypeStruct(x.shape, x.dtype), self.loop)
            self.compile_seconds += time.perf_counter() - started

    # --- after -------------------------------------------------------------------------------------------------------

    def _flagged(self, results: Sequence[AttackResult]) -> list[AttackResult]:
        evaluation, key = self.evaluation, jax.random.fold_in(self.evaluation.key, len(self.evaluation.budgets))
        found = []
        for budget, result in enumerate(results):
            self.report(self._progress("diagnosing", len(self.units), f"eps {as_fraction(evaluation.budgets[budget])}"))
            attack = evaluation.at(budget)
            flags = diagnose(key, evaluation.model, result.x, result.y, result, attack=attack)
            found.append(dataclasses.replace(result, flags=flags, diagnosed=True))
        if more := monotone(found):
            found = [dataclasses.replace(result, flags=(*result.flags, *more)) for result in found]
        return found

    def _keep(self, manifest: dict[str, Any], results: Sequence[AttackResult]) -> None:
        for path, result in zip(archives(self.store.folder, manifest), results, strict=True):
            result.save(path)
        scan = self.store.scan_units(unit.id for unit in self.units)
        names = digest(sorted(path.name for path in scan.parts.values()))
        finished = {"id": manifest["id"], "units": names, "parts": self.parts, "shown": self._shown(results)}
        self.store.write_json("finished.json", finished)

    def _shown(self, results: Sequence[AttackResult]) -> list[dict[str, int]]:
        """Examples for a picture, spread over the budgets that break any and over the classes."""
        newly = [np.flatnonzero((r.broken_by >= 0) & (r.forwards > 0)) for r in results]
        chosen = []
        for _ in range(MOST_SHOWN):
            for budget, rows in enumerate(newly):
                fresh = [row for row in rows if (budget, row) not in chosen]
                seen = {results[b].y[row] for b, row in chosen}
                fresh.sort(key=lambda row: results[budget].y[row] in seen)  # noqa: B023 - used here alone
                if fresh and len(chosen) < MOST_SHOWN:
                    chosen.append((budget, fresh[0]))
        chosen.sort(key=lambda pair: pair[0])
        if not chosen:
            return []
        logits = np.asarray(
            self.victim.logits(jax.numpy.asarray(np.stack([results[b].x_adv[row] for b, row in chosen])))
        )
        return [
            {"budget": b, "row": int(row), "seen": int(seen)}
            for (b, row), seen in zip(chosen, logits.argmax(axis=1), strict=True)
        ]

    def _finish(self, here: dict[str, Any]) -> None:
        if self.computed:
            self.store.append_line(
                "runs.jsonl",
                {
                    "units_computed": self.computed,
                    "units_total": len(self.units),
                    "examples_attacked": self.rows,
                    "forwards": self.forwards,
                    "backwards": self.backwards,
                    "compile_seconds": self.compile_seconds,
                    "total_seconds": time.perf_counter() - self.started,
                    "device": here["device"],
                    "environment": here["id"],
                    "finished_at": time.time(),
                },
            )
        self.report(self._progress("done", len(self.units)))

    def _where(self, unit: Unit, name: str) -> str:
        return f"{name} at {as_fraction(self.evaluation.budgets[unit.budget])}"

    def _progress(self, phase: str, done: int, where: str = "", robust: float | None = None) -> Progress:
        seconds = time.perf_counter() - self.started
        return Progress(phase, done, len(self.units), 0, 0, seconds, self.rows, where, robust)


def _nothing(x: np.ndarray) -> Pursued:
    n = len(x)
    return Pursued(
        x.copy(),
        np.zeros(n, bool),
        np.full(n, np.inf, np.float32),
        np.full(n, -1, np.int32),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )


def _take_over(outcome: Pursued, earlier: Pursued) -> None:
    """What was broken within a smaller budget is broken, at no further cost."""
    for name in ("found", "broken", "distance", "attempt"):
        getattr(outcome, name)[earlier.broken] = getattr(earlier, name)[earlier.broken]
