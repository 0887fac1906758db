"""What each command does: calls the library, prints the answer."""

import argparse
import contextlib
import importlib.resources
import json
import logging
import pathlib
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler

from sensijax.cli import BAD_INPUT, FOUND, INCOMPLETE, IO_ERROR, OK
from sensijax.cli._progress import shown_progress
from sensijax.cli._sensitivity import sensitivity
from sensijax.cli._tables import MAX_ROWS, damage_table, facts_table, frame_table, interaction_table
from sensijax.core.errors import ArgumentError, CampaignError, StoreError

if TYPE_CHECKING:  # importing these for good would import JAX
    import pandas

    from sensijax.campaign import Progress, Results, Spec

out = Console()
err = Console(stderr=True)


def carry_out(arguments: argparse.Namespace) -> int:
    """Runs the command that was parsed; turns the library's errors into a message and an exit code."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_time=False, show_path=False)],
    )
    try:
        return _COMMANDS[arguments.command](arguments)
    except CampaignError as error:
        for fault in error.faults:
            err.print(str(fault), style="red", markup=False, highlight=False, soft_wrap=True)
        err.print(f"{len(error.faults)} fault{'s' if len(error.faults) > 1 else ''}; nothing was run", highlight=False)
        return BAD_INPUT
    except ArgumentError as error:
        err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return BAD_INPUT
    except (StoreError, OSError) as error:
        err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return IO_ERROR
    except KeyboardInterrupt:
        err.print("stopped; every finished tile is kept, and the same command goes on from there", highlight=False)
        return INCOMPLETE


# --- making and running ----------------------------------------------------------------------------------------------


def _demo(arguments: argparse.Namespace) -> int:
    folder = pathlib.Path(arguments.out or ("sensijax-demo-stress" if arguments.stress else "sensijax-demo"))
    text = importlib.resources.files("sensijax.demo").joinpath(arguments.stress or "campaign.toml").read_text()
    _make(folder)
    spec = folder / "spec.toml"
    if not spec.exists() or spec.read_text() != text:
        spec.write_text(text)
    arguments.spec, arguments.micro_batch, arguments.cell, arguments.out = str(spec), None, None, str(folder)
    return _run(arguments)


def _gallery(arguments: argparse.Namespace) -> int:
    from sensijax.cli._gallery import gallery

    try:
        gallery(arguments, out, err)
    except KeyboardInterrupt:
        err.print("stopped; nothing was written", highlight=False)
        return INCOMPLETE
    return OK


def _init(arguments: argparse.Namespace) -> int:
    folder = pathlib.Path(arguments.dir)
    _make(folder)
    template = importlib.resources.files("sensijax.cli") / "template"
    files = ["campaign.toml", "model.py"]
    present = [name for name in files if (folder / name).exists()]
    if present:
        raise ArgumentError(
            "DIR", f"{folder} with {' and '.join(present)}", "a folder without them: nothing is overwritten"
        )
    for name in files:
        (folder / name).write_text(template.joinpath(name).read_text())
        out.print(f"wrote {folder / name}", markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"next: sensijax run {shlex.quote(str(folder / 'campaign.toml'))}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return OK


def _check(arguments: argparse.Namespace) -> int:
    from sensijax.campaign import check_folder, load_spec, make_plan

    spec = load_spec(arguments.spec)
    plan = make_plan(spec.campaign)
    check_folder(spec.out, plan)
    out.print(
        f"{arguments.spec} is sound: {len(spec.campaign.scenarios):,} scenarios, {plan.rows:,} judged inputs",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return OK


def _plan(arguments: argparse.Namespace) -> int:
    from sensijax.campaign import estimate_seconds, load_spec, make_plan
    from sensijax.core import enable_compile_cache

    enable_compile_cache()
    spec = load_spec(arguments.spec)
    campaign, plan = spec.campaign, make_plan(spec.campaign)
    with err.status("timing the model"):
        seconds = estimate_seconds(campaign, plan)
    bound = " (attacks counted to their last step)" if any(s.passes for s in plan.structures) else ""
    out.print(
        facts_table(
            {
                "model": f"{campaign.model.name} ({campaign.model.digest[:8]})",
                "data": f"{campaign.data.name}: {len(campaign.data):,} examples",
                "scenarios": f"{len(campaign.scenarios):,}",
                "seeds": f"{len(campaign.seeds)} (scenarios without random draws run for one)",  # type: ignore[arg-type]
                "cells": f"{plan.rows:,} judged inputs in {len(plan.tiles):,} tiles",
                "programs to compile": f"{plan.programs}",
                "estimated time": f"about {_duration(seconds)} of sweep on this device{bound}, plus compilation",
                "estimated size": f"about {plan.bytes / 1e6:,.1f} MB",
                "folder": str(spec.out),
            }
        )
    )
    return OK


def _run(arguments: argparse.Namespace) -> int:
    from sensijax.campaign import load_spec, run
    from sensijax.core import enable_compile_cache

    enable_compile_cache()
    with err.status("reading the spec, loading model and data") if err.is_terminal else contextlib.nullcontext():
        spec = load_spec(arguments.spec)
    folder = pathlib.Path(arguments.out) if arguments.out else spec.out
    if arguments.cell:
        return _recompute(spec, folder, arguments.cell)
    _make(folder)
    if (folder / "spec.toml").resolve() != pathlib.Path(arguments.spec).resolve():
        shutil.copyfile(arguments.spec, folder / "spec.toml")
    (folder / "source.json").write_text(json.dumps({"spec": str(pathlib.Path(arguments.spec).resolve())}) + "\n")
    with shown_progress(err) as progress:
        results = run(
            spec.campaign,
            folder,
            micro_batch=spec.micro_batch if arguments.micro_batch is None else arguments.micro_batch,
            allow_mixed=arguments.allow_mixed,
            progress=progress,
        )
    _summary(results, progress.last)
    if not arguments.no_report:
        with err.status("writing the report") if err.is_terminal else contextlib.nullcontext():
            path = results.report()
        out.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"ask:    sensijax query {shlex.quote(str(folder))} "
        '"select scenario, avg(correct::int) as accuracy from responses group by all order by 2"',
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return OK if results.completeness.complete else INCOMPLETE


def _recompute(spec: "Spec", folder: pathlib.Path, text: str) -> int:
    from sensijax.campaign import Cell, Results, recompute

    cell = Cell.parse(text)
    stored = Results.open(folder).cell(cell.scenario, cell.seed, cell.example)["row"]
    x, computed = recompute(spec.campaign, cell, int(stored["micro_batch"]))
    rows, same = {}, True
    for name, value in computed.items():
        kept = stored[name]
        equal = value == kept or (value != value and kept != kept)
        same &= equal
        rows[name] = f"{value!r}" if equal else f"{value!r}   (stored: {kept!r})"
    out.print(
        facts_table({"cell": str(cell), "input": f"{x.dtype}{list(x.shape)}, mean {float(x.mean()):.6g}", **rows})
    )
    out.print(
        "identical to what is stored, bit for bit" if same else "differs from what is stored",
        style="green" if same else "red",
    )
    return OK if same else FOUND


def _attack(arguments: argparse.Namespace) -> int:
    from sensijax.cli._attack import attack

    return attack(arguments, out, err)


# --- reading ---------------------------------------------------------------------------------------------------------


def _status(arguments: argparse.Namespace) -> int:
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


def _query(arguments: argparse.Namespace) -> int:
    results = _open(arguments.dir)
    _print_frame(results.sql(arguments.sql), arguments.csv)
    return OK if results.completeness.complete else INCOMPLETE


def _report(arguments: argparse.Namespace) -> int:
    if (pathlib.Path(arguments.dir) / "attack.json").is_file():
        from sensijax.campaign import Evaluated
        from sensijax.report import write_attack_report

        path = write_attack_report(Evaluated.open(arguments.dir), arguments.out)
        out.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
        return OK
    results = _open(arguments.dir)
    out.print(f"report: {results.report(arguments.out)}", markup=False, highlight=False, soft_wrap=True)
    return OK if results.completeness.complete else INCOMPLETE


def _diff(arguments: argparse.Namespace) -> int:
    from sensijax.campaign import compare

    a, b = _open(arguments.a), _open(arguments.b)
    table = compare(a, b)
    _print_frame(table, arguments.csv)
    if left_out := table.attrs["left_out"]:
        err.print(
            f"{len(left_out)} scenarios are not in both runs alike: "
            f"{', '.join(left_out[:5])}{' ...' if len(left_out) > 5 else ''}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return OK if a.completeness.complete and b.completeness.complete else INCOMPLETE


def _verify(arguments: argparse.Namespace) -> int:
    if any((pathlib.Path(arguments.dir) / name).is_file() for name in ("attack.json", "adversarial.json")):
        from sensijax.cli._attack import verify as verify_attack

        return verify_attack(arguments, out, err)
    from sensijax.campaign import verify

    findings = verify(arguments.dir)
    for finding in findings.faults:
        err.print(finding, style="red", markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"{findings.parts} parts, {findings.rows:,} rows: digests, addresses and provenance "
        f"{'are sound' if not findings.faults else f'have {len(findings.faults)} faults'}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if findings.faults:
        return FOUND
    return OK if findings.complete else INCOMPLETE


def _show(arguments: argparse.Namespace) -> int:
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
    source = pathlib.Path(arguments.dir) / "source.json"
    if source.exists():
        spec = json.loads(source.read_text())["spec"]
        command = f"sensijax run {shlex.quote(spec)} --out {shlex.quote(arguments.dir)} --cell {shlex.quote(str(cell))}"
    else:
        micro_batch = found["row"]["micro_batch"]
        command = f"sensijax.recompute(campaign, {str(cell)!r}, {micro_batch})   # in Python: the run had no spec file"
    out.print(f"recompute it alone: {command}", markup=False, highlight=False, soft_wrap=True)
    return OK


_COMPARED = frozenset({"prediction", "confidence", "entropy", "margin", "loss", "brier", "correct"})
_COMMANDS = {
    "attack": _attack,
    "demo": _demo,
    "gallery": _gallery,
    "init": _init,
    "check": _check,
    "plan": _plan,
    "run": _run,
    "sensitivity": lambda arguments: sensitivity(arguments, out, err),
    "status": _status,
    "query": _query,
    "report": _report,
    "diff": _diff,
    "verify": _verify,
    "show": _show,
}


# --- shared ----------------------------------------------------------------------------------------------------------


def _summary(results: "Results", progress: "Progress | None") -> None:
    out.print(damage_table(results))
    if len(interactions := results.interactions()):
        out.print(interaction_table(interactions.head(8), len(interactions)))
    if progress is not None and progress.computed:
        last = results.statistics()[-1]
        out.print(
            f"{last['rows_computed']:,} inputs judged in {_duration(last['total_seconds'])} "
            f"({last['rows_per_second']:,.0f}/s; {last['programs_compiled']} programs compiled in "
            f"{last['compile_seconds']:.1f} s; tiles p50 {last['tile_latency_p50'] * 1e3:.0f} ms, "
            f"p99 {last['tile_latency_p99'] * 1e3:.0f} ms; device busy {last['device_share']:.0%})",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    else:
        out.print("everything was there already: nothing was computed", highlight=False)


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


def _make(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error}") from error


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
