"""What a campaign's folder says of its timelines, for readers that have neither the model nor JAX."""

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from sensijax.campaign.timeline._course import changes_of
from sensijax.campaign.timeline._signals import signals_of
from sensijax.campaign.timeline._timeline import Monitor, Windowed
from sensijax.campaign.timeline._watching import kind_of
from sensijax.drift import Drift, Schedule

if TYPE_CHECKING:
    from sensijax.campaign._campaign import Campaign
    from sensijax.campaign._plan import Plan


def timeline_facts(campaign: "Campaign", plan: "Plan") -> dict[str, dict[str, Any]]:
    """The facts of each timeline, as plain values; `Watched.about` says what they are."""
    found, seeds = {}, [int(seed) for seed in campaign.seeds]  # type: ignore[union-attr]
    for name, timeline in campaign.timelines.items():
        shape, drift = timeline.schedule, cast(Drift, campaign.perturbation(timeline.stage, cast(float, timeline.at)))
        found[name] = {
            "stage": timeline.stage,
            "kind": type(drift).__name__,
            "at": timeline.at,
            "full": float(drift.strength),
            "schedule": " >> ".join(map(repr, shape.parts if isinstance(shape, Schedule) else (shape,))),
            "length": int(timeline.length),
            "beside": dict(timeline.beside),
            "horizon": None if timeline.horizon is None else int(timeline.horizon),
            "changes": [dataclasses.asdict(change) for change in changes_of(campaign, timeline)],
            "monitors": {
                monitor: _facts(watches, campaign.data.is_classification)
                for monitor, watches in (timeline.monitors or {}).items()
            },
            "seeds": seeds,
            "exhibits": {str(seed): campaign.addresses.of(plan, name, seed) for seed in seeds},
        }
    return found


def _facts(monitor: Monitor | Windowed, classification: bool) -> dict[str, Any]:
    windowed = isinstance(monitor, Windowed)
    options = monitor.options if windowed else _set(monitor.detector)
    return {
        "signal": monitor.signal,
        "kind": kind_of(monitor),
        "options": {name: value for name, value in options.items() if isinstance(value, (bool, int, float, str))},
        "size": int(monitor.size) if windowed else None,
        "alpha": float(monitor.alpha) if windowed else None,
        "ert": None if windowed or monitor.ert is None else float(monitor.ert),
        "labels": signals_of(classification)[monitor.signal].labels,
        "stated": stated(monitor),
    }


def stated(monitor: Monitor | Windowed) -> float | None:
    """The false alarms in 10,000 quiet steps that a monitor promises to stay at or below; None if it promises none."""
    if isinstance(monitor, Windowed):
        return 1e4 * float(monitor.alpha) / monitor.size
    return None if monitor.ert is None else 1e4 / float(monitor.ert)


def _set(detector: Any) -> dict[str, Any]:
    """The parameters of a detector that are numbers or words."""
    found = {field.name: getattr(detector, field.name) for field in dataclasses.fields(detector)}
    return {name: v.item() if hasattr(v, "item") and not v.ndim else v for name, v in found.items()}
