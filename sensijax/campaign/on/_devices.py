"""Devices that the processes of one machine divide among themselves."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

NVIDIA = pathlib.Path("/proc/driver/nvidia/gpus")


def portion(devices: Sequence[T], local_rank: int, local_size: int | None) -> Sequence[T]:
    """The devices of one of the processes of a machine.

    Args:
      devices: all that they see, the same for each; at least one.
      local_rank: which process this is, on this machine.
      local_size: how many there are here; None if that is not known: each takes one device then.

    Returns:
      Equal numbers of neighbours. Where there are fewer devices than processes, one, shared with others.

    Example:
      >>> portion([0, 1, 2, 3], 1, 2), portion([0, 1, 2, 3], 5, None), portion([0], 1, 2)
      ([2, 3], [1], [0])
    """
    each = 1 if local_size is None else max(1, len(devices) // local_size)
    start = local_rank * each % len(devices)
    return devices[start : start + each]


def gpus_in_sight(environment: Mapping[str, str], driver: pathlib.Path = NVIDIA) -> int:
    """How many NVIDIA GPUs JAX will see, found out without JAX: once it looks, it takes memory on all of them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip()])
    return len(list(driver.iterdir())) if driver.is_dir() else 0
