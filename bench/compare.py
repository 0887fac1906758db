"""Two files of suites beside each other: ratios with 95 % intervals, for the same work alone.

Each process that measured gives one value of a metric; the interval of the ratio is Welch's, on logarithms, over these
values. Repeats and queries within a process are alike in what makes processes differ (where memory lies, what else
the machine does), so resampling them as if they were independent calls differences that are none: `tests/bench` counts
how often. A bootstrap over three processes cannot leave the range of three values, so there is none here.

Reference:
  Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013 (levels of variation). Welch, "The
  generalization of 'Student's' problem when several different population variances are involved", Biometrika 34 (1947).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.stats import t

from bench.scenarios import PERCENTS
from bench.suites.gather import SCENARIOS
from sensijax.core import ArgumentError

LEVEL = 0.95
ALIKE = 1e-3  # robustness results of one machine that differ by more are other answers
MACHINE = ("device", "platform", "processor", "cores", "jax", "jaxlib", "python")


class Ratio(NamedTuple):
    """One metric of both files.

    Attributes:
      metric: such as "sweep: throughput".
      before, after: its values.
      unit: theirs.
      ratio: above 1, the second file is better: faster, or smaller.
      low, high: the 95 % interval; NaN where either file has a single value.
      speed: whether it is a speed; otherwise it is memory or compilation.
    """

    metric: str
    before: float
    after: float
    unit: str
    ratio: float
    low: float
    high: float
    speed: bool

    @property
    def verdict(self) -> str:
        """Words that the interval allows."""
        if math.isnan(self.low):
            return "no interval: one value" if self.ratio != 1 else "the same"
        better, worse = ("faster", "slower") if self.speed or self.unit == "s" else ("smaller", "larger")
        return better if self.low > 1 else worse if self.high < 1 else "no difference shown"


class Comparison(NamedTuple):
    """What two files say of each other.

    Attributes:
      ratios: of every metric that both have.
      warnings: what makes the ratios say less than they seem to.
      answers: robustness results that differ.
    """

    ratios: list[Ratio]
    warnings: list[str]
    answers: list[str]


def compare(before: dict[str, Any], after: dict[str, Any]) -> Comparison:
    """Compares two files of suites.

    Args:
      before, after: as `bench.suites.measure` returns them.

    Returns:
      Ratios of all metrics that both files have, warnings, and answers that differ.

    Raises:
      ArgumentError: if they are no files of suites, of different versions of the suites, have no suite in common, or
        did different work.
    """
    for found in (before, after):
        if "suites_version" not in found:
            raise ArgumentError("file", "no suites in it", "a file that `python -m bench --suite` wrote")
    if before["suites_version"] != after["suites_version"]:
        came = f"versions {before['suites_version']} and {after['suites_version']} of the suites"
        raise ArgumentError("files", came, "one version: measure the older one again")
    shared = [name for name in before["suites"] if name in after["suites"]]
    if not shared:
        raise ArgumentError("files", "no suite in common", "files that hold the same suites")
    warnings = [
        f"{name}: {before[name]!r} before, {after[name]!r} after" for name in MACHINE if before[name] != after[name]
    ]
    warnings += [
        f"the load was {found['load_before']} before the run that is {which}, on {found['cores']} cores"
        for which, found in (("before", before), ("after", after))
        if found["load_before"] > 0.5 * found["cores"]
    ]
    ratios, answers, exact = [], [], all(before[name] == after[name] for name in MACHINE)
    for name in shared:
        one, other = before["suites"][name], after["suites"][name]
        served = _same_work(name, one, other)
        if not served:
            warnings.append(f"{name}: queries arrived at other rates, so the server scenario is not compared (--like)")
        elif any(part["latency_ms"]["server"]["saturated"] for part in (one, other)):
            warnings.append(f"{name}: a server was behind, and its latencies grow with the run: they are not compared")
            served = False
        if one["model_digest"] != other["model_digest"]:
            warnings.append(f"{name}: the models' weights differ")
        ratios += _ratios(name, one, other, served)
        answers += _differing(name, one["robustness"], other["robustness"], exact)
    return Comparison(ratios, list(dict.fromkeys(warnings)), answers)


def ratio_of_means(before: list[float], after: list[float]) -> tuple[float, float, float]:
    """The ratio of two geometric means, first over second, with its 95 % interval.

    Args:
      before, after: positive values, one of each process.

    Returns:
      Ratio, low and high: Welch's interval on logarithms; NaN bounds where either has one value.
    """
    one, other = np.log(before), np.log(after)
    difference = float(one.mean() - other.mean())
    if len(one) < 2 or len(other) < 2:
        return math.exp(difference), math.nan, math.nan
    parts = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
    if not parts.sum():
        half = 0.0
    else:
        freedom = parts.sum() ** 2 / (parts**2 / np.array([len(one) - 1, len(other) - 1])).sum()
        half = float(t.ppf(0.5 + LEVEL / 2, freedom) * np.sqrt(parts.sum()))
    return math.exp(difference), math.exp(difference - half), math.exp(difference + half)


def exit_code(found: Comparison, fail_below: float | None) -> int:
    """1 if a speed is shown to be below the given ratio, its whole interval, or answers differ; 0 otherwise."""
    if fail_below is None:
        return 0
    slow = [one for one in found.ratios if one.speed and one.high < fail_below]
    return int(bool(slow or found.answers))


def show(found: Comparison, console: Console) -> None:
    """Prints the comparison."""
    table = Table(box=box.SIMPLE_HEAD, title="above 1: the second file is better", title_justify="left")
    for name in ("metric", "before", "after", "unit", "ratio", "95 % interval", "verdict"):
        table.add_column(name, justify="left" if name in ("metric", "unit", "verdict") else "right")
    for one in found.ratios:
        interval = "" if math.isnan(one.low) else f"{one.low:.3f} to {one.high:.3f}"
        colour = {"faster": "green", "smaller": "green", "slower": "red", "larger": "red"}.get(one.verdict, "default")
        values = (f"{v:,.0f}" if v >= 1000 else f"{v:.4g}" for v in (one.before, one.after))
        table.add_row(one.metric, *values, one.unit, f"{one.ratio:.3f}", interval, f"[{colour}]{one.verdict}[/]")
    console.print(table)
    judged = sum(not math.isnan(one.low) for one in found.ratios)
    console.print(
        f"{judged} intervals: without any difference about {(1 - LEVEL) * judged:.1f} of them would not hold 1."
    )
    for words in found.answers:
        console.print(f"[red]other answers[/]: {words}", highlight=False)
    for words in found.warnings:
        console.print(f"[yellow]warning[/]: {words}", highlight=False)


def _same_work(name: str, one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the rates of arrival are the same too; raises if anything else differs."""
    works = [dict(part["work"]) for part in (one, other)]
    rates = [work.pop("rate") for work in works]
    if differing := {k: (works[0].get(k), v) for k, v in works[1].items() if works[0].get(k) != v}:
        came = "; ".join(f"{k}: {a!r} before, {b!r} after" for k, (a, b) in differing.items())
        raise ArgumentError("files", f"different work in {name}: {came}", "the same model, dtype and size")
    return rates[0] == rates[1]


