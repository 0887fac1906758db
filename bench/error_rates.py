"""How often each batch detector fires: without drift, over a grid of data, and with a shift of the mean.

    python -m bench.error_rates [--runs R]

Writes `bench/results/error_rates.json`. Every cell is R pairs of samples. A right test at alpha = 0.05 fires in a
number of them that lies in the 99 % binomial band in 99 of 100 cells. Where statistics are discrete (few rows, ties) an
exact test fires less often than alpha: cells below the band are counted apart from those above it.
"""

import argparse
import datetime
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binom

import sensijax as sj
from sensijax.drift import detect
from sensijax.drift.detect import aggregated, classifier_test, density_difference, kernel
from sensijax.drift.detect._drawn import p_value

ALPHA, PERMUTATIONS = 0.05, 199
SIZES = ((30, 30, 1), (100, 100, 1), (100, 40, 1), (100, 100, 5), (100, 40, 5))
SHIFTS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
FEATURES = {
    "cramer_von_mises": detect.cramer_von_mises,
    "jensen_shannon": detect.jensen_shannon,
    "psi": detect.psi,
    "wasserstein": detect.wasserstein,
}
TOGETHER = {
    "classifier": functools.partial(
        classifier_test._classifier, learner=classifier_test.Logistic(), folds=5, refit=True
    ),
    "energy": kernel._energy,
    "lsdd": functools.partial(density_difference._lsdd, centres=100, regularisation=np.float32(0.1)),
    "mmd": kernel._median_mmd,
    "mmd_aggregated": aggregated._aggregated,
}


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Independent standard normals."""
    return rng.normal(size=shape)


def heavy(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Student's t with two degrees of freedom: no variance."""
    return rng.standard_t(2, size=shape)


def ties(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Poisson counts of mean 2."""
    return rng.poisson(2, size=shape).astype(float)


def correlated(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normals with a correlation of 0.8 between any two features."""
    return np.sqrt(0.8) * rng.normal(size=(*shape[:-1], 1)) + np.sqrt(0.2) * rng.normal(size=shape)


DISTRIBUTIONS = (normal, heavy, ties, correlated)


def p_values(name: str, x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """The p-values of many pairs: x `[R, n, d]`, y `[R, m, d]`, to `[R]`, of all features of a pair together."""
    runs = len(x)
    if name in TOGETHER:
        keys = jax.random.split(jax.random.key(seed), runs)
        return np.asarray(_together(name, keys, jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)))
    if name == "ks":
        columns = [v.transpose(1, 0, 2).reshape(v.shape[1], -1) for v in (x, y)]
        found = detect.ks(*columns).features
        assert found is not None
        return (found.p_value.reshape(runs, -1).min(axis=1) * x.shape[2]).clip(max=1)
    if name == "chi2":
        call: Callable[..., Any] = detect.chi2
        x, y = x.astype(int), y.astype(int)
    else:
        call = FEATURES[name]
    keys = [jax.random.key(seed * 100_000 + run) for run in range(runs)]
    return np.array([call(a, b, key=k, permutations=PERMUTATIONS).p_value for a, b, k in zip(x, y, keys, strict=True)])


@functools.partial(jax.jit, static_argnums=0)
def _together(name: str, keys: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    def one(arguments: tuple) -> jax.Array:
        statistics, slack, _ = TOGETHER[name](*arguments, permutations=PERMUTATIONS)
        return p_value(statistics, slack)

    return jax.lax.map(one, (keys, x, y), batch_size=20)


def measure(runs: int) -> dict[str, Any]:
    """False positive rates over the grid, power against a shift, and the rules that need no test."""
    low, high = (int(v) for v in binom.ppf([0.005, 0.995], runs, ALPHA))
    rows, seconds = [], {}
    for i, distribution in enumerate(DISTRIBUTIONS):
        for j, (n, m, d) in enumerate(SIZES):
            if distribution is correlated and d == 1:
                continue
            rng = np.random.default_rng([2026, i, j])
            x, y = distribution(rng, runs, n, d), distribution(rng, runs, m, d)
            for name in ("ks", *FEATURES, *TOGETHER, *(["chi2"] if distribution is ties else [])):
                start = time.process_time()
                fired = int((p_values(name, x, y, 10 * i + j + 1) <= ALPHA * (1 + 1e-6)).sum())
                seconds[name] = seconds.get(name, 0.0) + time.process_time() - start
                rows.append({"detector": name, "data": distribution.__name__, "n": n, "m": m, "d": d, "fired": fired})
    thumb = []
    for n in (100, 200, 500, 1000):
        rng = np.random.default_rng([2026, 99, n])
        index = _index(rng, n, runs)
        thumb.append(
            {"n": n, "m": n, "above 0.1": float((index > 0.1).mean()), "above 0.25": float((index > 0.25).mean())}
        )
    power, pairs = [], min(runs, 300)
    for d in (1, 5):
        for k, shift in enumerate(SHIFTS):
            rng = np.random.default_rng([2026, 50 + d, k])
            x, y = rng.normal(size=(2, pairs, 100, d))
            y[:, :, 0] += shift
            rates = {n: float((p_values(n, x, y, 500 + 10 * d + k) <= ALPHA * (1 + 1e-6)).mean())
                     for n in ("ks", *FEATURES, *TOGETHER)}  # fmt: skip
            power.append({"d": d, "shift": shift, **rates, "always fire": 1.0, "never fire": 0.0})
    above = sum(row["fired"] > high for row in rows)
    below = sum(row["fired"] < low for row in rows)
    return {
        "alpha": ALPHA,
        "permutations": PERMUTATIONS,
        "runs": runs,
        "band": [low, high],
        "cells": len(rows),
        "cells_above": above,
        "cells_below": below,
        "false_positives": rows,
        "baselines": {"always fire": 1.0, "never fire": 0.0},
        "psi_rule_of_thumb": thumb,
        "power": power,
        "power_runs": pairs,
        "cpu_seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def _index(rng: np.random.Generator, n: int, runs: int) -> np.ndarray:
    x, y = rng.normal(size=(2, n, runs))
    found = detect.psi(x, y, alpha=0.5).features
    assert found is not None
    return found.statistic


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.error_rates", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    sj.enable_compile_cache()
    device = jax.devices()[0]
    out = {
        "sensijax": sj.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "scipy": importlib.metadata.version("scipy"),
        "python": platform.python_version(),
        "device": device.device_kind,
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        **measure(runs),
    }
    path = pathlib.Path(__file__).parent / "results" / "error_rates.json"
    path.write_text(json.dumps(out, indent=1) + "\n")
    print(f"{out['cells']} cells, {out['cells_above']} above the band, {out['cells_below']} below; wrote {path}")


if __name__ == "__main__":
    main()
