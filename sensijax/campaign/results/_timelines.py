"""Timelines that were watched: what happened, what the model did, what its monitors said, and how good that is."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from sensijax.drift import Change
from sensijax.drift.detect import Evaluation


@dataclasses.dataclass(frozen=True, eq=False)
class Watched:
    """A timeline of a campaign that has run: S streams of T steps, one for each seed.

    Attributes:
      name: the timeline's.
      seeds: of the streams, `[S]`, in the campaign's order; those whose exhibit is there.
      changes: what truly happened, the same in all streams, in the order of time: at which step a change begins
        (`at`), when it is complete (`until`), its kind, and the drift's strength `before` and `after`.
      strength: float32 `[T]`, the drift's mean strength at each step, in the units of the stage's setting.
      signals: float32 `[S, T]` by name. Of a classifier `correct` (1 where the prediction is what the example truly
        is; nobody at the model's side knows), `error` (1 where it is not what was written on it), `loss`, `confidence`,
        `entropy`, `prediction` and `label` (classes, as whole numbers); of a regression `loss`.
      reference: the mean of each of those signals over the reference, and over the seeds.
      alarms: bool `[S, T]` by monitor, where it called drift; of a windowed test, at the last step of its window.
      warnings: bool `[S, T]` by monitor, where it was on its guard; False for detectors that know no warning.
      p_values: float64 `[S, W]` by windowed monitor; window k ends at step (k + 1) size - 1.
      evaluation: by monitor, over all streams, with that of a detector that always fires and one that never does in
        `.baselines`; see `Timeline` for what counts.
      found: bool `[S, C]` by monitor, which of the changes that lead away from no drift were found in which stream.
      about: the timeline's facts, as in the manifest: `stage`, `kind` (the drift's class), `at`, `schedule` (text),
        `length`, `beside`, `horizon`, and `monitors`, for each its `signal`, `kind` (the detector or test), `options`,
        `size` and `alpha` (None for online detectors), `labels` (whether it needs them), and `stated` (false alarms in
        10,000 quiet steps that it promises to stay at or below, None if it promises nothing).
    """

    name: str
    seeds: tuple[int, ...]
    changes: tuple[Change, ...]
    strength: np.ndarray
    signals: Mapping[str, np.ndarray]
    reference: Mapping[str, float]
    alarms: Mapping[str, np.ndarray]
    warnings: Mapping[str, np.ndarray]
    p_values: Mapping[str, np.ndarray]
    evaluation: Mapping[str, Evaluation]
    found: Mapping[str, np.ndarray]
    about: Mapping[str, Any]
