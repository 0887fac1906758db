"""How long online detectors run without drift, and how fast they find it.

    python -m bench.run_lengths

Writes `bench/results/run_lengths.json`:

- `calibrated`: for detectors with a threshold for an expected run time, the run length on new data, with references of
  10,000 rows (online MMD: 2,000) and of 300. Each reference has its own threshold and its own new streams; the mean
  over references and its standard error are told beside each: of a single ratio, the new streams leave 1.5 % open
  (online MMD: 3 %) and the simulations behind the threshold 3 %, the rest is what its reference does not know;
- `published`: for the others, as they are by default, the run length on streams that do not change;
- `delay`: for all, values from a change of the mean (or of an error rate) to the alarm, over its size, beside the run
  length and beside firing always and never.

Run lengths are times watched over alarms seen, with the detector starting anew after an alarm.
"""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import time
from typing import Any

import jax
import numpy as np

import sensijax as sj
from sensijax.drift import detect

ERT = 500
STREAMS, LENGTH = 512, 8192
SHIFTS = (0.25, 0.5, 1.0, 2.0)
RATES = (0.25, 0.3, 0.4, 0.6)
FAMILIES: dict[str, detect.Detector] = {
    "CUSUM": detect.CUSUM(),
    "PageHinkley": detect.PageHinkley(delta=0.25, forgetting=1.0, minimum=1),
    "OnlineMMD": detect.OnlineMMD(window=20),
}
OF_BITS: dict[str, detect.Detector] = {
    "ADWIN": detect.ADWIN(),
    "DDM": detect.DDM(),
    "EDDM": detect.EDDM(),
    "HDDM_A": detect.HDDM_A(),
    "HDDM_W": detect.HDDM_W(),
    "KSWIN": detect.KSWIN(),
    "PageHinkley": detect.PageHinkley(),
}


def measure() -> dict[str, Any]:
    """Everything that the file holds."""
    started = time.process_time()
    found = {
        "sensijax": sj.__version__,
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        "calibrated": {name: _calibrated(name) for name in FAMILIES},
        "published": {name: _published(name) for name in OF_BITS},
    }
    return found | {"cpu_seconds": round(time.process_time() - started, 1)}


def _normal(seed: int, shape: tuple[int, ...], vectors: bool) -> np.ndarray:
    return np.random.default_rng([seed, 0x51]).normal(size=(*shape, 2) if vectors else shape).astype(np.float32)


def _calibrated(name: str) -> dict[str, Any]:
    family, vectors = FAMILIES[name], name == "OnlineMMD"
    found: dict[str, Any] = {"ert": ERT}
    for rows, references in ((2000 if vectors else 10_000, 8), (300, 16)):
        ratios, inside = [], []
        for i in range(references):
            reference = _normal(100 + i, (rows,), vectors)
            new = _normal(1000 + i, (128 if vectors else STREAMS, 4096), vectors)
            calibration = detect.calibrate(jax.random.key(i), family, reference, ert=ERT, streams=1024)
            inside.append(round(calibration.run_length / ERT, 3))
            ratios.append(round(_run_length(calibration.detector, new) / ERT, 3))
            if i == 0 and rows > 300:
                found["threshold"] = calibration.threshold
                found["delay"] = {str(s): _delay(calibration.detector, s, vectors) for s in SHIFTS}
        found[f"{rows} rows"] = {
            "run_length_over_ert": ratios,
            "mean": round(float(np.mean(ratios)), 3),
            "standard_error": round(float(np.std(ratios, ddof=1)) / references**0.5, 3),
            "on_the_reference_itself": inside,
        }
    return found


def _run_length(detector: detect.Detector, streams: np.ndarray) -> float:
    alarms = detect.run(detector, streams, key=jax.random.key(5), restart=True, trace=False).drift
    return alarms.size / max(int(alarms.sum()), 1)


def _judged(detector: detect.Detector, streams: np.ndarray, change: int) -> dict[str, Any]:
    alarms = detect.run(detector, streams, key=jax.random.key(6), restart=True, trace=False)
    found = detect.evaluate(alarms, [change])

    def numbers(e: detect.Evaluation) -> dict[str, Any]:
        return {
            "recall": round(e.recall, 3),
            "mean_delay": round(e.mean_delay, 1) if e.found else None,
            "false_per_10k": round(e.false_per_10k, 2),
        }

    return numbers(found) | {name: numbers(e) for name, e in found.baselines.items()}


def _delay(detector: detect.Detector, shift: float, vectors: bool) -> dict[str, Any]:
    streams = _normal(2, (256, 1024), vectors)
    streams[:, 512:] += np.float32(shift)
    return _judged(detector, streams, 512)


def _published(name: str) -> dict[str, Any]:
    detector, rng = OF_BITS[name], np.random.default_rng(3)
    u = rng.random((128 if name == "KSWIN" else STREAMS, LENGTH))
    found: dict[str, Any] = {
        "watched_at_0.2": u.size,
        "run_length_at_0.2": round(_run_length(detector, u < 0.2)),  # where nothing fired, all that was watched
        "delay": {},
    }
    u = rng.random((256 if name != "KSWIN" else 128, 2048))
    for rate in RATES:
        found["delay"][str(rate)] = _judged(detector, u < np.where(np.arange(2048) < 1024, 0.2, rate), 1024)
    return found


def main() -> None:
    """Measures, and writes the file."""
    out = pathlib.Path(__file__).parent / "results" / "run_lengths.json"
    out.write_text(json.dumps(measure(), indent=1) + "\n")


if __name__ == "__main__":
    main()
