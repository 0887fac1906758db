"""The sections: parts of sensijax against what one would use otherwise, each with contenders that take turns."""

import functools
import json
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from bench import attack, campaign, corruptions, jacobian, random_numbers, sensitivity, start, stress, sweep
from bench.facts import commit, facts
from bench.tables import PRINT
from sensijax.core import ArgumentError

ALONE = {"start": start.measure, "random": random_numbers.measure, "campaign": campaign.measure}
PEERED = {  # these compare with other programs
    "attack": attack.measure,
    "jacobian": jacobian.measure,
    "corruptions": corruptions.measure,
    "sensitivity": sensitivity.measure,
    "sweep": sweep.measure,
}
NAMES = (*ALONE, "stress", *PEERED)


def run(names: Sequence[str] | None, peers: str | None, alibi: str | None, out: str | None, console: Console) -> None:
    """Measures sections, prints tables, writes JSON.

    Args:
      names: which; all that can be run unless given. What the file holds of others stays.
      peers: the Python of the environment of `bench/peers/requirements.txt`.
      alibi: that of `bench/peers/requirements-alibi.txt`.
      out: the JSON file; `bench/results/DEVICE-N-cores.json` unless given.
      console: where tables go.

    Raises:
      ArgumentError: if a section that compares with other programs is asked for without them.
    """
    import sensijax as sj

    sections: dict[str, Callable[[], Any]] = ALONE | {"stress": lambda: stress.measure(peers, alibi)}
    if peers:
        sections |= {name: functools.partial(measure, peers) for name, measure in PEERED.items()}
    if missing := set(names or ()) - set(sections):
        raise ArgumentError("only", ", ".join(sorted(missing)), "with --peers: this compares with other programs")
    sj.enable_compile_cache()
    measured: dict[str, Any] = facts() | commit()
    console.print(measured)
    path = pathlib.Path(out) if out else results_folder() / f"{machine(measured)}.json"
    if names and path.exists():
        measured = json.loads(path.read_text()) | measured
    for name in names or sections:
        measured[name] = sections[name]()
        PRINT[name](console, measured[name])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(measured, indent=1) + "\n")
    console.print(f"wrote {path}")


def machine(measured: dict[str, Any]) -> str:
    """What a file of results is called after, such as "cpu-2-cores"."""
    return re.sub(r"[^a-z0-9]+", "-", f"{measured['device']}-{measured['cores']}-cores".lower())


def results_folder() -> pathlib.Path:
    """Where results are kept: `bench/results`."""
    return pathlib.Path(os.path.dirname(__file__)) / "results"
