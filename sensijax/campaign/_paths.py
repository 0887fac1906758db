"""Paths: what the model is shown. Scenarios that differ only in labels or weights share the rows that cost much."""

import functools
from typing import TYPE_CHECKING

import numpy as np

from sensijax.attack import Attack
from sensijax.campaign._scenario import Scenario, Setting
from sensijax.campaign._standing import moves, relabels

if TYPE_CHECKING:
    from sensijax.campaign._campaign import Campaign
    from sensijax.campaign._plan import Tile

Path = tuple[Setting, ...]


def path_of(campaign: "Campaign", scenario: Scenario) -> Path:
    """The settings that decide what the model is shown: those that move inputs, and, as an attack aims at labels, those
    before an attack that relabel."""
    values = [campaign.perturbation(*setting) for setting in scenario.settings]
    last_attack = max((i for i, value in enumerate(values) if isinstance(value, Attack)), default=-1)
    return tuple(
        setting
        for i, (setting, value) in enumerate(zip(scenario.settings, values, strict=True))
        if moves(value) or i < last_attack and relabels(value)
    )


def moving(campaign: "Campaign", path: Path) -> Path:
    """The settings of a path that have a program."""
    return tuple(setting for setting in path if moves(campaign.perturbation(*setting)))


class Paths:
    """The rows that are put through the model for a tile, ordered by path, seed, example; and the tile's rows that each
    of them answers.

    Args:
      campaign: the campaign.
      tile: the tile.

    Attributes:
      paths: the distinct ones, in the order of the tile's scenarios.
      seeds: those that they draw for: the first alone if nothing is drawn.
    """

    def __init__(self, campaign: "Campaign", tile: "Tile"):
        self.tile = tile
        each = [path_of(campaign, scenario) for scenario in tile.scenarios]
        self.paths = tuple(dict.fromkeys(each))
        drawn = any(not campaign.perturbation(*setting).deterministic for path in self.paths for setting in path)
        self.seeds = tile.seeds if drawn else tile.seeds[:1]
        self._path = np.array([self.paths.index(path) for path in each])

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.paths), len(self.seeds), self.tile.stop - self.tile.start

    @property
    def rows(self) -> int:
        paths, seeds, examples = self.shape
        return paths * seeds * examples

    @functools.cached_property
    def answer(self) -> np.ndarray:
        """int64 `[tile rows]`: the row here that each row of the tile is judged by."""
        scenario, seed, example = np.unravel_index(np.arange(self.tile.rows), self.tile.shape)
        return np.ravel_multi_index((self._path[scenario], seed % len(self.seeds), example), self.shape)

    @functools.cached_property
    def uses(self) -> np.ndarray:
        """int64 `[rows, most uses]`: the tile's rows that each row here answers; -1 where there are no more."""
        order = np.argsort(self.answer, kind="stable")
        counts = np.bincount(self.answer, minlength=self.rows)
        first = np.cumsum(counts) - counts
        uses = np.full((self.rows, int(counts.max())), -1)
        uses[self.answer[order], np.arange(len(order)) - first[self.answer[order]]] = order
        return uses
