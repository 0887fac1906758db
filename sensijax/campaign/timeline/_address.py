"""The addresses of exhibits of timelines: digests of all that decides what they show."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

import sensijax
from sensijax.campaign._programs import Programs
from sensijax.campaign._scenario import Scenario
from sensijax.campaign.timeline._course import course_digest, course_of, reference_of, stages_of, structures_of
from sensijax.campaign.timeline._signals import signals_of
from sensijax.campaign.timeline._timeline import Monitor, Timeline, Windowed
from sensijax.core import digest, function_digest
from sensijax.core.digest import code_digest
from sensijax.drift.detect import Detector

if TYPE_CHECKING:
    from sensijax.campaign._campaign import Campaign
    from sensijax.campaign._plan import Plan

LAYOUT = 1  # of the arrays of an exhibit


class Addresses:
    """What the exhibits of a campaign's timelines are called.

    An address holds the model, the data and the programs, as a tile's does; the stages and their settings; the course
    of the stream and of the reference, digested as they are drawn, so that an edit of a drift or a label noise changes
    it; the monitors with their programs; and the seed. Not the timeline's name.

    Args:
      campaign: whose.
    """

    def __init__(self, campaign: "Campaign"):
        self.campaign = campaign
        self._contents: dict[tuple[str, int], str] = {}
        self._stages: dict[str, str] = {}
        self._monitors: dict[str, str] = {}

    @functools.cached_property
    def _programs(self) -> Programs:
        return Programs(self.campaign)

    def of(self, plan: "Plan", name: str, seed: int) -> str:
        """The address of a timeline under a seed."""
        campaign = self.campaign
        judged = next(tile.program for tile in plan.tiles if not tile.structures)  # forward and measure
        if name not in self._stages:
            structures = structures_of(campaign, campaign.timelines[name])
            self._stages[name] = digest([self._programs.digest(structure) for structure in structures])
        if (name, seed) not in self._contents:
            self._contents[name, seed] = self._content(campaign.timelines[name], seed)
        return digest("timeline", LAYOUT, judged, self._stages[name], self._contents[name, seed])

    def _content(self, timeline: Timeline, seed: int) -> str:
        campaign = self.campaign
        assert timeline.monitors is not None  # the campaign has filled them in
        return digest(
            campaign.model.digest,
            campaign.data.digest,
            timeline.stage,
            campaign.settings_digest(Scenario(tuple(setting for setting, _ in stages_of(campaign, timeline)))),
            np.asarray(timeline.schedule(np.arange(timeline.length)), np.float32),
            [course_digest(course(campaign, timeline, seed)) for course in (course_of, reference_of)],
            [(name, self._monitor(monitor)) for name, monitor in timeline.monitors.items()],
            seed,
        )

    def _monitor(self, monitor: Monitor | Windowed) -> str:
        """The digest of what a monitor does: its parameters, and its program or its code."""
        if isinstance(monitor, Monitor):
            campaign, what = self.campaign, digest(monitor.signal, _content(monitor.detector))
            if what not in self._monitors:  # tracing takes a while, and all seeds share it
                width = width_of(campaign.model, campaign.data, monitor.signal)
                self._monitors[what] = _program(monitor.detector, width)
            return digest(what, monitor.ert, self._monitors[what])
        test: Any = monitor.test
        named = f"{getattr(test, '__module__', '')}.{getattr(test, '__qualname__', type(test).__qualname__)}"
        version = sensijax.__version__ if named.startswith("sensijax.") else ""  # it calls more than a digest can see
        options = [(name, _content(monitor.options[name])) for name in sorted(monitor.options)]
        return digest(monitor.signal, named, version, code_digest(test), monitor.size, monitor.alpha, options)


def width_of(model: Any, data: Any, signal: str) -> int | None:
    """How many numbers a signal has at a step; None where it is no vector."""
    if not signals_of(data.is_classification)[signal].dimensions:
        return None
    shape = data.x.shape[1:]
    if signal == "outputs":
        shape = model.output_spec(jax.ShapeDtypeStruct((1, *shape), data.x.dtype)).shape[1:]
    return int(np.prod(shape, dtype=np.int64))


def _program(detector: Detector, width: int | None) -> str:
    """The digest of one update of a detector."""
    fitted = detector.fit(noise(max(20, 2 * getattr(detector, "window", 0)), width))
    value = jax.ShapeDtypeStruct(() if width is None else (width,), jnp.float32)
    state = jax.eval_shape(fitted.init, jax.random.key(0))
    leaves, tree = jax.tree.flatten(fitted)  # a class that checks its parameters meets no placeholders

    def update(leaves: list[Any], state: Any, value: jax.Array) -> Any:
        return jax.tree.unflatten(tree, leaves).update(state, value)

    return function_digest(update, leaves, state, value)


def noise(rows: int, width: int | None) -> np.ndarray:
    """Numbers to try a monitor on: float32 `[rows]` or `[rows, width]`, in [0, 1), always the same."""
    return np.random.default_rng(0).random(rows if width is None else (rows, width), np.float32)


def _content(value: Any) -> Any:
    """What of a parameter can be digested: functions by their code."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, _content(getattr(value, field.name))) for field in dataclasses.fields(value)]
        return f"{type(value).__module__}.{type(value).__qualname__}", fields
    try:
        return digest(value)
    except TypeError:
        return code_digest(value)
