"""Timelines that were watched: what happened, what the model did, what its monitors said, and how good that is."""

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sensijax.attack import wilson
from sensijax.campaign.exhibits._exhibits import read_exhibit
from sensijax.campaign.results._responses import Responses
from sensijax.campaign.store._store import Store
from sensijax.core.errors import ArgumentError, StoreError, did_you_mean
from sensijax.drift import Change
from sensijax.drift.detect import Evaluation, evaluate


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
      about: the timeline's facts, as in the manifest: `stage`, `kind` (the drift's class), `at`, `full` (the drift's
        strength at that setting), `schedule` (text),
        `length`, `beside`, `horizon`, `seeds`, and `monitors`, for each its `signal`, `kind` (the detector or test),
        `options`, `size` and `alpha` (None for online detectors), `ert` (None unless calibrated), `labels` (whether it
        needs them), and `stated` (false alarms in 10,000 quiet steps that it promises to stay at or below, None if it
        promises nothing).
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


def timeline_of(responses: Responses, name: str) -> Watched:
    """As `Results.timeline`."""
    known = responses.manifest.get("timelines", {})  # folders of before there were any have none
    if name not in known:
        raise ArgumentError("timeline", repr(name), did_you_mean(name, known) if known else "there is none")
    return read_timeline(responses.store, name, known[name])


def read_timeline(store: Store, name: str, about: Mapping[str, Any]) -> Watched:
    """A timeline out of its exhibits.

    Raises:
      StoreError: if none of its streams is there.
    """
    kept = {seed: read_exhibit(store, about["exhibits"][str(seed)]) for seed in about["seeds"]}
    there = {seed: arrays for seed, arrays in kept.items() if arrays is not None}
    if not there:
        raise StoreError(f"{store.location} holds no stream of timeline {name!r} yet: `sensijax run` computes them")
    changes, horizon = tuple(Change(**change) for change in about["changes"]), about["horizon"]

    def every(kind: str) -> dict[str, np.ndarray]:
        names = [key.removeprefix(kind) for key in next(iter(there.values())) if key.startswith(kind)]
        return {key: np.stack([arrays[kind + key] for arrays in there.values()]) for key in names}

    strength = next(iter(there.values()))["strength"] * np.float32(about["full"])
    alarms, begins, ignored = every("alarms/"), *what_counts(strength, changes, horizon)
    return Watched(
        name=name,
        seeds=tuple(there),
        changes=changes,
        strength=strength,
        signals=every("signals/"),
        reference={signal: float(means.mean()) for signal, means in every("reference/").items()},
        alarms=alarms,
        warnings=every("warnings/"),
        p_values=every("p_values/"),
        evaluation={m: evaluate(fired, begins, horizon=horizon, ignore=ignored) for m, fired in alarms.items()},
        found={m: _found(fired & ~ignored, begins, horizon) for m, fired in alarms.items()},
        about=about,
    )


def what_counts(
    strength: np.ndarray, changes: tuple[Change, ...], horizon: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """What an evaluation asks for, see `Timeline`.

    Args:
      strength: `[T]`, the drift's mean strength.
      changes: in the order of time.
      horizon: steps, or None.

    Returns:
      int64 `[C]`, where changes begin that lead away from no drift; and bool `[T]`, the steps that count neither way.
    """
    steps = np.arange(len(strength))
    away = [change for change in changes if abs(change.after) > abs(change.before)]
    quiet, episode = strength == 0, np.zeros(len(strength), bool)
    for change in changes:  # nothing is quiet from its beginning on until it has long been over
        quiet &= (steps < change.at) | (steps >= (np.inf if horizon is None else change.until + horizon))
    for change in away:
        later = [other.at for other in changes if other.at > change.at]
        end = min([*later, len(strength), np.inf if horizon is None else change.at + horizon])
        episode[change.at : int(end)] = True
    return np.array([change.at for change in away], np.int64), ~quiet & ~episode


def _found(fired: np.ndarray, begins: np.ndarray, horizon: int | None) -> np.ndarray:
    """bool `[S, C]`, which changes were found, of alarms `[S, T]` that count."""
    ends = np.append(begins, fired.shape[1])[1:]
    ends = ends if horizon is None else np.minimum(ends, begins + horizon)
    found = [fired[:, begin:end].any(axis=1) for begin, end in zip(begins, ends, strict=True)]
    return np.stack(found, axis=1) if found else np.zeros((len(fired), 0), bool)


def timelines_of(responses: Responses) -> pd.DataFrame:
    """As `Results.timelines`."""
    rows = []
    for name, about in responses.manifest.get("timelines", {}).items():
        with contextlib.suppress(StoreError):  # not computed yet
            watched = read_timeline(responses.store, name, about)
            rows += [_row(watched, monitor) for monitor in about["monitors"]]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(one: Watched, monitor: str) -> dict[str, Any]:
    evaluation, about, streams = one.evaluation[monitor], one.about["monitors"][monitor], len(one.seeds)
    always, never = (evaluation.baselines[name] for name in ("always", "never"))
    changes = one.found[monitor].shape[1]
    # Wilson's interval over streams: a stream's share of found changes varies no more than whether one is found.
    low, high = wilson(evaluation.recall * streams, streams) if changes else (np.nan, np.nan)  # type: ignore[arg-type]
    return {
        "timeline": one.name,
        "monitor": monitor,
        **{name: about[name] for name in ("signal", "kind", "labels")},
        "streams": streams,
        "changes": changes,
        "rate": evaluation.recall,
        "low": low,
        "high": high,
        "chance": evaluation.chance,
        "mean_delay": evaluation.mean_delay,
        "repeats": evaluation.repeats / streams,
        "false_per_10k": evaluation.false_per_10k,
        "stated_per_10k": np.nan if about["stated"] is None else about["stated"],
        "always_rate": always.recall,
        "always_delay": always.mean_delay,
        "always_repeats": always.repeats / streams,
        "always_false_per_10k": always.false_per_10k,
        "never_rate": never.recall,
        "never_false_per_10k": never.false_per_10k,
    }


COLUMNS = (
    "timeline monitor signal kind labels streams changes rate low high chance mean_delay repeats false_per_10k "
    "stated_per_10k always_rate always_delay always_repeats always_false_per_10k never_rate never_false_per_10k"
).split()
