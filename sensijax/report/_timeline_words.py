"""The sentences on timelines: who saw a drift, how soon, and what it did to the model.

The rules:

- Found is said as a count of changes over all streams, never as a share alone.
- What a monitor saw is not told from chance unless the first alarm comes after a drift has begun in more streams than
  alarms would that have nothing to do with it, at the level of 5 %.
- The accuracy fell, or confidence moved, only if the interval over the streams excludes 0; two streams have none.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import bdtrc, stdtrit

from sensijax.campaign.results._timelines import Watched, what_counts
from sensijax.report._numbers import count, listed, number, percent
from sensijax.report._timeline_figures import episodes, inside_episodes, verdicts
from sensijax.report._words import LEVEL

FEW = 5  # streams; below it a sentence says how few there are


KINDS = {
    "chi2": "chi-squared",
    "classifier": "a classifier’s test",
    "cramer_von_mises": "Cramér-von Mises",
    "energy": "energy distance",
    "jensen_shannon": "Jensen-Shannon",
    "ks": "Kolmogorov-Smirnov",
    "lsdd": "LSDD",
    "mmd": "MMD",
    "mmd_aggregated": "aggregated MMD",
    "psi": "PSI",
    "wasserstein": "Wasserstein",
}
SIGNALS = {"error": "errors", "prediction": "predicted classes", "label": "labels", "loss": "the loss"}


def watches(row) -> str:
    """What a monitor does, for people: "chi-squared on predicted classes"."""
    return f"{KINDS.get(row.kind, row.kind)} on {SIGNALS.get(row.signal, row.signal)}"


def about(one: Watched) -> str:
    """What happens on the timeline, in a sentence."""
    facts, steps = one.about, len(one.strength)
    beside = [f"{stage} at {value:g}" for stage, value in facts["beside"].items()]
    text = f"{count(steps, 'step')} in {count(len(one.seeds), 'stream')}; {facts['kind']} (stage {facts['stage']})"
    spans = [f"{begin:,} to {end:,}" if end < steps else f"{begin:,} on" for begin, end in episodes(one)]
    if spans:
        text += f" acts from step {listed(spans, most=4)}"
        text += f", up to a strength of {float(np.abs(one.strength).max()):g}"
    else:
        text += " never acts: every alarm is false"
    return f"{text}. Beside it, all along: {listed(beside)}." if beside else f"{text}."


def model(one: Watched) -> str:
    """What the drift did to the model; empty where nothing can be said."""
    steps, peak = np.arange(len(one.strength)), np.abs(one.strength).max(initial=0)
    first = min((change.at for change in one.changes), default=len(steps))
    before, during = steps < first, np.abs(one.strength) >= 0.9 * peak
    if not peak or not before.any() or not during.any():
        return ""
    if "correct" not in one.signals:
        return f"{_moved('The loss', one.signals['loss'], before, during, lambda v: number(v, 3))}."
    accuracy = _moved("Accuracy", one.signals["correct"], before, during, percent)
    confidence = _moved("confidence", one.signals["confidence"], before, during, percent)
    return f"{accuracy}; {confidence}."


def _moved(name: str, values: np.ndarray, before: np.ndarray, during: np.ndarray, written) -> str:
    """How a signal moved from before the first change to where the drift is at its full strength."""
    each = values[:, during].mean(axis=1, dtype=np.float64) - values[:, before].mean(axis=1, dtype=np.float64)
    was, is_now = (written(float(values[:, part].mean(dtype=np.float64))) for part in (before, during))
    if len(each) < 3:
        return f"{name} was {was} before and {is_now} under it, in {count(len(each), 'stream')}"
    half = float(stdtrit(len(each) - 1, 0.975) * each.std(ddof=1) / math.sqrt(len(each)))
    if abs(each.mean()) <= half:
        return f"{name} is not shown to move ({was} before, {is_now} under it)"
    return f"{name} {'fell' if each.mean() < 0 else 'rose'} from {was} to {is_now}"


def monitors(one: Watched, table: pd.DataFrame) -> str:
    """Who saw it: the best with labels, the best without.

    Args:
      one: the timeline.
      table: its rows of `Results.timelines`.
    """
    if table.empty or not table.changes.iloc[0]:
        return ""
    table, said = table.assign(p=[beyond_chance(one, monitor) for monitor in table.monitor]), []
    for needs, lead in ((True, "With labels at hand"), (False, "Without labels")):
        part = table[table.labels == needs]
        if part.empty:
            continue
        if not part.rate.any():
            said.append(f"{lead}, {listed(part.monitor.tolist())} never spoke up while the drift was on")
            continue
        order = part.assign(told=part.p <= LEVEL).sort_values(
            ["told", "rate", "mean_delay"], ascending=[False, False, True]
        )
        best = order.iloc[0]
        unsure = "" if best.told else f": {count(best.streams, 'stream')} do not tell that from chance"
        said.append(f"{lead}, {best.monitor} ({watches(best)}) saw {_found(best)}{_false(best)}{unsure}")
    text, streams = ". ".join(said) + ".", int(table.streams.iloc[0])
    known = "do not tell that from chance" in text  # and so how few they are
    return text if known or streams >= FEW else f"{text} These are only {count(streams, 'stream')}."


def beyond_chance(one: Watched, monitor: str) -> float:
    """How likely the first alarm comes after a drift began in as many streams if it has nothing to do with it.

    An alarm at a random step that counts falls into an episode with the probability of the episodes' share; the first
    of several is earlier, so this is an upper bound.

    Returns:
      The p-value, of a binomial tail; 1 where no stream has an alarm that counts.
    """
    kinds = verdicts(one, monitor)
    begins, ignored = what_counts(one.strength, one.changes, one.about["horizon"])
    counts = ~ignored
    spoke = [stream[(stream > 0) & (stream < 4)] for stream in kinds]
    first = [int(stream[0]) for stream in spoke if len(stream)]
    if not first or not counts.any():
        return 1.0
    share = float(inside_episodes(one, begins)[counts].mean())
    return float(bdtrc(sum(kind == 1 for kind in first) - 1, len(first), share))


def _of(row) -> str:
    total = round(row.streams * row.changes)
    return f"{round(row.rate * total)} of {count(total, 'drift')}"


def _found(row) -> str:
    return f"{_of(row)}, after {count(round(row.mean_delay), 'step')}{' on average' if row.rate > 0 else ''}"


def _false(row) -> str:
    if math.isnan(row.false_per_10k):
        return ""
    return (
        ", without a false alarm"
        if row.false_per_10k == 0
        else f", with {number(row.false_per_10k, 1)} false alarms in 10,000 quiet steps"
    )


def beside(base: Watched, other: Watched, table: pd.DataFrame) -> str:
    """What acting beside did, where two timelines differ in that alone.

    Args:
      base: with less beside it.
      other: with more.
      table: `Results.timelines`.
    """
    more = [f"{s} at {v:g}" for s, v in other.about["beside"].items() if base.about["beside"].get(s) != v]
    less = [f"{s} at {v:g}" for s, v in base.about["beside"].items() if other.about["beside"].get(s) != v]
    what = f"With {listed(more)} beside it" if more else "Without"
    what += f" instead of {listed(less)}" if more and less else f" {listed(less)}" if less else ""
    rows, changed = table.set_index(["timeline", "monitor"]), []
    for monitor in _common(base, other):
        a, b = rows.loc[(base.name, monitor)], rows.loc[(other.name, monitor)]
        parts = []
        if b.rate != a.rate:
            parts.append(f"saw {_of(b)} instead of {round(a.rate * a.streams * a.changes)}")
        if round(b.mean_delay if b.rate else 0) != round(a.mean_delay if a.rate else 0) and a.rate and b.rate:
            parts.append(f"took {b.mean_delay:,.0f} steps instead of {a.mean_delay:,.0f}")
        if b.false_per_10k != a.false_per_10k and not math.isnan(b.false_per_10k + a.false_per_10k):
            parts.append(
                f"had {number(b.false_per_10k, 1)} false alarms in 10,000 instead of {number(a.false_per_10k, 1)}"
            )
        if parts:
            changed.append(f"{monitor} {listed(parts)}")
    same = f"{what}, on the same examples as “{base.name}”, "
    both = listed(_common(base, other))
    return f"{same}{'; '.join(changed)}." if changed else f"{same}{both} saw the same, as soon."


def _common(base: Watched, other: Watched) -> list[str]:
    """The monitors that watch both in the same way."""
    theirs = other.about["monitors"]
    return [name for name, facts in base.about["monitors"].items() if theirs.get(name) == facts]


def partners(watched: Sequence[Watched]) -> dict[str, Watched]:
    """For each timeline that differs from an earlier or barer one in what acts beside it alone: that one."""
    found: dict[str, Watched] = {}
    for one in watched:
        like = [w for w in watched if w is not one and _but_beside(w) == _but_beside(one) and _common(w, one)]
        barer = [w for w in like if len(w.about["beside"]) < len(one.about["beside"])]
        if barer:
            found[one.name] = min(barer, key=lambda w: len(w.about["beside"]))
    return found


def _but_beside(one: Watched) -> tuple:
    keys = ("stage", "at", "schedule", "length", "horizon", "seeds")
    return (*(str(one.about[key]) for key in keys), one.seeds)
