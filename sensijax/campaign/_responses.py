"""The responses of a campaign: the rows of its parts, verified, and what is read straight off them."""

import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd

from sensijax import measure
from sensijax.campaign._store import Store
from sensijax.core.errors import ArgumentError, StoreError, did_you_mean

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Completeness:
    """How much of a campaign is there.

    Attributes:
      tiles, tiles_total: finished (and intact) tiles, and all.
      rows, rows_total: the same in rows.
      damaged: parts that were found damaged just now and moved to quarantine.
      conflicts: tiles with two parts of different content.
      stale: tiles of earlier campaigns in the same folder.
    """

    tiles: int
    tiles_total: int
    rows: int
    rows_total: int
    damaged: tuple[str, ...]
    conflicts: tuple[str, ...]
    stale: int

    @property
    def complete(self) -> bool:
        return self.tiles == self.tiles_total


class Responses:
    """What the parts of a folder hold: rows, and the arrays that analysis starts from.

    A score is what a scenario can lose: for classification 1 where the prediction is right, for regression the
    example's part of R^2 (1 - squared error / variance of the targets). An example whose input is not finite has no
    score in any scenario, and is counted. One whose output is not finite counts as wrong; in a regression it has no
    score, is counted, and makes the verdict fragile.

    Attributes:
      folder: where the parts are.
      manifest: what `campaign.json` says.
      completeness: how much of the campaign is there.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        manifest: dict[str, Any],
        connection: duckdb.DuckDBPyConnection,
        parts: Sequence[pathlib.Path],
        completeness: Completeness,
    ):
        self.folder, self.manifest, self.completeness, self._connection, self._parts = (
            folder,
            manifest,
            completeness,
            connection,
            parts,
        )

    @classmethod
    def open(cls, folder: str | os.PathLike) -> Self:
        """Opens a campaign's folder; every part's digest is verified, and a damaged one is moved to quarantine.

        Args:
          folder: a folder that `run` wrote, finished or not.

        Returns:
          The results; see `completeness`.

        Raises:
          StoreError: if it is no campaign's folder or holds no finished tile.
        """
        store = Store(folder)
        manifest = store.read_json("campaign.json")
        if manifest is None:
            raise StoreError(f"{store.folder} is no campaign's folder: it has no campaign.json")
        tiles = {tile["id"]: tile for tile in manifest["tiles"]}
        scan = store.scan(tiles)
        for name in scan.damaged:
            log.warning("%s is damaged and was moved to quarantine; run the campaign again to compute it anew", name)
        rows = {i: len(t["scenarios"]) * len(t["seeds"]) * (t["stop"] - t["start"]) for i, t in tiles.items()}
        completeness = Completeness(
            tiles=len(scan.parts),
            tiles_total=len(tiles),
            rows=sum(rows[i] for i in scan.parts),
            rows_total=sum(rows.values()),
            damaged=scan.damaged,
            conflicts=scan.conflicts,
            stale=len(store.tiles() - set(tiles)),
        )
        connection = store.connect(list(scan.parts.values()), store.folder / "examples" / manifest["examples"])
        order = pd.DataFrame({"scenario": list(manifest["scenarios"]), "i": range(len(manifest["scenarios"]))})
        connection.register("scenario_order", order)
        return cls(store.folder, manifest, connection, list(scan.parts.values()), completeness)

    # --- rows --------------------------------------------------------------------------------------------------------

    def sql(self, query: str) -> pd.DataFrame:
        """Runs a query (DuckDB's SQL) over the views `responses` and `examples`.

        Args:
          query: one statement.

        Returns:
          The answer.

        Raises:
          ArgumentError: if the query is wrong; the message is DuckDB's.

        Example:
          >>> results.sql("select scenario, avg(correct::int) from responses group by all")   # doctest: +SKIP
        """
        try:
            answer = self._connection.sql(query)
            if answer is None:
                raise ArgumentError("query", repr(query), "a statement that has an answer")
            return answer.df()
        except duckdb.Error as error:
            raise ArgumentError("query", repr(query), str(error)) from error

    def frame(self) -> pd.DataFrame:
        """Every response, a row for each (scenario, seed, example), sorted by them in the campaign's order."""
        return self._connection.sql(
            "select * exclude (i) from responses join scenario_order using (scenario) order by i, seed, example"
        ).df()

    @property
    def scenario_names(self) -> tuple[str, ...]:
        """The scenarios of which every row is there, in the campaign's order; `clean` first."""
        return tuple(self._complete)

    def statistics(self) -> list[dict[str, Any]]:
        """What each run did (throughput, latency, compilations), oldest first; see `RunStatistics`."""
        return Store(self.folder).read_lines("runs.jsonl")

    @property
    def example_ids(self) -> np.ndarray:
        """The examples' ids, int64 `[N]`, ascending: the last axis of `scores`."""
        return self._examples.example.to_numpy()

    def scores(self, scenario: str) -> np.ndarray:
        """The scores of a scenario, float64 `[seeds, N]`; NaN for an example without one. Without draws, all seeds
        agree.

        Raises:
          ArgumentError: for an unknown scenario.
        """
        self._known_scenario(scenario)
        return self._scores[scenario]

    def cell(self, scenario: str, seed: int, example: int) -> dict[str, Any]:
        """Everything that is stored about one cell: its row, and the clean row of the same example.

        Raises:
          ArgumentError: if there is no such cell.
        """
        query = "select * from responses where scenario = ? and seed = ? and example = ?"
        found = self._connection.execute(query, [scenario, seed, example]).df()
        if found.empty:
            self._known_scenario(scenario)
            raise ArgumentError(
                "cell",
                f"{scenario}:{seed}:{example}",
                f"a seed among {self._complete[scenario]['seeds']} and an example's id",
            )
        clean = self._connection.execute(
            "select * from responses where scenario = 'clean' and example = ?", [example]
        ).df()
        return {
            "row": found.iloc[0].to_dict(),
            "clean": clean.iloc[0].to_dict() if len(clean) else None,
            "settings": self.manifest["scenarios"][scenario]["settings"],
        }

    # --- how ---------------------------------------------------------------------------------------------------------

    @property
    def metric(self) -> str:
        """The name of the score: `accuracy` or `r2`."""
        return "accuracy" if self.manifest["task"] == "classification" else "r2"

    @functools.cached_property
    def _complete(self) -> Mapping[str, Any]:
        counts = self._connection.sql("select scenario, count(*) from responses group by all").fetchall()
        n = self.manifest["data"]["examples"]
        whole = {name for name, count in counts if count == n * len(self.manifest["scenarios"][name]["seeds"])}
        if "clean" not in whole:
            raise StoreError(f"{self.folder} has no clean baseline yet: run the campaign on")
        return {name: s for name, s in self.manifest["scenarios"].items() if name in whole}

    @functools.cached_property
    def _examples(self) -> pd.DataFrame:
        return self._connection.sql("select * from examples order by example").df()

    @functools.cached_property
    def _scores(self) -> Mapping[str, np.ndarray]:
        """Scenario to score `[seeds, examples]`; NaN where there is none. Without draws, all seeds share a row."""
        score = "correct::double" if self.metric == "accuracy" else f"1 - loss / {self.manifest['target_variance']!r}"
        names, ids = list(self._complete), self._examples.example.to_numpy()
        rows = self._connection.sql(
            "select i, seed, example, "
            f"case when status = 'nonfinite_input' then 'nan'::double else {score} end as score "
            "from responses join scenario_order using (scenario)"
        ).fetchnumpy()
        seed_index = {seed: k for k, seed in enumerate(self.manifest["seeds"])}
        scores = np.full((len(self.manifest["scenarios"]), len(seed_index), len(ids)), np.nan)
        seeds = np.asarray(rows["seed"])
        position = np.zeros(len(seeds), np.int64)
        for seed, k in seed_index.items():
            position[seeds == seed] = k
        scores[rows["i"], position, np.searchsorted(ids, rows["example"])] = np.ma.filled(rows["score"], np.nan)
        found = {}
        for i, name in enumerate(self.manifest["scenarios"]):
            if name in self._complete:
                own = len(self._complete[name]["seeds"])
                found[name] = scores[i] if own == len(seed_index) else np.broadcast_to(scores[i, :1], scores[i].shape)
        return {name: found[name] for name in names}

    @functools.cached_property
    def _tallies(self) -> Mapping[str, measure.Tally]:
        """Scenario to the tally of its rows, merged part by part: no more than one part is in memory."""
        tallies: dict[str, measure.Tally] = {}
        for part in self._parts:
            rows = self._connection.execute(
                "select scenario, label, prediction, correct, flipped, "
                f"list_position({list(measure.STATUSES)!r}, status)::int - 1 as status, "
                f"{', '.join(measure.AVERAGED)} from read_parquet(?)",
                [str(part)],
            ).fetchnumpy()
            scenario = np.asarray(rows.pop("scenario"))
            for name in dict.fromkeys(scenario):
                tally = measure.Tally.of(
                    {k: v[scenario == name] for k, v in rows.items()}, self.manifest["model"]["outputs"]
                )
                tallies[name] = tallies[name] + tally if name in tallies else tally
        return tallies

    def _known(self, stage: str) -> None:
        if stage not in self.manifest["stages"]:
            raise ArgumentError("stage", repr(stage), did_you_mean(stage, self.manifest["stages"]))

    def _known_scenario(self, scenario: str) -> None:
        if scenario not in self.manifest["scenarios"]:
            raise ArgumentError("scenario", repr(scenario), did_you_mean(scenario, self.manifest["scenarios"]))
        if scenario not in self._complete:
            raise ArgumentError("scenario", repr(scenario), "a finished one: run the campaign on")
