"""Tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

MAX_ROWS = 200
_COLOURS = {"robust": "green", "fragile": "red", "undecided": "yellow"}


def facts_table(facts: Mapping[str, Any]) -> Table:
    """Names and values, one a line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(str(value)))
    return table


def frame_table(frame: Any) -> Table:
    """A DataFrame; numbers to six digits, at most 200 rows."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in frame.columns:
        table.add_column(
            Text(str(name)), justify="right" if frame[name].dtype.kind in "iuf" else "left", overflow="fold"
        )
    for row in frame.head(MAX_ROWS).itertuples(index=False):
        table.add_row(*(Text(f"{v:.6g}" if isinstance(v, float) else str(v)) for v in row))
    return table


def damage_table(results: Any) -> Table:
    """The ranked table of what hurts: stages alone, worst first."""
    ranking, tolerance = results.ranking(), results.manifest["tolerance"]
    score, low, high = results.baseline()
    what = "accuracy" if results.metric == "accuracy" else "R²"
    table = Table(
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        title=escape(
            f"What hurts {results.manifest['model']['name']} on {results.manifest['data']['name']}   "
            f"(clean {what} {_percent(score)}, {_percent(low)} to {_percent(high)})"
        ),
        caption=f"lost: points of {what}, averaged over severities, with intervals over examples and seeds; "
        "breaks at, robust to: the severity from (up to) which the whole interval is above (below) "
        f"the tolerance of {100 * tolerance:g} points",
    )
    for name, justify in (
        ("stage", "left"),
        ("lost", "right"),
        ("95 %", "right"),
        ("at worst", "right"),
        ("breaks at", "right"),
        ("robust to", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in ranking.itertuples(index=False):
        breaks, robust = row.breaks_at == row.breaks_at, row.robust_to == row.robust_to
        table.add_row(
            row.stage,
            f"{100 * row.mean_drop:.1f}",
            f"{100 * row.low:.1f} to {100 * row.high:.1f}",
            f"{100 * row.worst_drop:.1f} at {row.worst_at:g}",
            Text(f"{row.breaks_at:g}" if breaks else "-", style=_COLOURS["fragile"] if breaks else ""),
            Text(f"{row.robust_to:g}" if robust else "-", style=_COLOURS["robust"] if robust else ""),
        )
    return table


def attack_table(found: Any) -> Table:
    """What withstood: after each part of the attack at one budget, or at each of several budgets."""
    from sensijax.campaign import as_fraction

    results, manifest, first = found.results, found.manifest, found.results[0]
    several = len(results) > 1
    n = len(first)
    about = manifest["attack"]
    option = about["options"].get("version")
    at = "" if several else f", eps {as_fraction(manifest['budgets'][0])}"
    table = Table(
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        title=escape(
            f"{about['kind']}{f' {option}' if option else ''} ({about['norm']}{at}) against "
            f"{manifest['model']['name']}, {n:,} examples of {manifest['data']['name']}"
        ),
        caption="95 %: Wilson's interval over examples; what a stronger attack would break is no part of it"
        + (
            "; what a smaller budget breaks, a larger one does: such examples are not attacked again" if several else ""
        ),
    )
    heads = ["eps", "robust", "95 %", "broken by"] if several else ["after", "broken", "robust", "95 %"]
    for name in (*heads, "forward", "back"):
        table.add_column(
            name, justify="left" if name in ("after", "broken by") else "right", no_wrap=name != "broken by"
        )
    clean = round(first.clean_accuracy * n)
    table.add_row(*_withstood(clean, n, ("0", None, None, "") if several else ("no attack", "", None, None)), "", "")
    if several:
        for eps, result, parts in zip(manifest["budgets"], results, found.parts, strict=True):
            by = [f"{name} {c}" for i, name in enumerate(result.attacks) if (c := int((result.broken_by == i).sum()))]
            row = _withstood(int(result.robust.sum()), n, (as_fraction(eps), None, None, ", ".join(by) or "nothing"))
            table.add_row(*row, *(f"{sum(part[way] for part in parts):,}" for way in ("forwards", "backwards")))
        return table
    left = clean
    for name, part in zip(first.attacks, found.parts[0], strict=True):
        left -= part["broken"]
        row = _withstood(left, n, (name, f"{part['broken']:,}", None, None))
        table.add_row(*row, f"{part['forwards']:,}", f"{part['backwards']:,}")
    return table


def _withstood(count: int, n: int, cells: tuple) -> list[str]:
    """Cells in which the first two None become the share and its interval."""
    from sensijax.attack import wilson

    low, high = wilson(count, n)
    told = iter([_percent(count / n), f"{100 * low:.1f} to {100 * high:.1f}"])
    return [next(told) if cell is None else cell for cell in cells]


def interaction_table(interactions: Any, total: int) -> Table:
    """The strongest interactions of pairs."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Pairs that are more, or less, than the sum of their parts",
        title_justify="left",
        caption_justify="left",
        caption=f"strongest {len(interactions)} of {total}; interaction = drop(both) - drop(first) - drop(second); "
        "* after Holm's correction over all pairs",
    )
    for name in ("first, then second", "alone", "both", "interaction", "95 %"):
        table.add_column(name, justify="left" if "," in name else "right", no_wrap=name != "first, then second")
    for row in interactions.itertuples(index=False):
        mark = " *" if row.p_holm < 0.05 else "  "
        table.add_row(
            _pair(row),
            f"{100 * row.drop_first:.1f} + {100 * row.drop_second:.1f}",
            f"{100 * row.drop_pair:.1f}",
            f"{100 * row.interaction:+.1f}{mark}",
            f"{100 * row.low:+.1f} to {100 * row.high:+.1f}",
        )
    return table


def timeline_table(timelines: Any) -> Table:
    """What the monitors of timelines found, how late, and at the price of which false alarms."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title="Drift in time, and who saw it",
        title_justify="left",
        caption_justify="left",
        caption="found: of the changes away from no drift, with Wilson's interval over streams; chance: what "
        "alarms would find that come as often as the false ones; false: alarms in 10,000 quiet steps, / at most "
        "promised on average; * needs labels. What always fires finds everything at once, with 10,000 false ones; what "
        "never does, nothing",
    )
    for name in ("monitor", "looks at", "found", "95 %", "chance", "delay", "false"):
        table.add_column(name, justify="left" if name in ("monitor", "looks at") else "right", no_wrap=True)
    for name, rows in timelines.groupby("timeline", sort=False):
        table.add_row(Text(str(name), style="bold"))
        for row in rows.itertuples(index=False):
            table.add_row(
                Text(f" {row.monitor}"),
                Text(f"{row.signal}, {row.kind}{' *' if row.labels else ''}"),
                _known("{:.0f} %", 100 * row.rate),
                _known("{:.0f} to {:.0f}", 100 * row.low, 100 * row.high),
                _known("{:.0f} %", 100 * row.chance),
                _known("{:.0f}", row.mean_delay),
                _known("{:.1f}", row.false_per_10k) + _known("/{:.1f}", row.stated_per_10k).strip("-"),
            )
    return table


def _known(text: str, *numbers: float) -> str:
    return "-" if any(number != number for number in numbers) else text.format(*numbers)


def _pair(row: Any) -> str:
    if row.at_first == row.at_second:
        return f"{row.first}, {row.second} at {row.at_first:g}"
    return f"{row.first}@{row.at_first:g}, {row.second}@{row.at_second:g}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
