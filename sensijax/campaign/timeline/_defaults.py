"""What a timeline leaves open: the setting of its drift, and who watches."""

import dataclasses
from collections.abc import Mapping

from sensijax.campaign._scenario import Sweep
from sensijax.campaign.timeline._timeline import Monitor, Timeline, Windowed
from sensijax.drift import detect

LEVEL = 0.01  # of a window's test
PERMUTATIONS = 200  # the smallest p-value is 1/201
SHORTEST, LONGEST, WINDOWS = 20, 250, 16  # steps of a window, and how many of them a stream has if it is neither


def filled_in(timeline: Timeline, sweep: Sweep, classification: bool) -> Timeline:
    """A sound timeline with nothing left open.

    Args:
      timeline: the timeline.
      sweep: of its stage.
      classification: whether the campaign is one.
    """
    at = farthest(sweep) if timeline.at is None else float(timeline.at)
    monitors = default_monitors(timeline.length, classification) if timeline.monitors is None else timeline.monitors
    beside = {stage: float(value) for stage, value in timeline.beside.items()}
    return dataclasses.replace(timeline, at=at, monitors=dict(monitors), beside=beside)


def farthest(sweep: Sweep) -> float:
    """The setting that is farthest from no drift; of several the last."""
    identities = [value for value in sweep.values if sweep.at(value).is_identity()]
    rest = identities[0] if identities else 0.0
    return max(reversed(sweep.values), key=lambda value: abs(value - rest))


def default_monitors(length: int, classification: bool) -> Mapping[str, Monitor | Windowed]:
    """Who watches unless somebody was named: labels and no labels, means and whole distributions."""
    size = max(SHORTEST, min(LONGEST, length // WINDOWS))
    outputs = Windowed("outputs", detect.mmd, size=size, alpha=LEVEL, permutations=PERMUTATIONS)
    if not classification:
        return {"losses": Windowed("loss", detect.ks, size=size, alpha=LEVEL), "outputs": outputs}
    return {
        "errors": Monitor("error", detect.ADWIN()),
        "confidence": Monitor("confidence", detect.ADWIN()),
        "classes": Windowed("prediction", detect.chi2, size=size, alpha=LEVEL),
        "outputs": outputs,
    }
