"""Perturbations alone: images a second through each, and what each costs the model's accuracy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sensijax as sj
from bench.suites.task import Subject, Task, points_lost, share
from sensijax.perturb import image

OPS = (
    image.GaussianNoise,
    image.ShotNoise,
    image.DefocusBlur,
    image.MotionBlur,
    image.Fog,
    image.Brightness,
    image.Contrast,
    image.JPEG,
)
SEVERITY = 3


def prepare(subject: Subject) -> Task:
    """Puts every image through every perturbation, in batches; a query is one image, perturbations in turn."""
    model, data, size = subject.model, subject.data, subject.size
    batch, side = min(size.batch, len(data)), data.x.shape[1]
    starts = range(0, len(data) - batch + 1, batch)
    x = jnp.asarray(data.x)
    keys = {op.__name__: sj.key_for(0, op.__name__, data.ids) for op in OPS}
    programs = {op.__name__: jax.jit(jax.vmap(op.at(SEVERITY, size=side))) for op in OPS}
    names = tuple(programs)
    forward, params = jax.jit(model.apply), jax.tree.map(jnp.asarray, model.params)
    parts = [(name, slice(i, i + batch)) for name in names for i in starts]
    inputs = [(programs[name], keys[name][rows], x[rows]) for name, rows in parts]
    found: dict[str, Any] = {}

    def job() -> None:
        for _ in range(size.passes):
            out = [program(k, rows) for program, k, rows in inputs]
        found["out"] = jax.block_until_ready(out)

    def query(i: int) -> np.ndarray:
        name, row = names[i % len(names)], i % len(data)
        return np.asarray(programs[name](keys[name][row : row + 1], data.x[row : row + 1]))

    def robustness() -> dict[str, Any]:
        y = data.y[: len(starts) * batch]

        def correct(parts: Any) -> np.ndarray:
            return np.concatenate([np.asarray(forward(params, part)).argmax(-1) for part in parts]) == y

        clean = correct([x[i : i + batch] for i in starts])
        by_op = {
            name: correct([out for (of, _), out in zip(parts, found["out"], strict=True) if of == name])
            for name in names
        }
        worst = min(by_op, key=lambda name: by_op[name].mean())
        return {
            "clean_accuracy": share(clean),
            "stressed": f"{worst}@{SEVERITY}",
            "stressed_accuracy": share(by_op[worst]),
            "points_lost": points_lost(clean, by_op[worst]),
            "points_lost_by_stage": {name: points_lost(clean, one) for name, one in by_op.items()},
        }

    return Task(
        about=f"{len(OPS)} corruptions at severity {SEVERITY} on {len(starts) * batch} images, {size.passes} times, "
        f"{batch} at once",
        asked="one image under one corruption, corruptions in turn",
        unit="images",
        units=size.passes * len(parts) * batch,
        job=job,
        query=query,
        robustness=robustness,
    )
