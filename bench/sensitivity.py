"""Sobol indices end to end, second order and 100 bootstraps: sample, evaluate, analyse.

Against SALib, and against NumPy written as vectors: points of SciPy's Sobol sequence, all rows of the sample matrix in
one array, and resamples as matrix products. All answer the same question; SALib and the baseline bootstrap points of
one scramble, sensijax independent scrambles. Then what the streaming costs: rows per second against the bare model on
rows that lie in memory, and the memory of a run of four million points.

    python -m bench.sensitivity DIMENSION N

runs one analysis and prints the peak memory of the process: `measure` starts it so, in processes of their own.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import qmc

from sensijax import sensitivity as s
from sensijax.sensitivity.indices._saltelli import SaltelliDesign
from sensijax.sensitivity.indices._stream import _plan, _program

REPEATS, LIMIT = 5, 180
CASES = {"Ishigami 2^14": ("ishigami", 2**14), "Ishigami 2^18": ("ishigami", 2**18), "D = 100, 2^12": ("g100", 2**12)}
TARGET_SALIB, TARGET_THROUGHPUT = 20.0, 0.8


def ishigami(x: Any, xp: Any = jnp) -> Any:
    """Ishigami's function of x `[3, ...]`."""
    return xp.sin(x[0]) + 7 * xp.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * xp.sin(x[0])


def g100(x: Any, xp: Any = jnp) -> Any:
    """The g function of x `[100, ...]` with a = 0, 1/2, 1, ..."""
    a = xp.reshape(xp.arange(100, dtype=x.dtype) / 2, (100, *[1] * (x.ndim - 1)))
    return xp.prod((xp.abs(4 * x - 2) + a) / (1 + a), axis=0)


FUNCTIONS = {"ishigami": (ishigami, 3, -np.pi, np.pi), "g100": (g100, 100, 0.0, 1.0)}


def measure(peers: str) -> dict[str, Any]:
    """Times the three ways, the throughput, and the memory.

    Args:
      peers: the Python of the environment of `bench/peers/requirements.txt`.

    Returns:
      `cases`, `throughput` and `memory`; seconds are medians of interleaved runs (of SALib one run), cold is the first
      call with the compile cache that the command line has.
    """
    return {
        "cases": {name: _case(peers, *case) for name, case in CASES.items()},
        "throughput": {name: _throughput(name) for name in ("Ishigami", "D = 8", "network, 64 inputs")},
        "memory": [_memory(8, 2**22), _memory(1000, 2**10)],
        "target_salib": TARGET_SALIB,
        "target_throughput": TARGET_THROUGHPUT,
    }


def _case(peers: str, name: str, n: int) -> dict[str, Any]:
    function, d, low, high = FUNCTIONS[name]
    space = {f"x{i}": s.Uniform(low, high) for i in range(d)}

    def ours() -> Any:
        return s.sobol(function, space, key=jax.random.key(0), n=n, second_order=True, interval=s.Bootstrap(100))

    start = time.perf_counter()
    result = ours()
    cold = time.perf_counter() - start
    seconds = _seconds({"sensijax": ours, "NumPy": lambda: numpy_sobol(name, n)}, 3 if d > 50 else REPEATS)
    program = str(pathlib.Path(__file__).parent / "peers" / "salib_sobol.py")
    try:
        done = subprocess.run([peers, program, name, str(n)], check=True, capture_output=True, text=True, timeout=LIMIT)
        theirs = json.loads(done.stdout.splitlines()[-1])
        salib, finished = sum(theirs["seconds"].values()), True
    except subprocess.TimeoutExpired:
        theirs, salib, finished = {"seconds": None}, float(LIMIT), False  # at least as long
    return {
        "evaluations": n * (2 * d + 2),
        "seconds": {name: round(value, 4) for name, value in (seconds | {"SALib": salib}).items()},
        "cold": round(cold, 2),
        "salib_finished": finished,
        "salib_steps": theirs["seconds"],
        "ratio": {
            "SALib": round(salib / seconds["sensijax"], 1),
            "NumPy": round(seconds["NumPy"] / seconds["sensijax"], 1),
        },
        "ST": [round(float(v), 5) for v in result.ST[:3]],
    }


