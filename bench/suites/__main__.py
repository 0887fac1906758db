"""One suite in this process, as a harness asks for it: `python -m bench.suites REQUEST.json ANSWER.json`."""

import importlib
import json
import pathlib
import statistics
import sys
import time
from typing import Any

import jax
import numpy as np

from bench import ceilings, models
from bench.compiling import Compilations, account, largest_program_mib
from bench.facts import device_peak_mib, facts, peak_mib
from bench.scenarios import Load, offline, poisson, server, single_stream
from bench.suites.task import SIZES, Size, Subject, Task

FIRST = 8  # queries that are not timed: one for each program that a query may need
BUSY = 0.5  # the share of the time for which the server is asked to be busy, unless a rate is given


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Measures one suite once.

    Args:
      request: `suite`, `model`, `dtype`, `size` (a name), `seed` (of arrivals), `rate` (of the server scenario, or
        None).

    Returns:
      Raw numbers, ready for JSON.
    """
    compilations, before = Compilations(), peak_mib()
    size = SIZES[request["size"]]
    model, data, labels = models.load(request["model"], request["dtype"], size.images, size.side)
    started, known = time.perf_counter(), (compilations.seconds, compilations.programs, compilations.hits)
    suite = importlib.import_module(f"bench.suites.{request['suite']}")
    task: Task = suite.prepare(Subject(model, data, labels, size))
    task.job()
    for i in range(FIRST):
        task.query(i)
    warming = time.perf_counter() - started
    compiled = {
        "xla_seconds": compilations.seconds - known[0],
        "programs": compilations.programs - known[1],
        "cache_hits": compilations.hits - known[2],
    }
    counted, passed = offline(task.job, size.repeats)
    alone = single_stream(task.query, size.queries)
    rate = request["rate"] or _rate(alone)
    asked = server(task.query, poisson(rate, size.queries, request["seed"]))
    steady = float(np.median(passed)) + FIRST * float(np.median(alone.latencies))
    found = {
        "facts": facts(),
        "work": {"model": model.name, "dtype": request["dtype"], "labels": labels, **_amount(size, len(data))},
        "model_digest": model.digest,
        "parameters": models.parameters(model.params),
        **{name: getattr(task, name) for name in ("about", "asked", "unit", "units")},
        "rate": rate,
        "raw": {
            "offline_seconds": counted.tolist(),
            "single_stream_seconds": alone.latencies.tolist(),
            "server_seconds": asked.latencies.tolist(),
            "server_busy": asked.busy,
            "server_offered": asked.offered,
            "driver_lag_seconds": asked.lag,
            "compile": {"warm_up_seconds": max(0.0, warming - steady), **compiled},
            "memory_mib": {
                "process_peak": peak_mib(),
                "before_the_model": before,
                "device_peak": device_peak_mib(),
                "largest_program": largest_program_mib(),
            },
        },
        "robustness": task.robustness(),
        "forwards": task.forwards(),
    }
    if task.program is not None:
        program, runs = task.program
        flops, moved = account(program)
        found["program"] = {"flops": flops and flops * runs, "bytes": moved and moved * runs}
        found["ceilings"] = ceilings.measure(request["dtype"])
    return found


def _rate(alone: Load) -> float:
    """Half of what the system answers when asked one after the other, to one significant digit."""
    return float(f"{BUSY / statistics.fmean(alone.latencies):.1g}")


def _amount(size: Size, images: int) -> dict[str, int]:
    return {"images": images, "seeds": size.seeds, "batch": size.batch, "passes": size.passes, "points": size.points}


if __name__ == "__main__":
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)  # as the command line has it
    asked_for, answer_to = map(pathlib.Path, sys.argv[1:])
    answer_to.write_text(json.dumps(answer(json.loads(asked_for.read_text()))))
