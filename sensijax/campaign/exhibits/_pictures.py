"""Pictures of attacks: some examples that a campaign's attacks broke, kept beside the responses for the report."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np

from sensijax.attack import Attack
from sensijax.campaign._campaign import Campaign
from sensijax.campaign._engine import Engine
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._scenario import Scenario
from sensijax.core import digest

LOOKED_AT, MOST = 24, 6  # examples that are attacked again for it, and those that are kept


def picture_of(campaign: Campaign, plan: Plan, stage: str) -> tuple[str, Tile] | None:
    """What shows an attack: alone, at its strongest setting, on the first examples.

    Returns:
      The address of the picture, and the rows to look at; None if the stage is no attack, never runs alone, or the
      examples are no images with one or three channels.
    """
    shape = campaign.examples.x.shape[1:]
    alone = [s for s in campaign.scenarios if s.stages == (stage,)]
    if not alone or len(shape) != 3 or shape[-1] not in (1, 3):
        return None
    strongest = max(alone, key=lambda scenario: scenario.settings[0].value)
    if not isinstance(campaign.perturbation(*strongest.settings[0]), Attack):
        return None
    tile = next(t for t in plan.tiles if strongest in t.scenarios and t.start == 0)
    few = min(tile.stop, LOOKED_AT)
    rows = dataclasses.replace(tile, scenarios=(strongest,), seeds=tile.seeds[:1], stop=few)
    return digest("picture", tile.id, strongest.name, few), rows


def picture_exhibits(campaign: Campaign, plan: Plan) -> Iterator[tuple[str, Callable[[Engine], dict[str, np.ndarray]]]]:
    """The pictures that the report wants: their addresses, and what makes them.

    A few examples are attacked again, and what was broken is kept.
    """
    for stage in campaign.stages:
        if (found := picture_of(campaign, plan, stage)) is not None:
            address, tile = found
            yield address, functools.partial(_broken, campaign, tile)


def _broken(campaign: Campaign, tile: Tile, engine: Engine) -> dict[str, np.ndarray]:
    x, columns = engine.shown(tile)
    clean = campaign.examples.take(slice(tile.stop))
    _, clean_columns = engine.shown(dataclasses.replace(tile, scenarios=(Scenario(),), structures=()))
    broken = np.flatnonzero(clean_columns["correct"] & ~columns["correct"])[:MOST]
    return {
        "ids": clean.ids[broken],
        "x": clean.x[broken],
        "x_adv": x[broken],
        "label": clean.y[broken],
        "seen": columns["prediction"][broken],
    }
