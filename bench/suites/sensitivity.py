"""Global sensitivity: Sobol indices of a model's loss over severities; a query is the slope of one image's logits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sensijax as sj
from bench.suites.task import Subject, Task
from sensijax import sensitivity as s
from sensijax.perturb import image

STAGES = {"noise": image.GaussianNoise, "blur": image.GaussianBlur, "contrast": image.Contrast}
IMAGES = 32
ASKED = image.Fog  # of a query


def prepare(subject: Subject) -> Task:
    """First-order and total indices of three severities; a query is an exact derivative by the severity of fog."""
    model, data, size = subject.model, subject.data, subject.size
    few, side = data.take(slice(min(IMAGES, len(data)))), data.x.shape[1]
    response = sj.campaign_response(
        model, few, {name: sj.sweep(op, severity=[0, 5], size=side) for name, op in STAGES.items()}
    )
    evaluations = size.points * (len(STAGES) + 2)
    found: dict[str, Any] = {}

    def job() -> None:
        found["indices"] = s.sobol(response, response.space, key=jax.random.key(0), n=size.points)

    def robustness() -> dict[str, Any]:
        table = found["indices"].frame()
        return {
            f"{index}_of_the_loss": {
                row.input: [round(float(v), 5) for v in (row.estimate, row.low, row.high)]
                for row in table[table["index"] == index].itertuples()
            }
            for index in ("S1", "ST")
        }

    return Task(
        about=f"Sobol indices of the mean loss of {len(few)} images over 3 severities: {size.points} base points",
        asked=f"the exact derivative of one image's logits by the severity of {ASKED.__name__}, at 1.5",
        unit="evaluations",
        units=evaluations,
        job=job,
        query=_slope(subject),
        robustness=robustness,
        forwards=lambda: evaluations * len(few),
    )


def _slope(subject: Subject) -> Any:
    model, data = subject.model, subject.data
    params = jax.tree.map(jnp.asarray, model.params)
    keys, side = sj.key_for(0, "fog", data.ids), data.x.shape[1]

    @jax.jit
    def slope(params: Any, severity: jax.Array, key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        def logits(severity: jax.Array) -> jax.Array:
            return model.apply(params, ASKED.at(severity, size=side)(key, x)[None])[0]

        return jax.jvp(logits, (severity,), (jnp.ones_like(severity),))

    def query(i: int) -> Any:
        i %= len(data)
        return jax.device_get(slope(params, np.float32(1.5), keys[i], data.x[i]))

    return query
