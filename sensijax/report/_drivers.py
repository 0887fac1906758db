"""The section "what drives the damage": how the variation of the loss is shared among stages and pairs of them.

Pairs: each measured pair has four cells, clean, one, the other, both. If a coin is tossed for each of the two stages,
the loss over the four equally likely cells has a variance that splits exactly (analysis of variance of a 2 x 2
factorial): with losses 0, a, b and t its parts are ((a + t - b) / 4)^2, ((b + t - a) / 4)^2 and ((t - a - b) / 4)^2.
Summed over the measured pairs, and divided by the sum of all, they are the shares. No cell is assumed: what was not
measured takes no part. A square of an estimate is too large by its variance, which is subtracted.

Samples: where the design is a sample of the severity box, a polynomial chaos expansion of the mean loss gives Sobol
indices over the box, if it predicts well enough.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sensijax.campaign import Results
from sensijax.report import _damage_figures, _numbers, _words

MOST_STAGES, MOST_PAIRS = 14, 5
LEAST_POINTS, WORST_FIT = 32, 0.3


@dataclasses.dataclass(frozen=True)
class Shares:
    """Shares of the variance of the loss.

    Attributes:
      stages: the names.
      alone: float64 `[k]`, of each stage by itself.
      alone_interval: float64 `[k, 2]`.
      together: float64 `[k]`, of the interactions that it takes part in.
      pairs: (first, second, share, low, high) of each pair's interaction, the largest first.
      interactions: (share, low, high) of all interactions together.
      measured: how many pairs, or sampled scenarios, this rests on.
      error: share of the variance that the expansion misses; None for pairs, of which nothing is missed.
    """

    stages: tuple[str, ...]
    alone: np.ndarray
    alone_interval: np.ndarray
    together: np.ndarray
    pairs: tuple[tuple[str, str, float, float, float], ...]
    interactions: tuple[float, float, float]
    measured: int
    error: float | None


def shares_of_pairs(results: Results) -> tuple[Shares, dict[str, float]] | None:
    """Shares from the measured pairs, and the setting of each stage; None if no pair ran beside both its members.

    Of a pair that ran at several settings the highest counts. Intervals are a jackknife's over examples.
    """
    table = results.interactions()
    if table.empty:
        return None
    table = table.assign(sum=table.at_first + table.at_second).sort_values("sum", kind="stable")
    table = table.drop_duplicates(["first", "second"], keep="last")
    scenarios = results.manifest["scenarios"]
    by_settings = {tuple(map(tuple, s["settings"])): name for name, s in scenarios.items()}
    clean = results.scores("clean")

    def loss(*settings: tuple[str, float]) -> np.ndarray:
        return (clean - results.scores(by_settings[settings])).mean(axis=0)

    order = [s for s in results.manifest["stages"] if s in {*table["first"], *table["second"]}]
    cells = []
    for row in table.itertuples():
        first, second = (row.first, row.at_first), (row.second, row.at_second)
        cells.append((loss(first), loss(second), loss(first, second)))
    a, b, t = np.stack(cells, axis=1)  # [pairs, N]
    sound = np.isfinite(a + b + t).all(axis=0)
    parts = np.stack([a + t - b, b + t - a, t - a - b])[:, :, sound] / 4  # [3, pairs, N]
    n = parts.shape[2]
    if n < 3:
        return None
    ends = np.array([[order.index(row.first), order.index(row.second)] for row in table.itertuples()])
    own = np.zeros((len(order), len(ends), 2))
    own[ends[:, 0], np.arange(len(ends)), 0] = 1
    own[ends[:, 1], np.arange(len(ends)), 1] = 1

    def split(total: np.ndarray, square: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
        """Shares from sums over examples `[..., 3, pairs]`, each square without its bias."""
        power = (total**2 - square) / (n * (n - 1))  # mean squared, less the variance of the mean
        whole = power.sum(axis=(-2, -1))[..., None]
        alone = np.einsum("kpe,...ep->...k", own, power[..., :2, :]) / whole
        effect = power[..., 2, :] / whole
        return alone, effect, np.einsum("kpe,...p->...k", own, effect), effect.sum(axis=-1)

    total, square = parts.sum(axis=2), (parts**2).sum(axis=2)
    if not (total**2 - square).sum() > 0:
        return None
    estimate = split(total, square, n)
    moved = np.moveaxis(parts, 2, 0)
    without = split(total[None] - moved, square[None] - moved**2, n - 1)
    half = [stdtrit(n - 1, 0.975) * math.sqrt(n - 1) * left.std(axis=0) for left in without]
    alone, effect, together, all_effects = estimate
    pairs = [
        (row.first, row.second, float(effect[p]), float(effect[p] - half[1][p]), float(effect[p] + half[1][p]))
        for p, row in enumerate(table.itertuples())
    ]
    at = {}
    for row in table.itertuples():
        at[row.first], at[row.second] = row.at_first, row.at_second
    return (
        Shares(
            tuple(order),
            alone,
            np.stack([alone - half[0], alone + half[0]], axis=-1),
            together,
            tuple(sorted(pairs, key=lambda pair: -pair[2])),
            (float(all_effects), float(all_effects - half[3]), float(all_effects + half[3])),
            len(pairs),
            None,
        ),
        at,
    )


def shares_of_sample(results: Results) -> Shares | None:
    """Shares over the severity box, where the design is a sample of it; None where it is not, or is too small."""
    from sensijax.sensitivity import Uniform, pce_given

    manifest = results.manifest
    stages = list(manifest["stages"])
    identity = {name: about["identity"] for name, about in manifest["stages"].items()}
    points, loss = [], []
    clean = np.nanmean(results.scores("clean"))
    for name in results.scenario_names:
        settings = dict(manifest["scenarios"][name]["settings"])
        points.append([settings.get(stage, identity[stage]) for stage in stages])
        scores = results.scores(name)
        loss.append(clean - np.nanmean(scores) if np.isfinite(scores).any() else np.nan)
    x, y = np.array(points, np.float64), np.array(loss)
    together = (x != np.array([identity[s] for s in stages])).sum(axis=1) > len(stages) / 2
    x, y = x[together], y[together]
    if len(stages) < 2 or len(y) < max(LEAST_POINTS, 4 * len(stages)) or not np.isfinite(y).all() or not y.std() > 0:
        return None
    if min(len(np.unique(column)) for column in x.T) < len(x) // 2:  # a grid has few settings, a sample many
        return None
    space = {name: Uniform(0.0, max(manifest["stages"][name]["values"])) for name in stages}
    chaos = pce_given(x, y, space, degree=range(1, 7))
    pairs = [
        (
            stages[i],
            stages[j],
            float(chaos.S2[i, j]),
            float(chaos.S2_interval[i, j, 0]),
            float(chaos.S2_interval[i, j, 1]),
        )
        for i, j in zip(*np.triu_indices(len(stages), 1), strict=True)
    ]
    rest = float(1 - chaos.S1.sum())
    width = float(np.ptp(chaos.S1_interval, axis=1).max() / 2)
    return Shares(
        tuple(stages),
        chaos.S1,
        chaos.S1_interval,
        chaos.ST - chaos.S1,
        tuple(sorted(pairs, key=lambda pair: -pair[2])),
        (rest, rest - width, rest + width),
        len(y),
        float(chaos.cross_validated),
    )


def which_or_how_much(results: Results) -> tuple[float, int] | None:
    """Over the stages that ran alone: the share of the variance of the loss that goes with which stage it is.

    Stages count alike, and within a stage its settings. The rest goes with how strong it is. None for fewer than two.
    """
    table = results.scenarios()
    table = table[(table.scenario != "clean") & ~table.stages.str.contains("+", regex=False)].dropna(subset=["drop"])
    groups = [g["drop"].to_numpy() for _, g in table.groupby("stages") if len(g) > 1]
    if len(groups) < 2:
        return None
    means = np.array([g.mean() for g in groups])
    between, within = means.var(), np.mean([g.var() for g in groups])
    return (float(between / (between + within)), len(groups)) if between + within > 0 else None


def section(results: Results, units: _numbers.Units) -> dict[str, Any] | None:
    """What the section shows; None if neither pairs nor a sample were measured."""
    sampled = shares_of_sample(results)
    paired = None if sampled is not None else shares_of_pairs(results)
    if sampled is None and paired is None:
        return None
    shares, at = (sampled, {}) if sampled is not None else paired  # type: ignore[misc]
    poor = shares.error is not None and shares.error > WORST_FIT
    order = np.argsort(-(shares.alone + shares.together), kind="stable")[:MOST_STAGES]
    axes = {about["axis"] for name, about in results.manifest["stages"].items() if name in at}
    same = _numbers.setting(axes.pop(), next(iter(at.values()))) if len(axes) == 1 == len(set(at.values())) else None
    split = which_or_how_much(results)
    return {
        "sampled": sampled is not None,
        "poor": poor,
        "error": _numbers.percent(shares.error) if shares.error is not None else "",
        "measured": shares.measured,
        "at": same,
        "sentences": [] if poor else sentences(shares),
        "split": None
        if split is None
        else {"which": _numbers.percent(split[0]), "how": _numbers.percent(1 - split[0]), "stages": split[1]},
        "svg": None
        if poor
        else _damage_figures.shares(
            [shares.stages[i] for i in order],
            shares.alone[order],
            shares.alone_interval[order],
            shares.together[order],
            name="shares",
            label=_described(shares, order),
        ),
        "more": len(shares.stages) - len(order),
        "rows": [
            {
                "stage": shares.stages[i],
                "alone": _numbers.percent(float(shares.alone[i])),
                "interval": _range(*shares.alone_interval[i]),
                "together": _numbers.percent(float(shares.together[i])),
            }
            for i in order
        ],
        "pairs": [
            {"names": f"{a}, {b}", "share": _numbers.percent(share), "interval": _range(low, high)}
            for a, b, share, low, high in shares.pairs[:MOST_PAIRS]
        ],
    }


def sentences(shares: Shares) -> list[str]:
    """The shares in words: a stage leads only if its interval lies above every other's."""
    order = np.argsort(-shares.alone, kind="stable")
    top, low = shares.alone[order[0]], shares.alone_interval[order[0], 0]
    rivals = [shares.stages[i] for i in order[1:] if shares.alone_interval[i, 1] >= low]
    name = shares.stages[order[0]]
    share = f"{_numbers.percent(float(top))} of the variation ({_range(*shares.alone_interval[order[0]])})"
    if rivals:
        others = f"{_numbers.listed(rivals)} may matter as much"
        found = [f"No stage leads for certain: {name} by itself goes with {share}, and {others}."]
    else:
        found = [f"{_words._capital(name)} drives the damage most: by itself it goes with {share}."]
    half = np.cumsum(np.maximum(shares.alone[order], 0)) >= 0.5
    if half.any() and (k := int(half.argmax()) + 1) > 1 and k < len(order):
        names = _numbers.listed([shares.stages[i] for i in order[:k]])
        found.append(f"{_words._capital(names)} together make up half of it.")
    whole, low, high = shares.interactions
    found.append(
        f"What stages do to one another, beyond what each does by itself, goes with {_numbers.percent(whole)} "
        f"({_range(low, high)})."
    )
    if shares.pairs and shares.pairs[0][3] > 0:
        first, second, share, low, high = shares.pairs[0]
        found.append(
            f"The pair whose interaction counts most is {first} and {second}: {_numbers.percent(share)} "
            f"({_range(low, high)})."
        )
    return found


def _range(low: float, high: float) -> str:
    return f"{_numbers.percent(float(low)).removesuffix('%')} to {_numbers.percent(float(high))}"


def _described(shares: Shares, order: np.ndarray) -> str:
    said = [f"{shares.stages[i]} {_numbers.percent(float(shares.alone[i]))}" for i in order]
    return f"Share of the variation of the loss by stage, alone: {', '.join(said)}"
