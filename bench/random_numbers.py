"""Addressed random numbers against `jax.random` and NumPy, on the same work in the same run.

    python -m bench.random_numbers

Every contender draws the same number of values; repeats are interleaved and the best of each counts, so that a busy
machine slows all alike. The ratios carry over between machines better than the rates do. NumPy runs on one core and
draws into memory it already has; its one stream is not addressed, so no example's draws
can be had alone.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sensijax_kernels import random
from sensijax_kernels.random.specs import BENCHED, Spec

REPEATS = 15


def measure(repeats: int = REPEATS) -> dict[str, Any]:
    """Draws per second and ratios, for each batch of `specs.BENCHED`.

    Args:
      repeats: runs of each contender; the best one counts.

    Returns:
      `{spec name: {"draws": int, "million_per_second": {contender: float}, "ratio": {contender: float}}}`; a ratio is
      ours to a baseline's on the same quantity, and above 1 where ours is faster.
    """
    measured = {spec.name: _measure(spec, repeats) for spec in BENCHED}
    return measured | {"poisson": _measure_poisson(max(repeats // 5, 2))}


def _measure(spec: Spec, repeats: int) -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(0), spec.keys)
    x, std = jnp.full((spec.keys, *spec.shape), 0.5), jnp.full(spec.keys, 0.1)

    def noisy(draw: Callable[..., Any]) -> Callable[[], Any]:
        apply = jax.jit(jax.vmap(lambda key, x, std: jnp.clip(x + std * draw(key, spec.shape), 0.0, 1.0)))
        return lambda: apply(keys, x, std)

    def alone(draw: Callable[..., Any]) -> Callable[[], Any]:
        apply = jax.jit(jax.vmap(lambda key: draw(key, spec.shape)))
        return lambda: apply(keys)

    stream = np.random.Generator(np.random.SFC64(0))
    words = np.asarray(jax.vmap(jax.random.key_data)(keys))
    out = np.empty((spec.keys, *spec.shape), np.float32)

    def numpy_addressed() -> None:
        for row, word in zip(out, words, strict=True):
            np.random.Generator(np.random.Philox(key=word.astype(np.uint64))).standard_normal(out=row, dtype=np.float32)

    rates = _rates(
        spec.draws,
        repeats,
        {
            "uniform": alone(random.uniform),
            "uniform, jax.random": alone(jax.random.uniform),
            "uniform, NumPy SFC64, one stream": lambda: stream.random(out=out, dtype=np.float32),
            "normal": alone(random.normal),
            "normal, jax.random": alone(jax.random.normal),
            "normal, NumPy SFC64, one stream": lambda: stream.standard_normal(out=out, dtype=np.float32),
            "normal, NumPy Philox, one generator a key": numpy_addressed,
            "noise added and clipped": noisy(random.normal),
            "noise added and clipped, jax.random": noisy(jax.random.normal),
        },
    )
    return _report(spec.draws, rates)


def _measure_poisson(repeats: int) -> dict[str, Any]:
    spec = BENCHED[0]
    keys = jax.random.split(jax.random.key(0), spec.keys)
    rate = jnp.broadcast_to(jnp.linspace(0.0, 100.0, 1024).reshape(spec.shape), (spec.keys, *spec.shape))
    ours, theirs = jax.jit(jax.vmap(random.poisson)), jax.jit(jax.vmap(jax.random.poisson))
    generator, rate_on_host = np.random.Generator(np.random.SFC64(0)), np.asarray(rate)
    return _report(
        spec.draws,
        _rates(
            spec.draws,
            repeats,
            {
                "poisson": lambda: ours(keys, rate),
                "poisson, jax.random": lambda: theirs(keys, rate),
                "poisson, NumPy SFC64, one stream": lambda: generator.poisson(rate_on_host),
            },
        ),
    )


def _rates(draws: int, repeats: int, contenders: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    best = dict.fromkeys(contenders, float("inf"))
    for repeat in range(repeats + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            if repeat:  # the first run compiles
                best[name] = min(best[name], time.perf_counter() - start)
    return {name: draws / seconds / 1e6 for name, seconds in best.items()}


def _report(draws: int, rates: Mapping[str, float]) -> dict[str, Any]:
    ratio = {name: round(rates[name.split(",")[0]] / rate, 2) for name, rate in rates.items() if "," in name}
    return {
        "draws": draws,
        "million_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": ratio,
    }


if __name__ == "__main__":
    print(json.dumps({"jax": jax.__version__, "device": jax.devices()[0].device_kind, **measure()}, indent=2))
