"""Stores of a million to a hundred million rows: what opening, querying, verifying and reporting cost.

    python -m bench.large_store [--rows 1e6 1e7 1e8] [--folder FOLDER] [--keep] [--out FILE]

The campaign, its plan and its manifest are real: 9 stages of noise at 5 severities each, alone and in pairs, 10 seeds.
The responses are drawn, not computed, and committed tile by tile through the store, so that the folder has the layout
of a run. Every step is measured in a process of its own: wall clock and CPU seconds of the step, and the largest
resident set of the whole process.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SEEDS, SEVERITIES, CLASSES, SIDE = 10, (0, 1, 2, 3, 4, 5), 10, 8
LIMITS = {"report_seconds": 120, "peak_bytes": 4 << 30, "report_bytes": 1 << 20}  # at 10^8 rows


def campaign(examples: int) -> Any:
    """A campaign of 946 scenarios; all but the clean one are drawn for 10 seeds."""
    import sensijax as sj
    from sensijax.perturb import image

    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, examples)
    x = rng.uniform(0, 1, (examples, SIDE, SIDE, 1)).astype(np.float32)
    site = np.array(["north", "south", "east"])[rng.integers(0, 3, examples)]
    kinds = (image.GaussianNoise, image.ImpulseNoise, image.ShotNoise)
    stages = {f"{kind.__name__}{i}": sj.sweep(kind, severity=SEVERITIES) for kind in kinds for i in range(3)}
    weight = rng.normal(size=(SIDE * SIDE, CLASSES)).astype(np.float32)
    model = sj.Model(lambda w, x: x.reshape(len(x), -1) @ w, weight, name="linear")
    data = sj.Dataset(x, y, name="drawn", groups={"site": site})
    return sj.Campaign(model=model, data=data, stages=stages, design=sj.design.staged(2), seeds=SEEDS, name="large")


def build(folder: pathlib.Path, rows: float) -> int:
    """Writes a finished store of about so many rows; returns how many there are."""
    from sensijax.campaign._environment import environment
    from sensijax.campaign._manifest import manifest_of
    from sensijax.campaign._plan import make_plan
    from sensijax.campaign.store._store import Store

    about = campaign(round(rows / (945 * SEEDS + 1)))
    plan, here = make_plan(about), environment()
    store = Store(folder)
    store.folder.mkdir(parents=True, exist_ok=True)
    examples = about.examples
    manifest = manifest_of(about, plan, here)
    manifest["examples"] = store.write_examples({"example": examples.ids, "label": examples.y, **examples.groups}).name
    store.write_json("campaign.json", manifest)
    store.write_json(f"environments/{here['id']}.json", here)
    own = threading.local()

    def commit(tile: Any) -> None:
        if not hasattr(own, "store"):
            own.store = Store(folder)
        own.store.commit(tile.id, *_columns(about, tile, here["id"]))

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(commit, plan.tiles):
            pass
    return plan.rows


def _columns(about: Any, tile: Any, environment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A tile's columns and constants, as a worker would commit them, with responses that are drawn."""
    from sensijax.campaign.store._store import Coded
    from sensijax.measure import STATUSES

    rng = np.random.default_rng(int(tile.id, 16))
    scenario, seed, example = np.unravel_index(np.arange(tile.rows), tile.shape)
    examples, n = about.examples, tile.rows
    label = examples.y[tile.start + example]
    hurt = np.array([sum(value for _, value in s.settings) for s in tile.scenarios])[scenario]
    ease = (examples.ids[tile.start + example] % 101) / 101  # an example is hard or easy in all scenarios alike
    correct = 0.7 * ease + 0.3 * rng.random(n) > 0.05 + 0.03 * hurt
    confidence = rng.uniform(0.1, 1, n).astype(np.float32)
    loss = -np.log(np.where(correct, confidence, (1 - confidence) / 9 + np.float32(1e-6)))
    columns = {
        "scenario": Coded([s.name for s in tile.scenarios], scenario),
        "stages": Coded(["+".join(s.stages) or "clean" for s in tile.scenarios], scenario),
        "severity": np.array([np.nan if s.severity is None else s.severity for s in tile.scenarios])[scenario],
        "seed": np.array(tile.seeds, np.uint64)[seed],
        "example": examples.ids[tile.start + example],
        "label": label,
        "target": label,
        "observed": label,
        "weight": np.ones(n, np.float32),
        "prediction": np.where(correct, label, (label + rng.integers(1, CLASSES, n)) % CLASSES).astype(np.int32),
        "confidence": confidence,
        "entropy": rng.uniform(0, 2.3, n).astype(np.float32),
        "margin": np.where(correct, confidence, -confidence),
        "loss": loss.astype(np.float32),
        "brier": rng.uniform(0, 2, n).astype(np.float32),
        "correct": correct,
        "flipped": ~correct,
        "kl": rng.uniform(0, 1, n).astype(np.float32),
        "status": Coded(STATUSES, np.zeros(n, np.int8)),
        "stages_digest": Coded([about.settings_digest(s) for s in tile.scenarios], scenario),
    }
    constants = {
        "tile": tile.id,
        "model": about.model.digest,
        "data": about.data.digest,
        "program": tile.program,
        "environment": environment,
        "micro_batch": 256,
    }
    return columns, constants


