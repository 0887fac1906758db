"""The command line: parses, calls, prints, nothing else. JAX is imported only by the commands that need it.

Exit codes: 0 done; 1 a check found something wrong (verify); 2 a bad spec or a wrong argument; 3 incomplete; 74 the
folder cannot be read or written.
"""

import argparse
import importlib
import sys

import sensijax
from sensijax.cli._placing import add_placement

OK, FOUND, BAD_INPUT, INCOMPLETE, IO_ERROR = 0, 1, 2, 3, 74


def parser() -> argparse.ArgumentParser:
    """The parser of `sensijax`; each command names the function of `sensijax.cli._commands` that carries it out."""
    top = argparse.ArgumentParser(
        prog="sensijax",
        description="How a model behaves when its inputs, its data or its labels move.",
        epilog="Start with `sensijax demo`, then `sensijax init DIR` for a campaign of your own.",
    )
    top.add_argument("--version", action="version", version=f"sensijax {sensijax.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=about, description=about)

    def running(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--allow-mixed", action="store_true", help="go on in a folder whose tiles come from another environment"
        )
        sub.add_argument("--no-report", action="store_true", help="leave out report.html")

    def subject(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--model", metavar="MODULE:FUNCTION", help="a function that returns a sensijax.Model")
        sub.add_argument("--data", metavar="MODULE:FUNCTION", help="a function that returns a sensijax.Dataset")

    sub = command(
        "demo", "Run a whole campaign on embedded real data: handwritten digits, a small CNN, 20 perturbations."
    )
    sub.add_argument(
        "--stress",
        action="store_const",
        const="stress.toml",
        help="an adversary, drift and wrong labels: alone, in pairs and all at once",
    )
    sub.add_argument(
        "--out", metavar="DIR", help="the folder (default: sensijax-demo, or sensijax-demo-stress with --stress)"
    )
    add_placement(sub)
    running(sub)

    sub = command("gallery", "Draw every perturbation of images at every severity on one sheet.")
    sub.add_argument(
        "--op", nargs="+", metavar="NAME", help="which ones, such as Fog or gaussian_noise (default: all of them)"
    )
    sub.add_argument("--image", metavar="FILE", help="on this image (default: the embedded photograph)")
    sub.add_argument(
        "--size",
        type=int,
        choices=(224, 32),
        default=224,
        help="side of the image and scale of severity (default: 224)",
    )
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="of the random draws (default: 0)")
    sub.add_argument(
        "--out", default="gallery.png", metavar="FILE", help="PNG, exact; or JPEG, small (default: gallery.png)"
    )

    sub = command("init", "Write a commented campaign.toml and model.py that run as they are.")
    sub.add_argument("dir", metavar="DIR")

    sub = command("check", "Find every fault of a spec at once, with file:line.")
    sub.add_argument("spec", metavar="SPEC")

    sub = command("plan", "Say what a spec comes to: cells, programs to compile, estimated time, bytes.")
    sub.add_argument("spec", metavar="SPEC")
    sub.add_argument("--devices", type=int, metavar="N", help="forecast a run on N devices, from measured costs")
    sub.add_argument("--kind", metavar="KIND", help="of device, such as h100 (default: as here)")
    sub.add_argument("--costs", metavar="FILE", help="what `plan --measure FILE` has written on such a device")
    sub.add_argument(
        "--measure", metavar="FILE", help="time tiles of every kind on this device, and write what they cost"
    )

    sub = command("run", "Run a spec, or what is missing of it.")
    sub.add_argument("spec", metavar="SPEC")
    sub.add_argument("--out", metavar="DIR", help="the folder (default: [run] out, or runs/NAME beside the spec)")
    sub.add_argument("--micro-batch", type=int, metavar="N", help="rows computed at once (default: measured)")
    sub.add_argument("--cell", metavar="CELL", help="recompute this one cell alone and compare it with what is stored")
    add_placement(sub)
    running(sub)

    sub = command(
        "attack", "Attack a model: how many examples withstand, at each budget, and what to think of that number."
    )
    sub.add_argument("spec", nargs="?", metavar="SPEC", help="a spec; its tables [model] and [data] count")
    subject(sub)
    sub.add_argument("--attack", default="autoattack", metavar="KIND", help="which one (default: autoattack)")
    sub.add_argument("--norm", default="linf", metavar="NORM", help="linf, l2 or l1 (default: linf)")
    sub.add_argument(
        "--eps", nargs="+", required=True, metavar="E", help="budgets, such as 0.5 or 8/255; several make a curve"
    )
    sub.add_argument("--version", metavar="V", help="of autoattack: standard, plus, rand or fast (default: standard)")
    sub.add_argument("--steps", type=int, metavar="N", help="of an attack that has such an option")
    sub.add_argument("--restarts", type=int, metavar="N", help="of an attack that has such an option")
    sub.add_argument("--limit", type=int, metavar="N", help="only the first N examples")
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="of the random draws (default: 0)")
    sub.add_argument("--out", default="sensijax-attack", metavar="DIR", help="the folder (default: sensijax-attack)")
    running(sub)

    sub = command("sensitivity", "Say which severities drive the damage: Sobol indices, all stages acting at once.")
    sub.add_argument("spec", metavar="SPEC")
    sub.add_argument("--n", type=int, default=1024, metavar="N", help="base points, a power of two (default: 1024)")
    sub.add_argument("--examples", type=int, default=64, metavar="N", help="examples averaged over (default: 64)")
    sub.add_argument("--stages", nargs="+", metavar="NAME", help="which stages act (default: all of them, at once)")
    sub.add_argument("--second-order", action="store_true", help="estimate the interaction of every pair too")
    sub.add_argument("--response", default="loss", metavar="NAME", help="such as loss, margin, correct (default: loss)")
    sub.add_argument("--out", metavar="DIR", help="the folder (default: [run] out, or runs/NAME beside the spec)")

    sub = command("status", "Say how much of a run is there.")
    sub.add_argument("dir", metavar="DIR")

    sub = command("query", "Ask a run in SQL; the views are `responses` and `examples`.")
    sub.add_argument("dir", metavar="DIR")
    sub.add_argument("sql", metavar="SQL")
    sub.add_argument("--csv", action="store_true", help="print CSV instead of a table")

    sub = command("report", "Write report.html anew.")
    sub.add_argument("dir", metavar="DIR")
    sub.add_argument("--out", metavar="FILE", help="where (default: DIR/report.html)")

    sub = command("diff", "Compare two runs, paired: which model bends less?")
    sub.add_argument("a", metavar="A")
    sub.add_argument("b", metavar="B")
    sub.add_argument("--csv", action="store_true", help="print CSV instead of a table")

    sub = command(
        "verify",
        "Check every part of a run: digests, rows, addresses, provenance. Of an attack: judge each stored input again.",
    )
    sub.add_argument("dir", metavar="DIR")
    subject(sub)

    sub = command("show", "Show everything about one cell, and the command that recomputes it alone.")
    sub.add_argument("dir", metavar="DIR")
    sub.add_argument("cell", metavar="CELL", help="SCENARIO:SEED:EXAMPLE, such as fog@3:0:1302")
    return top


def main(argv: list[str] | None = None) -> int:
    """Runs a command.

    Args:
      argv: the arguments, without the program's name; `sys.argv` unless given.

    Returns:
      The exit code.
    """
    typed = sys.argv[1:] if argv is None else argv
    arguments = parser().parse_args(typed, argparse.Namespace(typed=typed))
    commands = importlib.import_module("sensijax.cli._commands")
    return commands.carry_out(arguments)


if __name__ == "__main__":
    sys.exit(main())
