"""Effects of stressors in combination: by inclusion and exclusion, by contrasts, and in a profile."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sensijax import measure
from sensijax.campaign.results._bounded import in_blocks, joined
from sensijax.core.errors import ArgumentError, did_you_mean

if TYPE_CHECKING:
    from sensijax.campaign.results._results import Results

Key = tuple[tuple[str, float], ...]
EFFECT_COLUMNS = ["order", "stages", "scenario", "drop", "effect", "low", "high", "p_value", "p_holm"]
MEAN_COLUMNS = ["order", "stages", "scenarios", "drop", "effect", "low", "high", "p_value", "p_holm"]


def pairs_of(results: "Results") -> pd.DataFrame:
    """The table behind `Results.interactions`, of the pairs."""
    pairs, rows = [], []
    singles = {tuple(s["settings"][0]): n for n, s in results._complete.items() if len(s["settings"]) == 1}
    for name, scenario in results._complete.items():
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
    clean, scores = results._scores["clean"], results._scores
    plain = results._binary and not any(name in results._weights for pair in pairs for name in pair)
    effect = joined(
        [
            measure.interaction(*(np.stack([clean - scores[pair[k]] for pair in some]) for k in range(3)), binary=plain)
            for some in in_blocks(pairs, 3 * clean.nbytes)
        ]
    )
    drop = results._summary.set_index("scenario")["drop"]
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
    return table[columns].sort_values("interaction", key=np.abs, ascending=False, kind="stable").reset_index(drop=True)


def effects_of(results: "Results", order: int, response: str, averaged: bool) -> pd.DataFrame:
    """The table behind `Results.effects`."""
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ArgumentError("order", repr(order), "a number of stages, 1 or more")
    values = results._values(response)
    cells = {_key(about["settings"]): name for name, about in results._complete.items()}
    rows: list[dict[str, Any]] = []
    for size in range(1, order + 1):
        whole = [key for key in cells if len(key) == size and all(subset in cells for subset in _subsets(key))]
        groups = [[key] for key in whole]
        if averaged:
            groups = [[key for key in whole if _stages(key) == stages] for stages in dict.fromkeys(map(_stages, whole))]
        rows += _estimated(results, values, cells, groups, response, averaged)
    table = pd.DataFrame(rows)
    if table.empty:
        return pd.DataFrame(columns=MEAN_COLUMNS if averaged else EFFECT_COLUMNS)
    table["p_holm"] = measure.holm(table.p_value.to_numpy())
    table["size"] = table.effect.abs()
    table = table.sort_values(["order", "size"], ascending=[True, False], kind="stable")
    return table[MEAN_COLUMNS if averaged else EFFECT_COLUMNS].reset_index(drop=True)


def _estimated(
    results: "Results",
    values: Mapping[str, np.ndarray],
    cells: Mapping[Key, str],
    groups: list[list[Key]],
    response: str,
    averaged: bool,
) -> Iterator[dict[str, Any]]:
    """One row for each group: its mean effect. Groups of one order."""
    clean = values["clean"]
    for binary in (True, False):
        chosen = [g for g in groups if _is_binary(results, cells, g, response) == binary]
        if not chosen:
            continue
        names = [str(i) for i in range(len(chosen[0][0]))]
        per_group = clean.nbytes * (2 ** len(names) - 1)
        for some in in_blocks(chosen, per_group):
            drops = {
                tuple(names[i] for i in places): np.stack(
                    [np.mean([clean - values[cells[_take(key, places)]] for key in group], axis=0) for group in some]
                )
                for size in range(1, len(names) + 1)
                for places in itertools.combinations(range(len(names)), size)
            }
            found: Any = measure.effects(drops, binary=binary)[tuple(names)]
            together = drops[tuple(names)].reshape(len(some), -1)
            for i, group in enumerate(some):
                about = {"scenarios": len(group)} if averaged else {"scenario": cells[group[0]]}
                yield {
                    "order": len(names),
                    "stages": " x ".join(_stages(group[0])),
                    **about,
                    "drop": float(np.nanmean(together[i])),
                    "effect": found.mean[i],
                    "low": found.low[i],
                    "high": found.high[i],
                    "p_value": found.p_value[i],
                }


def contrasts_of(results: "Results", order: int, response: str, at: Any) -> measure.Contrasts:
    """The answer of `Results.contrasts`."""
    values = results._values(response)
    stages = list(results.manifest["stages"])
    chosen = _levels(results, stages, at)
    cells = {}
    for name, about in results._complete.items():
        settings = dict(about["settings"])
        if all(value == chosen.get(stage) for stage, value in settings.items()):
            cells[name] = [stage in settings for stage in stages]
    used = [stage for k, stage in enumerate(stages) if any(on[k] for on in cells.values())]
    if not used:
        raise ArgumentError("at", repr(at), "settings at which stages ran")
    design = np.array([[on[stages.index(stage)] for stage in used] for on in cells.values()], np.int8)
    drops = np.stack([values["clean"] - values[name] for name in cells])
    binary = response in ("score", "correct", "flipped") and results._binary and not set(cells) & set(results._weights)
    return measure.contrasts(design, drops, order=order, binary=binary, names=used)


def _levels(results: "Results", stages: Sequence[str], at: Any) -> dict[str, float]:
    """The one setting of each stage that counts as on."""
    if at is not None:
        given: dict[str, Any] = dict(at) if isinstance(at, Mapping) else dict.fromkeys(stages, at)
        for stage in given:
            if stage not in stages:
                raise ArgumentError("at", f"a setting for {stage!r}, which is no stage", did_you_mean(stage, stages))
        return {stage: float(value) for stage, value in given.items()}
    seen: dict[str, dict[float, None]] = {}
    for about in results._complete.values():
        for stage, value in about["settings"]:
            seen.setdefault(stage, {})[value] = None
    for stage, found in seen.items():
        if len(found) > 1:
            shown = ", ".join(f"{value:g}" for value in found)
            raise ArgumentError("at", f"{stage} ran at {shown}", "the setting that counts, for each stage by name")
    return {stage: next(iter(found)) for stage, found in seen.items()}


def profile_of(results: "Results") -> pd.DataFrame:
    """The table behind `Results.profile`."""
    score = results.baseline()[0]
    sets: dict[tuple[str, ...], list[str]] = {}
    for name, about in results._complete.items():
        if about["settings"]:
            sets.setdefault(_stages(_key(about["settings"])), []).append(name)
    rows = []
    for stages, names in sorted(sets.items(), key=lambda item: len(item[0])):
        drop: Any = results._drops([names])
        worst = min(names, key=lambda name: float(np.nanmean(results._scores[name])))
        rows.append(
            {
                "axis": " + ".join(stages),
                "order": len(stages),
                "scenarios": len(names),
                "retained": 1 - drop.mean[0] / score,
                "low": 1 - drop.high[0] / score,
                "high": 1 - drop.low[0] / score,
                "worst": float(np.nanmean(results._scores[worst])) / score,
                "worst_scenario": worst,
            }
        )
    if results.metric == "accuracy":
        stressed = results._summary[results._summary.scenario != "clean"]
        if len(stressed):
            errors = stressed.ece.to_numpy()
            rows.append(
                {
                    "axis": "calibration",
                    "order": 0,
                    "scenarios": len(stressed),
                    "retained": 1 - float(errors.mean()),
                    "low": np.nan,
                    "high": np.nan,
                    "worst": 1 - float(errors.max()),
                    "worst_scenario": stressed.scenario.iloc[int(errors.argmax())],
                }
            )
    columns = ["axis", "order", "scenarios", "retained", "low", "high", "worst", "worst_scenario"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(0, "model", results.manifest["model"]["name"])
    table["clean"] = score
    return table


def _is_binary(results: "Results", cells: Mapping[Key, str], group: list[Key], response: str) -> bool:
    if response not in ("score", "correct", "flipped") or not results._binary:
        return False
    return not any(cells[subset] in results._weights for key in group for subset in _subsets(key))


def _key(settings: Sequence[Sequence[Any]]) -> Key:
    return tuple((stage, value) for stage, value in settings)


def _stages(key: Key) -> tuple[str, ...]:
    return tuple(stage for stage, _ in key)


def _take(key: Key, places: tuple[int, ...]) -> Key:
    return tuple(key[i] for i in places)


def _subsets(key: Key) -> Iterator[Key]:
    for size in range(1, len(key) + 1):
        yield from itertools.combinations(key, size)
