"""The stress rooms against their peers: one module for each claim, and `measure` for all of them."""

from typing import Any

from bench.stress import adwin, cells, dawid_skene, mmd


def measure(peers: str | None, alibi: str | None) -> dict[str, Any]:
    """Every claim after the other.

    Args:
      peers: the Python of the environment of `bench/peers/requirements.txt`, for Dawid-Skene and ADWIN.
      alibi: that of `bench/peers/requirements-alibi.txt`, for MMD; what has no peer is left out.

    Returns:
      What each module measured, by its name.
    """
    found = {"cells": cells.measure()}
    if peers:
        found |= {"dawid_skene": dawid_skene.measure(peers), "adwin": adwin.measure(peers)}
    return found | ({"mmd": mmd.measure(alibi)} if alibi else {})
