"""Results: what the parts of a folder say, with intervals."""

import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

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


class Results:
    """The responses of a campaign and what follows from them. Made by `run`, or by `Results.open` from a folder.

    A score is what a scenario can lose: for classification 1 where the prediction is right, for regression the example's
    part of R^2 (1 - squared error / variance of the targets). A drop is the clean score minus the score, paired example
    by example and seed by seed. An example whose input is not finite is left out of every scenario, and counted. One whose
    output is not finite counts as wrong; in a regression it has no score, is counted, and makes the verdict fragile.

    Attributes:
      folder: where the parts are.
      manifest: what `campaign.json` says.
      completeness: how much of the campaign is there.
    """

    def __init__(self, folder: pathlib.Path, manifest: dict[str, Any], connection: duckdb.DuckDBPyConnection, parts: Sequence[pathlib.Path],
                 completeness: Completeness):
        self.folder, self.manifest, self.completeness, self._connection, self._parts = folder, manifest, completeness, connection, parts

    @classmethod
    def open(cls, folder: str | os.PathLike) -> "Results":
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
            tiles=len(scan.parts), tiles_total=len(tiles), rows=sum(rows[i] for i in scan.parts), rows_total=sum(rows.values()),
            damaged=scan.damaged, conflicts=scan.conflicts, stale=len(store.tiles() - set(tiles)))
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
            return self._connection.sql(query).df()
        except duckdb.Error as error:
            raise ArgumentError("query", repr(query), str(error)) from error

    def frame(self) -> pd.DataFrame:
        """Every response, a row for each (scenario, seed, example), sorted by them in the campaign's order."""
        return self._connection.sql("select * exclude (i) from responses join scenario_order using (scenario) order by i, seed, example").df()

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
        """The scores of a scenario, float64 `[seeds, N]`; NaN for an example without one. Without draws, all seeds agree.

        Raises:
          ArgumentError: for an unknown scenario.
        """
        self._known_scenario(scenario)
        return self._scores[scenario]

    # --- scenarios ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _summary(self) -> pd.DataFrame:
        names = list(self._complete)
        facts = self._facts().set_index("scenario").reindex(names)
        drops = self._drops([self._scores[name] for name in names], self._binary)
        tolerance = self.manifest["tolerance"]
        table = pd.DataFrame({
            "scenario": names,
            "stages": ["+".join(stage for stage, _ in self._complete[n]["settings"]) or "clean" for n in names],
            "severity": [self._complete[n]["severity"] for n in names],
            self.metric: [float(np.nanmean(self._scores[n])) for n in names],
            "drop": drops.mean, "low": drops.low, "high": drops.high, "p_value": drops.p_value,
        })
        perturbed = table.scenario != "clean"
        table["p_holm"] = np.nan
        if perturbed.any():
            table.loc[perturbed, "p_holm"] = measure.holm(table.p_value[perturbed].to_numpy())
        table["verdict"] = [measure.verdict(low, high, tolerance).value for low, high in zip(table.low, table.high, strict=True)]
        for column in facts.columns:
            table[column] = facts[column].to_numpy()
        table.loc[table.nonfinite_outputs > 0, "verdict"] = measure.Verdict.FRAGILE.value if self.metric == "r2" else table.verdict
        # Against itself the baseline loses nothing, and there is nothing to test.
        table.loc[~perturbed, ["low", "high"]] = 0.0
        table.loc[~perturbed, "p_value"] = np.nan
        table.loc[~perturbed, "verdict"] = ""
        return table

    def scenarios(self) -> pd.DataFrame:
        """One row for each finished scenario.

        Returns:
          Columns: scenario, stages, severity, accuracy (or r2), drop with its interval (low, high), p_value (no change),
          p_holm (corrected over all scenarios), verdict at the tolerance, and means over examples and seeds: flip_rate,
          nll, brier, ece, confidence, entropy, kl (nats) - or mse and shift - and the counts n,
          nonfinite_outputs, nonfinite_inputs.
        """
        return self._summary.copy()

    def baseline(self) -> tuple[float, float, float]:
        """The clean score (accuracy or R^2) and its 95 % interval over examples: (score, low, high)."""
        clean = self._scores["clean"][:1]  # nothing is drawn, so seeds repeat
        if self._binary:
            (whole,) = measure.worst_group(clean, np.zeros(clean.shape[1], np.int64)).groups
            return whole.accuracy, whole.low, whole.high
        mean = measure.paired_bootstrap(clean, binary=False)
        return float(mean.mean), float(mean.low), float(mean.high)

    def curve(self, stage: str) -> pd.DataFrame:
        """A stage alone, over its settings, from the clean baseline on: the rows of `scenarios` sorted by setting.

        Raises:
          ArgumentError: for a stage that the campaign does not have.
        """
        self._known(stage)
        table = self._summary[(self._summary.stages == stage) | (self._summary.scenario == "clean")]
        return table.sort_values("severity").reset_index(drop=True)

    def ranking(self) -> pd.DataFrame:
        """The stages, worst first: what each does alone, averaged over its settings.

        Returns:
          Columns: stage, kind, mean_drop with its interval (low, high; the mean over settings is taken example by
          example), worst_drop and the setting it occurs at (worst_at), breaks_at (the smallest setting whose verdict is
          fragile, NaN if none), robust_to (the largest setting up to which every verdict is robust, 0 if none), flip_rate.
        """
        rows = []
        for stage, about in self.manifest["stages"].items():
            alone = self.curve(stage)
            alone = alone[alone.scenario != "clean"]
            if alone.empty:
                continue
            mean = self._drops([np.mean([self._scores[n] for n in alone.scenario], axis=0)], binary=False)
            worst = alone.loc[alone["drop"].idxmax()]
            fragile = alone.severity[alone.verdict == "fragile"]
            not_robust = alone.severity[alone.verdict != "robust"]
            robust = alone.severity[alone.severity < (not_robust.min() if len(not_robust) else np.inf)]
            rows.append({
                "stage": stage, "kind": about["kind"], "mean_drop": mean.mean[0], "low": mean.low[0], "high": mean.high[0],
                "worst_drop": worst["drop"], "worst_at": worst.severity, "breaks_at": fragile.min() if len(fragile) else np.nan,
                "robust_to": robust.max() if len(robust) else 0.0,
                **({"flip_rate": alone.flip_rate.mean()} if "flip_rate" in alone else {}),
            })
        columns = ["stage", "kind", "mean_drop", "low", "high", "worst_drop", "worst_at", "breaks_at", "robust_to"]
        if not rows:
            return pd.DataFrame(columns=columns)
        return pd.DataFrame(rows).sort_values("mean_drop", ascending=False, kind="stable").reset_index(drop=True)

    def interactions(self) -> pd.DataFrame:
        """The pairs of which both members ran alone too, strongest first.

        The interaction of a pair is drop(A then B) - drop(A) - drop(B): above 0 the two are worse together than the sum of
        what they do alone, below 0 they overlap or one undoes the other.

        Returns:
          Columns: first, second, at_first, at_second, drop_first, drop_second, drop_pair, interaction with its interval
          (low, high), p_value (additive), p_holm (corrected over all pairs).
        """
        pairs, rows = [], []
        singles = {tuple(s["settings"][0]): n for n, s in self._complete.items() if len(s["settings"]) == 1}
        for name, scenario in self._complete.items():
            if len(scenario["settings"]) == 2 and all(tuple(setting) in singles for setting in scenario["settings"]):
                (first, at_first), (second, at_second) = scenario["settings"]
                rows.append({"first": first, "second": second, "at_first": at_first, "at_second": at_second})
                pairs.append((name, singles[first, at_first], singles[second, at_second]))
        columns = ["first", "second", "at_first", "at_second", "drop_first", "drop_second", "drop_pair", "interaction", "low", "high", "p_value", "p_holm"]
        if not rows:
            return pd.DataFrame(columns=columns)
        together, one, two = ([self._scores["clean"] - self._scores[pair[k]] for pair in pairs] for k in range(3))
        effect = measure.interaction(np.stack(together), np.stack(one), np.stack(two), binary=self._binary)
        drop = self._summary.set_index("scenario")["drop"]
        table = pd.DataFrame(rows)
        for k, column in enumerate(("drop_pair", "drop_first", "drop_second")):
            table[column] = [drop[pair[k]] for pair in pairs]
        table["interaction"], table["low"], table["high"], table["p_value"] = effect.mean, effect.low, effect.high, effect.p_value
        table["p_holm"] = measure.holm(effect.p_value)
        return table[columns].sort_values("interaction", key=np.abs, ascending=False, kind="stable").reset_index(drop=True)

    # --- where it goes wrong -----------------------------------------------------------------------------------------

    def error_modes(self, scenario: str, top: int = 5) -> pd.DataFrame:
        """The confusions that a scenario adds: the (label, prediction) pairs whose number grew most against clean.

        Args:
          scenario: its name, such as `fog@3`.
          top: how many.

        Returns:
          Columns: label, predicted (-1: no prediction), clean_count and count (over examples and seeds), share (the growth
          as a fraction of the examples with that label).

        Raises:
          ArgumentError: for an unknown scenario, or a regression.
        """
        label, clean, prediction = self._predictions(scenario)
        changes = measure.confusion_changes(label, clean, prediction, self.manifest["model"]["outputs"], top)
        fields = [field.name for field in dataclasses.fields(measure.ConfusionChange)]
        return pd.DataFrame([dataclasses.asdict(change) for change in changes], columns=fields)

    def distribution_shift(self, scenario: str) -> measure.DistributionShift:
        """How far a scenario moves the distribution of predicted classes from the clean one.

        Raises:
          ArgumentError: for an unknown scenario, or a regression.
        """
        _, clean, prediction = self._predictions(scenario)
        return measure.distribution_shift(clean, prediction, self.manifest["model"]["outputs"])

    def groups(self, scenario: str) -> pd.DataFrame:
        """A scenario group by group: every slice of every group of the data, and of the labels; lowest accuracy first.

        Returns:
          Columns: group, value, n (examples), accuracy with its interval (low, high), clean (the accuracy without
          perturbation), drop, small (True below 10 examples: too few to rank, so last).

        Raises:
          ArgumentError: for an unknown scenario, or a regression.
        """
        self._known_scenario(scenario)
        if self.metric != "accuracy":
            raise ArgumentError("scenario", scenario, "slices are for classification")
        slices = {"label": self._examples.label.to_numpy(),
                  **{name: self._examples[name].to_numpy() for name in self.manifest["data"]["groups"]}}
        clean, scores = self._scores["clean"], self._scores[scenario]
        rows = []
        for group, values in slices.items():
            values = values if values.dtype.kind in "iu" else values.astype(str)
            for part in measure.worst_group(scores, values).groups:
                inside = values == part.group
                rows.append({"group": group, "value": str(part.group), "n": part.n, "accuracy": part.accuracy, "low": part.low,
                             "high": part.high, "clean": float(np.nanmean(clean[:, inside])), "small": part.too_small})
        table = pd.DataFrame(rows, columns=["group", "value", "n", "accuracy", "low", "high", "clean", "small"])
        table["drop"] = table.clean - table.accuracy
        return table.sort_values(["small", "accuracy"], kind="stable").reset_index(drop=True)

    def reliability(self, scenario: str) -> measure.Reliability:
        """Confidence against accuracy, in 15 bins of equal width.

        Raises:
          ArgumentError: for an unknown scenario, or a regression.
        """
        self._known_scenario(scenario)
        if self.metric != "accuracy":
            raise ArgumentError("scenario", scenario, "confidence is a classifier's")
        return self._tallies[scenario].reliability

    def cell(self, scenario: str, seed: int, example: int) -> dict[str, Any]:
        """Everything that is stored about one cell: its row, and the clean row of the same example.

        Raises:
          ArgumentError: if there is no such cell.
        """
        query = "select * from responses where scenario = ? and seed = ? and example = ?"
        found = self._connection.execute(query, [scenario, seed, example]).df()
        if found.empty:
            self._known_scenario(scenario)
            raise ArgumentError("cell", f"{scenario}:{seed}:{example}", f"a seed among {self._complete[scenario]['seeds']} and an example's id")
        clean = self._connection.execute("select * from responses where scenario = 'clean' and example = ?", [example]).df()
        return {"row": found.iloc[0].to_dict(), "clean": clean.iloc[0].to_dict() if len(clean) else None,
                "settings": self.manifest["scenarios"][scenario]["settings"]}

    def report(self, path: str | os.PathLike | None = None) -> pathlib.Path:
        """Writes the report: one self-contained HTML file.

        Args:
          path: where; `report.html` in the campaign's folder unless given.

        Returns:
          The path.
        """
        from sensijax.report import write_report  # the one arrow that runs up the house, followed only on request

        return write_report(self, path)

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
        """Scenario to score `[seeds, examples]`; NaN where the input is not finite. Without draws, seeds share one row."""
        score = "correct::double" if self.metric == "accuracy" else f"1 - loss / {self.manifest['target_variance']!r}"
        names, ids = list(self._complete), self._examples.example.to_numpy()
        rows = self._connection.sql(
            f"select i, seed, example, case when status = 'nonfinite_input' then 'nan'::double else {score} end as score "
            "from responses join scenario_order using (scenario)").fetchnumpy()
        seed_index = {seed: k for k, seed in enumerate(self.manifest["seeds"])}
        scores = np.full((len(self.manifest["scenarios"]), len(seed_index), len(ids)), np.nan)
        seeds = np.asarray(rows["seed"])
        position = np.zeros(len(seeds), np.int64)
        for seed, k in seed_index.items():
            position[seeds == seed] = k
        scores[rows["i"], position, np.searchsorted(ids, rows["example"])] = rows["score"]
        found = {}
        for i, name in enumerate(self.manifest["scenarios"]):
            if name in self._complete:
                own = len(self._complete[name]["seeds"])
                found[name] = scores[i] if own == len(seed_index) else np.broadcast_to(scores[i, :1], scores[i].shape)
        return {name: found[name] for name in names}

    def _drops(self, scores: list[np.ndarray], binary: bool) -> measure.Estimate:
        return measure.paired_bootstrap(self._scores["clean"] - np.stack(scores), binary=binary)

    @property
    def _binary(self) -> bool:
        return self.metric == "accuracy"

    @functools.cached_property
    def _tallies(self) -> Mapping[str, measure.Tally]:
        """Scenario to the tally of its rows, merged part by part: no more than one part is in memory."""
        tallies: dict[str, measure.Tally] = {}
        for part in self._parts:
            rows = self._connection.execute(
                f"select scenario, label, prediction, list_position({list(measure.STATUSES)!r}, status)::int - 1 as status, correct, flipped, loss, brier, confidence, entropy, margin, kl from read_parquet(?)",
                [str(part)]).fetchnumpy()
            scenario = np.asarray(rows.pop("scenario"))
            for name in dict.fromkeys(scenario):
                tally = measure.Tally.of({k: v[scenario == name] for k, v in rows.items()}, self.manifest["model"]["outputs"])
                tallies[name] = tallies[name] + tally if name in tallies else tally
        return tallies

    def _facts(self) -> pd.DataFrame:
        if self.metric == "r2":
            return self._connection.sql(
                "select scenario, avg(loss) as mse, avg(shift) as shift, count(*) filter (status <> 'nonfinite_input') as n, "
                "count(*) filter (status = 'nonfinite_output') as nonfinite_outputs, "
                "count(*) filter (status = 'nonfinite_input') as nonfinite_inputs from responses group by scenario").df()
        return pd.DataFrame([{
            "scenario": name, "flip_rate": t.flip_rate, "nll": t.nll, "brier": t.brier, "ece": t.ece, "confidence": t.means["confidence"],
            "entropy": t.means["entropy"], "kl": t.means["kl"], "n": t.n, "nonfinite_outputs": t.n_nonfinite_output,
            "nonfinite_inputs": t.n_nonfinite_input} for name, t in self._tallies.items()])

    def _predictions(self, scenario: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Label, clean prediction and prediction of every row of a scenario whose input is finite."""
        self._known_scenario(scenario)
        if self.metric != "accuracy":
            raise ArgumentError("scenario", scenario, "predicted classes are a classifier's")
        rows = self._connection.execute(
            "select r.label, c.prediction as clean, r.prediction from responses r join responses c using (example) "
            "where r.scenario = ? and c.scenario = 'clean' and r.status <> 'nonfinite_input'", [scenario]).fetchnumpy()
        return rows["label"], rows["clean"], rows["prediction"]

    def _known(self, stage: str) -> None:
        if stage not in self.manifest["stages"]:
            raise ArgumentError("stage", repr(stage), did_you_mean(stage, self.manifest["stages"]))

    def _known_scenario(self, scenario: str) -> None:
        if scenario not in self.manifest["scenarios"]:
            raise ArgumentError("scenario", repr(scenario), did_you_mean(scenario, self.manifest["scenarios"]))
        if scenario not in self._complete:
            raise ArgumentError("scenario", repr(scenario), "a finished one: run the campaign on")
