"""Tells one story, or many on both levels: see the package."""

import argparse
import collections
import dataclasses
import datetime
import importlib.metadata
import json
import logging
import multiprocessing
import os
import pathlib
import platform
import tempfile
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before JAX is imported; no backend is touched in this process

from rich import box
from rich.console import Console
from rich.table import Table

import sensijax as sj
from bench.faults.on_campaign import CampaignStories
from bench.faults.on_store import StoreStories
from bench.faults.story import Outcome

RESULTS = pathlib.Path(__file__).parents[1] / "results" / "faults.json"
LEVELS = {"store": StoreStories, "campaign": CampaignStories}
SHARE = 0.15  # of the faults of a mixed series, on the campaign's level


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    arguments.add_argument("--n", type=int, default=100, help="how many faults (default: 100)")
    arguments.add_argument("--seed", type=int, help="tell this story alone")
    arguments.add_argument("--first", type=int, default=0, help="the first story's seed (default: 0)")
    arguments.add_argument("--level", choices=LEVELS, help="only this level (default: both)")
    arguments.add_argument("--kind", help="only this kind of fault, such as 'power cut'")
    arguments.add_argument("--jobs", type=int, default=2, help="stories at once (default: 2)")
    arguments.add_argument("--out", type=pathlib.Path, help=f"the JSON file (default with --n: {RESULTS.name})")
    chosen = arguments.parse_args()
    logging.getLogger("sensijax").setLevel(logging.CRITICAL)  # what runs say of damage is expected here
    console = Console(width=120)
    levels = [chosen.level] if chosen.level else list(LEVELS)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="sensijax-faults-") as home:
        if chosen.seed is not None:
            for level in levels:
                for outcome in _stories(level, pathlib.Path(home) / level, chosen.kind).tell(chosen.seed):
                    console.print(dataclasses.asdict(outcome))
            return
        outcomes: list[Outcome] = []
        for level in levels:
            n = chosen.n
            if len(levels) > 1:
                n = round(SHARE * chosen.n) if level == "campaign" else chosen.n - round(SHARE * chosen.n)
            outcomes += _series(level, pathlib.Path(home) / level, chosen.kind, n, chosen.first, chosen.jobs)
    found = summary(outcomes) | {"seconds": round(time.perf_counter() - started, 1)}
    _show(console, found)
    out = chosen.out or RESULTS
    out.write_text(json.dumps(found, indent=1) + "\n")
    console.print(f"written to {out}")
    if found["unsound"]:
        raise SystemExit(1)


def _stories(level: str, home: pathlib.Path, kind: str | None) -> StoreStories | CampaignStories:
    home.mkdir(parents=True, exist_ok=True)
    return LEVELS[level](home, kind)


def _series(level: str, home: pathlib.Path, kind: str | None, n: int, first: int, jobs: int) -> list[Outcome]:
    """Stories, one seed after the other, until there are `n` faults; each job takes every `jobs`-th seed."""
    stories = _stories(level, home, kind)
    context = multiprocessing.get_context("fork")  # this process has no threads, and has touched no backend
    pipes, processes = [], []
    for job in range(jobs):
        mine, theirs = context.Pipe(duplex=False)
        share = n // jobs + (job < n % jobs)
        process = context.Process(target=_work, args=(stories, theirs, first + job, jobs, share))
        process.start()
        theirs.close()
        pipes.append(mine)
        processes.append(process)
    found = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    return sorted((outcome for some in found for outcome in some), key=lambda o: (o.seed, o.step))


def _work(stories: StoreStories | CampaignStories, pipe, first: int, stride: int, n: int) -> None:
    outcomes: list[Outcome] = []
    seed = first
    while len(outcomes) < n:
        outcomes += stories.tell(seed)
        seed += stride
    pipe.send(outcomes)


def summary(outcomes: list[Outcome]) -> dict:
    """The table: kinds of faults, how many, and what they did."""
    kinds: dict[tuple[str, str], list[Outcome]] = collections.defaultdict(list)
    for outcome in outcomes:
        kinds[outcome.level, outcome.kind].append(outcome)
    table = [{"level": level, "kind": kind, **_sums(some)} for (level, kind), some in sorted(kinds.items())]
    return {
        "sensijax": sj.__version__,
        "jax": importlib.metadata.version("jax"),
        "python": platform.python_version(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        "faults": table,
        "total": _sums(outcomes),
        "unsound": [dataclasses.asdict(outcome) for outcome in outcomes if not outcome.sound],
    }


def _sums(outcomes: list[Outcome]) -> dict:
    tiles = sum(outcome.tiles for outcome in outcomes)
    return {
        "count": len(outcomes),
        "missing": sum(outcome.missing for outcome in outcomes),
        "duplicates": sum(outcome.duplicates for outcome in outcomes),
        "silent": sum(outcome.silent for outcome in outcomes),
        "otherwise_wrong": sum(bool(outcome.wrong) for outcome in outcomes),
        "again_percent": round(100 * sum(outcome.again for outcome in outcomes) / max(1, tiles), 3),
        "beyond_percent": round(100 * sum(outcome.beyond for outcome in outcomes) / max(1, tiles), 3),
        "shared_percent": round(100 * sum(outcome.shared for outcome in outcomes) / max(1, tiles), 3),
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 1),
    }


def _show(console: Console, found: dict) -> None:
    table = Table(box=box.SIMPLE)
    names = ["count", "missing", "duplicates", "silent", "otherwise_wrong", "again_percent", "beyond_percent"]
    names += ["shared_percent", "seconds"]
    for name in ("level", "kind", *names):
        words = name in ("level", "kind")
        table.add_column(name.replace("_", " "), justify="left" if words else "right", no_wrap=words)
    for row in [*found["faults"], {"level": "", "kind": "all", **found["total"]}]:
        table.add_row(row["level"], row["kind"], *(f"{row[name]:g}" for name in names))
    console.print(table)
    for outcome in found["unsound"]:
        console.print(outcome)


if __name__ == "__main__":
    main()
