"""ADWIN over many streams: nanoseconds for one value of one stream.

sensijax steps all streams in one program. Against river (one core, stream by stream), and against NumPy over all
streams at once, the same exponential histogram with a step per value, as one would write it by hand. All look for cuts
every 32 values; the streams are without drift, so the three do the same work, and with a change in the middle.
"""

import json
import pathlib
import statistics
import subprocess
import time
from typing import Any

import numpy as np

from sensijax.drift import detect

STREAMS, LENGTH, REPEATS = 4096, 4096, 5
NUMPY_LENGTH = 512
TARGET = 20.0


def measure(peers: str, *, streams: int = STREAMS, length: int = LENGTH, repeats: int = REPEATS) -> dict[str, Any]:
    """Times the three ways.

    Args:
      peers: the Python of an environment with river 0.26.1.
      streams: S.
      length: T, values of each stream; NumPy steps through the first 512 of them.
      repeats: runs, of which the median counts; river and NumPy run once.

    Returns:
      Nanoseconds for one value, their ratios, the compile time apart, and whether all three call the same alarms.
    """
    detector = detect.ADWIN(shorter=4.0)
    found: dict[str, Any] = {"streams": streams, "length": length, "target": TARGET}
    for name, change in (("without drift", 0.0), ("with a change", 0.4)):
        values = _values(streams, length, change)
        start = time.perf_counter()
        ours = _run(detector, values)
        cold = time.perf_counter() - start
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            _run(detector, values)
            taken.append(time.perf_counter() - start)
        seconds = statistics.median(taken)
        program = str(pathlib.Path(__file__).parents[1] / "peers" / "river_adwin.py")
        done = subprocess.run([peers, program, str(length), str(change)], check=True, capture_output=True, text=True)
        river = json.loads(done.stdout.splitlines()[-1])
        some = min(length, NUMPY_LENGTH)
        start = time.perf_counter()
        plain = numpy_adwin(values[:, :some])
        numpy_seconds = time.perf_counter() - start
        nanoseconds = {
            "sensijax": 1e9 * seconds / values.size,
            "river": 1e9 * river["seconds"] / river["values"],
            "NumPy": 1e9 * numpy_seconds / (streams * some),
        }
        alike = [np.flatnonzero(ours[i]).tolist() == alarms for i, alarms in enumerate(river["alarms"])]
        found[name] = {
            "nanoseconds": {k: round(v, 2) for k, v in nanoseconds.items()},
            "ratio": {k: round(nanoseconds[k] / nanoseconds["sensijax"], 1) for k in ("river", "NumPy")},
            "cold_seconds": round(cold, 2),
            "alarms": int(ours.sum()),
            "alarms_as_river": f"{sum(alike)} of {len(alike)} streams",
            "alarms_as_numpy": bool((ours[:, :some] == plain).all()),
        }
    return found


def _values(streams: int, length: int, change: float) -> np.ndarray:
    """Zeros and ones; the first streams are those of `bench/peers/river_adwin.py`."""
    rng = np.random.default_rng(0)
    p = np.where(np.arange(length) < length // 2, 0.2, 0.2 + change)
    return np.stack([(rng.random(length) < p) for _ in range(streams)]).astype(np.float32)


def _run(detector: detect.Detector, values: np.ndarray) -> np.ndarray:
    return detect.run(detector, values, restart=True, trace=False).drift


def numpy_adwin(values: np.ndarray, rows: int = 14, most: int = 5, clock: int = 32, delta: float = 0.002) -> np.ndarray:
    """ADWIN over streams `[S, T]` with a step per value: bool `[S, T]`, alarms; an alarm empties the window."""
    streams, length = values.shape
    total, squares = np.zeros((2, rows, most + 1, streams))
    count, alarms = np.zeros((rows, streams), int), np.zeros(values.shape, bool)
    every, sizes = np.arange(streams), 2.0 ** np.arange(rows)
    for t in range(length):
        total[0, count[0], every], squares[0, count[0], every] = values[:, t], 0
        count[0] += 1
        for r in range(rows - 1):
            full = np.flatnonzero(count[r] > most)
            if not len(full):
                break
            (a, b), (va, vb) = total[r, :2, full].T, squares[r, :2, full].T
            total[r + 1, count[r + 1, full], full] = a + b
            squares[r + 1, count[r + 1, full], full] = va + vb + (a - b) ** 2 / (2 * sizes[r])
            count[r + 1, full] += 1
            total[r, :-2, full], squares[r, :-2, full] = total[r, 2:, full], squares[r, 2:, full]
            count[r, full] -= 2
        if (t + 1) % clock:
            continue
        used = np.arange(most)[None, :, None] < count[:, None]
        n = np.where(used, sizes[:, None, None], 0)[::-1].reshape(-1, streams)
        u = np.where(used, total[:, :most], 0)[::-1].reshape(-1, streams)
        v = np.where(used, squares[:, :most], 0)[::-1].reshape(-1, streams)
        n0, u0, width, everything = n.cumsum(0), u.cumsum(0), n.sum(0), u.sum(0)
        variance = (v.sum(0) + (n * (u / np.maximum(n, 1) - everything / width) ** 2).sum(0)) / width
        n1, confidence = width - n0, np.log(2 * np.log(width) / delta)
        allowed = (n > 0) & (n0 >= 5) & (n1 >= 5)
        n0, n1 = np.where(allowed, n0, 5), np.where(allowed, n1, 5)
        inverse = 1 / (n0 - 4) + 1 / (n1 - 4)
        epsilon = np.sqrt(2 * inverse * variance * confidence) + 2 / 3 * confidence * inverse
        cut = (allowed & (np.abs(u0 / n0 - (everything - u0) / n1) > epsilon)).any(0) & (width > 10)
        alarms[:, t] = cut
        count[:, cut] = 0
    return alarms
