"""The responses of a campaign: the rows of its parts, verified, and what is read straight off them."""

import dataclasses
import functools
import itertools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd

from sensijax import measure
from sensijax.campaign.results._reading import MISSING, Arrays, Part, batches, rows_of
from sensijax.campaign.store._columns import quoted
from sensijax.campaign.store._location import open_store
from sensijax.campaign.store._store import LAYOUT, Store
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
        parts: Sequence[Part],
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
        rows = {i: rows_of(tile) for i, tile in tiles.items()}
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
        connection.execute(f"create type scenario_name as enum ({', '.join(map(quoted, manifest['scenarios']))})")
        parts = [Part(path, rows[i], tuple(tiles[i]["scenarios"])) for i, path in scan.parts.items()]
        return cls(store, manifest, connection, parts, completeness)

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
        query = "select * from read_parquet(?) where scenario = ? and seed = ? and example = ?"
        parts = self._parts_of([scenario])
        found = self._connection.execute(query, [parts, scenario, seed, example]).df() if parts else pd.DataFrame()
        if found.empty:
            self._known_scenario(scenario)
            raise ArgumentError(
                "cell",
                f"{scenario}:{seed}:{example}",
                f"a seed among {self._complete[scenario]['seeds']} and an example's id",
            )
        query = "select * from read_parquet(?) where scenario = 'clean' and example = ?"
        clean = self._connection.execute(query, [self._parts_of(["clean"]), example]).df()
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
        present = {part.path.name.partition("-")[0] for part in self._parts}
        lacking = {n for tile in self.manifest["tiles"] if tile["id"] not in present for n in tile["scenarios"]}
        if "clean" in lacking:
            raise StoreError(f"{self.store.location} has no clean baseline yet: run the campaign on")
        return {name: s for name, s in self.manifest["scenarios"].items() if name not in lacking}

    def _parts_of(self, names: Sequence[str]) -> list[str]:
        """The files that hold rows of these scenarios."""
        wanted = set(names)
        return [str(part.path) for part in self._parts if not wanted.isdisjoint(part.scenarios)]

    @functools.cached_property
    def _examples(self) -> pd.DataFrame:
        return self._connection.sql("select * from examples order by example").df()

    @property
    def _scores(self) -> Mapping[str, np.ndarray]:
        """Scenario to score `[seeds, examples]`; NaN where there is none. Without draws, all seeds share a row."""
        return self._values("score")

    @functools.cached_property
    def _expressions(self) -> Mapping[str, tuple[str, type]]:
        """Responses by name: in SQL, null where a row has none; and the dtype that holds every value of it."""
        if self.metric == "r2":
            score = f"1 - loss / {self.manifest['target_variance']!r}"
            return {name: (sql, np.float64) for name, sql in (("score", score), ("loss", "loss"), ("shift", "shift"))}
        return {
            "score": ("correct", np.int8),
            **{name: (name, np.float32) for name in measure.AVERAGED},
            **{name: (name, np.int8) for name in ("correct", "flipped")},
            "overconfidence": ("confidence - correct::double", np.float64),
        }

    def _values(self, response: str) -> Mapping[str, np.ndarray]:
        if response not in self._expressions:
            raise ArgumentError("response", repr(response), did_you_mean(str(response), self._expressions))
        if response not in self._read:
            for other in set(self._read) - {"score"}:  # one beside the score: of a large store each takes its room
                del self._read[other]
            plain = self._plain(response, list(self._complete))
            self._read[response] = _Linearised(plain, self._weights) if self._weights else plain
        return self._read[response]

    def _plain(self, response: str, names: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Scenario to a response `[seeds, examples]`, whatever the examples weigh."""
        expression, dtype = self._expressions[response]
        return self._arrays(f"case when status = 'nonfinite_input' then null else {expression} end", names, dtype)

    @functools.cached_property
    def _weights(self) -> Mapping[str, np.ndarray]:
        """Of the scenarios with a drift that gives examples weights: those weights `[seeds, examples]`."""
        weighted = [name for name, scenario in self._complete.items() if scenario["weighted"]]
        return self._arrays("weight", weighted, np.float32) if weighted else {}

    def _arrays(self, expression: str, names: Sequence[str], dtype: type = np.float64) -> Mapping[str, np.ndarray]:
        """Scenario to values `[seeds, examples]`; NaN for null. Without draws, all seeds share a row."""
        seeds = np.array(self.manifest["seeds"], np.uint64)
        own = {name: len(self._complete[name]["seeds"]) for name in names}
        arrays = Arrays(len(seeds), self._examples.example.to_numpy(), own, dtype)
        in_order = np.argsort(seeds)
        starts, counts = arrays.starts_of([*self.manifest["scenarios"], ""])  # the last stands for any other
        kind, missing = _IN_SQL[dtype]
        columns = {
            "i": _SCENARIO,
            "seed": "seed::ubigint",
            "example": "example",
            "value": f"coalesce(({expression})::{kind}, {missing})",
        }
        wanted = set(names)
        parts = [part for part in self._parts if not wanted.isdisjoint(part.scenarios)]
        for rows in batches(self._connection, parts, columns):
            scenario = rows["i"]
            seed = in_order[np.searchsorted(seeds, rows["seed"], sorter=in_order)]
            kept = seed < counts[scenario]
            if kept.all():
                arrays.put(starts[scenario], seed, rows["example"], rows["value"])
            else:
                arrays.put(starts[scenario[kept]], seed[kept], rows["example"][kept], rows["value"][kept])
        return arrays

    @functools.cached_property
    def _tallies(self) -> Mapping[str, measure.Tally]:
        """Scenario to the tally of its rows, merged part by part."""
        tallies: dict[str, measure.Tally] = {}
        names, classes = list(self.manifest["scenarios"]), self.manifest["model"]["outputs"]
        columns = {"i": _SCENARIO, "label": "observed"}
        columns |= {name: name for name in ("weight", "prediction", "correct", "flipped", *measure.AVERAGED)}
        columns["status"] = f"list_position({list(measure.STATUSES)!r}, status)::int - 1"
        for rows in batches(self._connection, self._parts, columns):
            scenario, row = rows.pop("i"), rows.pop("row")
            begins = np.flatnonzero((np.diff(scenario, prepend=-2) != 0) | (row == 0))  # a part, or a scenario in it
            for start, stop in itertools.pairwise([*begins, len(row)]):
                if scenario[start] < 0:
                    continue  # no scenario of this campaign: `verify` says so
                name = names[scenario[start]]
                tally = measure.Tally.of({k: v[start:stop] for k, v in rows.items()}, classes)
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


_SCENARIO = "coalesce(enum_code(try_cast(scenario as scenario_name))::int, -1)"
_IN_SQL = {
    np.int8: ("tinyint", MISSING),
    np.float32: ("float", "'nan'::float"),
    np.float64: ("double", "'nan'::double"),
}


class _Linearised(Mapping[str, np.ndarray]):
    """Arrays by scenario, linearised where the scenario's examples have weights."""

    def __init__(self, plain: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]):
        self._plain, self._weights = plain, weights

    def __getitem__(self, name: str) -> np.ndarray:
        values = self._plain[name]
        return linearised(values, self._weights[name]) if name in self._weights else values

    def __iter__(self) -> Iterator[str]:
        return iter(self._plain)

    def __len__(self) -> int:
        return len(self._plain)


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