def _steps() -> dict[str, Callable[[Any, pathlib.Path], Any]]:
    """What is asked of an opened store; the first two of its folder alone."""
    from sensijax.campaign.results._verify import verify
    from sensijax.campaign.store._store import Store

    query = "select stages, avg(correct::int) as accuracy, quantile_cont(loss, 0.9) from responses group by all"
    return {
        "resume": lambda _, folder: len(Store(folder).scan({t["id"] for t in _manifest(folder)["tiles"]}).parts),
        "verify": lambda _, folder: len(verify(folder).faults),
        "open": lambda results, _: results.completeness.rows,
        "query": lambda results, _: len(results.sql(query)),
        "scenarios": lambda results, _: float(results.scenarios()["drop"].sum()),
        "ranking": lambda results, _: float(results.ranking().mean_drop.sum()),
        "interactions": lambda results, _: float(results.interactions().interaction.sum()),
        "effects": lambda results, _: float(results.effects(2, averaged=True).effect.sum()),
        "report": lambda results, folder: results.report(folder / "report.html").stat().st_size,
    }


def _manifest(folder: pathlib.Path) -> dict[str, Any]:
    return json.loads((folder / "campaign.json").read_text())


def step(name: str, folder: pathlib.Path) -> dict[str, Any]:
    """Carries out one step in this process, and says what it cost."""
    import sensijax as sj

    called = _steps()[name]
    needs_results = name not in ("resume", "verify")
    wall, cpu = time.perf_counter(), time.process_time()
    results = sj.Results.open(folder) if needs_results else None
    opened = time.perf_counter() - wall
    answer = called(results, folder)
    return {
        "answer": answer,
        "seconds": round(time.perf_counter() - wall, 2),
        "of_which_open": round(opened, 2) if needs_results else 0.0,
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_bytes": _peak_bytes(),
    }


def _peak_bytes() -> int:
    """The largest resident set of this process: not that of the parent it was forked from, as `getrusage` says."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(rows: float, folder: pathlib.Path, only: list[str] | None = None) -> dict[str, Any]:
    """Builds a store, unless it is there, and measures every step on it.

    Args:
      rows: about how many.
      folder: where the store is; made if it is not there.
      only: steps; all unless given.

    Returns:
      Rows, bytes and parts of the store, the machine's load, and for each step its cost and its answer.
    """
    if not (folder / "built").exists():
        build(folder, rows)
        (folder / "built").touch()
    parts = list((folder / "parts").iterdir())
    found: dict[str, Any] = {}
    for name in only or _steps():
        load = os.getloadavg()[0]
        command = [sys.executable, "-m", "bench.large_store", "--step", name, "--folder", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        found[name] = json.loads(done.stdout) if not done.returncode else {"failed": done.stderr.strip()[-300:]}
        found[name]["load"] = round(load, 1)
        print(f"{rows:.0e} {name}: {found[name]}", file=sys.stderr)
    return {
        "rows": sum(
            len(t["scenarios"]) * len(t["seeds"]) * (t["stop"] - t["start"]) for t in _manifest(folder)["tiles"]
        ),
        "parts": len(parts),
        "bytes": sum(part.stat().st_size for part in parts),
        "steps": found,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="python -m bench.large_store", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rows", nargs="+", type=float, default=[1e6, 1e7, 1e8])
    arguments.add_argument("--folder", type=pathlib.Path, help="for the stores; a temporary one unless given")
    arguments.add_argument("--keep", action="store_true", help="keep the stores")
    arguments.add_argument("--only", nargs="+", help="steps")
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path("bench/results/large_store.json"))
    arguments.add_argument("--step", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.step:
        print(json.dumps(step(chosen.step, chosen.folder)))
        return
    folder = chosen.folder or pathlib.Path(tempfile.mkdtemp(prefix="large-store-"))
    try:
        found = {f"{rows:.0e}": measure(rows, folder / f"{rows:.0e}", chosen.only) for rows in chosen.rows}
    finally:
        if not chosen.keep:
            shutil.rmtree(folder, ignore_errors=True)
    about = {"cores": os.cpu_count(), "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "limits": LIMITS}
    before = json.loads(chosen.out.read_text())["stores"] if chosen.out.exists() else {}
    for name, store in found.items():  # steps that were not asked for now stay
        store["steps"] = {**before.get(name, {}).get("steps", {}), **store["steps"]}
    chosen.out.write_text(json.dumps({**about, "stores": {**before, **found}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
