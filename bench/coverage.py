"""How often intervals and sets hold the truth: effects of combined stressors, and conformal prediction.

    python -m bench.coverage [--runs R]

Writes `bench/results/coverage.json`. Each share stands beside its Monte Carlo standard error. For effects a run is a
synthetic campaign of three stressors with 3 paired seeds and known effects. For conformal sets a run is a calibration
and a test sample of its own.
"""

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from scipy.stats import beta

from sensijax.measure import conformal, effects, holm

STRESSORS = ("adversary", "drift", "labels")
SETS = [s for size in (1, 2, 3) for s in itertools.combinations(STRESSORS, size)]
SEEDS, EXAMPLES, BASE, RESAMPLES = 3, 200, 0.1, 500
PLANTED: tuple[tuple[int, float] | None, ...] = (None, (2, 0.1), (2, -0.06), (3, 0.12), (3, -0.05))
CLASSES, TEST = 4, 500
PRIOR = np.array([0.05, 0.05, 0.1, 0.8])


def correctness(rng: np.random.Generator, runs: int, planted: Mapping, base: float = BASE) -> dict:
    """Drops of correct or not `[R, S, N]`: an example is lost if its uniform number is below the cell's."""
    shape = (runs, SEEDS, EXAMPLES)
    u = np.where(rng.random(shape) < 0.5, rng.random((runs, 1, EXAMPLES)), rng.random(shape))
    probability = {c: sum(planted.get(s, base * (len(s) == 1)) for s in SETS if set(s) <= set(c)) for c in SETS}
    return {cell: (u < p).astype(np.int8) for cell, p in probability.items()}


def continuous(rng: np.random.Generator, runs: int, weighted: bool) -> tuple[dict, dict]:
    """Skewed scores, an effect of 0.15 of all three; weighted: each example times a ratio of mean 1, as drift does."""
    example = rng.gamma(2, 0.3, (runs, 1, EXAMPLES))
    ratio = rng.lognormal(-0.125, 0.5, (1, 1, EXAMPLES)) if weighted else np.ones((1, 1, EXAMPLES))
    ratio = ratio / ratio.mean()
    drops = {}
    for cell in SETS:
        noise = rng.normal(0, 0.3, (runs, SEEDS, EXAMPLES))
        drops[cell] = ratio * (0.2 * len(cell) * example + noise + 0.15 * (len(cell) == 3))
    return drops, {s: 0.12 if len(s) == 1 else 0.15 if len(s) == 3 else 0.0 for s in SETS}


def share(hits: Any) -> dict[str, Any]:
    """A share of runs and its Monte Carlo standard error."""
    p = float(np.mean(hits))
    return {
        "share": round(p, 4),
        "standard_error": round(float(np.sqrt(p * (1 - p) / len(hits))), 4),
        "runs": len(hits),
    }


def measured(drops: dict, truth: Mapping, binary: bool) -> dict[str, Any]:
    """Coverage of every effect, and how often Holm over the interactions that are zero names one."""
    found = effects(drops, binary=binary, resamples=RESAMPLES)
    row: dict[str, Any] = {" x ".join(t): share((e.low <= truth[t]) & (truth[t] <= e.high)) for t, e in found.items()}
    interactions = [t for t in found if len(t) > 1]
    family = np.stack([found[t].p_value for t in interactions], axis=1)
    null = np.array([truth[t] == 0 for t in interactions])
    row["holm family-wise error"] = share([bool((holm(p)[null] < 0.05).any()) for p in family])
    covers_zero = [(found[t].low <= 0) & (0 <= found[t].high) for t in interactions if truth[t] == 0]
    row["zero interactions that cover zero"] = share(np.mean(covers_zero, axis=0) if covers_zero else np.ones(1))
    return row


def of_effects(runs: int) -> dict[str, Any]:
    """Every synthetic campaign."""
    out = {}
    for i, plan in enumerate(PLANTED):
        term = STRESSORS[: plan[0]] if plan else None
        planted = {term: plan[1]} if plan and term else {}
        truth = {s: planted.get(s, BASE if len(s) == 1 else 0.0) for s in SETS}
        name = f"order {plan[0]}, {plan[1]:+g}" if plan else "additive"
        out[name] = measured(correctness(np.random.default_rng([i, 6]), runs, planted), truth, True)
    rare = {s: 0.005 if s == STRESSORS else 0.0 for s in SETS}
    drops = correctness(np.random.default_rng([10, 6]), runs, {STRESSORS: 0.005}, base=0.0)
    out["rare: one example in 200"] = measured(drops, rare, True)
    for weighted in (False, True):
        drops, truth = continuous(np.random.default_rng([11 + weighted, 6]), runs, weighted)
        out["weighted scores" if weighted else "continuous scores"] = measured(drops, truth, False)
    return out


