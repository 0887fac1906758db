"""Sobol indices of a campaign's severities: computed once, kept in one file that says what it is about."""

import dataclasses
import json
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._response import campaign_response
from sensijax.campaign.store._location import open_store
from sensijax.campaign.store._store import Store
from sensijax.core import ArgumentError, StoreError, digest, program_digest
from sensijax.core.errors import did_you_mean
from sensijax.sensitivity import SobolResult, sobol

log = logging.getLogger(__name__)
FILE = "sensitivity.json"
SCHEMA = 1


@dataclasses.dataclass(frozen=True, eq=False)
class CampaignSensitivity:
    """Which severities the mean loss of a campaign varies with.

    Attributes:
      result: Sobol indices with intervals; the names are those of the stages.
      about: what the file says: model, data, examples, stages with their ranges, response, n, seed, id.
      store: where the file is.
      computed: whether it was computed just now, or was there already.
    """

    result: SobolResult
    about: dict[str, Any]
    store: Store
    computed: bool

    @property
    def folder(self) -> pathlib.Path:
        """The folder itself, or this machine's copies of what is at a URL."""
        return self.store.folder


def campaign_sensitivity(
    campaign: Campaign,
    folder: str | os.PathLike,
    *,
    n: int = 1024,
    examples: int = 64,
    stages: Sequence[str] | None = None,
    second_order: bool = False,
    response: str = "loss",
) -> CampaignSensitivity:
    """Sobol indices of the mean loss over the severities of a campaign's stages, all of which act at once.

    Severities are independent and uniform on [0, 5] (a swept parameter on its own range). The answer is written to
    `sensitivity.json` in the folder, whole or not at all, under an id that is the digest of all that decides it: asked
    again, the same question is read, not computed.

    Args:
      campaign: whose model, data, stages and first seed are used; its design is not.
      folder: where to write, a folder or a URL; made if it is not there.
      n: base points, a power of two, >= 32; the model sees examples n (d + 2) times, or n (2 d + 2) with second order.
      examples: how many are averaged over: as many of the data, evenly spread over the order of their ids.
      stages: the names of those that act; all of them unless given. Many at once leave nothing of an input.
      second_order: whether to estimate the interaction of every pair.
      response: as for `campaign_response`.

    Returns:
      A `CampaignSensitivity`.

    Raises:
      ArgumentError: if an argument does not fit, or the response does not vary.
      StoreError: if the file cannot be written.

    Example:
      >>> campaign_sensitivity(campaign, "runs/fog", n=256).result.frame()   # doctest: +SKIP
    """
    chosen = _chosen(campaign, stages)
    if isinstance(examples, bool) or not isinstance(examples, (int, np.integer)) or examples < 1:
        raise ArgumentError("examples", repr(examples), "at least one")
    count = min(int(examples), len(campaign.examples))
    data = campaign.examples.take(np.unique(np.linspace(0, len(campaign.examples) - 1, count).round().astype(int)))
    seed = campaign.seeds[0]  # type: ignore[index]
    f = campaign_response(campaign.model, data, chosen, seed=seed, response=response)
    lowered = jax.jit(f).lower(jax.ShapeDtypeStruct((len(chosen),), jnp.float32))
    about = {
        "schema": SCHEMA,
        "campaign": campaign.name,
        "model": {"name": campaign.model.name, "digest": campaign.model.digest},
        "data": {"name": campaign.data.name, "digest": data.digest, "examples": len(data), "of": len(campaign.data)},
        "stages": {
            name: {"kind": s.kind, "axis": s.axis, "low": low, "high": high}
            for (name, s), (low, high) in zip(chosen.items(), (d.support for d in f.space.inputs.values()), strict=True)
        },
        "response": response,
        "seed": seed,
        "n": n,
        "second_order": bool(second_order),
        "program": program_digest(lowered),
    }
    about["id"] = digest("sensitivity", json.dumps(about, sort_keys=True))
    store = open_store(folder)
    kept = _read(store)
    if kept is not None and kept[0].get("id") == about["id"]:
        return CampaignSensitivity(kept[1], kept[0], store, False)
    key = jax.random.key(seed % (1 << 32), impl="threefry2x32")
    result = sobol(f, f.space, key=key, n=n, second_order=second_order)
    _write(store, about, result)
    return CampaignSensitivity(result, about, store, True)


def open_sensitivity(folder: str | os.PathLike) -> CampaignSensitivity:
    """What `campaign_sensitivity` wrote into a folder; its digest is verified.

    Raises:
      StoreError: if there is none, or it is damaged.
    """
    store = open_store(folder)
    found = _read(store)
    if found is None:
        raise StoreError(f"{store.location} holds no sound {FILE}")
    return CampaignSensitivity(found[1], found[0], store, False)


def _chosen(campaign: Campaign, stages: Sequence[str] | None) -> dict[str, Any]:
    if stages is None:
        return dict(campaign.stages)
    for name in stages:
        if name not in campaign.stages:
            raise ArgumentError("stages", repr(name), did_you_mean(name, campaign.stages))
    return {name: sweep for name, sweep in campaign.stages.items() if name in stages}


def _write(store: Store, about: dict[str, Any], result: SobolResult) -> None:
    numbers = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for field in dataclasses.fields(result)
        if (value := getattr(result, name := field.name)) is not None
    }
    numbers = json.loads(json.dumps(numbers).replace("NaN", "null"))  # the diagonal of S2
    document = {**about, "result": numbers}
    document["digest"] = digest("sensitivity file", json.dumps(document, sort_keys=True))
    store.check_writable()
    store.write_bytes(FILE, json.dumps(document, indent=1).encode())  # with a digest of its own


def _read(store: Store) -> tuple[dict[str, Any], SobolResult] | None:
    try:
        data = store.read_bytes(FILE)
        if data is None:
            return None
        document = json.loads(data)
        named = document.pop("digest")
        if named != digest("sensitivity file", json.dumps(document, sort_keys=True)):
            log.warning("%s does not match its digest: it is computed anew", f"{store.location}/{FILE}")
            return None
        numbers = document.pop("result")
    except (ValueError, KeyError, AttributeError):
        log.warning("%s cannot be read: it is computed anew", f"{store.location}/{FILE}")
        return None
    arrays: dict[str, Any] = {
        name: np.array(value, np.float64) if isinstance(value, list) and name != "names" else value
        for name, value in numbers.items()
    }
    fields: dict[str, Any] = {field.name: arrays.get(field.name) for field in dataclasses.fields(SobolResult)}
    fields["names"] = tuple(numbers["names"])
    return document, SobolResult(**fields)
