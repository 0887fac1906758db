"""Results: what a campaign's responses say, with intervals."""

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sensijax import measure
from sensijax.campaign.results._bounded import in_blocks, joined
from sensijax.campaign.results._effects import contrasts_of, effects_of, pairs_of, profile_of
from sensijax.campaign.results._responses import Responses
from sensijax.campaign.results._slices import annotation_of, groups_of
from sensijax.campaign.results._timelines import Watched, timeline_of, timelines_of
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
        drops = self._drops([[name] for name in names])
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
            mean = self._drops([list(alone.scenario)])
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

    def interactions(self, order: int | None = None, response: str = "score") -> pd.DataFrame:
        """The pairs of which both members ran alone too, strongest first; or, of an `order`, every effect up to it.

        The interaction of a pair is drop(A then B) - drop(A) - drop(B): above 0 the two are worse together than the
        sum of what they do alone, below 0 they overlap or one undoes the other.

        Args:
          order: the largest number of stages in an effect: the table of `effects`. Unless given, that of the pairs.
          response: what is lost, as in `effects`; for the pairs alone it is the score.

        Returns:
          Columns, for the pairs: first, second, at_first, at_second, drop_first, drop_second, drop_pair, interaction
          with its interval (low, high), p_value (additive), p_holm (corrected over all pairs).
        """
        if order is not None or response != "score":
            return self.effects(2 if order is None else order, response)
        return pairs_of(self)

    def effects(self, order: int = 3, response: str = "score", *, averaged: bool = False) -> pd.DataFrame:
        """What each stage does, what two do together beyond the sum, and what only three or more do.

        The effect of a set of stages T, each at a setting, is the signed sum of the drops of the scenarios within it,
        sum over S of (-1)^(|T| - |S|) drop(S): see `measure.effects`. There is one for each scenario of which all
        smaller ones ran too; `design.staged()` runs them all.

        Args:
          order: the largest number of stages in an effect.
          response: what is lost: "score", or any response of `values`, such as "confidence" or "overconfidence"; the
            drop is how far its mean falls from clean, negative where it rises.
          averaged: one row for each set of stages, the mean over their settings, example by example.

        Returns:
          Columns: order, stages, scenario (averaged: scenarios, how many), drop (under all of the stages), effect with
          its interval (low, high), p_value (none), p_holm (corrected over the table).

        Raises:
          ArgumentError: if the order is no number of stages, or the response is unknown.
        """
        return effects_of(self, order, response, averaged)

    def contrasts(self, order: int = 2, response: str = "score", *, at: Any = None) -> measure.Contrasts:
        """Effects by least squares, of stages that are absent or at one setting: for `design.fractional`.

        Args:
          order: the largest number of stages in an effect.
          response: as in `effects`.
          at: the setting at which a stage counts as present, for all or by name; needed where stages ran at several.

        Returns:
          Estimates by stage names, and what each of them is aliased with; see `measure.contrasts`.

        Raises:
          ArgumentError: if a stage ran at several settings and `at` does not say which counts, or the scenarios that
            ran do not tell the effects apart.
        """
        return contrasts_of(self, order, response, at)

    def profile(self) -> pd.DataFrame:
        """The model's robustness in several dimensions: what it keeps of its clean score, for each set of stages.

        Returns:
          Columns: model; axis (the stages, or "calibration"), order (how many stages; 0 for calibration), scenarios;
          retained (mean score over their scenarios divided by the clean one; of the calibration 1 - mean ECE) with its
          interval (low, high; that of the drop, the clean score taken as it is), worst (the same of the worst scenario)
          and worst_scenario, clean (the clean score). Tables of several models can be put below each other.
        """
        return profile_of(self)

    def annotation(self) -> pd.DataFrame:
        """What wrong labels do to the measured score: the scenarios whose labels are not the data's.

        Returns:
          Columns: scenario, measured (accuracy against the observed labels), true (against what the examples are),
          gap (measured - true), wrong_labels (the share of labels that are wrong), n (rows); and, where one known noise
          acts and no weights, corrected: what `label.corrected_accuracy` concludes from the observed labels and the
          noise's transition matrix, with its interval (low, high), else NaN. It assumes errors of the annotators that
          tell nothing of the model's: under noise that depends on the example it is too high.

        Raises:
          ArgumentError: for a regression.
        """
        return annotation_of(self)

    # --- in time -----------------------------------------------------------------------------------------------------

    def timeline(self, name: str) -> Watched:
        """A timeline: what happened, what the model did meanwhile, what each monitor said, and how good that is.

        Raises:
          ArgumentError: for a timeline that the campaign does not have.
          StoreError: if none of its streams has been computed.
        """
        return timeline_of(self, name)

    def timelines(self) -> pd.DataFrame:
        """One row for each timeline and monitor: what it found, how late, and at the price of which false alarms.

        Returns:
          Columns: timeline, monitor, signal, kind (the detector or test), labels (whether it needs them), streams (one
          a seed), changes (in each, that lead away from no drift), rate (the share of them that was found) with
          Wilson's interval over streams (low, high), chance (the rate of as many alarms at random places), mean_delay
          (steps, NaN if nothing was found), repeats (alarms after the first, in a stream), false_per_10k (false alarms
          in 10,000 quiet steps), stated_per_10k (what it promises to stay at or below; NaN if nothing); and the same of
          a monitor that always fires and of one that never does: always_rate, always_delay, always_repeats,
          always_false_per_10k, never_rate, never_false_per_10k. Timelines of which no stream is there are left out.
        """
        return timelines_of(self)

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
        return groups_of(self, scenario)

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
          The path; of a store at a URL, that of its mirror on this machine.
        """
        from sensijax.report import write_report  # the one arrow that runs up the house, followed only on request

        return write_report(self, path)

    # --- how ---------------------------------------------------------------------------------------------------------

    def _drops(self, groups: Sequence[Sequence[str]]) -> measure.Estimate:
        """The drops to groups of scenarios, each the mean over its members; numbers are whole where none has weights.

        Groups are taken so many at a time that memory is bounded.
        """
        clean = self._scores["clean"]
        weighted = np.array([self._binary and any(name in self._weights for name in group) for group in groups])
        rows: list[int] = []
        estimates = []
        for kind in (False, True):
            for some in in_blocks(np.flatnonzero(weighted == kind).tolist(), clean.nbytes):
                drops = np.stack([np.mean([self._scores[name] for name in groups[i]], axis=0) for i in some])
                np.subtract(clean, drops, out=drops)
                rows += some
                estimates.append(measure.paired_bootstrap(drops, binary=self._binary and not kind))
        return joined(estimates, np.array(rows))

    @property
    def _binary(self) -> bool:
        return self.metric == "accuracy"

    def _facts(self) -> pd.DataFrame:
        if self.metric == "r2":
            return self._connection.sql(
                "select scenario, sum(weight * loss) / sum(weight) filter (where loss is not null) as mse, "
                "sum(weight * shift) / sum(weight) filter (where shift is not null) as shift, "
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
            "select r.label, c.prediction as clean, r.prediction from read_parquet(?) r join read_parquet(?) c "
            "using (example) where r.scenario = ? and c.scenario = 'clean' and r.status <> 'nonfinite_input'",
            [self._parts_of([scenario]), self._parts_of(["clean"]), scenario],
        ).fetchnumpy()
        return rows["label"], rows["clean"], rows["prediction"]


def _mean(scores: np.ndarray) -> float:
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if known.size else float("nan")
