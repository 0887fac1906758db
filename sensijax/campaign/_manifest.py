"""The manifest: what a campaign's folder says of itself, for readers that have neither the model nor JAX."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.attack import Attack
from sensijax.campaign._campaign import Campaign
from sensijax.campaign._family import family_of, identity_of
from sensijax.campaign._plan import Plan
from sensijax.campaign._standing import relabels
from sensijax.campaign.exhibits._annotators import annotators_of
from sensijax.campaign.exhibits._pictures import picture_of
from sensijax.campaign.exhibits._stressed import stressed_address
from sensijax.campaign.store._store import LAYOUT
from sensijax.campaign.timeline._facts import timeline_facts
from sensijax.core import ArgumentError, digest, stage_key_data
from sensijax.core.keys import GENERATOR
from sensijax.drift import Drift
from sensijax.label import LabelNoise

MOST_CLASSES = 64  # of which a matrix is written down


def manifest_of(campaign: Campaign, plan: Plan, environment: dict[str, Any]) -> dict[str, Any]:
    """The content of `campaign.json`.

    Args:
      campaign: what runs.
      plan: its plan.
      environment: where it runs; recorded, but no part of the campaign's identity.

    Returns:
      A dictionary of plain values. Its `id` is the digest of the tiles, so two manifests with one id describe the same
      rows.
    """
    data, model = campaign.data, campaign.model
    outputs = model.output_spec(jax.ShapeDtypeStruct((1, *data.x.shape[1:]), data.x.dtype))
    return {
        "layout": LAYOUT,
        "id": digest([tile.id for tile in plan.tiles]),
        "name": campaign.name,
        "task": "classification" if data.is_classification else "regression",
        "tolerance": campaign.tolerance,
        "target_variance": None if data.is_classification else float(np.var(data.y, axis=0, dtype=np.float64).mean()),
        "model": {
            "name": model.name,
            "digest": model.digest,
            "classes": list(model.classes or ()),
            "outputs": int(outputs.shape[-1]),
        },
        "data": {
            "name": data.name,
            "digest": data.digest,
            "examples": len(data),
            "shape": list(data.x.shape[1:]),
            "groups": sorted(data.groups),
        },
        "seeds": list(campaign.seeds),  # type: ignore[arg-type]
        "design": repr(campaign.design),
        "stages": {
            name: {
                "kind": sweep.kind,
                "family": family_of(campaign.perturbation(name, sweep.values[0])),
                "axis": sweep.axis,
                "values": list(sweep.values),
                "identity": identity_of(campaign, name),
                "options": {k: _plain(v) for k, v in sweep.options.items()},
                "about": (sweep.target.__doc__ or "").strip().split("\n")[0],
                **_attack(campaign, plan, name),
                **_labels(campaign, name),
            }
            for name, sweep in campaign.stages.items()
        },
        "scenarios": {
            s.name: {
                "settings": [list(setting) for setting in s.settings],
                "severity": s.severity,
                "weighted": any(_reweights(campaign.perturbation(*setting)) for setting in s.settings),
                "relabelled": any(relabels(campaign.perturbation(*setting)) for setting in s.settings),
                "seeds": list(campaign.seeds_of(s)),
                "digest": campaign.settings_digest(s),
            }
            for s in campaign.scenarios
        },
        "timelines": timeline_facts(campaign, plan),
        "stressed": stressed_address(campaign, plan),
        "tiles": [
            {
                "id": tile.id,
                "scenarios": [s.name for s in tile.scenarios],
                "seeds": list(tile.seeds),
                "start": tile.start,
                "stop": tile.stop,
                "program": tile.program,
            }
            for tile in plan.tiles
        ],
        "programs": plan.programs,
        "environment": environment["id"],
    }


def _reweights(value: Any) -> bool:
    return isinstance(value, Drift) and "weights" in value.changes


def _attack(campaign: Campaign, plan: Plan, stage: str) -> dict[str, Any]:
    """What readers should know of a stage that is an attack."""
    attack = campaign.perturbation(stage, campaign.stages[stage].values[-1])
    if not isinstance(attack, Attack):
        return {}
    picture = picture_of(campaign, plan, stage)
    return {
        "attack": {
            "norm": str(attack.norm),
            "box": [float(bound) for bound in attack.box],
            "parts": [name for name, _ in attack.parts()],
            "picture": None if picture is None else picture[0],
        }
    }


def _labels(campaign: Campaign, stage: str) -> dict[str, Any]:
    """What readers should know of a stage that is annotation noise: how often it writes which class for which, and
    where its annotators are shown."""
    examples, transitions = campaign.examples, {}
    for value in campaign.stages[stage].values:
        noise = campaign.perturbation(stage, value)
        if not isinstance(noise, LabelNoise):
            return {}
        if noise.classes <= MOST_CLASSES and not np.all(noise.is_identity()):
            seeds = list(campaign.seeds if noise.drawn else campaign.seeds[:1])  # type: ignore[arg-type,index]
            data = [jnp.asarray(stage_key_data(seed, stage)) for seed in seeds]
            keys = [jax.random.wrap_key_data(words, impl=GENERATOR) for words in data]
            with jax.default_device(jax.local_devices(backend="cpu")[0]):  # as standings: one program serves both
                with contextlib.suppress(ArgumentError):  # a class without examples has no row
                    each = [noise.transition(key, examples.y, examples.x, ids=examples.ids) for key in keys]
                    transitions[f"{value:.9g}"] = np.round(np.mean(each, axis=0), 9).tolist()
    return {"transitions": transitions, "annotators": annotators_of(campaign, stage)}


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else repr(value)
