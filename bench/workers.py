"""One process against the hand-written loop, and several against one: `sensijax run --on processes` on one machine.

    python -m bench.workers [--out FILE]

XLA's CPU client starts a thread for each core, so one process fills a machine by itself. What is compared here is
therefore one process on one core with N processes on N cores, each bound to its own: rows per second, counted from the
moment the first of them has compiled until the last tile is in the folder. Beside it stands what the machine itself
gives: N hand-written loops at once that know nothing of each other and store nothing. Caches, memory and clock are
shared, and two hardware threads of one core are not two cores.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.campaign import SEVERITIES, STAGES

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "workers.json"
WIDTHS = (64, 256, 1024)  # of the hand-written loop; the fastest counts, for each stage
SEEDS = 8
REPEATS = 3
TARGET_SCALING = 0.9
TARGET_LOOP = 0.95


def measure(repeats: int = REPEATS, counts: Sequence[int] | None = None, seeds: int = SEEDS) -> dict[str, Any]:
    """Throughput of one process and of several.

    Args:
      repeats: rounds, in which the contenders take turns; the median counts.
      counts: numbers of processes; 1, 2, 4, ... up to the cores, unless given.
      seeds: how many; the work is in proportion.

    Returns:
      Rows per second, ratios, and how often a tile was computed twice.
    """
    cores = sorted(os.sched_getaffinity(0))
    counts = counts or sorted({1, *(2**k for k in range(1, 12) if 2**k < len(cores)), len(cores)})
    rounds: dict[str, dict[int, list[float]]] = {"engine": {}, "hand loop": {}}
    twice: dict[int, list[int]] = {}
    with _Children(cores[:1], "widths", seeds) as first:
        widths = first.widths()
    with _Children(cores[:1], "engine", seeds) as first:  # measures the micro-batch, compiles
        warm = first.engine()
    for _ in range(repeats):
        for count in counts:
            with _Children(cores[:count], "hand", seeds, widths) as loops:
                rounds["hand loop"].setdefault(count, []).append(loops.hand())
            with _Children(cores[:count], "engine", seeds) as engines:
                found = engines.engine()
            rounds["engine"].setdefault(count, []).append(found["rows"] / found["seconds"])
            twice.setdefault(count, []).append(found["computed"] - found["tiles"])
    rate = {who: {n: statistics.median(rates) for n, rates in by.items()} for who, by in rounds.items()}
    most = max(counts)
    return {
        "rows": warm["rows"],
        "tiles": warm["tiles"],
        "repeats": repeats,
        "micro_batch": warm["micro_batch"],
        "micro_batches_hand_loop": dict(zip(STAGES, map(int, widths.split(",")), strict=True)),
        "hardware_threads_per_core": _siblings(cores[0]),
        "processes": {
            str(n): {
                "rows_per_second": {who: round(by[n]) for who, by in rate.items()},
                "engine_of_ideal": round(rate["engine"][n] / (n * rate["engine"][1]), 3),
                "hand_loop_of_ideal": round(rate["hand loop"][n] / (n * rate["hand loop"][1]), 3),
                "engine_spread": [round(min(rounds["engine"][n])), round(max(rounds["engine"][n]))],
                "tiles_computed_twice": max(twice[n]),
            }
            for n in counts
        },
        "engine_over_hand_loop": round(rate["engine"][1] / rate["hand loop"][1], 3),
        "target_engine_over_hand_loop": TARGET_LOOP,
        "scaling": round(rate["engine"][most] / (most * rate["engine"][1]), 3),
        "target_scaling": TARGET_SCALING,
    }


class _Children:
    """Processes, one bound to each of some cores; ready to go when entered."""

    def __init__(self, cores: Sequence[int], role: str, seeds: int, widths: str = ""):
        self._folder = tempfile.TemporaryDirectory()
        self._processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "bench.workers",
                    "--seeds",
                    str(seeds),
                    "--as",
                    role,
                    str(core),
                    str(rank),
                    str(len(cores)),
                    widths or self.store,
                ],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank, core in enumerate(cores)
        ]

    @property
    def store(self) -> str:
        return f"{self._folder.name}/run"

    def __enter__(self) -> "_Children":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._folder.cleanup()

    def engine(self) -> dict[str, Any]:
        """Lets them run the campaign together."""
        found = self._answers()
        seconds = max(one["finished"] for one in found) - min(one["started"] for one in found)
        return {**found[0], "seconds": seconds, "computed": sum(one["computed"] for one in found)}

    def widths(self) -> str:
        """The fastest micro-batch of each stage's loop."""
        return self._answers()[0]["widths"]

    def hand(self) -> float:
        """Lets each run its loop; rows per second of all together."""
        return sum(one["rows"] / one["seconds"] for one in self._answers())

    def _answers(self) -> list[dict[str, Any]]:
        for process in self._processes:
            _said(process)  # it is ready
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [json.loads(_said(process)) for process in self._processes]


