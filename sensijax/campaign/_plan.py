"""The plan: scenarios grouped by the programs they run, cut into tiles that can be computed in any order, or again."""

import dataclasses
from collections.abc import Iterator, Mapping

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._paths import Path, moving, path_of
from sensijax.campaign._programs import Programs, structure_of
from sensijax.campaign._scenario import Scenario
from sensijax.campaign._structure import Structure
from sensijax.campaign.store._store import LAYOUT
from sensijax.core import digest

TILE_ROWS = (
    2048  # a tile holds at least so many rows where the campaign has them: seconds of work at most, and few files
)
TILE_PASSES = 1 << 18  # passes through the model that a tile of attacks takes at most, where that is fewer rows ...
FEWEST_ROWS = 256  # ... but no fewer than these: a loop's places are to be filled
BLOCK_BYTES = 256 << 20
BLOCK_EXAMPLES = 8192
BYTES_PER_ROW = 40  # of a finished part: measured 30 to 40 on the digits
TILE_ANSWERS = 1 << 16  # rows of a tile at most, where scenarios that differ in labels or weights share what costs


@dataclasses.dataclass(frozen=True)
class Tile:
    """Scenarios x seeds x examples: a pure function of its address.

    Attributes:
      id: digest of all that decides its content.
      scenarios: all with the same structures of the stages that move inputs; the rows are ordered by scenario, seed,
        example.
      seeds: which all of them run for.
      start, stop: positions in `campaign.examples`.
      program: digest of the pipeline.
      structures: of the stages that move inputs, in order.
    """

    id: str
    scenarios: tuple[Scenario, ...]
    seeds: tuple[int, ...]
    start: int
    stop: int
    program: str
    structures: tuple[Structure, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.scenarios), len(self.seeds), self.stop - self.start

    @property
    def rows(self) -> int:
        scenarios, seeds, examples = self.shape
        return scenarios * seeds * examples


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a campaign comes to.

    Attributes:
      tiles: in the order of execution.
      structures: the distinct structures of stages; each is one program.
      block: examples that are held on the device at once.
    """

    tiles: tuple[Tile, ...]
    structures: tuple[Structure, ...]
    block: int

    @property
    def rows(self) -> int:
        return sum(tile.rows for tile in self.tiles)

    @property
    def programs(self) -> int:
        """How many programs a complete run compiles: load, forward, measure, and those of each structure of stage."""
        return 3 + sum(structure.compilations for structure in self.structures)

    @property
    def bytes(self) -> int:
        """About how many bytes the parts will take."""
        return self.rows * BYTES_PER_ROW + 4096 * len(self.tiles)


def make_plan(campaign: Campaign, programs: Programs | None = None) -> Plan:
    """Plans a campaign. Traces its programs (to name them) and compiles nothing.

    Args:
      campaign: what to plan.
      programs: the campaign's programs, where they exist already.

    Returns:
      The plan; the same campaign always has the same plan, in every process.
    """
    programs = programs or Programs(campaign)
    n = len(campaign.examples)
    block = max(1, min(n, BLOCK_EXAMPLES, BLOCK_BYTES // max(1, campaign.examples.x[0].nbytes)))
    groups: dict[tuple, list[Scenario]] = {}
    paths = {scenario: path_of(campaign, scenario) for scenario in campaign.scenarios}
    for scenario, path in paths.items():
        settings = moving(campaign, path)
        structures = tuple(structure_of(campaign.perturbation(*setting)) for setting in settings)
        stages = tuple(setting.stage for setting in settings)
        groups.setdefault((stages, structures, campaign.seeds_of(scenario)), []).append(scenario)
    tiles = []
    for start in range(0, n, block):
        stop = min(start + block, n)
        for (_, structures, seeds), scenarios in groups.items():
            program = programs.digest("forward", "measure", *structures)
            most = _most_rows(structures)
            for first, last in _spans(start, stop, most):
                for some_scenarios, some_seeds in _cut(scenarios, paths, seeds, last - first, most):
                    address = (block, first) if (first, last) == (start, stop) else (block, first, last)
                    tiles.append(
                        Tile(
                            id=digest(
                                LAYOUT,
                                campaign.model.digest,
                                campaign.data.digest,
                                program,
                                *address,
                                [(s.name, campaign.settings_digest(s)) for s in some_scenarios],
                                some_seeds,
                                [campaign.standings.digest(s, seed) for s in some_scenarios for seed in some_seeds],
                            ),
                            scenarios=some_scenarios,
                            seeds=some_seeds,
                            start=first,
                            stop=last,
                            program=program,
                            structures=structures,
                        )
                    )
    distinct = dict.fromkeys(structure for tile in tiles for structure in tile.structures)
    return Plan(tuple(tiles), tuple(distinct), block)


def _most_rows(structures: tuple[Structure, ...]) -> int:
    """Rows of a tile: fewer where an attack makes each of them costly."""
    passes = sum(structure.passes for structure in structures)
    return TILE_ROWS if not passes else min(TILE_ROWS, max(FEWEST_ROWS, TILE_PASSES // passes))


def _spans(start: int, stop: int, most: int) -> Iterator[tuple[int, int]]:
    """A block of examples, cut where tiles are to be smaller than usual."""
    step = stop - start if most == TILE_ROWS else most
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def _cut(
    scenarios: list[Scenario], paths: Mapping[Scenario, Path], seeds: tuple[int, ...], examples: int, most: int
) -> Iterator[tuple[tuple[Scenario, ...], tuple[int, ...]]]:
    # Whole scenarios together while a tile is small; a scenario's seeds apart once they fill a tile by themselves. What
    # shares a path stays together: it costs little more than the path alone.
    sharing: dict[Path, list[Scenario]] = {}
    for scenario in scenarios:
        sharing.setdefault(paths[scenario], []).append(scenario)
    alike = list(sharing.values())
    seeds_per_tile = min(len(seeds), max(1, -(-most // examples)))
    paths_per_tile = max(1, most // (examples * seeds_per_tile)) if seeds_per_tile == len(seeds) else 1
    scenarios_per_tile = max(1, paths_per_tile, TILE_ANSWERS // (examples * seeds_per_tile))
    for i in range(0, len(alike), paths_per_tile):
        some = [scenario for group in alike[i : i + paths_per_tile] for scenario in group]
        for k in range(0, len(some), scenarios_per_tile):
            for j in range(0, len(seeds), seeds_per_tile):
                yield tuple(some[k : k + scenarios_per_tile]), seeds[j : j + seeds_per_tile]
