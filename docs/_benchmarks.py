"""A directive that shows what `python -m bench` measured: the tables are made from the files in `bench/results/`."""

import json
import pathlib
from collections.abc import Sequence

from docutils import nodes
from docutils.parsers.rst import Directive

RESULTS = pathlib.Path(__file__).parents[1] / "bench" / "results"


class Benchmarks(Directive):
    """One section for each file of results."""

    def run(self) -> list[nodes.Node]:
        return [_section(json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]


def _section(found: dict) -> nodes.section:
    title = f"{found['processor']}, {found['cores']} cores, {found['device']}"
    section = nodes.section(ids=[nodes.make_id(title)])
    section += nodes.title(text=title)
    section += nodes.paragraph(
        text=f"sensijax {found['sensijax']}, JAX {found['jax']}, Python {found['python']}, {found['date']}; "
        f"load average {found['load_before']} before the run."
    )
    if start := found.get("start"):
        section += _table(
            "sensijax demo, seconds from the command to the report",
            ["empty caches", "warm caches, new folder", "finished folder", "sensijax --help"],
            [
                [
                    f"{start['cold']} (limit {start['limit_cold']})",
                    f"{start['warm']} (limit {start['limit_warm']})",
                    f"{start['resumed']}",
                    f"{start['help']} (limit {start['limit_help']})",
                ]
            ],
        )
    if campaign := found.get("campaign"):
        contenders = ("engine", "hand loop", "nested vmap", "bare forward")
        section += _table(
            f"{campaign['rows']:,} rows of {campaign['model']}: rows per second, "
            f"median of {campaign['repeats']} interleaved runs",
            ["stage", *contenders, "engine / hand loop", "hand loop / bare", "tile p50, p99", "accuracy lost, points"],
            [
                [
                    stage,
                    *(f"{m['rows_per_second'][c]:,}" for c in contenders),
                    f"{m['engine_over_hand_loop']:.2f}",
                    f"{m['hand_loop_over_bare_forward']:.2f}",
                    f"{m['tile_latency_p50_ms']:.0f}, {m['tile_latency_p99_ms']:.0f} ms",
                    m["accuracy_lost_points"],
                ]
                for stage, m in campaign["stages"].items()
            ],
        )
        for name, words in (
            ("engine_over_hand_loop", "Engine over hand loop, the median stage"),
            ("hand_loop_over_bare_forward_cheap", "Hand loop over bare forward, the worst of the cheap stages"),
        ):
            target = campaign[f"target_{name}"]
            met = "met" if campaign[name] >= target else "missed"
            section += nodes.paragraph(text=f"{words}: {campaign[name]:.2f}, target {target}: {met}.")
    if random := found.get("random"):
        section += _table(
            "addressed random numbers: how many times faster than the baseline",
            ["keys x shape", "against", "ratio"],
            [[spec, baseline, f"{ratio}"] for spec, m in random.items() for baseline, ratio in m["ratio"].items()],
        )
    return section


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> nodes.table:
    table = nodes.table()
    table += nodes.title(text=title)
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *map(_row, rows))
    table += group
    return table


def _row(cells: Sequence[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in cells))
