"""The raw numbers of a suite's processes, and what they say together."""

import math
from typing import Any

import numpy as np

from bench.scenarios import PERCENTS, needed, percentile

SCENARIOS = {"single-stream": "single_stream_seconds", "server": "server_seconds"}
SATURATED = 0.95  # a server that is busier than this is behind, and its latencies grow with the length of the run


def gathered(answers: list[dict[str, Any]], model: dict[str, Any] | None = None) -> dict[str, Any]:
    """One suite's part of the file.

    Args:
      answers: of its processes; see `bench.suites.__main__.answer`.
      model: the model's own part, whose operations and ceilings the fractions refer to.

    Returns:
      Throughput, latency, memory, compile time, robustness and fractions of the ceilings; and the raw numbers.
    """
    first = answers[0]
    raws = [answer["raw"] for answer in answers]
    part = {
        "about": first["about"],
        "query": first["asked"],
        "work": {**first["work"], "unit": first["unit"], "units": first["units"], "rate": first["rate"]},
        "model_digest": first["model_digest"],
        "parameters": first["parameters"],
        "throughput": throughput(first["units"], [raw["offline_seconds"] for raw in raws]),
        "latency_ms": {name: latency([raw[key] for raw in raws]) for name, key in SCENARIOS.items()},
        "memory_mib": {name: _most(raw["memory_mib"][name] for raw in raws) for name in raws[0]["memory_mib"]},
        "compile": {
            "cold_seconds": round(raws[0]["compile"]["warm_up_seconds"], 3),
            "warm_seconds": _mean([raw["compile"]["warm_up_seconds"] for raw in raws[1:]]),
            "cold_xla_seconds": round(raws[0]["compile"]["xla_seconds"], 3),
            "warm_xla_seconds": _mean([raw["compile"]["xla_seconds"] for raw in raws[1:]]),
            "programs": raws[0]["compile"]["programs"],
            "warm_cache_hits": raws[-1]["compile"]["cache_hits"],
        },
        "robustness": first["robustness"],
        "robustness_same_in_every_process": all(a["robustness"] == first["robustness"] for a in answers),
    }
    served = part["latency_ms"]["server"]
    served |= {
        "rate": first["rate"],
        "busy": round(max(raw["server_busy"] for raw in raws), 3),
        "driver_lag_ms": round(1e3 * max(raw["driver_lag_seconds"] for raw in raws), 3),
    }
    served["saturated"] = served["busy"] > SATURATED
    if "ceilings" in first:
        part["ceilings"] = {
            name: max(answer["ceilings"][name] for answer in answers)
            for name in ("matmul_flops_per_second", "copy_bytes_per_second")
        } | {"raw": [answer["ceilings"] for answer in answers]}
        part["program"] = first["program"]
    part["of_the_ceilings"] = _of_the_ceilings(part, first, model or part)
    part["processes"] = raws
    return part


def throughput(units: float, seconds: list[list[float]]) -> dict[str, float]:
    """Units a second: the geometric mean over processes, and the slowest and the fastest repeat."""
    logs = [float(np.log(one).mean()) for one in seconds]
    everything = [s for one in seconds for s in one]
    return {
        "per_second": units / math.exp(float(np.mean(logs))),
        "slowest": units / max(everything),
        "fastest": units / min(everything),
    }


def latency(seconds: list[list[float]]) -> dict[str, Any]:
    """Percentiles of all processes' queries together, ms; those for which there are too few queries are refused."""
    everything = np.concatenate([np.asarray(one) for one in seconds])
    found: dict[str, Any] = {"queries": len(everything)}
    for percent in PERCENTS:
        if len(everything) < needed(percent):
            found.setdefault("refused", {})[f"p{percent}"] = f"needs {needed(percent)} queries"
            continue
        value, at_most = percentile(everything, percent)
        found |= {f"p{percent}": round(1e3 * value, 4), f"p{percent}_at_most": round(1e3 * at_most, 4)}
    return found


def _of_the_ceilings(part: dict[str, Any], first: dict[str, Any], model: dict[str, Any]) -> dict[str, Any] | None:
    """The model's operations a second over those of a matrix product, and its bytes a second over those of a copy."""
    ceilings, forwards = model.get("ceilings"), first["forwards"]
    if ceilings is None or not forwards:
        return None
    passes = forwards / part["work"]["units"] * part["throughput"]["per_second"]  # forward passes a second
    found = {}
    for share, counted, ceiling in (
        ("matmul", "flops", "matmul_flops_per_second"),
        ("copy", "bytes", "copy_bytes_per_second"),
    ):
        if counts := model["program"][counted]:
            found[share] = round(passes * counts / model["work"]["units"] / ceilings[ceiling], 4)
    return found | {"forwards_per_second": round(passes, 1)}


def _most(values: Any) -> float | None:
    found = [v for v in values if v is not None]
    return max(found) if found else None


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 3) if values else None
