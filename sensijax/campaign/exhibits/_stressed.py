"""What a model does under each stage alone at its strongest and under all together: its outputs, and its inside.

Kept as an exhibit at the end of a run, for readers that have neither the model nor its inputs. It is made where stages
of several families act on a classification.
"""

import dataclasses
import functools
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._engine import Engine
from sensijax.campaign._family import family_of, identity_of
from sensijax.campaign._paths import Path, path_of
from sensijax.campaign._plan import Plan
from sensijax.campaign._scenario import Scenario
from sensijax.campaign._strongest import strongest
from sensijax.campaign.exhibits._inside import COLUMNS, Shown, examples_that_fit, inside
from sensijax.core import chunks, digest
from sensijax.sensitivity.derivatives._gains import components_of

log = logging.getLogger(__name__)

MOST_SCENARIOS = 13
MOST_EXAMPLES, STRETCHES = 1024, 8  # of more examples so many stretches, spread over the data
MOST_BYTES = 256 << 20  # that the components of those looked into take; with fewer than FEWEST nothing is looked into
FEWEST, RESAMPLES = 16, 1000


def stressed_address(campaign: Campaign, plan: Plan) -> str | None:
    """The address of the exhibit; None where there is none to make."""
    scenarios = _scenarios(campaign)
    if not scenarios:
        return None
    seed, spans = campaign.seeds[0], _spans(len(campaign.examples))  # type: ignore[index]
    tiles = [
        tile.id
        for tile in plan.tiles
        if seed in tile.seeds
        and not set(scenarios).isdisjoint(tile.scenarios)
        and any(tile.start < stop and start < tile.stop for start, stop in spans)
    ]
    return digest("stressed", COLUMNS, tiles, [s.name for s in scenarios], spans, _components(campaign))


def stressed_exhibits(
    campaign: Campaign, plan: Plan
) -> Iterator[tuple[str, Callable[[Engine], dict[str, np.ndarray]]]]:
    """The exhibit's address, and what makes it."""
    if (address := stressed_address(campaign, plan)) is not None:
        yield address, functools.partial(_made, campaign, plan)


def _made(campaign: Campaign, plan: Plan, engine: Engine) -> dict[str, np.ndarray]:
    scenarios, spans = (Scenario(), *_scenarios(campaign)), _spans(len(campaign.examples))
    positions = np.concatenate([np.arange(*span) for span in spans])
    examples, seed = campaign.examples.take(positions), campaign.seeds[0]  # type: ignore[index]
    inputs: dict[Path, np.ndarray] = {(): examples.x}
    for scenario in scenarios:
        path = path_of(campaign, scenario)
        if path not in inputs:
            inputs[path] = _inputs(plan, engine, scenario, seed, spans)
    engine.compile(())
    logits = []
    for x in inputs.values():
        parts = [np.asarray(engine.forward(x[rows]))[:valid] for rows, valid in chunks(len(x), engine.micro_batch)]
        logits.append(np.concatenate(parts).astype(np.float32))
    paths = list(inputs)
    found = {
        "ids": examples.ids,
        "scenarios": np.array([scenario.name for scenario in scenarios]),
        "path": np.array([paths.index(path_of(campaign, scenario)) for scenario in scenarios]),
        "logits": np.stack(logits),
    }
    try:
        fit = examples_that_fit(campaign.model, examples.x, MOST_BYTES)
        if fit < min(FEWEST, len(examples)):
            log.info("the model's components are too large to look inside")
            return found | {"why": np.array(f"the components of {FEWEST} examples take more than {MOST_BYTES:,} bytes")}
        some = np.unique(np.linspace(0, len(examples) - 1, min(fit, len(examples))).round().astype(int))
        kept = {path: x[some] for path, x in inputs.items()}
        shown = []
        for scenario in scenarios[1:]:
            standing = campaign.standings.of(scenario.settings, seed)
            at = positions[some]
            x = kept[path_of(campaign, scenario)]
            shown.append(Shown(scenario.name, x, standing.observed[at], standing.weight[at]))
        table = inside(campaign.model, kept[()], examples.y[some], shown, RESAMPLES)
    except Exception as error:  # what interprets other people's programs must not cost them their run
        log.warning("the report will not show where it breaks inside: %s", error)
        return found | {"why": np.array(f"{type(error).__name__}: {error}")}
    names = {f"inside.{name}": table[name].to_numpy(str) for name in COLUMNS[:2]}
    return found | names | {f"inside.{name}": table[name].to_numpy() for name in COLUMNS[2:]}


def _inputs(plan: Plan, engine: Engine, scenario: Scenario, seed: int, spans: list[tuple[int, int]]) -> np.ndarray:
    """What a scenario shows the model, stretch by stretch."""
    parts = []
    for start, stop in spans:
        for tile in plan.tiles:
            if scenario in tile.scenarios and seed in tile.seeds and tile.start < stop and start < tile.stop:
                first, last = max(start, tile.start), min(stop, tile.stop)
                only = dataclasses.replace(tile, scenarios=(scenario,), seeds=(seed,), start=first, stop=last)
                parts.append(engine.inputs(only)[0, 0])
    return np.concatenate(parts)


def _scenarios(campaign: Campaign) -> tuple[Scenario, ...]:
    """Those that are shown, in the order of the stages; none where stages are of one family, or in a regression."""
    if not campaign.examples.is_classification:
        return ()
    families = {family_of(campaign.perturbation(name, sweep.values[0])) for name, sweep in campaign.stages.items()}
    if len(families) < 2:
        return ()
    known = {scenario.name: scenario for scenario in campaign.scenarios}
    identities = {stage: identity_of(campaign, stage) for stage in campaign.stages}
    names = strongest(identities, {name: scenario.settings for name, scenario in known.items()})
    return tuple(known[name] for name in (*names[: MOST_SCENARIOS - 1], *names[MOST_SCENARIOS - 1 :][-1:]))


def _spans(n: int) -> list[tuple[int, int]]:
    """The examples that are looked at: all, or stretches of equal length at equal distances."""
    if n <= MOST_EXAMPLES:
        return [(0, n)]
    length = MOST_EXAMPLES // STRETCHES
    starts = np.linspace(0, n - length, STRETCHES).round().astype(int).tolist()
    return [(start, start + length) for start in starts]


_KNOWN: "weakref.WeakKeyDictionary[Campaign, Any]" = weakref.WeakKeyDictionary()


def _components(campaign: Campaign) -> list[Any]:
    """Names and shapes of the model's components: a tap changes no program, and yet what is to be shown."""
    if campaign not in _KNOWN:
        x = campaign.examples.x
        try:
            found = components_of(campaign.model, jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype))
            _KNOWN[campaign] = [(name, list(shape.shape)) for name, shape in found.items()]
        except Exception as error:  # as above
            _KNOWN[campaign] = [type(error).__name__]
    return _KNOWN[campaign]
