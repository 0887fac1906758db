"""Fairness: how far apart groups are treated, as differences and ratios of rates, with honest intervals."""

import dataclasses
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.measure._validate import class_numbers, fraction, whole_number
from sensijax.measure.conformal._quantile import as_ratio

_PURPOSE = 0x46414952
_CHUNK = 1 << 22


@dataclasses.dataclass(frozen=True)
class Gap:
    """One distance between groups.

    Attributes:
      value: the observed one in [0, 1]; NaN where `status` is not "ok".
      low, high: interval at the level asked for; NaN likewise.
      status: "ok", or why there is no number.
    """

    value: float
    low: float
    high: float
    status: str


@dataclasses.dataclass(frozen=True, eq=False)
class Fairness:
    """What each group gets, and how far apart the groups are.

    Attributes:
      groups: G names, sorted unless they were given.
      n: int64 `[G]`, examples.
      accuracy: float64 `[G]`; NaN in an empty group.
      selection: float64 `[C, G]`, the share predicted to be of each class looked at.
      true_positive, false_positive: float64 `[C, G]`, that share among examples of the class, and among the others; NaN
        where there are none.
      worst: the name of the group of lowest accuracy among those with `smallest` examples; None if there is none.
      demographic_parity, equal_opportunity, equalised_odds, accuracy_gap: differences, largest minus smallest rate, the
        largest over classes. Equalised odds: the larger one of true and false positive rates.
      demographic_parity_ratio, equal_opportunity_ratio, equalised_odds_ratio, accuracy_ratio: smallest over largest
        rate, the smallest over classes.
      level: of the intervals.
    """

    groups: tuple[Any, ...]
    n: np.ndarray
    accuracy: np.ndarray
    selection: np.ndarray
    true_positive: np.ndarray
    false_positive: np.ndarray
    worst: Any
    demographic_parity: Gap
    equal_opportunity: Gap
    equalised_odds: Gap
    accuracy_gap: Gap
    demographic_parity_ratio: Gap
    equal_opportunity_ratio: Gap
    equalised_odds_ratio: Gap
    accuracy_ratio: Gap
    level: float


