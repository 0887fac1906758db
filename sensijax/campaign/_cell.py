"""One cell alone: recomputed from its address, in the micro-batch that it belongs to, bit for bit."""

import dataclasses
import re
from typing import Any

import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._engine import Engine
from sensijax.campaign._plan import Plan, Tile, make_plan
from sensijax.campaign._programs import Programs
from sensijax.campaign._scenario import Scenario
from sensijax.core import ArgumentError
from sensijax.core.errors import did_you_mean
from sensijax.measure import STATUSES

_CELL = re.compile(r"(?P<scenario>.+):(?P<seed>\d+):(?P<example>\d+)")


@dataclasses.dataclass(frozen=True)
class Cell:
    """The address of one number: a scenario, a seed, an example's id. Written `fog@3:0:1742`."""

    scenario: str
    seed: int
    example: int

    @classmethod
    def parse(cls, text: str) -> "Cell":
        """Reads `SCENARIO:SEED:EXAMPLE`.

        Raises:
          ArgumentError: if the text is no such address.

        Example:
          >>> Cell.parse("noise@3+fog@3:0:17")
          Cell(scenario='noise@3+fog@3', seed=0, example=17)
        """
        match = _CELL.fullmatch(text)
        if match is None:
            raise ArgumentError(
                "cell", repr(text), "SCENARIO:SEED:EXAMPLE, such as fog@3:0:17 (`sensijax query` lists them)"
            )
        return cls(match["scenario"], int(match["seed"]), int(match["example"]))

    def __str__(self) -> str:
        return f"{self.scenario}:{self.seed}:{self.example}"


def recompute(campaign: Campaign, cell: Cell | str, micro_batch: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Recomputes one cell from nothing but its address.

    Args:
      campaign: the campaign it belongs to.
      cell: its address.
      micro_batch: the one it was computed with (a column of the responses): with it, and the same environment, every
        number is the same to the last bit; with another, the model's outputs may differ there.

    Returns:
      The perturbed input `[...]`, and the responses by name.

    Raises:
      ArgumentError: if the campaign has no such cell.
    """
    cell = Cell.parse(cell) if isinstance(cell, str) else cell
    programs = Programs(campaign)
    plan = make_plan(campaign, programs)
    tile, scenario = _tile_of(campaign, plan, cell.scenario, cell.seed, cell.example)
    position = int(np.searchsorted(campaign.examples.ids, cell.example)) - tile.start
    row = np.ravel_multi_index((tile.scenarios.index(scenario), tile.seeds.index(cell.seed), position), tile.shape)
    x, responses = Engine.of_width(campaign, plan, programs, micro_batch).row(tile, int(row))
    columns = {name: value.item() for name, value in responses.items()}
    return x, {**columns, "status": STATUSES[columns["status"]]}


def perturbed_inputs(
    campaign: Campaign, scenario: str, seed: int | None = None, *, micro_batch: int = 256
) -> np.ndarray:
    """What the model is shown in a scenario: the perturbed inputs themselves.

    Args:
      campaign: the campaign.
      scenario: a scenario's name, such as `fog@3`.
      seed: one of its seeds; its first unless given.
      micro_batch: rows computed at once; the inputs do not depend on it.

    Returns:
      `[N, ...]`, in the order of the examples' ids.

    Raises:
      ArgumentError: if the campaign has no such scenario, or the scenario no such seed.
    """
    programs = Programs(campaign)
    plan = make_plan(campaign, programs)
    engine = Engine.of_width(campaign, plan, programs, micro_batch)
    found = _scenario(campaign, scenario)
    seed = campaign.seeds_of(found)[0] if seed is None else seed
    parts = []
    for tile in plan.tiles:
        if found in tile.scenarios and seed in tile.seeds:
            only = dataclasses.replace(tile, scenarios=(found,), seeds=(seed,))
            parts.append(engine.inputs(only)[0, 0])
    if not parts:
        raise ArgumentError("seed", seed, f"a seed of {scenario}: {campaign.seeds_of(found)}")
    return np.concatenate(parts)


def _tile_of(campaign: Campaign, plan: Plan, name: str, seed: int, example: int) -> tuple[Tile, Scenario]:
    scenario = _scenario(campaign, name)
    if seed not in campaign.seeds_of(scenario):
        raise ArgumentError("seed", seed, f"a seed of {name}: {campaign.seeds_of(scenario)}")
    ids = campaign.examples.ids
    position = int(np.searchsorted(ids, example))
    if position == len(ids) or ids[position] != example:
        raise ArgumentError("example", example, f"an id of the data, from {ids[0]} to {ids[-1]}")
    tile = next(t for t in plan.tiles if scenario in t.scenarios and seed in t.seeds and t.start <= position < t.stop)
    return tile, scenario


def _scenario(campaign: Campaign, name: str) -> Scenario:
    scenarios = {scenario.name: scenario for scenario in campaign.scenarios}
    if name not in scenarios:
        raise ArgumentError("scenario", repr(name), did_you_mean(name, scenarios))
    return scenarios[name]
