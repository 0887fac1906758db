"""MMD with 1,000 permutations, n = m = 1,000, d = 50, from arrays to a p-value, median bandwidth included.

Against alibi-detect (torch), and against NumPy with all permutations as one matrix product: over the whole pooled
sample, as one would write it, and with swaps of pairs, which is what sensijax does where n = m; each in float64 and in
float32. The bandwidth is the median over all pooled pairs for alibi-detect and over 1,024 rows for the others.
"""

import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sensijax.drift import detect

N, D, PERMUTATIONS, REPEATS = 1000, 50, 1000, 9
TARGET_ALIBI, TARGET_NUMPY = 30.0, 2.0
LIMIT = 900


def measure(peers: str, *, n: int = N, permutations: int = PERMUTATIONS, repeats: int = REPEATS) -> dict[str, Any]:
    """Times the ways.

    Args:
      peers: the Python of the environment of `bench/peers/requirements-alibi.txt`.
      n: rows of each sample.
      permutations: B.
      repeats: interleaved runs, of which the median counts; alibi-detect runs once.

    Returns:
      Seconds, ratios, compile time apart, and what each found at one given bandwidth.
    """
    rng = np.random.default_rng(0)
    x, y = (rng.normal(shift, size=(n, D)).astype(np.float32) for shift in (0.0, 0.05))
    key = jax.random.key(0)
    start = time.perf_counter()
    detect.mmd(x, y, key=key, permutations=permutations)
    cold = time.perf_counter() - start
    ways: dict[str, Callable[[], Any]] = {"sensijax": lambda: detect.mmd(x, y, key=key, permutations=permutations)}
    for dtype in (np.float64, np.float32):
        for name, way in (("all", numpy_mmd), ("pairs", numpy_mmd_pairs)):
            ways[f"NumPy {name} {np.dtype(dtype).name}"] = lambda way=way, dtype=dtype: way(
                x.astype(dtype), y.astype(dtype), None, permutations
            )
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if repeat:
                taken[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(values) for name, values in taken.items()}
    width = 5.0
    found = {
        "sensijax": detect.mmd(x, y, key=key, permutations=permutations, bandwidth=width).statistic,
        "NumPy": numpy_mmd(x.astype(np.float64), y.astype(np.float64), width, permutations)[0],
    }
    program = str(pathlib.Path(__file__).parents[1] / "peers" / "alibi_mmd.py")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/data.npz", x=x, y=y)

        def alibi(count: int, bandwidth: float) -> dict[str, float]:
            command = [peers, program, f"{folder}/data.npz", str(count), str(bandwidth), str(os.cpu_count())]
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT)
            return json.loads(done.stdout.splitlines()[-1])

        theirs, found["alibi-detect"] = alibi(permutations, 0.0), alibi(2, width)["mmd2"]
    seconds["alibi-detect"] = theirs["seconds"]
    return {
        "n": n,
        "m": n,
        "d": D,
        "permutations": permutations,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "compile_seconds": round(cold - seconds["sensijax"], 2),
        "times_faster_than": {k: round(v / seconds["sensijax"], 2) for k, v in seconds.items() if k != "sensijax"},
        "mmd2_at_bandwidth_5": found,
        "target_alibi": TARGET_ALIBI,
        "target_numpy": TARGET_NUMPY,
    }


def _square(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * (a @ b.T), 0)


def _width(x: np.ndarray, y: np.ndarray) -> float:
    z = np.concatenate([x[:512], y[:512]])
    return float(np.sqrt(np.median(_square(z, z)[np.triu_indices(len(z), 1)]) / 2))


def numpy_mmd(x: np.ndarray, y: np.ndarray, width: float | None, permutations: int) -> tuple[float, float]:
    """MMD^2 and its p-value, permutations of the pooled sample as one matrix product.

    Args:
      x: `[n, d]`.
      y: `[m, d]`.
      width: the kernel's; the median one unless given.
      permutations: B.
    """
    n, m = len(x), len(y)
    width = width or _width(x, y)
    z = np.concatenate([x, y])
    k = _square(z, z)
    k *= -1 / (2 * width * width)
    np.exp(k, out=k)
    np.fill_diagonal(k, 0)
    rng = np.random.default_rng(0)
    s = np.zeros((permutations + 1, n + m), x.dtype)
    np.put_along_axis(s, np.argpartition(rng.random(s.shape, np.float32), m, axis=1)[:, :m], 1, axis=1)
    s[0] = np.repeat([0, 1], [n, m])
    s = s.T
    yy, rows = np.einsum("ib,ib->b", s, k @ s), k.sum(1)
    row = rows @ s
    t = (rows.sum() - 2 * row + yy) / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * (row - yy) / (n * m)
    return float(t[0]), float((t >= t[0]).mean())


def numpy_mmd_pairs(x: np.ndarray, y: np.ndarray, width: float | None, permutations: int) -> tuple[float, float]:
    """As `numpy_mmd`, with the sides of random pairs swapped: the algorithm of `detect.mmd` for n = m."""
    n, rng = len(x), np.random.default_rng(0)
    width = width or _width(x, y)
    y = y[rng.permutation(n)]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        square = _square(a, b)
        square *= -1 / (2 * width * width)
        return np.exp(square, out=square)

    within, mixed = kernel(x, x) + kernel(y, y), kernel(x, y)
    same = np.trace(mixed)
    mixed = mixed + mixed.T
    np.fill_diagonal(within, 0)
    np.fill_diagonal(mixed, 0)
    h = within - mixed
    draws = n * (permutations + 1)
    bits = np.unpackbits(np.frombuffer(rng.bytes((draws + 7) // 8), np.uint8))[:draws]
    s = 1 - 2 * bits.astype(np.int8)
    s = s.astype(x.dtype).reshape(n, permutations + 1)
    s[:, 0] = 1
    q, total = np.einsum("ib,ib->b", s, h @ s), within.sum() + mixed.sum()
    t = (total + q) / (2 * n * (n - 1)) - 2 * ((total - q) / 4 + same) / (n * n)
    return float(t[0]), float((t >= t[0]).mean())
