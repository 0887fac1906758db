"""The schedule at scale, simulated; and the planner's forecasts against runs on this machine.

    python -m bench.scale [--only simulate | validate] [--out FILE]

`simulate` runs the very schedule of a cluster over workers that only take the time tiles would take. Tile seconds are
log-normal with a mean of about one second, each of 24 programs has a mean of its own, workers compile, die, and some
tiles are slow, raise or kill. What is compared: the seconds of processor time that the schedule took for all events of
a run (the simulation's own is not counted) with the seconds that the run would last, during all of which one driver
process is there to deal tiles. `validate` forecasts campaigns from costs measured just before, runs them, and compares
wall clocks, compilation included: plainly, on virtual devices, on two processes. It wants a quiet machine.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

from sensijax.campaign.schedule._schedule import Item, Schedule
from sensijax.campaign.schedule._simulation import Faults, simulate

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "scale.json"
WORKERS, PROGRAMS = 256, 24
COMPILING, STARTING = 20.0, 10.0
TARGET_OVERHEAD, TARGET_ERROR = 0.02, 0.2


class Timed:
    """A schedule that counts the processor time of whatever it is asked; otherwise the same."""

    def __init__(self, items: Sequence[Item]):
        self.nanoseconds = self.calls = 0
        self._real = self._count(Schedule, items)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return (lambda *args, **kwargs: self._count(found, *args, **kwargs)) if callable(found) else found

    def _count(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        started = time.thread_time_ns()
        try:
            return call(*args, **kwargs)
        finally:
            self.nanoseconds += time.thread_time_ns() - started
            self.calls += 1


def tiles(count: int, seed: int = 0, programs: int = PROGRAMS) -> list[Item]:
    """Tiles of one second on average, those of a program alike."""
    rng = random.Random(seed)
    means = [rng.lognormvariate(-0.125, 0.5) for _ in range(programs)]
    return [
        Item(f"{rng.getrandbits(128):032x}", (f"program {i * programs // count}",), means[i * programs // count])
        for i in range(count)
    ]


def simulated(count: int, workers: int = WORKERS, faulty: bool = True, seed: int = 0) -> dict[str, Any]:
    """One run of `count` tiles; with `faulty`, workers die every 20 minutes on average, 1 % of the tiles are 20 times
    slower than usual, five raise and five kill."""
    items = tiles(count, seed)
    rng = random.Random(seed + 1)
    guilty = [item.id for item in rng.sample(items, 10)]
    faults = Faults(1200.0, 30.0, 0.01, 20.0, guilty[:5], guilty[5:]) if faulty else Faults()
    timed: list[Timed] = []

    def dealt_by(items: Sequence[Item]) -> Timed:
        timed.append(Timed(items))
        return timed[0]

    found = simulate(
        items,
        workers,
        compiling=lambda program: COMPILING,
        starting=STARTING,
        spread=0.5,
        faults=faults,
        seed=seed,
        dealt_by=dealt_by,
    )
    schedule, cpu = timed[0], timed[0].nanoseconds / 1e9
    work = sum(item.cost for item in items)
    return {
        "tiles": count,
        "workers": workers,
        "faulty": faulty,
        "simulated_seconds": round(found.seconds, 1),
        "work_over_workers_seconds": round(work / workers, 1),
        "schedule_cpu_seconds": round(cpu, 3),
        "schedule_cpu_microseconds_per_tile": round(1e6 * cpu / count, 1),
        "calls": schedule.calls,
        "overhead": round(cpu / found.seconds, 5),
        "workers_computing": round(found.computing / (workers * found.seconds), 3),
        "workers_compiling": round(found.compiling / (workers * found.seconds), 3),
        "compilations": schedule.compilations,
        "compilations_per_worker": round(schedule.compilations / workers, 2),
        "issued": schedule.issued,
        "reissued": schedule.reissued,
        "duplicates": schedule.duplicates,
        "repeated": round(schedule.issued / count - 1, 4),
        "deaths": schedule.deaths,
        "given_up": len(schedule.poisoned),
        "given_up_wrongly": len({poison.item.id for poison in schedule.poisoned} - set(guilty if faulty else ())),
    }


def memory(count: int, workers: int = WORKERS) -> dict[str, Any]:
    """Bytes that a schedule takes beyond its tiles: when it is made, and at most in a run with faults."""
    items = tiles(count)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made: list[int] = []

        def dealt_by(items: Sequence[Item]) -> Schedule:
            schedule = Schedule(items)
            made.append(tracemalloc.get_traced_memory()[0] - before)
            return schedule

        simulate(items, workers, spread=0.5, faults=Faults(slow=0.01, lifetime=1200.0), dealt_by=dealt_by)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    return {
        "tiles": count,
        "bytes_made": made[0],
        "bytes_peak": peak,
        "bytes_made_per_tile": round(made[0] / count, 1),
        "bytes_peak_per_tile": round(peak / count, 1),
        "bytes_beyond_what_was_made": peak - made[0],
    }


# --- forecasts against runs ------------------------------------------------------------------------------------------

MICRO_BATCH = 256
CASES = (  # campaign, processes, virtual devices of each
    ("corruptions", 1, 1),
    ("corruptions", 1, 2),
    ("corruptions", 1, 4),
    ("corruptions", 1, 8),
    ("corruptions", 2, 1),
    ("attack", 1, 1),
    ("attack", 2, 1),
)


def campaign(name: str) -> Any:
    """One that takes this machine a minute or so."""
    import sensijax as sj
    from sensijax import attack, demo
    from sensijax.perturb import image

    severities = [0, 1, 2, 3, 4, 5]
    stages = {
        "corruptions": {
            kind.__name__.lower(): sj.sweep(kind, severity=severities, size=32)
            for kind in (image.Fog, image.GaussianNoise, image.GaussianBlur, image.JPEG)
        },
        "attack": {"pgd": sj.sweep(attack.PGD, eps=[0, 0.05, 0.1, 0.2], norm="linf", steps=20)},
    }[name]
    if len(stages) == 1:
        return sj.Campaign(demo.load(), demo.data(), stages, seeds=4, name=name)
    return sj.Campaign(demo.load(), demo.data(), stages, design=sj.design.pairs(at=3), seeds=16, name=name)


def validate(cases: Sequence[tuple[str, int, int]] = CASES, repeats: int = 3) -> list[dict[str, Any]]:
    """Forecasts and runs of the same campaigns: costs are measured in a process like those that run, bound to as many
    cores and with as many devices; then the run is forecast, and run `repeats` times, each in new processes."""
    found = []
    for name, processes, devices in cases:
        with tempfile.TemporaryDirectory() as scratch:
            file = f"{scratch}/costs.json"
            _children(scratch, [{"do": "measure", "name": name, "file": file}], processes, devices)
            ask = {"do": "forecast", "name": name, "file": file, "devices": processes * devices}
            (forecast,) = _children(scratch, [ask], processes, devices)
            seconds = []
            for k in range(repeats):
                run = [
                    {"do": "run", "name": name, "store": f"{scratch}/{k}", "rank": rank, "size": processes}
                    for rank in range(processes)
                ]
                seconds.append(max(one["seconds"] for one in _children(scratch, run, processes, devices)))
        middle = sorted(seconds)[len(seconds) // 2]
        case = {
            "campaign": name,
            "processes": processes,
            "virtual_devices": devices,
            **forecast,
            "run_seconds": [round(s, 2) for s in seconds],
            "error": round(forecast["forecast_seconds"] / middle - 1, 3),
        }
        print(json.dumps(case), file=sys.stderr, flush=True)
        found.append(case)
    return found


def _children(scratch: str, asks: list[dict[str, Any]], processes: int, devices: int) -> list[dict[str, Any]]:
    """Lets processes do what is asked, all at once; each on its share of the cores, with so many virtual devices."""
    cores = sorted(os.sched_getaffinity(0))
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("JAX_COMPILATION_CACHE")},
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "XDG_CACHE_HOME": str(pathlib.Path(scratch).parent / f"sensijax-scale-cache-{os.getuid()}"),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.scale", "--child", json.dumps({**ask, "cores": cores[k::processes]})],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for k, ask in enumerate(asks)
    ]
    outputs = [process.communicate()[0] for process in started]
    for process in started:
        if process.returncode:
            raise RuntimeError(f"a child ended with {process.returncode}")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def _child(ask: dict[str, Any]) -> dict[str, Any]:
    os.sched_setaffinity(0, ask["cores"])  # before JAX starts its threads
    import jax

    import sensijax as sj
    from sensijax.campaign import make_plan
    from sensijax.campaign._mesh import devices_layout
    from sensijax.campaign.schedule._costs import Costs, measure_costs
    from sensijax.campaign.schedule._forecast import forecast

    given = campaign(ask["name"])
    several = jax.local_device_count() > 1
    if ask["do"] == "run":
        started = time.perf_counter()
        several_processes = ask["size"] > 1
        on = sj.on.processes(ask["rank"], ask["size"]) if several_processes else sj.on.mesh() if several else None
        sj.run(given, ask["store"], micro_batch=MICRO_BATCH, on=on)
        return {"seconds": time.perf_counter() - started}
    plan = make_plan(given)
    if ask["do"] == "measure":
        measure_costs(given, plan, micro_batch=MICRO_BATCH, layout=devices_layout() if several else None).write(
            ask["file"]
        )
        return {}
    costs = Costs.read(ask["file"])
    found = forecast(given, plan, costs, devices=ask["devices"])
    return {
        "forecast_seconds": round(3600 * found.hours, 2),
        "low": round(3600 * found.low, 2),
        "high": round(3600 * found.high, 2),
        "tiles": found.tiles,
        "compile_seconds": round(found.compile_seconds, 2),
        "cores_busy": round(costs.cores_busy, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("simulate", "validate"))
    parser.add_argument("--out", default=str(RESULTS))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_child(json.loads(arguments.child))))
        return
    out = pathlib.Path(arguments.out)
    found = json.loads(out.read_text()) if out.exists() else {}
    found["targets"] = {"overhead": TARGET_OVERHEAD, "error": TARGET_ERROR}
    if arguments.only != "validate":
        found["cores"] = os.cpu_count()
        found["simulated"] = [
            simulated(10_000, faulty=False),
            *(simulated(10_000, seed=seed) for seed in range(3)),
            simulated(100_000),
        ]
        found["memory"] = [memory(count) for count in (1_000, 10_000, 100_000)]
    if arguments.only != "simulate":
        found["validated"] = validate()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
