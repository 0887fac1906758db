"""Where a run computes: `--on` and the options beside it."""

import argparse
from typing import TYPE_CHECKING

from sensijax.core.errors import ArgumentError

if TYPE_CHECKING:  # importing it for good would import JAX
    from sensijax.campaign.on import Placement

_BELONGS = {"devices": "mesh", "address": "ray", "workers": "ray"}


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
    command.add_argument("--workers", type=int, metavar="N", help="with --on ray: how many (default: one a device)")


def placement_of(arguments: argparse.Namespace) -> "Placement":
    """The placement that the options ask for.

    Raises:
      ArgumentError: if an option does not belong to the placement, or the placement does not fit this machine.
    """
    from sensijax.campaign import on

    for option, kind in _BELONGS.items():
        if getattr(arguments, option) is not None and arguments.on != kind:
            raise ArgumentError(f"--{option}", f"beside --on {arguments.on}", f"--on {kind}, or leave it out")
    if arguments.on == "ray":
        return on.ray(address=arguments.address or "local", workers=arguments.workers)
    return on.processes() if arguments.on == "processes" else on.mesh(arguments.devices)