def fairness(
    prediction: Any,
    label: Any,
    group: Any,
    *,
    classes: int,
    positive: int | None = None,
    groups: Any = None,
    weights: Any = None,
    smallest: int = 10,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Fairness:
    """Differences and ratios of rates between groups, one class against the rest.

    A largest minus a smallest rate is never negative, and larger than the truth on average: where groups are treated
    alike, percentiles of its bootstrap exclude zero. So the interval here is made from the largest deviation, over
    pairs of groups and classes, of a resampled gap from its own: it holds for all pairs at once, the one picked after
    looking included, and is wider than that of a pair named in advance. Examples are resampled within each group. For
    each class in a group one pseudo-example right and one wrong join the resampling, not the value, so a rate of 0 or 1
    has a width.

    Args:
      prediction: integer `[N]` in [0, K), or -1 for no prediction, which is wrong and of no class. Of several draws of
        the same examples `[S, N]`: rates are means over all, and an example is resampled with all of its draws.
      label: integer in [0, K), of the shape of `prediction`.
      group: `[N]` integers or strings.
      classes: K >= 2.
      positive: the class that it is good to be given; unless given, class 1 of two and every class of more.
      groups: names of all groups, where one may have no example here; those in `group` unless given.
      weights: >= 0, of the shape of `prediction`, how much each example counts; 1 unless given.
      smallest: examples a group needs in order to be called the worst, >= 1.
      level: of the intervals, in (0, 1).
      resamples: >= 100.
      seed: of the resampling, >= 0.

    Returns:
      Rates and gaps. A gap that needs a rate which a group does not have is NaN, and its status names group and class.

    Raises:
      ArgumentError: if shapes do not fit, values are out of range, or there are fewer than two groups.

    Reference:
      Dwork, Hardt, Pitassi, Reingold and Zemel, "Fairness through awareness", ITCS 2012 (demographic parity). Hardt,
      Price and Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016.

    Example:
      >>> label, group = np.tile([0, 1], 40), np.repeat(["a", "b"], 40)
      >>> found = fairness(np.where(group == "a", label, 0), label, group, classes=2)
      >>> found.worst, found.equal_opportunity.value, found.equalised_odds_ratio.status
      ('b', 1.0, 'no rate above 0 in class 1')
    """
    classes, resamples = whole_number("classes", classes, 2), whole_number("resamples", resamples, 100)
    smallest, seed = whole_number("smallest", smallest, 1), whole_number("seed", seed, 0)
    level = fraction("level", level, "a confidence level")
    prediction = _drawn("prediction", prediction, classes, missing=True)
    label, group = _drawn("label", label, classes), np.asarray(group)
    if not label.size or label.shape != prediction.shape:
        right = f"one for each of {list(prediction.shape)} predictions, at least one"
        raise ArgumentError("label", f"{list(label.shape)}", right)
    if group.shape != label.shape[1:] or group.dtype.kind not in "iuU":
        raise ArgumentError(
            "group", f"{group.dtype}{list(group.shape)}", f"an integer or a string for each of {label.shape[1]}"
        )
    if weights is None:
        w = np.ones(label.shape)
    else:
        w = as_ratio("weights", np.atleast_2d(np.asarray(weights)), label.shape)
    names = np.unique(group).tolist() if groups is None else list(groups)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ArgumentError("groups", repr(names), "two names or more, none of them twice")
    if strange := set(np.unique(group).tolist()) - set(names):
        raise ArgumentError("group", repr(sorted(strange)[0]), f"one of {names}")
    if positive is not None and whole_number("positive", positive, 0) >= classes:
        raise ArgumentError("positive", positive, f"a class in 0..{classes - 1}")
    looked = [positive] if positive is not None else [1] if classes == 2 else list(range(classes))

    tables, smooth, drawn = [], [], []
    for i, name in enumerate(names):
        mine = group == name
        rng = np.random.default_rng([seed, _PURPOSE, i])
        table, around, samples = _resampled(prediction[:, mine], label[:, mine], w[:, mine], classes, resamples, rng)
        tables.append(table)
        smooth.append(around)
        drawn.append(samples)
    point = _rates(np.stack(tables), looked)  # each [G, C]
    centre = _rates(np.stack(smooth), looked)
    resampled = _rates(np.stack(drawn, axis=1), looked)  # each [R, G, C]

    def gap(measures: tuple[str, ...], ratio: bool) -> Gap:
        rate, around, draws = (
            np.concatenate([rates[m] for m in measures], axis=-1) for rates in (point, centre, resampled)
        )
        which = [f" class {c}" for _ in measures for c in looked] if measures != ("accuracy",) else [""]
        return _gap(rate, around, draws, ratio, level, names, which)

    n = np.array([(group == name).sum() for name in names])
    accuracy = point["accuracy"][:, 0]
    ranked = [i for i in range(len(names)) if n[i] >= smallest and not np.isnan(accuracy[i])]
    odds = ("true_positive", "false_positive")
    return Fairness(
        groups=tuple(names),
        n=n,
        accuracy=accuracy,
        selection=point["selection"].T,
        true_positive=point["true_positive"].T,
        false_positive=point["false_positive"].T,
        worst=names[min(ranked, key=lambda i: accuracy[i])] if ranked else None,
        demographic_parity=gap(("selection",), False),
        equal_opportunity=gap(("true_positive",), False),
        equalised_odds=gap(odds, False),
        accuracy_gap=gap(("accuracy",), False),
        demographic_parity_ratio=gap(("selection",), True),
        equal_opportunity_ratio=gap(("true_positive",), True),
        equalised_odds_ratio=gap(odds, True),
        accuracy_ratio=gap(("accuracy",), True),
        level=level,
    )


def _drawn(argument: str, values: Any, classes: int, *, missing: bool = False) -> np.ndarray:
    """Class numbers `[S, N]`, of one draw or several."""
    array = np.asarray(values)
    flat = class_numbers(argument, array.reshape(-1) if array.ndim == 2 else array, classes, missing=missing)
    return flat.reshape(array.shape) if array.ndim == 2 else flat[None]


def _resampled(prediction: Any, label: Any, w: Any, classes: int, resamples: int, rng: Any) -> tuple:
    """Weighted counts `[K, K + 1]` of label and prediction: as they are, with pseudo-examples, and `[R, K, K + 1]`.

    Of S draws each counts as 1 / S; an example is resampled with all of its draws.
    """
    cells, w = label * (classes + 1) + np.where(prediction < 0, classes, prediction), w / len(w)
    size = classes * (classes + 1)
    table = np.bincount(cells.ravel(), w.ravel(), minlength=size).reshape(classes, classes + 1)
    if not label.size:
        return table, table, np.zeros((resamples, *table.shape))
    # Examples that look alike in every draw are one kind, however many they are.
    draws, n = cells.shape
    kinds, many = np.unique(np.concatenate([cells, w]), axis=1, return_counts=True)
    pseudo = np.full((classes, classes + 1), 1 / (classes - 1))
    pseudo[:, -1] = 0
    np.fill_diagonal(pseudo, 1)
    pseudo[~np.isin(np.arange(classes), label)] = 0
    where = np.flatnonzero(pseudo)
    place = np.zeros((kinds.shape[1] + len(where), size))
    rows = np.broadcast_to(np.arange(kinds.shape[1]), (draws, kinds.shape[1]))
    np.add.at(place, (rows, kinds[:draws].astype(np.int64)), kinds[draws:])
    place[np.arange(kinds.shape[1], len(place)), where] = w.sum(axis=0).mean()
    mass = np.concatenate([many, pseudo.ravel()[where]])
    around = (mass @ place).reshape(table.shape)
    step = max(1, _CHUNK // len(mass))
    blocks = [
        rng.multinomial(n, mass / mass.sum(), min(step, resamples - start)) @ place
        for start in range(0, resamples, step)
    ]
    return table, around, np.concatenate(blocks).reshape(resamples, *table.shape)


def _rates(tables: np.ndarray, looked: list[int]) -> dict[str, np.ndarray]:
    """Rates `[..., C]` out of counts `[..., K, K + 1]`; NaN where nothing is counted."""
    total = tables.sum(axis=(-2, -1))[..., None]
    of_class = tables.sum(axis=-1)[..., looked]
    given = tables.sum(axis=-2)[..., looked]
    right = np.diagonal(tables, axis1=-2, axis2=-1)
    hit = right[..., looked]
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "accuracy": right.sum(axis=-1)[..., None] / total,
            "selection": given / total,
            "true_positive": hit / of_class,
            "false_positive": np.where(total > of_class, (given - hit) / (total - of_class), np.nan),
        }


def _gap(
    rate: np.ndarray, centre: np.ndarray, drawn: np.ndarray, ratio: bool, level: float, names: list, which: list[str]
) -> Gap:
    """The largest gap over columns `[G, C]`, and the interval that holds for all pairs and columns at once."""
    nan = float("nan")
    if (absent := np.argwhere(np.isnan(rate))).size:
        g, c = absent[0]
        missing = "no example of this side of" + which[c] if np.isfinite(rate[g]).any() or which[c] else "no example"
        return Gap(nan, nan, nan, f"{missing} in group {names[g]}")
    if ratio:
        if (dead := np.flatnonzero(rate.max(axis=0) == 0)).size:
            return Gap(nan, nan, nan, "no rate above 0" + (f" in{which[dead[0]]}" if which[dead[0]] else ""))
        value = float((rate.min(axis=0) / rate.max(axis=0)).min())
        middle = float((centre.min(axis=0) / centre.max(axis=0)).min())
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.log(drawn) - np.log(centre)[None]
    else:
        value = float((rate.max(axis=0) - rate.min(axis=0)).max())
        middle = float((centre.max(axis=0) - centre.min(axis=0)).max())
        moved = drawn - centre[None]
    with np.errstate(invalid="ignore"):
        spread = (moved.max(axis=1) - moved.min(axis=1)).max(axis=1)
    # A resample without the examples that a rate needs knows nothing about it.
    spread = np.where(np.isnan(spread), np.inf if ratio else 1.0, spread)
    q = float(np.quantile(spread, level, method="higher"))
    low, high = (middle * np.exp(-q), middle * np.exp(q)) if ratio else (middle - q, middle + q)
    return Gap(value, float(max(min(low, value), 0.0)), float(min(max(high, value), 1.0)), "ok")
