"""A file of suites as tables, for a terminal and for the documentation."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

SPEED = ["suite", "throughput", "of matmul, copy", "single-stream p50, p90, p99", "server p50, p90, p99", "at, busy"]
COST = ["suite", "process, MiB", "device, MiB", "largest program, MiB", "warm-up, cold", "warm-up, warm", "programs"]
ROBUSTNESS = ["suite", "clean accuracy", "under", "accuracy there", "points lost"]
EFFECTS = ["suite", "of", "estimate", "95 % interval"]


def speed(found: dict[str, Any]) -> list[list[str]]:
    """Rows of `SPEED`: latencies in ms; a percentile for which there are too few queries is a dash."""
    return [
        [
            name,
            f"{_number(part['throughput']['per_second'])} {part['work']['unit']}/s",
            _of_the_ceilings(part["of_the_ceilings"]),
            _percentiles(part["latency_ms"]["single-stream"]),
            _percentiles(part["latency_ms"]["server"]) + (" (behind)" if _server(part)["saturated"] else ""),
            f"{_server(part)['rate']:g}/s, {100 * _server(part)['busy']:.0f} %",
        ]
        for name, part in found["suites"].items()
    ]


def cost(found: dict[str, Any]) -> list[list[str]]:
    """Rows of `COST`: memory in MiB; seconds until everything is warm, with an empty and with a full compile cache."""
    return [
        [
            name,
            *(_or_dash(part["memory_mib"][key], ".0f") for key in ("process_peak", "device_peak")),
            _or_dash(part["memory_mib"]["largest_program"], ".1f"),
            f"{part['compile']['cold_seconds']:.1f} s",
            _or_dash(part["compile"]["warm_seconds"], ".1f", " s"),
            str(part["compile"]["programs"]),
        ]
        for name, part in found["suites"].items()
    ]


def robustness(found: dict[str, Any]) -> list[list[str]]:
    """Rows of `ROBUSTNESS`, in percent and points, with 95 % intervals."""
    return [
        [
            name,
            _within(about["clean_accuracy"], 100, " %"),
            about.get("stressed", ""),
            _within(about["stressed_accuracy"], 100, " %") if "stressed" in about else "",
            _within(about["points_lost"], 1) if "stressed" in about else "",
        ]
        for name, part in found["suites"].items()
        if "clean_accuracy" in (about := part["robustness"])
    ]


def effects(found: dict[str, Any]) -> list[list[str]]:
    """Rows of `EFFECTS`: sensitivity indices, points lost by stage, and effects of stressors up to the third order."""
    return [
        [name, f"{title}: {key}".replace("_", " "), f"{value:.2f}", f"{low:.2f} to {high:.2f}"]
        for name, part in found["suites"].items()
        for title, about in part["robustness"].items()
        if isinstance(about, dict)
        for key, (value, low, high) in about.items()
    ]


TABLES = (
    ("Speed, latencies in ms", SPEED, speed),
    ("Memory, and seconds of warm-up: what a fresh process needs beyond its steady work", COST, cost),
    ("What the same runs found out", ROBUSTNESS, robustness),
    ("Indices and effects", EFFECTS, effects),
)


def heading(found: dict[str, Any]) -> str:
    """One line: what was measured, where, with what."""
    dirty = {True: ", with changes that are not committed", False: "", None: ""}[found["dirty"]]
    model = found["suites"]["model"]["work"]["model"]
    return (
        f"{model} ({found['suites']['model']['parameters']:,} parameters), {found['dtype']}, on {found['device']}: "
        f"{found['processor']}, {found['cores']} cores; load {found['load_before']} before the run; "
        f"{found['amounts']['processes']} processes of {found['amounts']['repeats']} repeats each, size "
        f"{found['size']}, {found['total_seconds']:.0f} s in all; sensijax {found['sensijax']}, JAX {found['jax']}, "
        f"Python {found['python']}, {found['date']}, commit {str(found['commit'])[:10]}{dirty}."
    )


def show(found: dict[str, Any], console: Console) -> None:
    """Prints everything."""
    console.print(heading(found))
    for title, head, rows in TABLES:
        table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
        for name in head:
            table.add_column(name)
        for row in rows(found):
            table.add_row(*row)
        console.print(table)


def _server(part: dict[str, Any]) -> dict[str, Any]:
    return part["latency_ms"]["server"]


def _percentiles(found: dict[str, Any]) -> str:
    return ", ".join(_number(found[p]) if p in found else "-" for p in ("p50", "p90", "p99"))


def _of_the_ceilings(found: dict[str, float] | None) -> str:
    shares = [f"{100 * found[k]:.1f} %" if k in found else "-" for k in ("matmul", "copy")] if found else ["-"]
    return ", ".join(shares)


def _within(found: list[float], scale: float, unit: str = "") -> str:
    value, low, high = (scale * v for v in found)
    return f"{value:.1f}{unit} ({low:.1f} to {high:.1f})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _or_dash(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
