"""`sensijax attack`, and `sensijax verify` of what it left behind."""

import argparse
import inspect
import json
import pathlib
import shlex
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sensijax.cli import FOUND, INCOMPLETE, OK
from sensijax.cli._progress import shown_progress
from sensijax.cli._tables import attack_table
from sensijax.core.errors import ArgumentError, did_you_mean

if TYPE_CHECKING:  # importing these for good would import JAX
    from sensijax.campaign import Evaluated, Progress
    from sensijax.core import Dataset, Model


def attack(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Carries out an evaluation and says what it found."""
    from sensijax.campaign import Evaluation, evaluate, open_folder
    from sensijax.core import enable_compile_cache

    enable_compile_cache()
    sweep = _sweep(arguments)
    model, data = _subject(arguments.spec, arguments.model, arguments.data, arguments.limit)
    evaluation = Evaluation(model, data, sweep, seed=arguments.seed, name=f"{arguments.attack} on {model.name}")
    store = open_folder(arguments.out)
    store.check_writable()
    folder = store.folder
    source = {
        "spec": None if arguments.spec is None else str(pathlib.Path(arguments.spec).resolve()),
        "model": arguments.model,
        "data": arguments.data,
        "limit": arguments.limit,
    }
    with shown_progress(err, "units") as progress:
        found = evaluate(evaluation, folder, allow_mixed=arguments.allow_mixed, progress=progress)
    (folder / "source.json").write_text(json.dumps(source) + "\n")
    summary(found, progress.last, out)
    if not arguments.no_report:
        from sensijax.report import write_attack_report

        out.print(f"report: {write_attack_report(found)}", markup=False, highlight=False, soft_wrap=True)
    check = f"sensijax verify {shlex.quote(str(folder))}"
    out.print(f"check:  {check}   (judges every stored input again, one by one)", markup=False, highlight=False)
    return OK


def summary(found: "Evaluated", progress: "Progress | None", out: Console) -> None:
    """The table, what to think of its numbers, and what it took."""
    out.print(attack_table(found))
    flags = list({flag.name: flag for result in found.results for flag in result.flags}.values())
    distrusted = any(flag.severity == "distrust" for flag in flags)
    if distrusted:
        out.print(
            "Do not trust these robust accuracies: they are upper bounds, and the model may be far less robust.",
            style="red",
            highlight=False,
        )
    else:
        out.print(
            "A robust accuracy is an upper bound: a stronger attack may break more. "
            + ("More effort may well lower it, for:" if flags else "Nothing was seen that hides adversarial examples."),
            highlight=False,
        )
    for flag in flags:
        out.print(
            f"flag {flag}", style="red" if flag.severity == "distrust" else "yellow", markup=False, highlight=False
        )
    runs = found.statistics()
    if progress is not None and progress.computed and runs:
        last = runs[-1]
        out.print(
            f"{last['units_computed']} of {last['units_total']} units computed in {last['total_seconds']:.1f} s: "
            f"{last['forwards']:,} passes forward and {last['backwards']:,} back",
            highlight=False,
        )
    else:
        out.print("everything was there already: nothing was computed", highlight=False)


def verify(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Checks an evaluation's folder, or one adversarial set: digests, then every verdict, one input at a time."""
    from sensijax import attack
    from sensijax.campaign import archives, is_evaluation, verify_evaluation

    folder = pathlib.Path(arguments.dir)
    faults, notes, complete, units = [], [], True, ""
    if is_evaluation(folder):
        ledger = verify_evaluation(folder)
        faults += ledger.faults
        complete = ledger.complete
        units = f"{ledger.parts} units of the ledger and "
        sets = [path for path in archives(folder, ledger.manifest) if attack.is_archive(path)]
    else:
        sets = [folder]
    model = _attacked(arguments, folder) if sets else None
    rejudged = 0
    for path in sets:
        findings = attack.verify(path, model)  # type: ignore[arg-type]
        faults += [f"{path.name}: {fault}" for fault in findings.faults]
        notes += [f"{path.name}: {note}" for note in findings.notes]
        rejudged += findings.rejudged
    for text, style in [*((fault, "red") for fault in faults), *((note, "yellow") for note in notes)]:
        err.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"{units}{rejudged:,} stored inputs, each judged again alone: "
        f"{'all sound' if not faults else f'{len(faults)} faults'}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return FOUND if faults else OK if complete else INCOMPLETE


def _attacked(arguments: argparse.Namespace, folder: pathlib.Path) -> "Model":
    from sensijax.campaign import load_subject

    source: dict[str, Any] = {}
    if (folder / "source.json").is_file():
        source = json.loads((folder / "source.json").read_text())
    spec, model = source.get("spec"), arguments.model or source.get("model")
    if not spec and not model:
        right = "MODULE:FUNCTION: stored verdicts are checked by putting the inputs before the model again"
        raise ArgumentError("--model", "nothing", right)
    return load_subject(spec, model, arguments.data or source.get("data") or "sensijax.demo:data")[0]


def _subject(spec: str | None, model: str | None, data: str | None, limit: int | None) -> "tuple[Model, Dataset]":
    from sensijax.campaign import load_subject

    if limit is not None and limit < 1:
        raise ArgumentError("--limit", limit, "at least one example")
    found, examples = load_subject(spec, model, data)
    return found, examples if limit is None else examples.take(slice(limit))


def _sweep(arguments: argparse.Namespace) -> Any:
    """The attack at its budgets, from what was typed."""
    from sensijax.campaign import attack_kinds, fraction, sweep

    kinds = attack_kinds()
    if arguments.attack not in kinds:
        raise ArgumentError("--attack", repr(arguments.attack), did_you_mean(arguments.attack, kinds))
    cls = kinds[arguments.attack]
    try:
        budgets = [fraction(text) for text in arguments.eps]
    except ValueError as error:
        raise ArgumentError("--eps", " ".join(arguments.eps), str(error)) from None
    options = {"norm": arguments.norm}
    for name in ("version", "steps", "restarts"):
        value = getattr(arguments, name)
        if value is not None:
            if name not in inspect.signature(cls).parameters:
                raise ArgumentError(f"--{name}", value, f"no such option: {arguments.attack} has none")
            options[name] = value
    return sweep(cls, eps=budgets, **options)