def examples(rng: np.random.Generator, n: int, prior: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a model that shuns one class, and labels of a prior."""
    labels = rng.choice(CLASSES, n, p=prior)
    odds = np.exp(1.5 * rng.normal(size=(n, CLASSES)) + 2.25 * np.eye(CLASSES)[labels]) * [4.0, 2.0, 1.0, 0.3]
    return odds / odds.sum(axis=1, keepdims=True), labels


def of_sets(runs: int) -> list[dict[str, Any]]:
    """Mean coverage of each method, size and alpha, exchangeable and under prior shift; how often the band holds."""
    methods: dict[str, Callable] = {
        "lac": lambda p, y, a, r, key: conformal.lac(p, y, a, ratio=r),
        "aps randomised": lambda p, y, a, r, key: conformal.aps(p, y, a, key=key, ratio=r),
        "aps": lambda p, y, a, r, key: conformal.aps(p, y, a, ratio=r),
        "raps": lambda p, y, a, r, key: conformal.raps(p, y, a, penalty=0.1, k_reg=1, ratio=r),
    }
    rows = []
    for (name, make), n, alpha in itertools.product(methods.items(), (100, 500), (0.05, 0.1, 0.2)):
        rng = np.random.default_rng([n, int(1000 * alpha), 7])
        got: dict[str, list] = {"exchangeable": [], "prior shift": [], "prior shift, ratios": []}
        inside, low, high = [], 0.0, 0.0
        for run in range(runs):
            key = jax.random.key(run)  # rows draw anew in each run
            drawn = key if name == "aps randomised" else None
            p, y = examples(rng, n)
            fresh, shifted = examples(rng, TEST), examples(rng, TEST, PRIOR)
            predictor = make(p, y, alpha, None, key)
            found = predictor.coverage(*fresh, key=drawn)
            low, high = found.band
            got["exchangeable"].append(found.coverage)
            inside.append(low <= found.coverage <= high)
            got["prior shift"].append(predictor.coverage(*shifted, key=drawn).coverage)
            ratio = np.tile(CLASSES * PRIOR, (TEST, 1))
            weighted = make(p, y, alpha, CLASSES * PRIOR[y], key)
            got["prior shift, ratios"].append(weighted.coverage(*shifted, key=drawn, ratio=ratio).coverage)
        k = conformal.rank_of(n, alpha)
        rows.append(
            {
                "method": name,
                "n": n,
                "alpha": alpha,
                "expected": round(k / (n + 1), 4),
                "beta_band": [round(float(v), 4) for v in beta(k, n + 1 - k).ppf([0.025, 0.975])],
                "test_band": [low, high],
                "runs_in_test_band": share(np.array(inside)),
                **{
                    kind: {
                        "coverage": round(float(np.mean(v)), 4),
                        "standard_error": round(float(np.std(v, ddof=1) / np.sqrt(runs)), 4),
                    }
                    for kind, v in got.items()
                },
            }
        )
    return rows


def main() -> None:
    """Counts, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000, help="campaigns; conformal runs are a twentieth of them")
    runs = parser.parse_args().runs
    started = time.process_time()
    result = {
        "what": str(__doc__).splitlines()[0],
        "date": datetime.date.today().isoformat(),
        "versions": {p: importlib.metadata.version(p) for p in ("sensijax", "jax", "numpy", "scipy")},
        "python": platform.python_version(),
        "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores",
        "effects_design": {"seeds": SEEDS, "examples": EXAMPLES, "resamples": RESAMPLES, "level": 0.95, "runs": runs},
        "effects": of_effects(runs),
        "conformal_design": {"classes": CLASSES, "test": TEST, "prior": PRIOR.tolist(), "runs": max(runs // 20, 20)},
        "conformal": of_sets(max(runs // 20, 20)),
    }
    result["cpu_seconds"] = round(time.process_time() - started, 1)
    path = pathlib.Path(__file__).parent / "results" / "coverage.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
