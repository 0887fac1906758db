"""An attack: PGD in a ball of 8/255 on every image; a query is one image, attacked alone."""

from typing import Any

import jax

from bench.suites.task import Subject, Task, points_lost, share
from sensijax import attack

EPS, STEPS = 8 / 255, 10


def prepare(subject: Subject) -> Task:
    """Attacks all images; the robust accuracy is that of this attack, an upper bound."""
    model, data = subject.model, subject.data
    pgd, key = attack.PGD(norm="linf", eps=EPS, steps=STEPS), jax.random.key(0)
    found: dict[str, attack.AttackResult] = {}

    def job() -> None:
        found["result"] = pgd(key, model, data.x, data.y, diagnose=False)

    def query(i: int) -> Any:
        i %= len(data)
        return pgd(key, model, data.x[i : i + 1], data.y[i : i + 1], diagnose=False).status

    def robustness() -> dict[str, Any]:
        result = found["result"]
        clean = result.status != attack.STATUSES.index("misclassified")
        return {
            "clean_accuracy": share(clean),
            "stressed": str(f"PGD-{STEPS}, linf {round(EPS * 255)}/255"),
            "stressed_accuracy": [round(v, 6) for v in (result.robust_accuracy, *result.interval())],
            "points_lost": points_lost(clean, result.robust),
        }

    return Task(
        about=f"PGD with {STEPS} steps in a ball of 8/255 on {len(data)} images",
        asked="one image attacked",
        unit="images",
        units=len(data),
        job=job,
        query=query,
        robustness=robustness,
        forwards=lambda: float(found["result"].forwards.sum() + found["result"].backwards.sum()),
    )
