"""Perturbations as stages: what a campaign asks of them at the door."""

from collections.abc import Iterator, Mapping

import jax
import numpy as np

from sensijax.campaign._scenario import Sweep
from sensijax.campaign._structure import PerturbationStructure
from sensijax.core import ArgumentError, Dataset, Fault


def perturbation_faults(data: Dataset, stages: Mapping[str, Sweep]) -> Iterator[Fault]:
    """What is wrong with perturbations on this data.

    Args:
      data: the campaign's.
      stages: those that are perturbations, and can be constructed at every setting.

    Yields:
      One `Fault` for each thing that is wrong.
    """
    unfit = list(_fit_faults(data, stages))
    yield from unfit
    if not any(fault.path == "data.x" for fault in unfit):
        yield from _value_faults(data, stages)


def _fit_faults(data: Dataset, stages: Mapping[str, Sweep]) -> Iterator[Fault]:
    example = jax.ShapeDtypeStruct(data.x.shape[1:], data.x.dtype)
    shown = f"examples {example.dtype}{list(example.shape)}"
    unfit: dict[str, list[str]] = {}
    for name, sweep in stages.items():
        perturbation = sweep.at(sweep.values[-1])
        try:
            perturbation.domain.check_shape(example)
        except ArgumentError as error:  # the data's fault, and one however many stages find it
            unfit.setdefault(error.right, []).append(name)
            continue
        try:
            PerturbationStructure.of(perturbation).trace(example)
        except ArgumentError as error:
            yield Fault(f"stages.{name}", f"{sweep.kind} on {shown}", error.right)
        except Exception as error:  # a user's own perturbation class
            yield Fault(
                f"stages.{name}",
                f"{sweep.kind} fails on {shown}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
                "a perturbation that takes one example and keeps its shape and dtype",
            )
    for right, names in unfit.items():
        yield Fault("data.x", shown, f"{right} (stage{'s' if len(names) > 1 else ''} {', '.join(names)})")


def _value_faults(examples: Dataset, stages: Mapping[str, Sweep]) -> Iterator[Fault]:
    finite = (
        np.isfinite(examples.x) if np.issubdtype(examples.x.dtype, np.floating) else np.ones(examples.x.shape, bool)
    )
    if not finite.any():
        yield Fault("data.x", "no finite value at all", "at least one example without NaN")
        return
    low, high = float(examples.x[finite].min()), float(examples.x[finite].max())
    for name, sweep in stages.items():
        domain = sweep.at(sweep.values[0]).domain
        if low < domain.low or high > domain.high:
            hint = "; bytes? divide by 255" if domain.high == 1 and 1 < high <= 255 else ""
            yield Fault(
                "data.x",
                f"values from {low:g} to {high:g}",
                f"stage {name!r} works on {domain.name} values in [{domain.low:g}, {domain.high:g}]{hint}",
            )
            return
