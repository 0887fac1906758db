"""The directive `faults`: what seeded faults did to campaigns, from `bench/results/faults.json`."""

import json
import pathlib

from _benchmarks import _table
from docutils import nodes
from docutils.parsers.rst import Directive

RESULTS = pathlib.Path(__file__).parents[1] / "bench" / "results" / "faults.json"


class Faults(Directive):
    """One table for each level: kinds of faults, how many, and what was lost, doubled, wrong or done again."""

    def run(self) -> list[nodes.Node]:
        if not RESULTS.exists():
            return [nodes.paragraph(text="Not run yet: `python -m bench.faults --n 1000` does it.")]
        found = json.loads(RESULTS.read_text())
        head = [
            "fault",
            "count",
            "rows missing",
            "rows twice",
            "wrong and believed",
            "otherwise wrong",
            "computed again, %",
            "beyond the tile in hand, %",
            "by two or three runs, %",
        ]
        out: list[nodes.Node] = [
            nodes.paragraph(
                text=f"sensijax {found['sensijax']}, JAX {found['jax']}, Python {found['python']}, {found['system']}, "
                f"{found['cores']} cores, {found['date']}: {found['total']['count']} faults in "
                f"{found['seconds'] / 60:.0f} minutes."
            )
        ]
        for level, title in (("store", "The store alone"), ("campaign", "Whole campaigns")):
            rows = [_row(row["kind"], row) for row in found["faults"] if row["level"] == level]
            if rows:
                out.append(_table(title, head, rows))
        return [*out, _table("All", head, [_row("all", found["total"])])]


def _row(name: str, sums: dict) -> list[str]:
    counts = [str(sums[key]) for key in ("count", "missing", "duplicates", "silent", "otherwise_wrong")]
    return [name, *counts, *(f"{sums[f'{key}_percent']:.2f}" for key in ("again", "beyond", "shared"))]
