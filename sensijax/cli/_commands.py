"""What each command does: calls the library, prints the answer."""

import argparse
import contextlib
import importlib.resources
import json
import logging
import pathlib
import shlex
from typing import TYPE_CHECKING

from rich.logging import RichHandler

from sensijax.cli import BAD_INPUT, FOUND, INCOMPLETE, IO_ERROR, OK, _reading
from sensijax.cli._console import duration, err, make_folder, out, say
from sensijax.cli._placing import placed
from sensijax.cli._planning import plan
from sensijax.cli._progress import shown_progress
from sensijax.cli._sensitivity import sensitivity
from sensijax.cli._tables import damage_table, facts_table, interaction_table, timeline_table
from sensijax.core.errors import ArgumentError, CampaignError, MissingExtraError, StoreError

if TYPE_CHECKING:  # importing these for good would import JAX
    from sensijax.campaign import Progress, Results, Spec
    from sensijax.campaign.on import Placement


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
            say(str(fault), "red", console=err)
        err.print(f"{len(error.faults)} fault{'s' if len(error.faults) > 1 else ''}; nothing was run", highlight=False)
        return BAD_INPUT
    except (ArgumentError, MissingExtraError) as error:
        say(str(error), "red", console=err)
        return BAD_INPUT
    except (StoreError, OSError) as error:
        say(str(error), "red", console=err)
        return IO_ERROR
    except KeyboardInterrupt:
        err.print("stopped; every finished tile is kept, and the same command goes on from there", highlight=False)
        return INCOMPLETE


def _demo(arguments: argparse.Namespace) -> int:
    from sensijax.campaign import open_store

    location = arguments.out or ("sensijax-demo-stress" if arguments.stress else "sensijax-demo")
    text = importlib.resources.files("sensijax.demo").joinpath(arguments.stress or "campaign.toml").read_bytes()
    store = open_store(location)
    if store.read_bytes("spec.toml") != text:
        store.write_bytes("spec.toml", text)
    spec = store.folder / "spec.toml"
    if not spec.exists() or spec.read_bytes() != text:  # the store is not on this machine
        make_folder(store.folder)
        spec.write_bytes(text)
    arguments.spec, arguments.micro_batch, arguments.cell, arguments.out = str(spec), None, None, location
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
    make_folder(folder)
    template = importlib.resources.files("sensijax.cli") / "template"
    files = ["campaign.toml", "model.py"]
    present = [name for name in files if (folder / name).exists()]
    if present:
        raise ArgumentError(
            "DIR", f"{folder} with {' and '.join(present)}", "a folder without them: nothing is overwritten"
        )
    for name in files:
        (folder / name).write_text(template.joinpath(name).read_text())
        say(f"wrote {folder / name}")
    say(f"next: sensijax run {shlex.quote(str(folder / 'campaign.toml'))}")
    return OK


def _check(arguments: argparse.Namespace) -> int:
    from sensijax.campaign import check_folder, load_spec, make_plan

    spec = load_spec(arguments.spec)
    planned = make_plan(spec.campaign)
    check_folder(spec.out, planned)
    say(f"{arguments.spec} is sound: {len(spec.campaign.scenarios):,} scenarios, {planned.rows:,} judged inputs")
    return OK


def _run(arguments: argparse.Namespace) -> int:
    with placed(arguments) as on:
        return _run_on(arguments, on)


def _run_on(arguments: argparse.Namespace, on: "Placement") -> int:
    from sensijax.campaign import load_spec, open_store, run
    from sensijax.core import enable_compile_cache

    enable_compile_cache()
    talks = err.is_terminal and on.leads
    with err.status("reading the spec, loading model and data") if talks else contextlib.nullcontext():
        spec = load_spec(arguments.spec)
    store = open_store(arguments.out or spec.out)
    if arguments.cell:
        return _recompute(spec, store.location, arguments.cell)
    path = pathlib.Path(arguments.spec).resolve()
    if (store.folder / "spec.toml").resolve() != path:
        store.write_bytes("spec.toml", path.read_bytes())
    store.write_bytes("source.json", json.dumps({"spec": str(path)}).encode() + b"\n")
    with shown_progress(err) if on.leads else contextlib.nullcontext() as progress:
        results = run(
            spec.campaign,
            store.location,
            on=on,
            micro_batch=spec.micro_batch if arguments.micro_batch is None else arguments.micro_batch,
            allow_mixed=arguments.allow_mixed,
            progress=progress,
        )
    if progress is not None:  # else another process says what came out
        _say_what_came_out(results, progress.last, not arguments.no_report)
    return OK if results.completeness.complete else INCOMPLETE


def _say_what_came_out(results: "Results", progress: "Progress | None", report: bool) -> None:
    _summary(results, progress)
    if report:
        with err.status("writing the report") if err.is_terminal else contextlib.nullcontext():
            path = results.report()
        say(f"report: {path}")
        if results.store.is_remote:
            say(f"        {results.store.location}/report.html")
    say(
        f"ask:    sensijax query {shlex.quote(results.store.location)} "
        '"select scenario, avg(correct::int) as accuracy from responses group by all order by 2"'
    )


def _recompute(spec: "Spec", location: str, text: str) -> int:
    from sensijax.campaign import Cell, Results, recompute

    cell = Cell.parse(text)
    stored = Results.open(location).cell(cell.scenario, cell.seed, cell.example)["row"]
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


def _summary(results: "Results", progress: "Progress | None") -> None:
    out.print(damage_table(results))
    if len(interactions := results.interactions()):
        out.print(interaction_table(interactions.head(8), len(interactions)))
    if len(timelines := results.timelines()):
        out.print(timeline_table(timelines))
    if progress is not None and progress.computed:
        runs = results.statistics()  # other processes' too
        last = next((run for run in reversed(runs) if run["rows_computed"] == progress.computed), runs[-1])
        say(
            f"{last['rows_computed']:,} inputs judged in {duration(last['total_seconds'])} "
            f"({last['rows_per_second']:,.0f}/s; {last['programs_compiled']} programs compiled in "
            f"{last['compile_seconds']:.1f} s; tiles p50 {last['tile_latency_p50'] * 1e3:.0f} ms, "
            f"p99 {last['tile_latency_p99'] * 1e3:.0f} ms; device busy {last['device_share']:.0%})"
        )
    else:
        out.print("everything was there already: nothing was computed", highlight=False)


_COMMANDS = {
    "attack": _attack,
    "demo": _demo,
    "gallery": _gallery,
    "init": _init,
    "check": _check,
    "plan": plan,
    "run": _run,
    "sensitivity": lambda arguments: sensitivity(arguments, out, err),
    "status": _reading.status,
    "query": _reading.query,
    "report": _reading.report,
    "diff": _reading.diff,
    "verify": _reading.verify,
    "show": _reading.show,
}
