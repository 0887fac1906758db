"""Where the numbers come from: hashes, environments, and the commands that check and repeat them."""

import shlex
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from sensijax.campaign import Results
from sensijax.core import StoreError
from sensijax.report import _numbers


def facts(results: Results) -> dict[str, Any]:
    """What identifies the run: its parts, its environments and its stages."""
    manifest, runs = results.manifest, results.statistics()
    finished = [datetime.fromtimestamp(run["finished_at"], UTC).strftime("%Y-%m-%d %H:%M UTC") for run in runs]
    seeds = [str(seed) for seed in manifest["seeds"]]
    quarantined = sum(name.endswith(".parquet") for name in results.store.names("quarantine"))
    facts = [
        ("Campaign", f"{manifest['name']}"),
        ("Campaign id", manifest["id"]),
        ("Model", manifest["model"]["name"]),
        ("Model digest (parameters)", manifest["model"]["digest"]),
        (
            "Data",
            f"{manifest['data']['name']}: {manifest['data']['examples']:,} examples of shape "
            f"{manifest['data']['shape']}",
        ),
        ("Data digest", manifest["data"]["digest"]),
        ("Design", manifest["design"]),
        ("Seeds", _numbers.listed(seeds, 20)),
        ("Tolerance", f"{manifest['tolerance']:g}"),
        (
            "Tiles",
            f"{results.completeness.tiles:,} of {results.completeness.tiles_total:,} finished and intact; "
            f"{_numbers.count(quarantined, 'part')} in quarantine",
        ),
        ("Rows", f"{results.completeness.rows:,} of {results.completeness.rows_total:,}"),
        ("Runs", f"{len(runs)}" + (f", the last finished {finished[-1]}" if finished else "")),
    ]
    environments = []
    for environment in sorted(results.store.environments()):
        try:
            environments.append(results.store.read_json(f"environments/{environment}.json") or {"id": environment})
        except StoreError:
            environments.append({"id": environment, "": "its file cannot be read"})
    stages = [
        (
            name,
            s["kind"],
            f"{s['axis']}: {', '.join(f'{v:g}' for v in s['values'])}",
            ", ".join(f"{k}={v}" for k, v in s["options"].items()),
            s["about"],
        )
        for name, s in manifest["stages"].items()
    ]
    return {"facts": facts, "environments": environments, "stages": stages}


def commands(results: Results, stages: pd.DataFrame) -> str:
    """The commands that check the run, show one of its rows and compute what is missing."""
    cell = _example_cell(results, stages)
    folder = results.store.name
    quoted = shlex.quote(folder)
    lines = [
        (f"sensijax verify {quoted}", "every part against its digest"),
        (f"sensijax show {quoted} {shlex.quote(cell)}", "one row, and the command that recomputes it"),
        (
            f"sensijax run {shlex.quote(f'{folder}/spec.toml')} --out {quoted}",
            "what is missing; nothing, if the run is complete",
        ),
    ]
    width = max(len(command) for command, _ in lines)
    return "\n".join(f"{command:<{width}}   # {what}" for command, what in lines)


def _example_cell(results: Results, stages: pd.DataFrame) -> str:
    scenario = (
        stages.worst_scenario.iloc[0] if len(stages) and stages.worst_scenario.iloc[0] else results.scenario_names[-1]
    )
    example = results.sql("select min(example) as example from examples").example.iloc[0]
    return f"{scenario}:{results.manifest['scenarios'][scenario]['seeds'][0]}:{example}"


def speed(runs: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Throughput and latency: (what, last run, all runs)."""
    if not runs:
        return []
    last, rows = runs[-1], sum(run["rows_computed"] for run in runs)
    sweep, compiling, total = (
        sum(run[key] for run in runs) for key in ("sweep_seconds", "compile_seconds", "total_seconds")
    )
    return [
        ("Judged inputs computed", f"{last['rows_computed']:,}", f"{rows:,}"),
        (
            "Judged inputs per second of the sweep",
            f"{last['rows_per_second']:,.0f}",
            f"{rows / sweep if sweep else 0:,.0f}",
        ),
        ("Variants (scenario × seed over all examples) per second", f"{last['scenarios_per_second']:,.1f}", ""),
        ("Tile latency, median", f"{1000 * last['tile_latency_p50']:,.0f} ms", ""),
        ("Tile latency, 99th percentile", f"{1000 * last['tile_latency_p99']:,.0f} ms", ""),
        ("Sweep", f"{last['sweep_seconds']:,.1f} s", f"{sweep:,.1f} s"),
        ("Compilation", f"{last['compile_seconds']:,.1f} s", f"{compiling:,.1f} s"),
        ("Whole run", f"{last['total_seconds']:,.1f} s", f"{total:,.1f} s"),
        ("Programs compiled, of those planned", f"{last['programs_compiled']} of {last['programs_planned']}", ""),
        ("Share of the sweep in which the device had work", f"{100 * last['device_share']:.0f}%", ""),
        ("Rows at once (micro-batch)", f"{last['micro_batch']:,}", ""),
        ("Device", str(last["device"]), ""),
    ]
