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
from sensijax.campaign._location import open_store
from sensijax.campaign._store import LAYOUT, Store
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
    example's part of R^2 (1 - squared error / variance of the targets). It is judged by the label that was observed.
    Where a drift gives examples weights, the scores are those whose plain mean is the weighted one and whose spread is
    that of a weighted mean: mean + w / mean(w) (score - mean), the estimate's linearisation. An example whose input is
    not finite has no score in any scenario, and is counted. One whose output is not finite counts as wrong; in a
    regression it has no score, is counted, and makes the verdict fragile.

    Attributes:
      store: what it was opened from.
      folder: where the parts are read: the folder itself, or this machine's copies of what is at a URL.
      manifest: what `campaign.json` says.
      completeness: how much of the campaign is there.
    """

    def __init__(
        self,
        store: Store,
        manifest: dict[str, Any],
        connection: duckdb.DuckDBPyConnection,
        parts: Sequence[pathlib.Path],
        completeness: Completeness,
    ):
        self.store, self.folder = store, store.folder
        self.manifest, self.completeness, self._connection, self._parts = (
            manifest,
            completeness,
            connection,
            parts,
        )
        self._read: dict[str, Mapping[str, np.ndarray]] = {}

    @classmethod
    def open(cls, folder: str | os.PathLike) -> Self:
        """Opens a campaign's folder; every part's digest is verified, and a damaged one is moved to quarantine.

        Args:
          folder: a folder that `run` wrote, finished or not, or its URL.

        Returns:
          The results; see `completeness`.

        Raises:
          StoreError: if it is no campaign's folder or holds no finished tile.
        """
        store = open_store(folder)
        manifest = store.read_json("campaign.json")
        if manifest is None:
            raise StoreError(f"{store.location} is no campaign's folder: it has no campaign.json")
        if manifest["layout"] != LAYOUT:
            raise StoreError(
                f"{store.location} was written with layout {manifest['layout']} of the parts, this sensijax reads "
                f"{LAYOUT}: run the campaign again, in a new folder if you want to keep this one readable"
            )
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
        return cls(store, manifest, connection, list(scan.parts.values()), completeness)

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
        return self.store.read_lines("runs.jsonl")

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

    def values(self, response: str, scenario: str) -> np.ndarray:
        """A response of every example in a scenario, as `scores` gives them.

        Args:
          response: "score"; a numeric column of the responses, such as "confidence", "loss" or "margin"; or
            "overconfidence", the confidence minus 1 where the prediction is right (its mean over examples is what
            calibration lacks on the whole).
          scenario: its name.

        Returns:
          float64 `[seeds, N]`; NaN for an example without one.

        Raises:
          ArgumentError: for an unknown response or scenario.
        """
        self._known_scenario(scenario)
        return self._values(response)[scenario]

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
            raise StoreError(f"{self.store.location} has no clean baseline yet: run the campaign on")
        return {name: s for name, s in self.manifest["scenarios"].items() if name in whole}

    @functools.cached_property
    def _examples(self) -> pd.DataFrame:
        return self._connection.sql("select * from examples order by example").df()

    @property
    def _scores(self) -> Mapping[str, np.ndarray]:
        """Scenario to score `[seeds, examples]`; NaN where there is none. Without draws, all seeds share a row."""
        return self._values("score")

    @functools.cached_property
    def _expressions(self) -> Mapping[str, str]:
        """Responses by name, in SQL; null where a row has none."""
        if self.metric == "r2":
            return {"score": f"1 - loss / {self.manifest['target_variance']!r}", "loss": "loss", "shift": "shift"}
        columns = {name: f"{name}::double" for name in (*measure.AVERAGED, "correct", "flipped")}
        return {"score": columns["correct"], **columns, "overconfidence": "confidence - correct::double"}

    def _values(self, response: str) -> Mapping[str, np.ndarray]:
        if response not in self._expressions:
            raise ArgumentError("response", repr(response), did_you_mean(str(response), self._expressions))
        if response not in self._read:
            plain = self._plain(response)
            self._read[response] = {
                name: linearised(values, self._weights[name]) if name in self._weights else values
                for name, values in plain.items()
            }
        return self._read[response]

    def _plain(self, response: str) -> dict[str, np.ndarray]:
        """Scenario to a response `[seeds, examples]`, whatever the examples weigh."""
        expression = f"case when status = 'nonfinite_input' then null else {self._expressions[response]} end"
        return self._arrays(expression, list(self._complete))

    @functools.cached_property
    def _weights(self) -> Mapping[str, np.ndarray]:
        """Of the scenarios with a drift that gives examples weights: those weights `[seeds, examples]`."""
        weighted = [name for name, scenario in self._complete.items() if scenario["weighted"]]
        return self._arrays("weight::double", weighted) if weighted else {}

    def _arrays(self, expression: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Scenario to values `[seeds, examples]`; NaN for null. Without draws, all seeds share a row."""
        ids = self._examples.example.to_numpy()
        rows = self._connection.execute(
            f"select i, seed, example, {expression} as value from responses join scenario_order using (scenario) "
            "where list_contains(?, scenario)",
            [list(names)],
        ).fetchnumpy()
        seed_index = {seed: k for k, seed in enumerate(self.manifest["seeds"])}
        place = {name: k for k, name in enumerate(names)}
        of_scenario = np.array([place.get(name, -1) for name in self.manifest["scenarios"]])
        values = np.full((len(names), len(seed_index), len(ids)), np.nan)
        seeds = np.asarray(rows["seed"])
        position = np.zeros(len(seeds), np.int64)
        for seed, k in seed_index.items():
            position[seeds == seed] = k
        filled = np.ma.filled(np.ma.asarray(rows["value"]).astype(np.float64), np.nan)
        values[of_scenario[rows["i"]], position, np.searchsorted(ids, rows["example"])] = filled
        found = {}
        for name, k in place.items():
            own = len(self._complete[name]["seeds"])
            found[name] = values[k] if own == len(seed_index) else np.broadcast_to(values[k, :1], values[k].shape)
        return found

    @functools.cached_property
    def _tallies(self) -> Mapping[str, measure.Tally]:
        """Scenario to the tally of its rows, merged part by part: no more than one part is in memory."""
        tallies: dict[str, measure.Tally] = {}
        for part in self._parts:
            rows = self._connection.execute(
                "select scenario, observed as label, weight, prediction, correct, flipped, "
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


def linearised(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values whose plain mean over examples is the weighted one, and whose spread is that of the weighted mean.

    Args:
      values: `[S, N]`, NaN where there is none.
      weights: `[S, N]`, 0 or more.

    Returns:
      `[S, N]`: mean + w / mean(w) (value - mean), with the weighted mean of each seed; NaN where `values` is.
      Reference: Saerndal, Swensson and Wretman, "Model assisted survey sampling", 1992, section 5.5.

    Example:
      >>> linearised(np.array([[0.0, 1.0]]), np.array([[1.0, 3.0]])).tolist()
      [[0.375, 1.125]]
    """
    weights = np.where(np.isnan(values), np.nan, weights)
    with np.errstate(invalid="ignore", divide="ignore"):  # a seed without any value has no mean
        total = np.nansum(weights, axis=1, keepdims=True)
        mean = np.nansum(weights * values, axis=1, keepdims=True) / total
        share = weights / (total / (~np.isnan(values)).sum(axis=1, keepdims=True))
    return mean + share * (values - mean)