def _ratios(name: str, one: dict[str, Any], other: dict[str, Any], served: bool) -> list[Ratio]:
    def values(of: Callable[[dict[str, Any]], float | None], which: slice = slice(None)) -> list[list[Any]]:
        return [[of(raw) for raw in part["processes"][which]] for part in (one, other)]

    units, unit = one["work"]["units"], f"{one['work']['unit']}/s"
    seconds = values(lambda raw: math.exp(float(np.log(raw["offline_seconds"]).mean())))
    found = [_ratio(f"{name}: throughput", seconds, "s", True)]
    found[0] = found[0]._replace(before=units / found[0].before, after=units / found[0].after, unit=unit)
    for scenario, key in SCENARIOS.items():
        for percent in PERCENTS if scenario != "server" or served else ():
            if all(f"p{percent}" in part["latency_ms"][scenario] for part in (one, other)):
                latencies = values(lambda raw, key=key, p=percent: 1e3 * _nearest_rank(raw[key], p))
                found.append(_ratio(f"{name}: {scenario} p{percent}", latencies, "ms", True))
    for label, key in (("peak memory", "process_peak"), ("device memory", "device_peak")):
        peaks = values(lambda raw, key=key: raw["memory_mib"][key])
        if all(peak is not None for side in peaks for peak in side):
            found.append(_ratio(f"{name}: {label}", peaks, "MiB", False))
    largest = [[part["memory_mib"]["largest_program"]] for part in (one, other)]
    if all(side[0] for side in largest):
        found.append(_ratio(f"{name}: largest program", largest, "MiB", False))
    for label, which in (("cold", slice(0, 1)), ("warm", slice(1, None))):
        warming = values(lambda raw: raw["compile"]["warm_up_seconds"], which)
        if all(side and min(side) > 0 for side in warming):
            found.append(_ratio(f"{name}: warm-up, {label} cache", warming, "s", False))
    return found


def _ratio(metric: str, values: list[list[float]], unit: str, speed: bool) -> Ratio:
    """Of what is better when it is smaller."""
    before, after = values
    means = [math.exp(float(np.log(side).mean())) for side in (before, after)]
    ratio, low, high = ratio_of_means(before, after)
    return Ratio(metric, means[0], means[1], unit, ratio, low, high, speed)


def _nearest_rank(seconds: list[float], percent: float) -> float:
    return float(np.sort(seconds)[math.ceil(percent * len(seconds) / 100 - 1e-9) - 1])


def _differing(name: str, one: Any, other: Any, exact: bool, where: str = "") -> list[str]:
    """Where two robustness results differ; on different machines, where either is outside of the other's interval."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [words for key in one for words in _differing(name, one[key], other.get(key), exact, f"{where} {key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other) == 3:
        alike = np.allclose(one, other, rtol=0, atol=ALIKE, equal_nan=True)
        if not exact:
            alike |= one[1] <= other[0] <= one[2] and other[1] <= one[0] <= other[2]
    else:
        alike = one == other
    return [] if alike else [f"{name}:{where.replace('_', ' ')}: {one} before, {other} after"]
