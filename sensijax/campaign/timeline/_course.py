"""Courses: which example comes at which step, what it truly is then, and what is written on it. No model runs here."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.attack import Attack
from sensijax.campaign._programs import structure_of
from sensijax.campaign._scenario import Setting
from sensijax.campaign._standing import Standing, after, moves, relabels
from sensijax.campaign._structure import Link
from sensijax.campaign.timeline._timeline import Timeline
from sensijax.core import digest, stage_key_data
from sensijax.core.keys import GENERATOR, words
from sensijax.drift import Change, stream

if TYPE_CHECKING:
    from sensijax.campaign._campaign import Campaign


class Course(NamedTuple):
    """What comes, row by row, and what happens to it.

    Attributes:
      positions: int64 `[n]`, in `campaign.examples`.
      strength: float32 `[n]`, the drift's, under which the row was drawn.
      target: `[n]`, what it truly is.
      observed: `[n]`, what was written on it.
      met: what was written before each attack, `[n]` by stage.
      draws: uint32 `[n, 2]`, the address of each row's draws within a stage.
      where: what follows a stage's name in the address: campaign and timelines do not share draws.
    """

    positions: np.ndarray
    strength: np.ndarray
    target: np.ndarray
    observed: np.ndarray
    met: dict[str, np.ndarray]
    draws: np.ndarray
    where: str


def changes_of(campaign: "Campaign", timeline: Timeline) -> tuple[Change, ...]:
    """What truly happens on a timeline, the same for all seeds."""
    drift = campaign.perturbation(timeline.stage, timeline.at)  # type: ignore[arg-type]
    full, kind = float(drift.strength), type(drift).__name__  # type: ignore[union-attr]
    events = timeline.schedule.events(timeline.length)
    return tuple(
        Change(e.at, e.until, e.kind, kind, full * e.before, full * e.after) for e in events if e.before != e.after
    )


def stages_of(campaign: "Campaign", timeline: Timeline) -> Iterator[tuple[Setting, Any]]:
    """The stages that act on a timeline, in the campaign's order, each at its setting; not those that do nothing."""
    settings = {**timeline.beside, timeline.stage: timeline.at}
    for stage in campaign.stages:
        if stage in settings:
            setting = Setting(stage, settings[stage])  # type: ignore[arg-type]
            value = campaign.perturbation(*setting)
            if not np.all(value.is_identity()):
                yield setting, value


def course_of(campaign: "Campaign", timeline: Timeline, seed: int) -> Course:
    """The stream of a seed."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        key = jax.random.wrap_key_data(jnp.asarray(stage_key_data(seed, timeline.stage)), impl=GENERATOR)
        drift = campaign.stages[timeline.stage].at(timeline.at)
        drawn = stream(key, campaign.examples, drift, timeline.schedule, timeline.length)
    return _called(campaign, timeline, seed, drawn.positions, drawn.strength, words(np.arange(len(drawn))), "/time")


def reference_of(campaign: "Campaign", timeline: Timeline, seed: int) -> Course:
    """Every example once, without the drift: what the campaign shows in a scenario of the stages beside it."""
    examples = campaign.examples
    still = np.zeros(len(examples), np.float32)
    return _called(campaign, timeline, seed, np.arange(len(examples)), still, words(examples.ids), "")


def course_digest(course: Course) -> str:
    """The digest of all that a course says."""
    return digest(*(course.met if part is course.met else part for part in course))


def links_of(campaign: "Campaign", timeline: Timeline, seed: int, course: Course) -> list[Link]:
    """The stages that move the rows of a course, as the engine takes them."""
    links, n = [], len(course.positions)
    for (stage, _), value in stages_of(campaign, timeline):
        if not moves(value) or stage == timeline.stage and not course.strength.any():
            continue
        settings = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (n, *np.shape(leaf))), value)
        if stage == timeline.stage:
            settings = dataclasses.replace(settings, strength=course.strength)
        key = stage_key_data(seed, stage + course.where)
        links.append(Link(structure_of(value), settings, key, course.met.get(stage)))
    return links


def structures_of(campaign: "Campaign", timeline: Timeline) -> list[Any]:
    """The structures of the stages that move inputs."""
    return [structure_of(value) for _, value in stages_of(campaign, timeline) if moves(value)]


def _called(
    campaign: "Campaign",
    timeline: Timeline,
    seed: int,
    positions: np.ndarray,
    strength: np.ndarray,
    draws: np.ndarray,
    where: str,
) -> Course:
    """A course of these rows: the labels of all examples are made once for each strength at which they differ."""
    drift = campaign.perturbation(timeline.stage, timeline.at)  # type: ignore[arg-type]
    levels, which = np.unique(strength, return_inverse=True) if relabels(drift) else (np.zeros(1), 0)
    each = [_labels(campaign, timeline, seed, np.float32(level)) for level in levels]

    def of_rows(arrays: list[np.ndarray]) -> np.ndarray:
        return np.stack(arrays)[which, positions]

    met = {stage: of_rows([labels.met[stage] for labels in each]) for stage in each[0].met}
    target, observed = of_rows([labels.target for labels in each]), of_rows([labels.observed for labels in each])
    return Course(positions, strength, target, observed, met, draws, where)


class _Labels(NamedTuple):
    """What all examples are, `[N]`, what is written on them, and what was written before each attack."""

    target: np.ndarray
    observed: np.ndarray
    met: dict[str, np.ndarray]


def _labels(campaign: "Campaign", timeline: Timeline, seed: int, strength: np.float32) -> _Labels:
    examples = campaign.examples
    standing, met = Standing(examples.y, examples.y, np.ones(len(examples), np.float32)), {}
    for (stage, _), value in stages_of(campaign, timeline):
        if stage == timeline.stage:
            value = dataclasses.replace(value, strength=strength)
        if isinstance(value, Attack):
            met[stage] = standing.observed
        elif relabels(value) and not np.all(value.is_identity()):
            standing = after(value, stage_key_data(seed, stage), examples, standing)
    return _Labels(standing.target, standing.observed, met)