def _said(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a process of the benchmark ended with exit code {process.wait()}")
    return line


def _siblings(core: int) -> int | None:
    path = pathlib.Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    if not path.exists():
        return None
    spans = [span.split("-") for span in path.read_text().strip().split(",")]
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


# --- in the processes ------------------------------------------------------------------------------------------------


def _child(role: str, core: int, rank: int, size: int, store: str, seeds: int) -> None:
    os.sched_setaffinity(0, {core})  # before JAX starts its threads
    import sensijax as sj

    sj.enable_compile_cache()
    if role == "engine":
        answer = _engine(rank, size, store, seeds)
    else:
        answer = _widths(seeds) if role == "widths" else _hand(seeds, [int(width) for width in store.split(",")])
    _tell("ready")
    sys.stdin.readline()
    _tell(json.dumps(answer()))


def _tell(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def _settings(perturbation: Any, seeds: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    # As in `bench.campaign`: the same rows for all stages, whether they draw or not.
    if not perturbation.deterministic:
        return tuple(map(float, SEVERITIES)), tuple(range(seeds))
    return tuple(np.linspace(1, 5, len(SEVERITIES) * seeds).round(6).tolist()), (0,)


def _engine(rank: int, size: int, store: str, seeds: int) -> Any:
    import sensijax as sj
    from sensijax import demo

    stages = {name: sj.sweep(cls, severity=[0, *_settings(cls, seeds)[0]], size=32) for name, cls in STAGES.items()}
    campaign = sj.Campaign(demo.load(), demo.data(), stages, seeds=seeds, name="workers")
    times: dict[str, float] = {}
    mine: list[int] = []  # rows of the tiles of this process

    def note(progress: Any) -> None:
        if progress.phase == "running":  # CLOCK_MONOTONIC is one clock for all processes of a machine
            times.setdefault("started", time.monotonic())
            times.setdefault("finished", time.monotonic())
            if progress.computed > sum(mine):  # not when another's tile is noticed
                times["finished"] = time.monotonic()
                mine.append(progress.computed - sum(mine))

    def answer() -> dict[str, Any]:
        results = sj.run(campaign, store, on=sj.on.processes(rank, size), progress=note)
        return {
            **times,
            "rows": results.completeness.rows,
            "tiles": results.completeness.tiles,
            "computed": len(mine),
            "micro_batch": results.statistics()[0]["micro_batch"],
        }

    return answer


def _loop(stage: str, seeds: int, width: int, part: int = 1) -> Any:
    """A hand-written loop over the rows of a stage, or over about one in `part` of them."""
    from bench.campaign import _hand_loop
    from sensijax import demo

    severities, drawn = _settings(STAGES[stage], seeds)
    some = (severities[::part], drawn) if len(drawn) == 1 else (severities, drawn[::part])
    return _hand_loop(STAGES[stage], *some, stage, demo.load(), demo.data(), width)


def _widths(seeds: int) -> Any:
    from bench.campaign import _seconds

    def cost(stage: str, width: int) -> float:
        call = _loop(stage, seeds, width, max(1, seeds // 2))
        call()
        return min(_seconds(call) for _ in range(2))

    found = [min(WIDTHS, key=lambda width, stage=stage: cost(stage, width)) for stage in STAGES]
    return lambda: {"widths": ",".join(map(str, found))}


def _hand(seeds: int, widths: Sequence[int]) -> Any:
    from bench.campaign import _seconds
    from sensijax import demo

    loops = [_loop(stage, seeds, width) for stage, width in zip(STAGES, widths, strict=True)]
    for call in loops:
        call()
    rows = len(loops) * len(demo.data()) * len(SEVERITIES) * seeds
    return lambda: {"rows": rows, "seconds": sum(_seconds(call) for call in loops)}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    arguments.add_argument("--out", default=str(RESULTS), help=f"the JSON file (default: {RESULTS.relative_to(ROOT)})")
    arguments.add_argument("--repeats", type=int, default=REPEATS)
    arguments.add_argument("--seeds", type=int, default=SEEDS, help=f"the amount of work (default: {SEEDS})")
    arguments.add_argument("--as", nargs=5, dest="child", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.child:
        role, core, rank, size, store = chosen.child
        _child(role, int(core), int(rank), int(size), store, chosen.seeds)
        return
    load = round(os.getloadavg()[0], 2)
    found = measure(chosen.repeats, seeds=chosen.seeds)
    _tell(json.dumps(found, indent=1))
    from bench.facts import commit, facts
    from bench.results_file import written

    written(pathlib.Path(chosen.out), facts() | {"load_before": load} | commit() | found)


if __name__ == "__main__":
    main()
