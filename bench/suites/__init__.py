"""The suites: every one is measured in processes of its own, the first of which begins with an empty compile cache."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.facts import ROOT, commit
from bench.suites.gather import gathered
from bench.suites.task import SIZES

VERSION = 1  # raised whenever a suite's work changes: files of different versions are not compared
SUITES = ("model", "sweep", "perturb", "attack", "sensitivity", "stress")


def measure(
    names: Sequence[str],
    *,
    model: str = "demo",
    dtype: str = "float32",
    size: str = "small",
    like: dict[str, Any] | None = None,
    note: Callable[[str], None] = lambda words: None,
) -> dict[str, Any]:
    """Measures suites, one after the other.

    Args:
      names: of `SUITES`. The model alone comes first: its operations are what the others' are counted in.
      model: a name in `bench.models.NAMES`.
      dtype: of weights and activations.
      size: a name in `SIZES`.
      like: an earlier file; its rates of arrival are taken, so that the server scenarios can be compared.
      note: called with what is being done.

    Returns:
      What the file of results holds.
    """
    started, load = time.perf_counter(), round(os.getloadavg()[0], 2)
    found: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    for name in dict.fromkeys(("model", *names)):
        rate = ((like or {}).get("suites", {}).get(name, {}).get("work", {})).get("rate")
        with tempfile.TemporaryDirectory() as cache:
            answers = []
            for process in range(SIZES[size].processes):
                note(f"{name}, process {process + 1} of {SIZES[size].processes}")
                request = {"suite": name, "model": model, "dtype": dtype, "size": size, "seed": process, "rate": rate}
                answers.append(_asked(request, cache))
                rate = answers[-1]["rate"]
        environment = environment or answers[0]["facts"]
        found[name] = gathered(answers, found.get("model"))
    return {
        **environment,
        "load_before": load,
        **commit(),
        "suites_version": VERSION,
        "model": model,
        "dtype": dtype,
        "size": size,
        "amounts": dataclasses.asdict(SIZES[size]),
        "arrival_seeds": list(range(SIZES[size].processes)),
        "total_seconds": round(time.perf_counter() - started, 1),
        "suites": found,
    }


def _asked(request: dict[str, Any], cache: str) -> dict[str, Any]:
    """The answer of a fresh process to a request."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = pathlib.Path(folder) / "request.json", pathlib.Path(folder) / "answer.json"
        asked.write_text(json.dumps(request))
        subprocess.run(
            [sys.executable, "-m", "bench.suites", str(asked), str(answer)],
            check=True,
            cwd=ROOT,
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache},
        )
        return json.loads(answer.read_text())
