"""Cold and warm starts of `sensijax demo`, each in a process of its own.

python -m bench.start
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any


def measure() -> dict[str, Any]:
    """Wall-clock seconds, from the command to the report.

    Returns:
      `cold`: empty caches (trains the model, measures, compiles, runs, reports); `warm`: caches kept, a new folder;
      `resumed`: the finished folder again, nothing to compute; `help`: `sensijax --help`. With their stated limits.
    """
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        environment = {**os.environ, "XDG_CACHE_HOME": str(root / "cache")}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)

        def seconds(*arguments: str) -> float:
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "sensijax", *arguments],
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            return round(time.perf_counter() - started, 2)

        return {
            "cold": seconds("demo", "--out", str(root / "one")),
            "limit_cold": 120,
            "warm": seconds("demo", "--out", str(root / "two")),
            "limit_warm": 30,
            "resumed": seconds("demo", "--out", str(root / "two")),
            "help": min(seconds("--help") for _ in range(3)),
            "limit_help": 0.5,
        }
