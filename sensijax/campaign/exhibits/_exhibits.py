"""Exhibits: what a report shows beside the responses; each is made once, at the end of a run, and kept by address."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._engine import Engine
from sensijax.campaign._plan import Plan
from sensijax.campaign.exhibits._annotators import annotator_exhibits
from sensijax.campaign.exhibits._pictures import picture_exhibits
from sensijax.campaign.exhibits._stressed import stressed_exhibits
from sensijax.campaign.store._store import Store
from sensijax.campaign.timeline._watching import timeline_exhibits


class Exhibit(NamedTuple):
    """Something to show.

    Attributes:
      address: the digest of all that decides its content.
      make: from an engine to its arrays, by name.
    """

    address: str
    make: Callable[[Engine], dict[str, np.ndarray]]


def missing_exhibits(campaign: Campaign, plan: Plan, store: Store) -> list[Exhibit]:
    """The exhibits of a campaign that its store does not have."""
    makers = picture_exhibits, annotator_exhibits, timeline_exhibits, stressed_exhibits
    every = [Exhibit(*found) for maker in makers for found in maker(campaign, plan)]
    return [exhibit for exhibit in every if store.find_exhibit(exhibit.address) is None]


def keep_exhibits(
    campaign: Campaign, plan: Plan, engine: Engine, store: Store, note: Callable[[str], None] = lambda phase: None
) -> None:
    """Makes what is missing, one after the other: a kill costs the one in hand.

    Args:
      campaign, plan: what they are of.
      engine: what computes.
      store: where they are kept.
      note: called with the phase, "exhibits", before each.
    """
    for address, make in missing_exhibits(campaign, plan, store):
        note("exhibits")
        store.commit_exhibit(address, make(engine))


def read_exhibit(store: Store, address: str) -> dict[str, Any] | None:
    """What `keep_exhibits` kept, if it is there and intact."""
    path = store.find_exhibit(address)
    if path is None:
        return None
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
