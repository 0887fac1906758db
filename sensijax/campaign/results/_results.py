"""Results: what a campaign's responses say, with intervals."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sensijax import measure
from sensijax.campaign.results._bounded import in_blocks, joined
from sensijax.campaign.results._effects import contrasts_of, effects_of, pairs_of, profile_of
from sensijax.campaign.results._gaps import gaps_of
from sensijax.campaign.results._ranking import ranking_of
from sensijax.campaign.results._responses import Responses
from sensijax.campaign.results._slices import annotation_of, groups_of, predictions_of
from sensijax.campaign.results._stressed import prediction_sets_of, propagation_of
from sensijax.campaign.results._summary import summary_of
from sensijax.campaign.results._timelines import Watched, timeline_of, timelines_of
from sensijax.campaign.results._uncertainty import AnswerShare, KeepRisk, abstention_of, coverage_of
from sensijax.core.errors import ArgumentError


class Results(Responses):
    """What follows from the responses of a campaign, with intervals. Made by `run`, or by `Results.open` from a folder.

    A drop is the clean score minus a scenario's score (see `Responses`), paired example by example and seed by seed.
    """

    # --- scenarios ---------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _summary(self) -> pd.DataFrame:
        return summary_of(self)

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
        return ranking_of(self)

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
          Wilson's interval over streams (low, high), chance (the rate of alarms that come as often as the false ones),
          mean_delay (steps, NaN if nothing was found), repeats (alarms after the first, in a stream), false_per_10k
          (false alarms in 10,000 quiet steps), stated_per_10k (what it promises to stay at or below; NaN if nothing);
          and the same of a monitor that always fires and of one that never does: always_rate, always_delay,
          always_repeats, always_false_per_10k, never_rate, never_false_per_10k. Timelines of which no stream is there
          are left out.
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
        label, clean, prediction = predictions_of(self, scenario)
        changes = measure.confusion_changes(label, clean, prediction, self.manifest["model"]["outputs"], top)
        fields = [field.name for field in dataclasses.fields(measure.ConfusionChange)]
        return pd.DataFrame([dataclasses.asdict(change) for change in changes], columns=fields)

    def distribution_shift(self, scenario: str) -> measure.DistributionShift:
        """How far a scenario moves the distribution of predicted classes from the clean one.

        Raises:
          ArgumentError: for an unknown scenario, or a regression.
        """
        _, clean, prediction = predictions_of(self, scenario)
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

    def propagation(self) -> pd.DataFrame:
        """Where it breaks inside: the table of `campaign.propagation` for each stage alone at its strongest and for all
        together, for the first seed, as it was kept at the end of the run.

        Of many examples 1,024 are looked at, of many components fewer, so that they take 256 MiB at most.

        Raises:
          ArgumentError: unless stages of several families acted on a classification, or where the model could not be
            looked into; it says why.
        """
        return propagation_of(self)

    # --- what it is still sure of ------------------------------------------------------------------------------------

    def coverage(self, alpha: float = 0.1, *, scenarios: Sequence[str] = (), split: int = 0) -> pd.DataFrame:
        """How often sets of classes hold the truth, calibrated on one half of the clean examples, judged on the other.

        The sets are those of split conformal prediction (`measure.conformal.lac`): a class is in if its probability is
        high enough, so that on clean examples the true one is in with probability 1 - alpha at least.

        Args:
          alpha: the share of truths that may be missed, in (0, 1).
          scenarios: their names; all unless given.
          split: which division into halves, by a hash of (split, id).

        Returns:
          A row for each scenario: coverage of the true class with its interval (low, high: Clopper and Pearson's, on
          the effective number of examples, n_effective); observed (observed_low, observed_high), that of the class that
          annotators wrote down; band_low and band_high, where the coverage of clean examples lies 95 times in 100,
          calibration drawn anew each time (with weights an approximation, on n_effective examples); calibrated_on
          (examples); status, "ok" or why there is no number.

        Raises:
          ArgumentError: for a regression, an unknown scenario, or an alpha out of range.
        """
        return coverage_of(self, alpha, split, scenarios)

    def abstention(
        self, at: float | AnswerShare | KeepRisk = 0.8, *, scenarios: Sequence[str] = (), split: int = 0
    ) -> pd.DataFrame:
        """What a model answers, and how well, if it answers only where its confidence reaches a threshold.

        Args:
          at: what the threshold is fixed for, on one half of the clean examples: the share to be answered, or a
            `KeepRisk`. It is judged on the other half.
          scenarios, split: as in `coverage`.

        Returns:
          A row for each scenario: answered (the share; answered_low, answered_high), accuracy of the answers by what
          the examples are (low, high), observed (by what annotators wrote), accuracy_of_all, threshold, n_effective,
          fixed_on, status; and, over all examples, aurc, the mean error over all shares answered, surest first, with
          its interval (aurc_low, aurc_high).

        Raises:
          ArgumentError: for a regression, an unknown scenario, or a number out of range.
        """
        return abstention_of(self, at, split, scenarios)

    def prediction_sets(
        self, alpha: float = 0.1, *, penalty: float = 0.1, k_reg: int = 1, split: int = 0
    ) -> pd.DataFrame:
        """Sets of classes and their sizes, clean, under each stage alone at its strongest and under all together.

        Calibrated and judged as in `coverage`, by the outputs that a run keeps: for the first seed, on 1,024 examples
        at most. The true class counts.

        Args:
          alpha: the share of truths that may be missed, in (0, 1).
          penalty, k_reg: of RAPS; see `measure.conformal.raps`.
          split: as in `coverage`.

        Returns:
          A row for each scenario and method (lac, aps and raps, the last two randomised): coverage (low, high),
          mean_size (classes in a set), empty (the share of sets without any), band_low, band_high, n, status.

        Raises:
          ArgumentError: unless stages of several families acted on a classification; or for a number out of range.
        """
        return prediction_sets_of(self, alpha, penalty, k_reg, split)

    def gaps(self, group: str, *, scenarios: Sequence[str] = (), resamples: int = 1000) -> pd.DataFrame:
        """How far apart the groups of the data are treated under each scenario, by what the examples are.

        Args:
          group: the name of a group of the data.
          scenarios: their names; all unless given.
          resamples: of the examples, with all of their seeds, within groups.

        Returns:
          A row for each scenario: accuracy_gap (low, high) and equalised_odds (odds_low, odds_high), differences with
          intervals that hold for all pairs of groups at once, weighted where the scenario is; worst, the group of
          lowest accuracy among those with 10 examples (worst_accuracy, worst_low, worst_high); smallest (examples of
          the smallest group); status, "ok" or what is amiss. See `measure.fairness`.

        Raises:
          ArgumentError: for an unknown group, one of a single value or more than 64, or a regression.
        """
        return gaps_of(self, group, resamples, scenarios)

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