def numpy_sobol(name: str, n: int, resamples: int = 100) -> dict[str, np.ndarray]:
    """Indices with bootstrap standard errors, in NumPy: what one would write by hand.

    Args:
      name: of the function.
      n: base points.
      resamples: of the bootstrap.

    Returns:
      S1, ST and S2, and the standard deviation of each over resamples (`S1_error`, ...).
    """
    function, d, low, high = FUNCTIONS[name]
    u = qmc.Sobol(2 * d, rng=0).random(n)
    a, b = (low + (high - low) * half.T for half in (u[:, :d], u[:, d:]))

    def mixed(i: int, base: np.ndarray, other: np.ndarray) -> np.ndarray:
        x = base.copy()
        x[i] = other[i]
        return function(x, np)

    y = np.stack(
        [function(a, np), function(b, np), *(mixed(i, a, b) for i in range(d)), *(mixed(i, b, a) for i in range(d))]
    )
    y -= y.mean()
    fa, fb, ab, ba = y[0], y[1], y[2 : 2 + d], y[2 + d :]
    rng = np.random.default_rng(0)
    counts = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(resamples)])
    weights = np.concatenate([np.ones((1, n)), counts]) / n
    mean = weights @ ((fa + fb) / 2)
    variance = weights @ ((fa * fa + fb * fb) / 2) - mean**2
    first = weights @ (fb * (ab - fa)).T / variance[:, None]
    total = weights @ ((ab - fa) ** 2).T / (2 * variance[:, None])
    both = weights @ (fa * fb)
    second = np.empty((len(weights), d, d))
    for i in range(d):
        second[:, i] = (weights @ (ba[i] * ab).T - both[:, None]) / variance[:, None]
    second -= first[:, :, None] + first[:, None, :]
    found = {"S1": first, "ST": total, "S2": second}
    return {k: v[0] for k, v in found.items()} | {f"{k}_error": v[1:].std(axis=0) for k, v in found.items()}


def _throughput(name: str) -> dict[str, Any]:
    """Rows per second of the streamed program, and of the model on rows in memory, the faster of two layouts."""
    weight = jax.random.normal(jax.random.key(1), (64, 256)) / 8
    function, d, n = {
        "Ishigami": (ishigami, 3, 2**18),
        "D = 8": (lambda x: jnp.prod((jnp.abs(4 * x - 2) + 1) / 2), 8, 2**17),
        "network, 64 inputs": (lambda x: jnp.tanh(jnp.tanh(x @ weight) @ weight.T).sum(), 64, 2**11),
    }[name]
    space, rows = {f"x{i}": s.Uniform(0.0, 1.0) for i in range(d)}, n * (d + 2)
    batch = min(rows, 2**16)
    x = jax.random.uniform(jax.random.key(0), (batch, d))
    by_row = jax.jit(lambda x: jax.vmap(function)(x).sum())
    by_column = jax.jit(lambda x: jax.vmap(function, in_axes=1)(x).sum())

    def bare(program: Callable, x: jax.Array) -> Callable:
        return lambda: [program(x) for _ in range(rows // batch)]

    seconds = _seconds(
        {
            "streamed": lambda: s.sobol(function, space, key=jax.random.key(0), n=n),
            "rows": bare(by_row, x),
            "columns": bare(by_column, jnp.asarray(x.T)),
        },
        REPEATS,
    )
    rates = {
        "streamed": rows / seconds["streamed"],
        "bare": rows // batch * batch / min(seconds["rows"], seconds["columns"]),
    }
    return {
        "rows": rows,
        "million_rows_per_second": {k: round(v / 1e6, 3) for k, v in rates.items()},
        "ratio": round(rates["streamed"] / rates["bare"], 3),
    }


def _memory(d: int, n: int) -> dict[str, Any]:
    """What a run with d inputs takes: by the compiler's account, at any n, and by the process that ran it."""
    command = [sys.executable, "-m", "bench.sensitivity", str(d), str(n)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _run(d: int, n: int) -> None:
    """One analysis; prints what it took. The run at n = 2^22 is the same program with another number of chunks."""

    def function(x: jax.Array) -> jax.Array:
        return jnp.sum(x * x)

    space, points = s.Space({f"x{i}": s.Uniform(0.0, 1.0) for i in range(d)}), s.ScrambledSobol()
    jnp.zeros(1).block_until_ready()
    before = _peak()
    start = time.perf_counter()
    s.sobol(function, space, key=jax.random.key(0), n=n)
    seconds, after = time.perf_counter() - start, _peak()
    design = SaltelliDesign(space.membership, False)
    chunk, at_once = _plan(2**22 // points.blocks, design.rows, d, None)
    memory = (
        _program.lower(
            space.transform(), jnp.asarray(points.tables(design.draws)), jax.random.key(0),
            np.arange(points.blocks, dtype=np.uint32), np.int32(2**22 // points.blocks // chunk),
            function=function, design=design, points=points, chunk=chunk, at_once=at_once, devices=(jax.devices()[0],),
        )
        .compile()
        .memory_analysis()
    )  # fmt: skip
    assert memory is not None
    program = memory.temp_size_in_bytes + memory.output_size_in_bytes + memory.argument_size_in_bytes
    found = {
        "d": d,
        "n": n,
        "evaluations": n * design.rows,
        "seconds_with_compilation": round(seconds, 2),
        "process_mib": round(after / 1024),
        "of_it_before_the_run_mib": round(before / 1024),
        "program_at_2^22_mib": round(program / 2**20, 2),
    }
    print(json.dumps(found))


def _peak() -> int:
    """The most memory this process has had, KiB. (`getrusage` would begin with the memory of the parent.)"""
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("VmHWM")))


def _seconds(contenders: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Medians of interleaved runs; a first run of each is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            if repeat:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


if __name__ == "__main__":
    _run(int(sys.argv[1]), int(sys.argv[2]))
