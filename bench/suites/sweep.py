"""A sweep: corruptions at five severities and several seeds as a campaign, stored; a query is one image's curve."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sensijax as sj
from bench.suites.task import Subject, Task, campaign_job, share
from sensijax.core import stack
from sensijax.measure import classification_responses
from sensijax.perturb import image

STAGES = {"noise": image.GaussianNoise, "blur": image.DefocusBlur, "fog": image.Fog, "contrast": image.Contrast}
SEVERITIES = (1, 2, 3, 4, 5)
ASKED = image.Fog  # of a query


def prepare(subject: Subject) -> Task:
    """Runs the campaign in a new folder; a query is one image under fog at all severities, judged."""
    model, data, size = subject.model, subject.data, subject.size
    side = data.x.shape[1]
    stages = {name: sj.sweep(op, severity=[0, *SEVERITIES], size=side) for name, op in STAGES.items()}
    campaign = sj.Campaign(model, data, stages, seeds=size.seeds, name="sweep")
    rows = sj.make_plan(campaign).rows
    job, found = campaign_job(campaign, size.batch, ranking=lambda results: results.ranking())

    def robustness() -> dict[str, Any]:
        table = found["scenarios"].set_index("scenario")
        worst = table["accuracy"].drop("clean").idxmin()
        lost = [100 * float(table.loc[worst, name]) for name in ("drop", "low", "high")]
        return {
            "clean_accuracy": [round(float(v), 6) for v in found["baseline"]],
            "stressed": str(worst),
            "stressed_accuracy": share(np.full(len(data), table.loc[worst, "accuracy"])),
            "points_lost": [round(v, 4) for v in lost],
            "points_lost_by_stage": {
                row.stage: [round(100 * float(v), 4) for v in (row.mean_drop, row.low, row.high)]
                for row in found["ranking"].itertuples()
            },
        }

    return Task(
        about=f"a campaign: {len(STAGES)} corruptions, 5 severities, {size.seeds} seeds, {len(data)} images, stored",
        asked=f"one image under {ASKED.__name__} at 5 severities: accuracy and loss of each",
        unit="rows",
        units=rows,
        job=job,
        query=_curve(subject),
        robustness=robustness,
        forwards=lambda: rows,
    )


def _curve(subject: Subject) -> Any:
    model, data = subject.model, subject.data
    params = jax.tree.map(jnp.asarray, model.params)
    variants = jax.tree.map(jnp.asarray, stack([ASKED.at(s, size=data.x.shape[1]) for s in SEVERITIES]))
    keys = sj.key_for(0, "fog", data.ids)

    @jax.jit
    def curve(params: Any, key: jax.Array, x: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        shown = jax.vmap(lambda op: op(key, x))(variants)
        clean = model.apply(params, x[None])
        count = len(SEVERITIES)
        return classification_responses(
            model.apply(params, shown), jnp.repeat(y, count), jnp.repeat(clean, count, axis=0), jnp.ones(count, bool)
        )

    def query(i: int) -> Any:
        i %= len(data)
        return jax.device_get(curve(params, keys[i], data.x[i], data.y[i]))

    return query
