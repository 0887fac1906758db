"""Where a run computes: `--on` and the options beside it."""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing it for good would import JAX, which `--help` does without
    from sensijax.campaign.on import Placement

_BELONGS = {"devices": ("mesh",), "address": ("ray",), "workers": ("ray", "processes")}


def add_placement(command: argparse.ArgumentParser) -> None:
    """Adds the options to a command that computes tiles."""
    command.add_argument(
        "--on",
        choices=("mesh", "ray", "processes"),
        default="mesh",
        help="where tiles are computed: all devices of this process (mesh, the default), a Ray cluster, or this one of "
        "many processes that a scheduler started",
    )
    command.add_argument("--devices", type=int, metavar="N", help="with --on mesh: how many (default: all)")
    command.add_argument(
        "--address",
        metavar="ADDRESS",
        help="with --on ray: auto (a running cluster), host:port, or local (started for this run; the default)",
    )
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="with --on ray: how many (default: one a device); with --on processes: how many to start on this machine",
    )


@contextlib.contextmanager
def placed(arguments: argparse.Namespace) -> "Iterator[Placement]":
    """The placement that the options ask for. To be entered before JAX is used, and left when all is done.

    Raises:
      ArgumentError: if an option does not belong to the placement, or the placement does not fit this machine.
    """
    from sensijax.campaign import on
    from sensijax.core.errors import ArgumentError

    for option, kinds in _BELONGS.items():
        if getattr(arguments, option) is not None and arguments.on not in kinds:
            right = f"--on {' or '.join(kinds)}, or leave it out"
            raise ArgumentError(f"--{option}", f"beside --on {arguments.on}", right)
    if arguments.on == "ray":
        yield on.ray(address=arguments.address or "local", workers=arguments.workers)
    elif arguments.on == "mesh":
        yield on.mesh(arguments.devices)
    elif arguments.workers is not None:
        command = [sys.executable, "-m", "sensijax", *_without_workers(arguments.typed)]
        with on.local_processes(arguments.workers, command) as placement:
            yield placement
    else:
        placement = on.processes()
        placement.narrow()
        yield placement


def _without_workers(typed: Sequence[str]) -> list[str]:
    """A command line for the others: they are told by the environment who they are."""
    kept, skip = [], False
    for word in typed:
        if skip or word.startswith("--workers="):
            skip = False
        elif word == "--workers":
            skip = True
        else:
            kept.append(word)
    return kept
