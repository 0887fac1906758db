"""The sections' results as tables on a terminal."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench import attack


def _print_campaign(console: Console, found: dict[str, Any]) -> None:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{found['rows']:,} rows of {found['model']}, median of {found['repeats']} interleaved runs",
        title_justify="left",
    )
    for name in (
        "stage",
        "engine",
        "hand loop",
        "nested vmap",
        "bare forward",
        "engine / hand",
        "hand / bare",
        "tile p50, p99",
        "points lost",
    ):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage, m in found["stages"].items():
        rates = m["rows_per_second"]
        table.add_row(
            stage,
            *(f"{rates[n]:,}" for n in ("engine", "hand loop", "nested vmap", "bare forward")),
            _against(m["engine_over_hand_loop"], 0.95),
            f"{m['hand_loop_over_bare_forward']:.2f}",
            f"{m['tile_latency_p50_ms']:.0f}, {m['tile_latency_p99_ms']:.0f} ms",
            m["accuracy_lost_points"],
        )
    console.print(table)
    console.print(
        f"engine / hand loop: median {_against(found['engine_over_hand_loop'], 0.95)} (target 0.95); "
        "hand loop / bare forward, cheap stages: at least "
        f"{_against(found['hand_loop_over_bare_forward_cheap'], 0.9)} (target 0.9)"
    )


def _print_start(console: Console, found: dict[str, Any]) -> None:
    table = Table(
        box=box.SIMPLE_HEAD, title="sensijax demo, seconds from the command to the report", title_justify="left"
    )
    for name in ("cold caches", "warm caches", "finished folder", "--help"):
        table.add_column(name, justify="right")
    table.add_row(
        f"{found['cold']} (limit {found['limit_cold']})",
        f"{found['warm']} (limit {found['limit_warm']})",
        f"{found['resumed']}",
        f"{found['help']} (limit {found['limit_help']})",
    )
    console.print(table)


def _print_random(console: Console, found: dict[str, Any]) -> None:
    table = Table(box=box.SIMPLE_HEAD, title="addressed random numbers: times faster than", title_justify="left")
    for name in ("shape", "baseline", "ratio"):
        table.add_column(name, justify="right" if name == "ratio" else "left")
    for spec, m in found.items():
        for baseline, ratio in m["ratio"].items():
            table.add_row(spec, baseline, _against(ratio, 1.0))
    console.print(table)


def _print_corruptions(console: Console, found: dict[str, Any]) -> None:
    for cores, sizes in found.items():
        for size in ("224", "32"):
            title = f"images per second at {size} px, {cores} core(s)"
            table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
            for name in ("corruption", "sensijax", "imagecorruptions", "ratio"):
                table.add_column(name, justify="left" if name == "corruption" else "right")
            for name, m in sizes[size]["rows"].items():
                table.add_row(
                    name, *map(str, m["images_per_second"].values()), _against(m["ratio"]["imagecorruptions"], 1.0)
                )
            console.print(table)
            console.print("all 15:", _against(sizes[size]["total"], sizes[size]["target"]))
        for name, m in sizes["others"].items():
            console.print(name, m)


def _print_sensitivity(console: Console, found: dict[str, Any]) -> None:
    title = "Sobol indices with second order and 100 bootstraps, seconds from nothing to intervals"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for name in ("case", "evaluations", "sensijax", "NumPy", "SALib", "SALib / ours", "NumPy / ours", "first call"):
        table.add_column(name, justify="left" if name == "case" else "right")
    for name, m in found["cases"].items():
        seconds = m["seconds"]
        table.add_row(
            name,
            f"{m['evaluations']:,}",
            f"{seconds['sensijax']:.3f}",
            f"{seconds['NumPy']:.3f}",
            f"{seconds['SALib']:.1f}" if m["salib_finished"] else f"> {seconds['SALib']:.0f}",
            _against(m["ratio"]["SALib"], found["target_salib"]),
            f"{m['ratio']['NumPy']:.1f}",
            f"{m['cold']:.1f}",
        )
    console.print(table)
    for name, m in found["throughput"].items():
        console.print(
            name, m["million_rows_per_second"], "streamed / bare:", _against(m["ratio"], found["target_throughput"])
        )
    for m in found["memory"]:
        console.print(m)


def _print_attack(console: Console, found: dict[str, Any]) -> None:
    for budget, m in found["budgets"].items():
        title = f"{budget}: {found['images']} images, {found['threads']} threads; seconds, CPU seconds, robust"
        table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
        for name in ("attack", "seconds", "CPU seconds", "robust"):
            table.add_column(name, justify="left" if name == "attack" else "right")
        runs = {f"sensijax {k}": v for k, v in m["sensijax"].items()} | m["peers"]
        for name, run in runs.items():
            if isinstance(run, dict):
                table.add_row(name, str(run["seconds"]), str(run["cpu_seconds"]), str(run["robust"]))
        console.print(table)
        console.print("standard, times faster:", _against(m["standard / pyautoattack"], attack.TARGET))
        console.print("fast, fewer forwards:", _against(m["fewer forward passes of fast"], attack.TARGET_FAST))
    console.print("compiled:", found["compile_seconds"], found["programs"], "MiB:", found["memory_mib"])


def _print_jacobian(console: Console, found: dict[str, Any]) -> None:
    console.print("Jacobians of a LeNet, seconds:", found["seconds"])
    for name, ratio in found["ratio"].items():
        console.print(f"times faster than {name}:", _against(ratio, found["target"]))
    console.print("by hand / ours:", found["by_hand"], "largest difference:", found["largest_difference"])


def _print_sweep(console: Console, found: dict[str, Any]) -> None:
    console.print(found)


def _against(ratio: float, target: float) -> str:
    return f"[green]{ratio:.2f}[/]" if ratio >= target else f"[red]{ratio:.2f}[/]"


PRINT = {
    "stress": _print_sweep,
    "attack": _print_attack,
    "jacobian": _print_jacobian,
    "campaign": _print_campaign,
    "start": _print_start,
    "random": _print_random,
    "corruptions": _print_corruptions,
    "sensitivity": _print_sensitivity,
    "sweep": _print_sweep,
}
