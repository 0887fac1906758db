"""What a stage is: to which family of stressors it belongs, and at which setting it does nothing."""

from typing import Any

from sensijax.attack import Attack
from sensijax.campaign._campaign import Campaign
from sensijax.drift import Drift
from sensijax.label import LabelNoise


def family_of(value: Any) -> str:
    """To which family of stressors a stage belongs: `perturbation`, `attack`, `drift` or `labels`."""
    kinds = {Attack: "attack", Drift: "drift", LabelNoise: "labels"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "perturbation")


def identity_of(campaign: Campaign, stage: str) -> float:
    """The setting at which nothing happens: where a curve's clean point belongs."""
    return next(v for v in campaign.stages[stage].values if campaign.perturbation(stage, v).is_identity())
