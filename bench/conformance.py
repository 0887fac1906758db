"""Every ImageNet-C corruption against its published definition, on the same random draws.

    python -m bench.conformance --peers PEERS/bin/python

PEERS is an environment with `bench/peers/requirements.txt`. Each of the corruptions, at each whole severity of both
scales, perturbs natural images with several keys; the arrays that it draws are recomputed from the key and handed to
the published definition (`bench/peers/published.py`), and the two results are compared, in steps of 1/255. Writes
`bench/results/conformance.json`, which the documentation shows.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sensijax_kernels.random import normal, uniform

import sensijax as sj
from sensijax.data import photo
from sensijax.perturb import image
from sensijax.perturb.image.frost import frost_overlay
from sensijax.perturb.image.glass import displacements

HERE = pathlib.Path(__file__).parent
RESULT = HERE / "results" / "conformance.json"
KEYS = 2
Draws = dict[str, np.ndarray]


def pictures(size: int) -> np.ndarray:
    """Two natural images, uint8 [2, size, size, 3]: the whole photograph, and its middle, mirrored and bluer."""
    whole = np.asarray(photo())
    middle = np.ascontiguousarray(whole[64:192, 64:192, ::-1][:, ::-1])
    out = [jax.image.resize(x, (size, size, 3), "linear") for x in (whole, middle)]
    return np.round(255 * np.clip(np.stack(out), 0, 1)).astype(np.uint8)


def _normal(op: Any, key: jax.Array, shape: tuple[int, ...]) -> Draws:
    return {"normal": np.asarray(normal(key, shape), np.float64)}


def _uniform(op: Any, key: jax.Array, shape: tuple[int, ...]) -> Draws:
    return {"uniform": np.asarray(uniform(key, shape), np.float64)}


def _angle(op: Any, key: jax.Array, shape: tuple[int, ...]) -> Draws:
    return {"angle": np.asarray(90 * (jax.random.uniform(key, ()) - 0.5), np.float64)}


def _plasma(op: Any, key: jax.Array, shape: tuple[int, ...]) -> Draws:
    levels = (max(shape) - 1).bit_length()
    return {"uniform": 2 * np.asarray(uniform(key, (4**levels - 1,)), np.float64) - 1}


def _sheet(op: Any, key: jax.Array, shape: tuple[int, ...]) -> Draws:
    return _normal(op, key, shape[:2])


def _flakes(op: Any, key: jax.Array, shape: tuple[int, ...]) -> Draws:
    field, direction = jax.random.split(key)
    fall = 90 * (jax.random.uniform(direction, ()) - 0.5) - 90
    return _normal(op, field, shape[:2]) | {"angle": np.asarray(fall, np.float64)}


def _overlay(op: Any, key: jax.Array, shape: tuple[int, ...]) -> Draws:
    return {"overlay": np.asarray(frost_overlay(key, *shape[:2]), np.float64)}


def _steps(op: Any, key: jax.Array, shape: tuple[int, ...]) -> Draws:
    down, right = displacements(key, op.delta, op.iterations, (op.passes, shape[0], shape[1]))
    return {"steps": np.stack([right, down], axis=-1)}


def _rubber(op: Any, key: jax.Array, shape: tuple[int, ...]) -> Draws:
    corners, down, across = jax.random.split(key, 3)
    fields = {
        name: 2 * np.asarray(uniform(k, shape[:2]), np.float64) - 1 for name, k in (("down", down), ("across", across))
    }
    return {"corners": np.asarray(jax.random.uniform(corners, (3, 2), jnp.float32, -1.0, 1.0)), **fields}


def _nothing(op: Any, key: jax.Array, shape: tuple[int, ...]) -> Draws:
    return {}


DRAWS: dict[str, Callable[[Any, jax.Array, tuple[int, ...]], Draws]] = {
    "GaussianNoise": _normal,
    "ShotNoise": _uniform,
    "ImpulseNoise": _uniform,
    "SpeckleNoise": _normal,
    "MotionBlur": _angle,
    "Fog": _plasma,
    "GlassBlur": _steps,
    "Elastic": _rubber,
    "Snow": _flakes,
    "Frost": _overlay,
    "Spatter": _sheet,
}


def measure(peers: str) -> dict[str, Any]:
    """Compares everything.

    Args:
      peers: the Python of the environment of `bench/peers/requirements.txt`.

    Returns:
      `{"reference": {...}, "cells": {corruption: {"224": [...], "32": [...]}}}`; for each severity from 1 to 5 "max"
      and "mean", differences in steps of 1/255 over images and keys, and "beyond_one", the share of values that differ
      by more than one step.
    """
    given: dict[str, np.ndarray] = {}
    cells: list[dict[str, Any]] = []
    ours: dict[str, np.ndarray] = {}
    for op in track(image.IMAGENET_C, description="ours"):
        name = op.__name__
        run = jax.jit(lambda perturbation, key, x: perturbation(key, x))
        for size in (224, 32):
            for p, x in enumerate(pictures(size)):
                where = f"image/{size}/{p}"
                given[where] = x
                for k in range(1 if op.deterministic else KEYS):
                    key = jax.random.fold_in(jax.random.key(0), 10 * p + k)
                    for severity in range(1, 6):
                        cell = f"{name}/{size}/{severity}/{p}/{k}"
                        perturbation, draws = op.at(severity, size=size), {}
                        for draw, value in DRAWS.get(name, _nothing)(perturbation, key, x.shape).items():
                            draws[draw] = f"draw/{cell}/{draw}"
                            given[draws[draw]] = value
                        cells.append(
                            {"id": cell, "op": name, "severity": severity, "size": size, "image": where, "draws": draws}
                        )
                        out = run(perturbation, key, jnp.asarray(x / 255, jnp.float32))
                        ours[cell] = 255 * np.asarray(out, np.float64)
    published, reference = _published(peers, given, cells)
    found: dict[str, Any] = {}
    for op in image.IMAGENET_C:
        found[op.__name__] = {}
        for size in (224, 32):
            rows = []
            for severity in range(1, 6):
                ids = [c["id"] for c in cells if (c["op"], c["size"], c["severity"]) == (op.__name__, size, severity)]
                apart = np.stack([np.abs(ours[i] - published[i]) for i in ids])
                rows.append(
                    {
                        "max": round(float(apart.max()), 4),
                        "mean": round(float(apart.mean()), 5),
                        "beyond_one": float(np.mean(apart > 1)),
                    }
                )
            found[op.__name__][str(size)] = rows
    return {
        "sensijax": sj.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "date": datetime.date.today().isoformat(),
        "reference": reference,
        "images": 2,
        "keys": KEYS,
        "cells": found,
    }


def _published(
    peers: str, given: dict[str, np.ndarray], cells: list[dict[str, Any]]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    program = str(HERE / "peers" / "published.py")
    with tempfile.TemporaryDirectory() as folder:
        before, after = f"{folder}/in.npz", f"{folder}/out.npz"
        np.savez(before, cells=np.array([json.dumps(cell) for cell in cells]), **given)  # type: ignore[arg-type]
        subprocess.run([peers, program, before, after], check=True)
        out = dict(np.load(after))
    checked = subprocess.run([peers, program, "--check"], check=True, capture_output=True, text=True)
    return out, json.loads(checked.stdout)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.conformance", description=__doc__)
    arguments.add_argument(
        "--peers", required=True, help="the Python of the environment of bench/peers/requirements.txt"
    )
    found = measure(arguments.parse_args().peers)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    table = Table(box=box.SIMPLE_HEAD, title="largest difference, steps of 1/255", title_justify="left")
    for head in ("corruption", *(f"{size}: {severity}" for size in (224, 32) for severity in range(1, 6))):
        table.add_column(head, justify="left" if head == "corruption" else "right")
    for name, sizes in found["cells"].items():
        table.add_row(name, *(f"{cell['max']:.2f}" for size in ("224", "32") for cell in sizes[size]))
    Console(width=130).print(table)
    print(f"wrote {RESULT}")


if __name__ == "__main__":
    main()
