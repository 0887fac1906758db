"""What the numbers were computed with: recorded on every row, and never mixed unasked."""

import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import jax
import numpy as np

from sensijax.campaign._mesh import split_of
from sensijax.campaign.store._store import Store
from sensijax.core import StoreError, digest


def environment(params: Any = None) -> dict[str, Any]:
    """Versions, device and flags that can change a result's last bit.

    How many devices there are does not: on a mesh each one runs the program of one device. How a model's parameters are
    split over devices does.

    Args:
      params: the model's, where they may be split.

    Returns:
      A plain dictionary; its `id` is the digest of the rest.
    """
    device = jax.devices()[0]
    facts = {
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": device.platform,
        "device": device.device_kind,
        "machine": platform.machine(),
        "cpu_features": _cpu_features(),
        "xla_flags": _flags(os.environ.get("XLA_FLAGS", "")),
        "x64": bool(jax.config.jax_enable_x64),  # type: ignore[attr-defined]
        "matmul_precision": str(jax.config.jax_default_matmul_precision),  # type: ignore[attr-defined]
    }
    split = split_of(params)
    if split:
        facts["split"] = split
    return {"id": digest(facts), **facts}


def refuse_mixing(store: Store, here: dict[str, Any], parts: Sequence[pathlib.Path] | None = None) -> None:
    """Refuses to go on in a folder that something was computed in elsewhere.

    Args:
      store: the folder.
      here: the environment of this process.
      parts: what is going to be added to; rows say where they were computed. Unless given, all that has written here
        counts, whether it finished something or not.

    Raises:
      StoreError: if something was computed in another environment than this one: with what differs.
    """
    others = [one for one in store.environments() if one != here["id"]]
    if others and parts is not None:
        rows = store.connect(parts, None) if parts else None
        found = rows.execute("select distinct environment from responses").fetchall() if rows else []
        others = [one for (one,) in found if one != here["id"]]
    if others:
        _refuse(store, store.read_json(f"environments/{others[0]}.json") or {}, here)


def agree_on_environment(store: Store, tiles: Iterable[str], here: dict[str, Any]) -> None:
    """Lets the first of several processes that start at once decide in which environment these tiles are computed.

    Args:
      store: the folder.
      tiles: the ids of all of them.
      here: the environment of this process.

    Raises:
      StoreError: if another process was first, and its environment is not this one: with what differs.
    """
    first = store.write_first(f"claims/{digest(list(tiles))}.json", here)
    if first.get("id") != here["id"]:
        _refuse(store, first, here)


def _refuse(store: Store, other: dict[str, Any], here: dict[str, Any]) -> NoReturn:
    differing = {k: (other.get(k), v) for k, v in here.items() if k != "id" and other.get(k) != v}
    raise StoreError(
        f"{store.location} holds tiles computed in another environment "
        f"({', '.join(f'{k}: {a!r} then, {b!r} now' for k, (a, b) in differing.items())}); "
        "results may differ in the last bits: use another folder, or allow mixing (--allow-mixed)"
    )


def _flags(flags: str) -> str:
    """XLA's flags without the one that counts virtual devices, as they came if it is not among them."""
    counts = "--xla_force_host_platform_device_count"
    return " ".join(flag for flag in flags.split() if not flag.startswith(counts)) if counts in flags else flags


def _cpu_features() -> str:
    # XLA compiles for the processor it finds: wider vectors may add in another order.
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line.split(":", 1)[1].split() for line in file if line.startswith(("flags", "Features"))), [])
    except OSError:
        return platform.processor()
    return " ".join(sorted(f for f in flags if f.startswith(("avx", "fma", "sse4", "amx", "asimd", "sve"))))
