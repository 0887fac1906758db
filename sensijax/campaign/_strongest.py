"""Which scenarios stand for a campaign under stress: each stage alone at its strongest, and all together."""

from collections.abc import Mapping, Sequence
from typing import Any


def strongest(identities: Mapping[str, float], scenarios: Mapping[str, Sequence[Any]]) -> list[str]:
    """The scenarios in which one stage acts alone at its strongest, in the order of the stages; then that in which most
    act together, each as strongly as it does anywhere.

    Args:
      identities: stage to the setting at which nothing happens, in the order in which stages act.
      scenarios: name to settings, pairs of stage and value.

    Returns:
      Names; without the last where no two stages act together.

    Example:
      >>> found = {"a@1": [("a", 1)], "a@2": [("a", 2)], "b@1": [("b", 1)], "a@1+b@1": [("a", 1), ("b", 1)]}
      >>> strongest({"a": 0, "b": 0}, found)
      ['a@2', 'b@1', 'a@1+b@1']
    """
    far = {stage: 0.0 for stage in identities}
    for settings in scenarios.values():
        for stage, value in settings:
            far[stage] = max(far[stage], abs(value - identities[stage]))

    def strength(name: str) -> float:
        return sum(abs(value - identities[stage]) / (far[stage] or 1) for stage, value in scenarios[name])

    alone = [[n for n, settings in scenarios.items() if [s for s, _ in settings] == [stage]] for stage in identities]
    together = max((len(settings) for settings in scenarios.values()), default=0)
    most = [name for name, settings in scenarios.items() if len(settings) == together]
    return [max(names, key=strength) for names in alone if names] + ([max(most, key=strength)] if together > 1 else [])


def strongest_of(results: Any) -> list[str]:
    """The finished scenarios that stand for a campaign: each stage alone at its strongest, then all together.

    Args:
      results: a `Results`.

    Returns:
      Their names, in the order of the stages; the last is that in which most stages act together, each as strongly as
      it does anywhere, if any two do.

    Example:
      >>> strongest_of(results)                                   # doctest: +SKIP
      ['adversary@0.0627451', 'drift@1', 'labels@0.4', 'adversary@0.0627451+drift@1+labels@0.4']
    """
    stages, scenarios = results.manifest["stages"], results.manifest["scenarios"]
    identities = {name: about["identity"] for name, about in stages.items()}
    return strongest(identities, {name: scenarios[name]["settings"] for name in results.scenario_names})
