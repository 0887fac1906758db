"""Aggregates that merge: what the rows of one scenario add up to."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.measure._status import NONFINITE_INPUT, OK, STATUSES
from sensijax.measure._validate import class_numbers, numbers, probabilities, whole_number, zeros_and_ones
from sensijax.measure.calibration import Reliability, bin_sums, from_sums

AVERAGED = ("loss", "brier", "confidence", "entropy", "margin", "kl")
"""The columns whose sums a tally keeps."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tally:
    """Counts and sums over rows of one scenario; `+` merges the tallies of disjoint sets of rows.

    Merging is associative and commutative: exact for counts, to rounding for sums. The tally of no rows, `Tally.of`
    on empty columns, changes nothing.

    A row whose input was not finite before it was perturbed is counted in `n_nonfinite_input` and nowhere else. A row
    whose output is not finite counts in `n`, as wrong and as flipped, and is left out of the means of loss and the
    like, which have no number for it: `n_nonfinite_output` says how many those are.

    Rows may have weights, as under a drift that makes some examples more frequent: then all counts but `n` and
    `n_nonfinite_input` are sums of weights, and every mean is a weighted one.

    Attributes:
      n: rows with a finite input.
      n_nonfinite_input: rows that are excluded.
      weight: the rows' weight in all, `n` where they have none; what `accuracy` and `flip_rate` divide by.
      correct: rows whose prediction is the label.
      flipped: rows whose prediction is not the clean one.
      sums: float64 sums by name in `AVERAGED`, over rows with a finite output (`kl`: and a finite clean output).
      n_ok, n_kl: rows with a finite output, and with a `kl`.
      bin_counts, bin_confidence, bin_correct: `[bins]` count, sum of confidence, number correct per calibration bin.
      confusion: int64 (float64 with weights) `[K, K]` rows with a finite output by label (row) and prediction (column).
      unpredicted: int64 `[K]` rows by label whose output is not finite.
      n_nonfinite_output: rows with a finite input and an output that is not: wrong, flipped, and in no mean.
    """

    n: int
    n_nonfinite_input: int
    weight: float
    correct: float
    flipped: float
    sums: Mapping[str, float]
    n_ok: float
    n_kl: float
    bin_counts: np.ndarray
    bin_confidence: np.ndarray
    bin_correct: np.ndarray
    confusion: np.ndarray
    unpredicted: np.ndarray
    n_nonfinite_output: int

    @classmethod
    def of(cls, columns: Mapping[str, Any], classes: int, bins: int = 15) -> "Tally":
        """The tally of rows.

        Args:
          columns: arrays `[M]` by name: `label` (integers in [0, K)) and those that `classification_responses` returns.
            `weight` (0 or more) if the rows have any.
            NaN or a masked entry (a store's NULL) is fine where the row's status says there is no number.
          classes: K >= 2.
          bins: calibration bins, >= 1.

        Returns:
          The tally.

        Raises:
          ArgumentError: if a column is missing or of another length, or a value is outside its range.

        Example:
          >>> rows = {name: np.zeros(2) for name in AVERAGED} | {"confidence": np.array([0.9, np.nan])}
          >>> rows |= {"label": np.array([0, 1]), "prediction": np.array([0, -1]), "status": np.array([0, 2])}
          >>> tally = Tally.of(rows | {"correct": [True, False], "flipped": [False, True]}, classes=2)
          >>> tally.n, tally.n_nonfinite_output, tally.accuracy, tally.means["confidence"]
          (2, 1, 0.5, 0.9)
        """
        classes, bins = whole_number("classes", classes, 2), whole_number("bins", bins, 1)
        needed = ("label", "prediction", "status", "correct", "flipped", *AVERAGED)
        lengths = {name: len(columns[name]) for name in (*needed, "weight") if name in columns}
        if missing := [name for name in needed if name not in columns]:
            raise ArgumentError("columns", f"no column {missing[0]!r}", f"the columns {', '.join(needed)}")
        for name in lengths:
            if lengths[name] != lengths["label"]:
                raise ArgumentError(f"columns[{name!r}]", f"{lengths[name]} rows", f"{lengths['label']}, as in `label`")

        status = class_numbers("status", columns["status"], len(STATUSES))
        sound, ok = status != NONFINITE_INPUT, status == OK
        weight = _weights(columns, len(status))
        label = class_numbers("label", columns["label"], classes)
        prediction = class_numbers("prediction", columns["prediction"], classes, missing=True)
        if (wrong := np.flatnonzero((prediction < 0) & ok)).size:
            raise ArgumentError("prediction", f"-1 in row {wrong[0]}, whose status is ok", "a class in [0, K)")
        correct = zeros_and_ones("correct", columns["correct"]) == 1
        flipped = zeros_and_ones("flipped", columns["flipped"]) == 1
        measured = {name: numbers(name, columns[name])[ok] for name in AVERAGED}
        has_kl = ~np.isnan(measured["kl"])
        for name, values in measured.items():
            if name != "kl" and (wrong := np.flatnonzero(~np.isfinite(values))).size:
                row = int(np.flatnonzero(ok)[wrong[0]])
                raise ArgumentError(name, f"{values[wrong[0]]:g} in row {row}, whose status is ok", "a finite number")

        confidence = probabilities("confidence", measured["confidence"])
        bin_counts, bin_confidence, bin_correct = bin_sums(
            confidence, correct[ok].astype(np.float64), bins, *(() if weight.dtype.kind == "i" else (weight[ok],))
        )
        return cls(
            n=int(sound.sum()),
            n_nonfinite_input=int((~sound).sum()),
            weight=weight[sound].sum().item(),
            correct=weight[correct & ok].sum().item(),
            flipped=weight[sound & (flipped | ~ok)].sum().item(),
            sums={
                name: float((weight[ok] * values)[has_kl if name == "kl" else ...].sum())
                for name, values in measured.items()
            },
            n_ok=weight[ok].sum().item(),
            n_kl=weight[ok][has_kl].sum().item(),
            bin_counts=bin_counts,
            bin_confidence=bin_confidence,
            bin_correct=bin_correct,
            confusion=_counts(label[ok] * classes + prediction[ok], weight[ok], classes**2).reshape(classes, classes),
            unpredicted=_counts(label[sound & ~ok], weight[sound & ~ok], classes),
            n_nonfinite_output=int((sound & ~ok).sum()),
        )

    def __add__(self, other: "Tally") -> "Tally":
        """The tally of both sets of rows."""
        if not isinstance(other, Tally):
            return NotImplemented
        for name in ("confusion", "bin_counts"):
            if getattr(self, name).shape != getattr(other, name).shape:
                raise ArgumentError(
                    "other",
                    f"{name} {list(getattr(other, name).shape)}",
                    f"tallies of equally many classes and bins: {list(getattr(self, name).shape)}",
                )
        merged = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in dataclasses.fields(self)
            if field.name != "sums"
        }
        return Tally(sums={name: self.sums[name] + other.sums[name] for name in AVERAGED}, **merged)

    @property
    def accuracy(self) -> float:
        """The fraction of rows that is correct; NaN if there are none."""
        return _ratio(self.correct, self.weight)

    @property
    def flip_rate(self) -> float:
        """The fraction of rows whose prediction is not the clean one; NaN if there are none."""
        return _ratio(self.flipped, self.weight)

    @property
    def means(self) -> dict[str, float]:
        """The mean of every column in `AVERAGED`, over rows with a finite output; NaN if there are none."""
        return {name: _ratio(total, self.n_kl if name == "kl" else self.n_ok) for name, total in self.sums.items()}

    @property
    def nll(self) -> float:
        """Mean cross-entropy, nats, over rows with a finite output."""
        return self.means["loss"]

    @property
    def brier(self) -> float:
        """Mean Brier score, in [0, 2], over rows with a finite output."""
        return self.means["brier"]

    @property
    def reliability(self) -> Reliability:
        """The reliability diagram of the rows with a finite output."""
        return from_sums(self.bin_counts, self.bin_confidence, self.bin_correct)

    @property
    def ece(self) -> float:
        """Expected calibration error of the rows with a finite output; the bins are those of `measure.ece`."""
        return self.reliability.ece

    @property
    def prediction_distribution(self) -> np.ndarray:
        """float64 `[K]`: the fraction of finite outputs that names each class; NaN if there are none."""
        counts = self.confusion.sum(axis=0)
        return counts / counts.sum() if counts.sum() else np.full(len(counts), np.nan)


def _weights(columns: Mapping[str, Any], n: int) -> np.ndarray:
    """The rows' weights `[M]`; ones, as whole numbers, where they have none or all have this one."""
    if "weight" not in columns:
        return np.ones(n, np.int64)
    weight = numbers("weight", columns["weight"])
    if (wrong := weight[~(np.isfinite(weight) & (weight >= 0))]).size:
        raise ArgumentError("weight", f"{wrong[0]:g}", "finite weights, 0 or more")
    return np.ones(n, np.int64) if (weight == 1).all() else weight


def _counts(place: np.ndarray, weight: np.ndarray, length: int) -> np.ndarray:
    return np.bincount(place, None if weight.dtype.kind == "i" else weight, length)


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
