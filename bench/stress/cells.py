"""A factorial campaign of three stressor families: cells per second, compile time apart, robustness beside it.

The cells are (scenario, seed, example): an adversary x a drift x wrong labels on handwritten digits, staged. Against
the same campaign by hand, all responses of every cell fetched but nothing stored: as one would write it first, every
scenario with its own attack; and with what scenarios share computed once, one attack for each budget and seed, which is
the strongest simple loop.
"""

import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sensijax as sj
from sensijax import attack, demo, drift, label
from sensijax.measure import classification_responses

EPS, STRENGTH, RATE = [0, 8 / 255, 16 / 255], [0, 0.5, 1], [0, 0.1, 0.2]
STEPS, SEEDS, LIMIT = 10, 4, 300


def measure(*, limit: int = LIMIT, seeds: int = SEEDS) -> dict[str, Any]:
    """Runs the campaign twice (cold and compiled) and the loop once compiled.

    Args:
      limit: examples.
      seeds: of the random draws.

    Returns:
      Cells, seconds, cells per second of both, the compile time, and the accuracy under everything at once.
    """
    model, data = demo.load(), demo.data().take(slice(limit))
    campaign = sj.Campaign(
        model,
        data,
        stages={
            "adversary": sj.sweep(attack.PGD, eps=EPS, steps=STEPS),
            "drift": sj.sweep(drift.PriorShift, strength=STRENGTH),
            "labels": sj.sweep(label.Symmetric, rate=RATE),
        },
        design=sj.design.staged(),
        seeds=seeds,
    )
    runs = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            results = sj.run(campaign, folder)
            total = time.perf_counter() - started
            runs.append((total, results.statistics()[-1]))
            accuracy = results.scenarios().accuracy.iloc[-1]
    statistics = runs[-1][1]
    cells = statistics["rows_computed"]
    first, sharing = (cells / _loop(model, data, seeds, shared) for shared in (False, True))
    rate = cells / statistics["sweep_seconds"]
    return {
        "cells": cells,
        "scenarios": len(campaign.scenarios),
        "cells_per_second": round(rate),
        "compile_seconds": round(runs[0][1]["compile_seconds"], 2),
        "cold_total_seconds": round(runs[0][0], 2),
        "over_first_loop": round(rate / first, 2),
        "over_sharing_loop": round(rate / sharing, 2),
        "accuracy_under_all": round(float(accuracy), 4),
        "clean_accuracy": round(results.baseline()[0], 4),
    }


def _loop(model: sj.Model, data: sj.Dataset, seeds: int, shared: bool) -> float:
    """Seconds of all scenarios one after the other; timed once compiled, over one seed, and scaled up."""
    forward, respond = jax.jit(model.apply), jax.jit(classification_responses)
    clean, sound = forward(model.params, jnp.asarray(data.x)), jnp.ones(len(data), bool)
    weights = {
        s: drift.shift(drift.PriorShift(strength=jnp.float32(s)), jax.random.key(0), data).weights for s in STRENGTH
    }

    def outputs(eps: float, key: jax.Array) -> jax.Array:
        x = attack.PGD(eps=eps, steps=STEPS)(key, model, data.x, data.y, diagnose=False).x_adv if eps else data.x
        return forward(model.params, jnp.asarray(x))

    def judged(logits: jax.Array, strength: float, rate: float, key: jax.Array) -> float:
        y = label.Symmetric(rate=jnp.float32(rate), classes=10)(key, data.y, ids=data.ids).labels
        columns = jax.device_get(respond(logits, jnp.asarray(y), clean, sound))
        return float(np.average(columns["correct"], weights=weights[strength]))

    key = jax.random.key(0)
    judged(outputs(EPS[-1], key), STRENGTH[-1], RATE[-1], key)
    started = time.perf_counter()
    for eps in EPS:
        logits = outputs(eps, key) if shared else None
        for strength in STRENGTH:
            for rate in RATE:
                judged(outputs(eps, key) if logits is None else logits, strength, rate, key)
    return (time.perf_counter() - started) * seeds
