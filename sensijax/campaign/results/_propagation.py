"""Where it breaks inside: what each scenario is at every component of the model, and which one amplifies it."""

from collections.abc import Sequence

import pandas as pd

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._cell import perturbed_inputs
from sensijax.campaign._paths import path_of
from sensijax.campaign.exhibits._inside import Shown, inside
from sensijax.core import ArgumentError
from sensijax.core.errors import did_you_mean


def propagation(
    campaign: Campaign, scenarios: Sequence[str] | None = None, *, seed: int | None = None, resamples: int = 1000
) -> pd.DataFrame:
    """How scenarios travel through a model: the change, how it grows and what is left of the classes, by component.

    Args:
      campaign: a classification campaign; its model's components are those that `sensitivity.captured` finds (a Flax
        module's submodules, values named by `tap`, else convolutions and matrix products).
      scenarios: their names; unless given, every scenario that has each of its stages at its last setting.
      seed: of the scenarios' draws; each scenario's first unless given.
      resamples: bootstrap resamples of the examples, for the intervals of the gains.

    Returns:
      A row for each scenario and component, from input to output. relative_change, gain (with gain_low, gain_high),
      step (step_low, step_high) and cka are those of `sensitivity.component_gains`: the component with the largest step
      amplifies most.
      separability is Fisher's ratio, the variance between classes over that within them, with the scenario's labels and
      weights; separability_clean that of the data. n is the number of examples. Where a scenario changes no input,
      gains are NaN.

    Raises:
      ArgumentError: for an unknown scenario, or a regression.

    Reference:
      Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7 (1936).

    Example:
      >>> propagation(campaign, ["adversary@0.0627451"])         # doctest: +SKIP
    """
    examples = campaign.examples
    if not examples.is_classification:
        raise ArgumentError(
            "campaign", "a regression", "a classification: what is asked is what is left of the classes"
        )
    known = {scenario.name: scenario for scenario in campaign.scenarios}
    if scenarios is None:
        last = {name: sweep.values[-1] for name, sweep in campaign.stages.items()}
        scenarios = [
            n for n, s in known.items() if s.settings and all(value == last[stage] for stage, value in s.settings)
        ]
    for name in scenarios:
        if name not in known:
            raise ArgumentError("scenarios", repr(name), did_you_mean(name, known))
    shown, inputs = [], {}
    for name in scenarios:
        scenario = known[name]
        own = campaign.seeds_of(scenario)[0] if seed is None else seed
        same = path_of(campaign, scenario), own
        if same not in inputs:
            inputs[same] = perturbed_inputs(campaign, name, own)
        standing = campaign.standings.of(scenario.settings, own)
        shown.append(Shown(name, inputs[same], standing.observed, standing.weight))
    return inside(campaign.model, examples.x, examples.y, shown, resamples)
