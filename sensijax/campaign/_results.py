"""Results: what a campaign's responses say, with intervals."""

import dataclasses
import functools
import itertools
import os
import pathlib

import numpy as np
import pandas as pd

from sensijax import measure
from sensijax.campaign._responses import Responses
from sensijax.core.errors import ArgumentError


class Results(Responses):
    """What follows from the responses of a campaign, with intervals. Made by `run`, or by `Results.open` from a folder.

    A drop is the clean score minus a scenario's score (see `Responses`), paired example by example and seed by seed.
    """

    # --- scenarios ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _summary(self) -> pd.DataFrame:
        names = list(self._complete)
        facts = self._facts().set_index("scenario").reindex(names)
        drops = self._drops([self._scores[name] for name in names])
        tolerance = self.manifest["tolerance"]
        table = pd.DataFrame(
            {
                "scenario": names,
                "stages": ["+".join(stage for stage, _ in self._complete[n]["settings"]) or "clean" for n in names],
                "severity": [self._complete[n]["severity"] for n in names],
                self.metric: [_mean(self._scores[n]) for n in names],
                "drop": drops.mean,
                "low": drops.low,
                "high": drops.high,
                "p_value": drops.p_value,
            }
        )
        perturbed = table.scenario != "clean"
        table["p_holm"] = np.nan
        if perturbed.any():
            table.loc[perturbed, "p_holm"] = measure.holm(table.p_value[perturbed].to_numpy())
        table["verdict"] = [
            measure.verdict(low, high, tolerance).value for low, high in zip(table.low, table.high, strict=True)
        ]
        for column in facts.columns:
            table[column] = facts[column].to_numpy()
        table.loc[table.nonfinite_outputs > 0, "verdict"] = (
            measure.Verdict.FRAGILE.value if self.metric == "r2" else table.verdict
        )
        # Against itself the baseline loses nothing, and there is nothing to test.
        table.loc[~perturbed, ["low", "high"]] = 0.0
        table.loc[~perturbed, "p_value"] = np.nan
        table.loc[~perturbed, "verdict"] = ""
        return table

    def scenarios(self) -> pd.DataFrame:
        """One row for each finished scenario.

        Returns:
          Columns: scenario, stages, severity, accuracy (or r2), drop with its interval (low, high), p_value (no
          change), p_holm (corrected over all scenarios), verdict at the tolerance, and means over examples and seeds:
          flip_rate, nll, brier, ece, confidence, entropy, kl (nats) - or mse and shift - and the counts n,
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
        """A stage alone, over its settings: the rows of `scenarios`, from the clean baseline on, by distance from it.

        The baseline stands at the setting of no perturbation: severity 0, or the identity of whatever is swept.

        Raises:
          ArgumentError: for a stage that the campaign does not have.
        """
        self._known(stage)
        table = self._summary[(self._summary.stages == stage) | (self._summary.scenario == "clean")]
        identity = self.manifest["stages"][stage]["identity"]
        table = table.assign(severity=table.severity.where(table.scenario != "clean", identity).astype(float))
        return table.sort_values("severity", key=lambda values: abs(values - identity), kind="stable").reset_index(
            drop=True
        )

    def ranking(self) -> pd.DataFrame:
        """The stages, worst first: what each does alone, averaged over its settings.

        Returns:
          Columns: stage, kind, mean_drop with its interval (low, high; the mean over settings is taken example by
          example), worst_drop and the setting it occurs at (worst_at), breaks_at (the mildest setting whose verdict is
          fragile, NaN if none), robust_to (the strongest setting up to which every verdict is robust, NaN if none),
          flip_rate. A stage none of whose outputs are finite has no mean, and comes first.
        """
        rows = []
        for stage, about in self.manifest["stages"].items():
            alone = self.curve(stage)
            alone = alone[alone.scenario != "clean"]
            if alone.empty:
                continue
            mean = self._drops([np.mean([self._scores[n] for n in alone.scenario], axis=0)])
            worst = alone.loc[alone["drop"].fillna(-np.inf).idxmax()]
            verdicts = dict(zip(alone.severity, alone.verdict, strict=True))
            in_order = sorted(
                set(about["values"]) - {about["identity"]}, key=lambda value: abs(value - about["identity"])
            )
            robust = list(itertools.takewhile(lambda value: verdicts.get(value) == "robust", in_order))  # noqa: B023 - used here alone
            rows.append(
                {
                    "stage": stage,
                    "kind": about["kind"],
                    "mean_drop": mean.mean[0],
                    "low": mean.low[0],
                    "high": mean.high[0],
                    "worst_drop": worst["drop"],
                    "worst_at": worst.severity,
                    "breaks_at": next((value for value in in_order if verdicts.get(value) == "fragile"), np.nan),
                    "robust_to": robust[-1] if robust else np.nan,
                    **({"flip_rate": alone.flip_rate.mean()} if "flip_rate" in alone else {}),
                }
            )
        columns = ["stage", "kind", "mean_drop", "low", "high", "worst_drop", "worst_at", "breaks_at", "robust_to"]
        if not rows:
            return pd.DataFrame(columns=columns)
        table = pd.DataFrame(rows).sort_values("mean_drop", ascending=False, kind="stable", na_position="first")
        return table.reset_index(drop=True)

    def interactions(self) -> pd.DataFrame:
        """The pairs of which both members ran alone too, strongest first.

        The interaction of a pair is drop(A then B) - drop(A) - drop(B): above 0 the two are worse together than the
        sum of what they do alone, below 0 they overlap or one undoes the other.

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
        columns = [
            "first",
            "second",
            "at_first",
            "at_second",
            "drop_first",
            "drop_second",
            "drop_pair",
            "interaction",
            "low",
            "high",
            "p_value",
            "p_holm",
        ]
        if not rows:
            return pd.DataFrame(columns=columns)
        together, one, two = ([self._scores["clean"] - self._scores[pair[k]] for pair in pairs] for k in range(3))
        effect = measure.interaction(np.stack(together), np.stack(one), np.stack(two), binary=self._binary)
        drop = self._summary.set_index("scenario")["drop"]
        table = pd.DataFrame(rows)
        for k, column in enumerate(("drop_pair", "drop_first", "drop_second")):
            table[column] = [drop[pair[k]] for pair in pairs]
        table["interaction"], table["low"], table["high"], table["p_value"] = (
            effect.mean,
            effect.low,
            effect.high,
            effect.p_value,
        )
        table["p_holm"] = measure.holm(effect.p_value)
        return (
            table[columns].sort_values("interaction", key=np.abs, ascending=False, kind="stable").reset_index(drop=True)
        )

    # --- where it goes wrong -----------------------------------------------------------------------------------------

    def error_modes(self, scenario: str, top: int = 5) -> pd.DataFrame:
        """The confusions that a scenario adds: the (label, prediction) pairs whose number grew most against clean.

        Args:
          scenario: its name, such as `fog@3`.
          top: how many.

        Returns:
          Columns: label, predicted (-1: no prediction), clean_count and count (over examples and seeds), share (the
          growth as a fraction of the examples with that label).

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
        slices = {
            "label": self._examples.label.to_numpy(),
            **{name: self._examples[name].to_numpy() for name in self.manifest["data"]["groups"]},
        }
        clean, scores = self._scores["clean"], self._scores[scenario]
        rows = []
        for group, values in slices.items():
            values = values if values.dtype.kind in "iu" else values.astype(str)
            for part in measure.worst_group(scores, values).groups:
                inside = values == part.group
                rows.append(
                    {
                        "group": group,
                        "value": str(part.group),
                        "n": part.n,
                        "accuracy": part.accuracy,
                        "low": part.low,
                        "high": part.high,
                        "clean": float(np.nanmean(clean[:, inside])),
                        "small": part.too_small,
                    }
                )
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

    def _drops(self, scores: list[np.ndarray]) -> measure.Estimate:
        return measure.paired_bootstrap(self._scores["clean"] - np.stack(scores), binary=self._binary)

    @property
    def _binary(self) -> bool:
        return self.metric == "accuracy"

    def _facts(self) -> pd.DataFrame:
        if self.metric == "r2":
            return self._connection.sql(
                "select scenario, avg(loss) as mse, avg(shift) as shift, "
                "count(*) filter (status <> 'nonfinite_input') as n, "
                "count(*) filter (status = 'nonfinite_output') as nonfinite_outputs, "
                "count(*) filter (status = 'nonfinite_input') as nonfinite_inputs from responses group by scenario"
            ).df()
        return pd.DataFrame(
            [
                {
                    "scenario": name,
                    "flip_rate": t.flip_rate,
                    "nll": t.nll,
                    "brier": t.brier,
                    "ece": t.ece,
                    "confidence": t.means["confidence"],
                    "entropy": t.means["entropy"],
                    "kl": t.means["kl"],
                    "n": t.n,
                    "nonfinite_outputs": t.n_nonfinite_output,
                    "nonfinite_inputs": t.n_nonfinite_input,
                }
                for name, t in self._tallies.items()
            ]
        )

    def _predictions(self, scenario: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Label, clean prediction and prediction of every row of a scenario whose input is finite."""
        self._known_scenario(scenario)
        if self.metric != "accuracy":
            raise ArgumentError("scenario", scenario, "predicted classes are a classifier's")
        rows = self._connection.execute(
            "select r.label, c.prediction as clean, r.prediction from responses r join responses c using (example) "
            "where r.scenario = ? and c.scenario = 'clean' and r.status <> 'nonfinite_input'",
            [scenario],
        ).fetchnumpy()
        return rows["label"], rows["clean"], rows["prediction"]


def _mean(scores: np.ndarray) -> float:
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if known.size else float("nan")
