"""The directive `scaling`: one process against several, from `bench/results/workers.json`."""

import json
import pathlib

from _benchmarks import _table
from docutils import nodes
from docutils.parsers.rst import Directive

RESULTS = pathlib.Path(__file__).parents[1] / "bench" / "results" / "workers.json"


class Scaling(Directive):
    """Rows per second of one and of several processes, and which targets that meets."""

    def run(self) -> list[nodes.Node]:
        if not RESULTS.exists():
            return [nodes.paragraph(text="Not measured yet: `python -m bench.workers` does it.")]
        found = json.loads(RESULTS.read_text())
        rows = [
            [
                count,
                *(f"{m['rows_per_second'][who]:,}" for who in ("engine", "hand loop")),
                f"{m['engine_of_ideal']:.2f}",
                f"{m['hand_loop_of_ideal']:.2f}",
                " to ".join(f"{rate:,}" for rate in m["engine_spread"]),
                str(m["tiles_computed_twice"]),
            ]
            for count, m in found["processes"].items()
        ]
        head = [
            "processes",
            "sensijax, rows/s",
            "loops by hand, rows/s",
            "sensijax / (N x one)",
            "loops / (N x one)",
            "sensijax, least to most",
            "tiles computed twice, of " + str(found["tiles"]),
        ]
        title = f"{found['rows']:,} rows on one core each, median of {found['repeats']} rounds"
        loop, scaling = found["engine_over_hand_loop"], found["scaling"]
        words = (
            f"One process over the loop by hand: {loop:.2f}, target {found['target_engine_over_hand_loop']}: "
            f"{_met(loop, found['target_engine_over_hand_loop'])}. The most processes over as many times one: "
            f"{scaling:.2f}, target {found['target_scaling']}: {_met(scaling, found['target_scaling'])}."
        )
        threads = found["hardware_threads_per_core"]
        where = (
            f"sensijax {found['sensijax']}, JAX {found['jax']}, {found['processor']}, {found['cores']} cores"
            + (f" ({threads} hardware threads to a core)" if threads and threads > 1 else "")
            + f", {found['date']}; load average {found['load_before']} before the run."
        )
        return [_table(title, head, rows), nodes.paragraph(text=words), nodes.paragraph(text=where)]


def _met(value: float, target: float) -> str:
    return "met" if value >= target else "missed"
