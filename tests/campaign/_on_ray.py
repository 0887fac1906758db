"""A campaign with a stage that takes its time, and can do worse; and what runs it in a process that is to be killed."""

import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sensijax as sj
from sensijax.perturb import Perturbation

SIDE, EXAMPLES, CLASSES, SETTINGS = 6, 1024, 3, 24
RAISES, DIES = 100.0, 200.0
SECONDS = "SENSIJAX_TEST_SECONDS"  # of a micro-batch


def wait(severity):
    """What the host does for a micro-batch of this stage."""
    time.sleep(float(os.environ.get(SECONDS, "0.02")))
    if (severity == RAISES).any():
        raise ValueError("this setting cannot be computed")
    if (severity == DIES).any():
        os._exit(7)
    return np.zeros_like(severity)


class Slow(Perturbation):
    """Dims an example, slowly."""

    severity: Any

    @classmethod
    def at(cls, severity):
        return cls(severity)

    def is_identity(self):
        return self.severity == 0

    def apply(self, key, x):
        waited = jax.pure_callback(
            wait, jax.ShapeDtypeStruct((), jnp.float32), jnp.float32(self.severity), vmap_method="broadcast_all"
        )
        noise = jax.random.uniform(key, x.shape, x.dtype)
        return x * (jnp.float32(1) - jnp.float32(0.001) * self.severity) + jnp.float32(0.1) * noise + waited


def campaign(*worse) -> sj.Campaign:
    """Of about 25 tiles, and those of settings that raise, or take the process down."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (EXAMPLES, SIDE, SIDE, 1)).astype(np.float32)
    weights = rng.normal(size=(SIDE * SIDE, CLASSES)).astype(np.float32)
    model = sj.Model(lambda w, x: x.reshape(len(x), -1) @ w, weights, name="random")
    data = sj.Dataset(x, rng.integers(0, CLASSES, EXAMPLES))
    settings = [*map(float, range(SETTINGS)), *worse]
    stages = {"slow": sj.sweep(Slow, severity=settings)}
    return sj.Campaign(model, data, stages, seeds=2, name="slow")


def main(folder, log, address="local", workers=2):
    """Runs it; every line of the log is a phase, the tiles that are there, and the rows computed so far."""

    def note(progress):
        lines.write(f"{progress.phase} {progress.tiles} {progress.computed}\n")

    with open(log, "a", buffering=1) as lines:
        sj.run(
            campaign(),
            folder,
            micro_batch=EXAMPLES,
            on=sj.on.ray(address, workers=int(workers)),
            progress=note,
        )
