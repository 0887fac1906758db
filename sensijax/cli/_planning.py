"""`sensijax plan`: what a spec comes to, here and on many devices."""

import argparse
import contextlib
from typing import TYPE_CHECKING

from sensijax.cli import OK
from sensijax.cli._console import duration, err, out, say
from sensijax.cli._tables import facts_table

if TYPE_CHECKING:  # importing these for good would import JAX
    from sensijax.campaign import Campaign, Plan


def plan(arguments: argparse.Namespace) -> int:
    """Says how much there is to do, and how long it takes."""
    from sensijax.campaign import load_spec, make_plan
    from sensijax.core import enable_compile_cache

    enable_compile_cache()
    spec = load_spec(arguments.spec)
    campaign, made = spec.campaign, make_plan(spec.campaign)
    facts = {
        "model": f"{campaign.model.name} ({campaign.model.digest[:8]})",
        "data": f"{campaign.data.name}: {len(campaign.data):,} examples",
        "scenarios": f"{len(campaign.scenarios):,}",
        "seeds": f"{len(campaign.seeds)} (scenarios without random draws run for one)",  # type: ignore[arg-type]
        "cells": f"{made.rows:,} judged inputs in {len(made.tiles):,} tiles",
    }
    if campaign.timelines:
        steps = sum(timeline.length for timeline in campaign.timelines.values())
        seeds = len(campaign.seeds)  # type: ignore[arg-type]
        facts["timelines"] = f"{len(campaign.timelines)}, {steps * seeds:,} steps in {seeds} streams each"
    asked = (arguments.devices, arguments.kind, arguments.costs, arguments.measure)
    measured = any(option is not None for option in asked)
    facts |= _forecast(arguments, campaign, made) if measured else _look(campaign, made)
    out.print(facts_table({**facts, "folder": str(spec.out)}))
    if arguments.measure:
        say(f"measured costs: {arguments.measure}")
    return OK


def _look(campaign: "Campaign", made: "Plan") -> dict[str, str]:
    """What a look at a few micro-batches says of this device."""
    from sensijax.campaign import estimate_seconds

    with err.status("timing the model") if err.is_terminal else contextlib.nullcontext():
        seconds = estimate_seconds(campaign, made)
    bound = " (attacks counted to their last step)" if any(s.passes for s in made.structures) else ""
    return {
        "programs to compile": f"{made.programs}",
        "estimated time": f"about {duration(seconds)} of sweep on this device{bound}, plus compilation",
        "estimated size": f"about {made.bytes / 1e6:,.1f} MB",
    }


def _forecast(arguments: argparse.Namespace, campaign: "Campaign", made: "Plan") -> dict[str, str]:
    """What measured costs say of many devices of a kind."""
    from sensijax.campaign import find_costs, forecast, measure_costs

    if arguments.measure:
        with err.status("timing tiles of every kind") if err.is_terminal else contextlib.nullcontext():
            costs = measure_costs(campaign, made)
        costs.write(arguments.measure)
        costs.remember()
    else:
        costs = find_costs(campaign, made, kind=arguments.kind, file=arguments.costs)
    found = forecast(campaign, made, costs, devices=arguments.devices)
    devices = f"{found.devices:,} x {found.kind}" if found.devices > 1 else f"one {found.kind}"
    low, middle, high = (duration(3600 * hours) for hours in (found.low, found.hours, found.high))
    return {
        "devices": devices + ("" if found.workers == found.devices else f", by {found.workers:,} workers"),
        "programs to compile": f"{found.programs}, about {duration(found.compile_seconds)} for each worker",
        "forecast time": f"about {middle} ({low} to {high} in 90 % of simulated runs), workers {found.busy:.0%} busy",
        "device time": f"about {found.device_hours:,.2f} device-hours",
        "forecast size": f"about {found.bytes / 1e6:,.1f} MB in {found.files:,} parts",
    }
