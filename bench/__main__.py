"""Every benchmark, one after the other: prints tables, writes JSON.

python -m bench [--out FILE] [--only SECTION] [--peers PEERS/bin/python] [--alibi ALIBI/bin/python]

PEERS is an environment with `bench/peers/requirements.txt`; without it, what is compared with other programs is left
out; ALIBI one with `requirements-alibi.txt`, which does not fit beside the others. With `--only`, what the file holds
of other sections stays.
"""

import argparse
import datetime
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import re
from collections.abc import Callable
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

import sensijax as sj
from bench import attack, campaign, corruptions, jacobian, random_numbers, sensitivity, start, stress, sweep

SECTIONS = {"start": start.measure, "random": random_numbers.measure, "campaign": campaign.measure}
PEERED = {  # these compare with other programs
    "attack": attack.measure,
    "jacobian": jacobian.measure,
    "corruptions": corruptions.measure,
    "sensitivity": sensitivity.measure,
    "sweep": sweep.measure,
}


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", help="the JSON file (default: bench/results/DEVICE.json)")
    arguments.add_argument(
        "--only",
        choices=[*SECTIONS, "stress", *PEERED],
        action="append",
        help="run this section alone; may be given again",
    )
    arguments.add_argument("--peers", help="the Python of the environment of bench/peers/requirements.txt")
    arguments.add_argument("--alibi", help="the Python of the environment of bench/peers/requirements-alibi.txt")
    chosen = arguments.parse_args()
    sections: dict[str, Callable[[], Any]] = SECTIONS | {"stress": lambda: stress.measure(chosen.peers, chosen.alibi)}
    if chosen.peers:
        sections |= {name: functools.partial(measure, chosen.peers) for name, measure in PEERED.items()}
    if missing := set(chosen.only or ()) - set(sections):
        arguments.error(f"{', '.join(sorted(missing))}: give --peers")
    sj.enable_compile_cache()
    console = Console(width=110)
    device = jax.devices()[0]
    measured: dict[str, Any] = {
        "sensijax": sj.__version__,
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "python": platform.python_version(),
        "device": device.device_kind,
        "platform": device.platform,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        "load_before": round(os.getloadavg()[0], 2),
    }
    console.print(measured)
    label = re.sub(r"[^a-z0-9]+", "-", f"{device.device_kind}-{measured['cores']}-cores".lower())
    out = pathlib.Path(chosen.out) if chosen.out else pathlib.Path(__file__).parent / "results" / f"{label}.json"
    if chosen.only and out.exists():
        measured = json.loads(out.read_text()) | measured
    for name in chosen.only or sections:
        measured[name] = sections[name]()
        _PRINT[name](console, measured[name])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(measured, indent=1) + "\n")
    console.print(f"wrote {out}")


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


def _processor() -> str:
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


_PRINT = {
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

if __name__ == "__main__":
    main()
