"""The stress rooms against their peers: one module for each claim, and `measure` for all of them."""

from typing import Any

from bench.stress import cells, mmd


def measure(alibi: str | None) -> dict[str, Any]:
    """Every claim after the other.

    Args:
      alibi: the Python of the environment of `bench/peers/requirements-alibi.txt`; without it MMD is left out.

    Returns:
      What each module measured, by its name.
    """
    found = {"cells": cells.measure()}
    return found | ({"mmd": mmd.measure(alibi)} if alibi else {})
