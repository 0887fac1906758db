"""Pictures of attacks: some examples that a campaign's attacks broke, kept beside the responses for the report."""

import dataclasses
from typing import Any

import numpy as np

from sensijax.attack import Attack
from sensijax.campaign._campaign import Campaign
from sensijax.campaign._engine import Engine
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._scenario import Scenario
from sensijax.campaign.store._store import Store
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


def missing_pictures(campaign: Campaign, plan: Plan, store: Store) -> list[tuple[str, Tile]]:
    """The pictures that the report wants and the store does not have: their addresses, and the rows to look at."""
    found = [picture_of(campaign, plan, stage) for stage in campaign.stages]
    return [picture for picture in found if picture is not None and store.find_picture(picture[0]) is None]


def keep_pictures(campaign: Campaign, plan: Plan, engine: Engine, store: Store) -> None:
    """Attacks a few examples again and keeps what was broken, for each attack whose picture is missing."""
    for address, tile in missing_pictures(campaign, plan, store):
        x, columns = engine.shown(tile)
        clean = campaign.examples.take(slice(tile.stop))
        _, clean_columns = engine.shown(dataclasses.replace(tile, scenarios=(Scenario(),), structures=()))
        broken = np.flatnonzero(clean_columns["correct"] & ~columns["correct"])[:MOST]
        arrays = {
            "ids": clean.ids[broken],
            "x": clean.x[broken],
            "x_adv": x[broken],
            "label": clean.y[broken],
            "seen": columns["prediction"][broken],
        }
        store.commit_picture(address, arrays)


def read_picture(store: Store, address: str) -> dict[str, Any] | None:
    """What `keep_pictures` kept, if it is there and intact."""
    path = store.find_picture(address)
    if path is None:
        return None
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
