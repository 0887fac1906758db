"""The commands that read a folder: status, query, report, diff, verify, show."""

import argparse
import json
import pathlib
import shlex
import sys
from typing import TYPE_CHECKING

from sensijax.cli import FOUND, INCOMPLETE, OK
from sensijax.cli._console import err, out, say
from sensijax.cli._tables import MAX_ROWS, facts_table, frame_table

if TYPE_CHECKING:  # importing these for good would import JAX
    import pandas

    from sensijax.campaign import Results

_COMPARED = frozenset({"prediction", "confidence", "entropy", "margin", "loss", "brier", "correct"})


def status(arguments: argparse.Namespace) -> int:
    results = _open(arguments.dir)
    completeness, manifest = results.completeness, results.manifest
    runs = results.statistics()
    facts = {
        "campaign": f"{manifest['name']} ({manifest['id'][:8]}): "
        f"{manifest['model']['name']} on {manifest['data']['name']}",
        "tiles": f"{completeness.tiles:,} of {completeness.tiles_total:,}",
        "judged inputs": f"{completeness.rows:,} of {completeness.rows_total:,}",
        "runs": f"{len(runs)}"
        + (
            f"; the last computed {runs[-1]['rows_computed']:,} at {runs[-1]['rows_per_second']:,.0f}/s" if runs else ""
        ),
    }
    if completeness.stale:
        facts["kept apart"] = f"{completeness.stale} tiles of earlier campaigns in this folder"
    if completeness.damaged:
        facts["damaged"] = f"{len(completeness.damaged)} parts, moved to quarantine: run again to compute them anew"
    if completeness.conflicts:
        facts["conflicts"] = (
            f"{len(completeness.conflicts)} tiles exist twice with different content: "
            "the computation is not deterministic"
        )
    out.print(facts_table(facts))
    return OK if completeness.complete else INCOMPLETE


def query(arguments: argparse.Namespace) -> int:
    results = _open(arguments.dir)
    _print_frame(results.sql(arguments.sql), arguments.csv)
    return OK if results.completeness.complete else INCOMPLETE


def report(arguments: argparse.Namespace) -> int:
    if (pathlib.Path(arguments.dir) / "attack.json").is_file():
        from sensijax.campaign import Evaluated
        from sensijax.report import write_attack_report

        path = write_attack_report(Evaluated.open(arguments.dir), arguments.out)
        say(f"report: {path}")
        return OK
    results = _open(arguments.dir)
    say(f"report: {results.report(arguments.out)}")
    return OK if results.completeness.complete else INCOMPLETE


def diff(arguments: argparse.Namespace) -> int:
    from sensijax.campaign import compare

    a, b = _open(arguments.a), _open(arguments.b)
    table = compare(a, b)
    _print_frame(table, arguments.csv)
    if left_out := table.attrs["left_out"]:
        say(
            f"{len(left_out)} scenarios are not in both runs alike: "
            f"{', '.join(left_out[:5])}{' ...' if len(left_out) > 5 else ''}",
            console=err,
        )
    return OK if a.completeness.complete and b.completeness.complete else INCOMPLETE


def verify(arguments: argparse.Namespace) -> int:
    if any((pathlib.Path(arguments.dir) / name).is_file() for name in ("attack.json", "adversarial.json")):
        from sensijax.cli._attack import verify as verify_attack

        return verify_attack(arguments, out, err)
    from sensijax import campaign

    findings = campaign.verify(arguments.dir)
    for finding in findings.faults:
        say(finding, "red", console=err)
    say(
        f"{findings.parts} parts, {findings.rows:,} rows: digests, addresses and provenance "
        f"{'are sound' if not findings.faults else f'have {len(findings.faults)} faults'}"
    )
    if findings.faults:
        return FOUND
    return OK if findings.complete else INCOMPLETE


def show(arguments: argparse.Namespace) -> int:
    from sensijax.campaign import Cell

    results = _open(arguments.dir)
    cell = Cell.parse(arguments.cell)
    found = results.cell(cell.scenario, cell.seed, cell.example)
    clean = found["clean"] or {}
    settings = " then ".join(f"{stage} at {value:g}" for stage, value in found["settings"]) or "no perturbation"
    rows = {
        name: (f"{value}" if name not in clean or name not in _COMPARED else f"{value}   (clean: {clean[name]})")
        for name, value in found["row"].items()
    }
    out.print(facts_table({"cell": str(cell), "settings": settings, **rows}))
    source = results.store.read_bytes("source.json")
    if source is not None:
        spec = json.loads(source)["spec"]
        command = f"sensijax run {shlex.quote(spec)} --out {shlex.quote(arguments.dir)} --cell {shlex.quote(str(cell))}"
    else:
        micro_batch = found["row"]["micro_batch"]
        command = f"sensijax.recompute(campaign, {str(cell)!r}, {micro_batch})   # in Python: the run had no spec file"
    say(f"recompute it alone: {command}")
    return OK


def _open(folder: str) -> "Results":
    from sensijax.campaign import Results

    results = Results.open(folder)
    completeness = results.completeness
    if not completeness.complete:
        err.print(
            f"incomplete: {completeness.tiles} of {completeness.tiles_total} tiles are there; `sensijax run` goes on",
            style="yellow",
            highlight=False,
        )
    return results


def _print_frame(frame: "pandas.DataFrame", csv: bool) -> None:
    if csv:
        frame.to_csv(sys.stdout, index=False)
    else:
        out.print(frame_table(frame))
        rows = f"{len(frame):,} row{'' if len(frame) == 1 else 's'}"
        out.print(
            rows + (f", the first {MAX_ROWS} shown; --csv prints all" if len(frame) > MAX_ROWS else ""), highlight=False
        )
