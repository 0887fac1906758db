"""Combined stress: an adversary, a drift and wrong labels as a staged campaign; a query is fog, then an attack."""

from typing import Any

import jax
import numpy as np

import sensijax as sj
from bench.suites.task import Subject, Task, campaign_job, share
from sensijax import attack, drift, label
from sensijax.perturb import image

EPS, STEPS, SEVERITY = 8 / 255, 5, 3
ASKED = image.Fog  # of a query


def prepare(subject: Subject) -> Task:
    """All combinations of three stressors, alone, in pairs and together, with every effect's interval."""
    model, data, size = subject.model, subject.data, subject.size
    campaign = sj.Campaign(
        model,
        data,
        {
            "adversary": sj.sweep(attack.PGD, eps=[0, EPS], steps=STEPS),
            "drift": sj.sweep(drift.PriorShift, strength=[0, 1], target=_prior(data.y)),
            "labels": sj.sweep(label.Symmetric, rate=[0, 0.2]),
        },
        design=sj.design.staged(),
        seeds=size.seeds,
        name="stress",
    )
    cells = sj.make_plan(campaign).rows
    job, found = campaign_job(campaign, size.batch, effects=lambda results: results.effects(order=3))

    def robustness() -> dict[str, Any]:
        together = found["scenarios"].iloc[-1]
        lost = [100 * float(together[name]) for name in ("drop", "low", "high")]
        return {
            "clean_accuracy": [round(float(v), 6) for v in found["baseline"]],
            "stressed": str(together.scenario),
            "stressed_accuracy": share(np.full(len(data), together.accuracy)),
            "points_lost": [round(v, 4) for v in lost],
            "effects_in_points": _effects(found["effects"]),
        }

    return Task(
        about=f"a staged campaign of PGD-{STEPS}, prior shift and wrong labels: {len(campaign.scenarios)} scenarios, "
        f"{size.seeds} seeds, {len(data)} images, stored",
        asked=f"one image under {ASKED.__name__} at severity {SEVERITY}, then attacked by PGD-{STEPS}",
        unit="cells",
        units=cells,
        job=job,
        query=_fogged_and_attacked(subject),
        robustness=robustness,
    )


def _prior(y: np.ndarray) -> tuple[float, ...]:
    """Shares that fall along a line from the first class to the last, of the classes that there are."""
    counts = np.bincount(y)
    shares = np.where(counts > 0, np.arange(len(counts), 0, -1), 0)
    return tuple((shares / shares.sum()).tolist())


def _effects(table: Any) -> dict[str, list[float]]:
    return {
        str(row.scenario): [round(100 * float(v), 4) for v in (row.effect, row.low, row.high)]
        for row in table.sort_values("order", kind="stable").itertuples()
    }


def _fogged_and_attacked(subject: Subject) -> Any:
    model, data = subject.model, subject.data
    pgd, key = attack.PGD(norm="linf", eps=EPS, steps=STEPS), jax.random.key(0)
    fog = jax.jit(jax.vmap(ASKED.at(SEVERITY, size=data.x.shape[1])))
    keys = sj.key_for(0, "fog", data.ids)

    def query(i: int) -> Any:
        one = slice(i % len(data), i % len(data) + 1)
        return pgd(key, model, np.asarray(fog(keys[one], data.x[one])), data.y[one], diagnose=False).status

    return query
