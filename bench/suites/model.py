"""The model alone: what everything else is paid in, and how near it comes to the device's ceilings."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.suites.task import Subject, Task, share


def prepare(subject: Subject) -> Task:
    """Judges all images once, in batches; a query is one image."""
    model, data, size = subject.model, subject.data, subject.size
    params = jax.tree.map(jnp.asarray, model.params)
    batch = min(size.batch, len(data))
    starts = range(0, len(data) - batch + 1, batch)
    x = jnp.asarray(data.x)
    parts = [x[i : i + batch] for i in starts]
    forward = jax.jit(model.apply)
    at_once = forward.lower(params, parts[0]).compile()
    alone = forward.lower(params, x[:1]).compile()
    passes = size.passes
    found: dict[str, Any] = {}

    def job() -> None:
        for _ in range(passes):
            logits = [at_once(params, part) for part in parts]
        found["logits"] = jax.block_until_ready(logits)

    def robustness() -> dict[str, Any]:
        answers = np.concatenate([np.asarray(part).argmax(-1) for part in found["logits"]])
        return {"clean_accuracy": share(answers == data.y[: len(answers)])}

    return Task(
        about=f"{model.name} on {len(starts) * batch} images, {passes} times, {batch} at once",
        asked="the logits of one image",
        unit="images",
        units=passes * len(starts) * batch,
        job=job,
        query=lambda i: np.asarray(alone(params, data.x[i % len(data)][None])),
        robustness=robustness,
        forwards=lambda: passes * len(starts) * batch,
        program=(at_once, passes * len(starts)),
    )
