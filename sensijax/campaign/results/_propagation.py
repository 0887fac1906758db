"""Where it breaks inside: what each scenario is at every component of the model, and which one amplifies it."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._cell import perturbed_inputs
from sensijax.core import ArgumentError
from sensijax.core.errors import did_you_mean
from sensijax.sensitivity import captured, component_gains

COLUMNS = [
    "scenario",
    "component",
    "relative_change",
    "gain",
    "gain_low",
    "gain_high",
    "step",
    "cka",
    "separability_clean",
    "separability",
]


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
      step and cka are those of `sensitivity.component_gains`: the component with the largest step amplifies most.
      separability is Fisher's ratio, the variance between classes over that within them, with the scenario's labels and
      weights; separability_clean that of the data. Where a scenario changes no input, gains are NaN.

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
    run = jax.jit(lambda x: captured(campaign.model, x))
    clean, tables = examples.x, []
    before = _components(run, clean)
    plain = np.ones(len(examples))
    for name in scenarios:
        scenario = known[name]
        own = campaign.seeds_of(scenario)[0] if seed is None else seed
        x = perturbed_inputs(campaign, name, own)
        standing = campaign.standings.of(scenario.settings, own)
        after, moved = _components(run, x), not np.array_equal(x, clean)
        if moved:
            gains = component_gains(campaign.model, clean, x, resamples=resamples)
            table = gains.frame().set_index("component")
        else:
            table = pd.DataFrame(index=list(before), columns=["relative_change", *COLUMNS[3:8]], dtype=float)
        for component, row in table.iterrows():
            tables.append(
                {
                    "scenario": name,
                    "component": component,
                    **{column: float(row[column]) for column in COLUMNS[2:8]},
                    "separability_clean": separability(before[component], examples.y, plain),
                    "separability": separability(after[component], standing.observed, standing.weight),
                }
            )
    return pd.DataFrame(tables, columns=COLUMNS)


def _components(run, x: np.ndarray) -> dict[str, np.ndarray]:
    """The components of a batch by name, each `[B, D]`, from input to output."""
    out, inside = run(jnp.asarray(x))
    found = {"input": x, **inside, "output": out}
    return {name: np.asarray(value, np.float64).reshape(len(x), -1) for name, value in found.items()}


def separability(features: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Fisher's ratio: the variance between classes over the variance within them, summed over features.

    Args:
      features: float64 `[N, D]`; rows that are not finite are left out.
      labels: integers `[N]`.
      weights: `[N]`, 0 or more.

    Returns:
      The ratio, 0 or more; infinite where classes have no variance within, NaN where fewer than two classes are left.

    Example:
      >>> float(separability(np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([0, 0, 1, 1]), np.ones(4)))
      25.0
    """
    sound = np.isfinite(features).all(axis=1) & (weights > 0)
    features, labels, weights = features[sound], labels[sound], weights[sound]
    classes = np.unique(labels)
    if len(classes) < 2:
        return float("nan")
    centre = np.average(features, axis=0, weights=weights)
    between = within = 0.0
    for k in classes:
        own, w = features[labels == k], weights[labels == k]
        mean = np.average(own, axis=0, weights=w)
        between += w.sum() * float(np.square(mean - centre).sum())
        within += float((w[:, None] * np.square(own - mean)).sum())
    return between / within if within else float("inf")
