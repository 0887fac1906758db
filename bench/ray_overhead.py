"""What Ray costs: seconds for each tile beyond the tile, and the driver's memory over many tiles.

    python -m bench.ray_overhead [--tiles N] [--out FILE]

The same tiles are computed twice, by one Ray worker and by one process without Ray, both through `sensijax.run` and
from the first finished tile to the last, so that neither start nor compilation counts. Beside the wall clock stands
processor time, which a busy machine hardly changes: the driver's and the worker's, less that of one process alone.
The driver's memory is watched while it deals tiles that cost nothing to workers that do nothing.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil  # comes with Ray

import sensijax as sj
from sensijax.campaign._environment import environment
from sensijax.campaign._plan import Plan, make_plan
from sensijax.campaign._programs import Programs
from sensijax.campaign._worker import Finished, Tally
from sensijax.campaign.on._placement import Job
from sensijax.campaign.on._ray_actor import Passport, Report, plan_digest, versions
from sensijax.campaign.on._ray_crew import RayCrew
from sensijax.campaign.store._store import Store
from sensijax.perturb import image

TILES, EMPTY_TILES, REPEATS, MICRO_BATCH = 200, 10_000, 3, 1024
LIMIT = 0.005  # seconds for each tile


def campaign(tiles: int, examples: int = 1024, side: int = 8) -> sj.Campaign:
    """Of about so many tiles, each of a few milliseconds."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (examples, side, side, 1)).astype(np.float32)
    weights = rng.normal(size=(side * side, 10)).astype(np.float32)
    model = sj.Model(lambda w, x: x.reshape(len(x), -1) @ w, weights, name="linear")
    stages = {"noise": sj.sweep(image.GaussianNoise, severity=np.linspace(0, 5, tiles))}
    return sj.Campaign(model, sj.Dataset(x, rng.integers(0, 10, examples)), stages, seeds=2, name="overhead")


def sweep(work: sj.Campaign, on: Any) -> dict[str, float]:
    """Seconds for each tile of one run: on the wall, of this process, and of all that it started."""
    marks: list[tuple[float, float, float]] = []

    def mark(progress: Any) -> None:
        if progress.scenario:
            hands = [child for child in psutil.Process().children(recursive=True) if "ray::Hand" in _line(child)]
            theirs = float(sum(sum(child.cpu_times()[:2]) for child in hands))
            marks.append((time.perf_counter(), time.process_time(), theirs))

    last = len(make_plan(work).tiles) - 1
    with tempfile.TemporaryDirectory() as folder:
        sj.run(work, f"{folder}/run", micro_batch=MICRO_BATCH, on=on, progress=_at_ends(mark, last))
    (first, *_, end) = marks
    wall, ours, theirs = ((b - a) / last for a, b in zip(first, end, strict=True))
    return {"wall": wall, "driver_cpu": ours, "worker_cpu": theirs}


def _at_ends(mark: Callable[[Any], None], last: int) -> Callable[[Any], None]:
    """Marks the first and the last tile alone: looking costs time."""
    return lambda progress: mark(progress) if progress.tiles in (1, last + 1) else None


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Idle:
    """An actor that says of every tile at once that it is done."""

    def enlist(self, plan: str, here: dict[str, Any]) -> Passport:
        return Passport("here", "127.0.0.1", os.getpid(), here, plan, versions())

    def begin(self, micro_batch: int | None) -> int:
        return micro_batch or 1

    def exchange(self, tiles: list[str]) -> tuple[list[Report], Tally]:
        return [Finished(tile, 1, 1e-3) for tile in tiles], Tally(1, 0, 0.0, 1.0, 1.0)


def driver(tiles: int = EMPTY_TILES, workers: int = 2) -> dict[str, Any]:
    """The driver's memory and processor time over tiles that cost nothing."""
    import ray

    work = campaign(2)
    programs = Programs(work)
    one = make_plan(work, programs).tiles[-1]
    many = tuple(dataclasses.replace(one, id=f"{k:032x}") for k in range(tiles))
    plan, here, process = Plan(many, (), 1), environment(), psutil.Process()
    sizes: list[int] = []
    seen = 0

    def finished(found: Finished) -> None:
        nonlocal seen
        seen += 1
        if seen % (tiles // 10) == 0:
            sizes.append(process.memory_info().rss)

    class Shared(Store):
        def has_probe(self, token: str) -> bool:
            return True

    with tempfile.TemporaryDirectory() as folder:
        job = Job(work, plan, programs, Shared(folder), 1, False, lambda phase: None)
        ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
        hand, digest = ray.remote(Idle).options(num_cpus=1), plan_digest(plan)
        with RayCrew(
            job,
            engaged=hand.remote,
            enlisted=lambda actor, token: actor.enlist.remote(digest, here),
            workers=workers,
            accelerated=None,
            let_go=ray.shutdown,
        ) as crew:
            wall, cpu = time.perf_counter(), time.process_time()
            crew.compute(many, finished)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "tiles": tiles,
        "workers": workers,
        "driver_cpu_per_tile": cpu / tiles,
        "wall_per_tile": wall / tiles,
        "rss_mib": [round(size / 2**20, 1) for size in sizes],
        "grown_mib": round((sizes[-1] - sizes[0]) / 2**20, 2),
    }


def measure(tiles: int = TILES, repeats: int = REPEATS) -> dict[str, Any]:
    """Overhead of each tile, medians of rounds in which the two take turns; then the driver's memory."""
    work = campaign(tiles)
    rounds = [(sweep(work, sj.on.mesh(1)), sweep(work, sj.on.ray(workers=1))) for _ in range(repeats)]
    here, there = ({k: statistics.median(r[i][k] for r in rounds) for k in rounds[0][0]} for i in (0, 1))
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "tiles": tiles,
        "one_process": here,
        "ray": there,
        "wall_overhead_per_tile": there["wall"] - here["wall"],
        "cpu_overhead_per_tile": there["driver_cpu"] + there["worker_cpu"] - here["driver_cpu"],
        "limit": LIMIT,
        "driver": driver(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--tiles", type=int, default=TILES)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    text = json.dumps(measure(arguments.tiles, arguments.repeats), indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    print(text)
