"""Forecast: what a campaign will take on many devices, from costs that were measured on one."""

import dataclasses
import math
import random
from collections.abc import Hashable

import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._plan import Plan
from sensijax.campaign._structure import Structure
from sensijax.campaign.schedule._costs import Costs, Group, group_name, padded_rows
from sensijax.campaign.schedule._queues import Item
from sensijax.campaign.schedule._simulation import simulate
from sensijax.core import ArgumentError

SIMULATIONS = 20
MOST_EVENTS = 200_000  # over all simulations
FIXED = "what every tile needs"
UNKNOWN = 0.1  # standard deviation of a group's costs from run to run, where it was measured once


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What a campaign will take.

    Attributes:
      tiles, rows, programs: what there is to do; programs as one worker would compile them all.
      kind: of the devices.
      devices, workers: how many; a worker has the devices that were measured together.
      compile_seconds: mean for a worker.
      bytes, files: of the finished folder's parts.
      hours: until the last tile is in the store; the median of the simulated runs.
      low, high: between which 90 % of them lie.
      device_hours: `hours` x `devices`.
      busy: fraction of the workers' time in which they compute tiles.
    """

    tiles: int
    rows: int
    programs: int
    kind: str
    devices: int
    workers: int
    compile_seconds: float
    bytes: int
    files: int
    hours: float
    low: float
    high: float
    device_hours: float
    busy: float


def forecast(
    campaign: Campaign,
    plan: Plan,
    costs: Costs,
    *,
    devices: int | None = None,
    shared_cores: int | None = None,
    seed: int = 0,
) -> Forecast:
    """Predicts a run: its tiles are dealt by the very schedule that a cluster uses, to workers that only take time.

    Args:
      campaign: what will run.
      plan: its plan.
      costs: as measured, on the kind of device that it will run on.
      devices: how many; as many as were measured together, unless given.
      shared_cores: where all workers run on one machine's processors: how many cores it has. They are slower by as
        much as they would keep more cores busy than there are.
      seed: of the simulations.

    Returns:
      The forecast. Its interval holds the spread of the measured costs: from tile to tile, and of their means. It
      does not hold what was not measured: queues, a slow file system, machines that fail.

    Raises:
      ArgumentError: if `devices` is no multiple of those that were measured together, or a cost is missing.
    """
    devices = costs.devices if devices is None else devices
    workers, rest = divmod(devices, costs.devices)
    if rest or workers < 1:
        raise ArgumentError("devices", devices, f"a multiple of {costs.devices}: so many were measured together")
    crowding = 1.0 if shared_cores is None else max(1.0, workers * costs.cores_busy / shared_cores)
    width = costs.micro_batch * costs.devices
    groups = {tile.structures: cost_of(costs, tile.structures) for tile in plan.tiles}
    items = [
        Item(
            tile.id,
            (FIXED, *tile.structures),
            crowding * (groups[tile.structures].seconds * padded_rows(campaign, tile, width) + costs.overhead),
        )
        for tile in plan.tiles
    ]
    structures = {tile.id: tile.structures for tile in plan.tiles}

    def compiling(program: Hashable) -> float:
        if program == FIXED:
            return crowding * costs.compile_fixed
        assert isinstance(program, Structure)
        return crowding * costs.compile_program * program.compilations

    count = max(3, min(SIMULATIONS, MOST_EVENTS // len(items)))
    spread = float(np.mean([group.spread for group in groups.values()]))
    runs = []
    for k in range(count):
        rng = random.Random(f"{seed} {k}")
        means = {s: math.exp(_doubt(group) * rng.gauss(0.0, 1.0)) for s, group in groups.items()}
        runs.append(
            simulate(
                items,
                min(workers, 2 * len(items)),  # more have nothing to do, but for repeating what is late
                compiling=compiling,
                starting=costs.start,
                spread=spread,
                pace=lambda item, means=means: means[structures[item.id]],
                seed=seed * count + k,
            )
        )
    low, middle, high = np.quantile([run.seconds for run in runs], [0.05, 0.5, 0.95]) / 3600
    total = sum(run.seconds for run in runs) * workers
    return Forecast(
        tiles=len(plan.tiles),
        rows=plan.rows,
        programs=plan.programs,
        kind=costs.kind,
        devices=devices,
        workers=workers,
        compile_seconds=float(np.mean([run.compiling for run in runs])) / workers,
        bytes=round(plan.rows * costs.bytes_per_row),
        files=len(plan.tiles),
        hours=float(middle),
        low=float(low),
        high=float(high),
        device_hours=float(middle) * devices,
        busy=sum(run.computing for run in runs) / total,
    )


def cost_of(costs: Costs, structures: tuple[Structure, ...]) -> Group:
    """What a row costs that goes through these stages: as measured together, else what each adds to the model alone.

    Raises:
      ArgumentError: if one of them was not measured.
    """
    found = costs.groups.get(group_name(structures))
    if found is not None:
        return found
    parts = [costs.groups.get(group_name((one,))) for one in structures]
    clean = costs.groups.get(group_name(()))
    if clean is None or any(part is None for part in parts):
        raise ArgumentError("costs", "a record without these stages", "one of this campaign: see `find_costs`")
    known = [part for part in parts if part is not None]
    seconds = clean.seconds + sum(max(0.0, part.seconds - clean.seconds) for part in known)
    return Group(seconds, max(part.spread for part in known), min(part.tiles for part in known))


def _doubt(group: Group) -> float:
    """Standard deviation of the logarithm of a group's mean."""
    return (group.spread or UNKNOWN) / math.sqrt(group.tiles)
