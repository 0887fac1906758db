"""Benchmarks.

python -m bench --suite all --out bench/results/NAME.json          # throughput, latency, memory, compile time
python -m bench compare A.json B.json --fail-below 0.95            # is B slower than A?
python -m bench --only SECTION --peers PEERS/bin/python            # against other programs

A suite measures sensijax alone, in processes of its own, with the robustness result beside the speed. A section puts a
part of sensijax beside what one would use otherwise; PEERS is an environment with `bench/peers/requirements.txt`, and
without it what is compared with other programs is left out; ALIBI is one with `requirements-alibi.txt`, which does not
fit beside the others. With `--only`, what the file holds of other sections stays. Without `--suite`, sections are run.
"""

import argparse
import pathlib
import sys

from rich.console import Console

from bench import compare, sections, suites
from bench.models import DTYPES, NAMES
from bench.results_file import read, written
from bench.suites.table import show
from bench.suites.task import SIZES
from sensijax.core import SensijaxError


def main(given: list[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit code."""
    chosen = parser().parse_args(given)
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        if chosen.command == "compare":
            return _compare(chosen, console)
        if chosen.suite:
            return _suites(chosen, console)
        sections.run(chosen.only, chosen.peers, chosen.alibi, chosen.out, console)
        return 0
    except SensijaxError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", help="the JSON file (default: one named by the device in bench/results)")
    group = arguments.add_argument_group("suites")
    group.add_argument("--suite", choices=["all", *suites.SUITES], action="append", help="may be given again")
    group.add_argument("--model", choices=NAMES, default="demo", help="default: demo, trained, on real digits")
    group.add_argument("--dtype", choices=list(DTYPES), default="float32", help="of weights and activations")
    group.add_argument("--size", choices=list(SIZES), default="small", help="how much (default: small)")
    group.add_argument("--like", help="an earlier file: queries arrive at the rates that it states")
    group = arguments.add_argument_group("sections")
    group.add_argument(
        "--only",
        choices=sections.NAMES,
        action="append",
        help="run this section alone; may be given again",
    )
    group.add_argument("--peers", help="the Python of the environment of bench/peers/requirements.txt")
    group.add_argument("--alibi", help="the Python of the environment of bench/peers/requirements-alibi.txt")
    command = arguments.add_subparsers(dest="command", metavar="compare").add_parser(
        "compare", help="two files of suites beside each other", description="Two files of suites beside each other."
    )
    command.add_argument("before", help="the JSON file that is compared with")
    command.add_argument("after", help="the JSON file whose ratios are shown: above 1 it is better")
    command.add_argument(
        "--fail-below",
        type=float,
        metavar="RATIO",
        help="exit 1 if a speed is shown to be below this ratio, or the answers are others",
    )
    return arguments


def _suites(chosen: argparse.Namespace, console: Console) -> int:
    names = suites.SUITES if "all" in chosen.suite else chosen.suite
    like = read(chosen.like) if chosen.like else None
    found = suites.measure(
        names, model=chosen.model, dtype=chosen.dtype, size=chosen.size, like=like, note=console.print
    )
    name = "-".join(
        ["suites", *([] if chosen.model == "demo" else [chosen.model, chosen.dtype]), sections.machine(found)]
    )
    path = pathlib.Path(chosen.out) if chosen.out else sections.results_folder() / f"{name}.json"
    written(path, found)
    show(found, console)
    console.print(f"wrote {path}")
    return 0


def _compare(chosen: argparse.Namespace, console: Console) -> int:
    found = compare.compare(read(chosen.before), read(chosen.after))
    compare.show(found, console)
    return compare.exit_code(found, chosen.fail_below)


if __name__ == "__main__":
    raise SystemExit(main())
