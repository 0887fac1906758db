"""On the devices of this process: a micro-batch's rows are sharded over them."""

import collections
import dataclasses
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from sensijax.campaign._environment import environment
from sensijax.campaign._mesh import devices_layout
from sensijax.campaign._plan import Tile
from sensijax.campaign._worker import Finished, Tally, Worker
from sensijax.campaign.on._placement import Crew, Job, Placement
from sensijax.campaign.on._turns import Looks
from sensijax.core import Layout


@dataclasses.dataclass(frozen=True)
class OnMesh(Placement):
    """See `mesh`."""

    devices: int | Sequence[Any] | jax.sharding.Mesh | None = None
    axis: str | Sequence[str] | None = None

    def crew(self, job: Job) -> Crew:
        return _Alone(job, devices_layout(self.devices, self.axis, job.campaign.model.params))


def mesh(
    devices: int | Sequence[Any] | jax.sharding.Mesh | None = None, *, axis: str | Sequence[str] | None = None
) -> Placement:
    """This process, on several devices: the rows of a micro-batch, variants x examples, are sharded over them.

    Each device runs the very program that one device would run, so the responses are bitwise those of a run on one
    device of the kind. A model that is too large for one device has its `params` split by its user, by
    `jax.device_put(params, NamedSharding(mesh, ...))`: then the compiler cuts the forward pass up, and the last bits
    may differ.

    Args:
      devices: how many of the local devices, or which, or a mesh; unless given, the mesh that the model's parameters
        are split over, or all local devices.
      axis: the axis (or axes) of a mesh along which rows are cut; those that no parameter is split over, unless given.

    Returns:
      What `run(..., on=)` takes.

    Raises:
      ArgumentError: if there are fewer devices, or one of them belongs to another process.

    Example:
      >>> mesh(1).leads
      True
    """
    devices_layout(devices, axis)
    return OnMesh(devices, axis)


class _Alone(Crew):
    """One worker, in this process and thread."""

    def __init__(self, job: Job, layout: Layout):
        self._job, self._layout = job, layout
        self.environment: dict[str, Any] = environment(job.campaign.model.params)
        self._worker: Worker | None = None

    def compute(self, tiles: Sequence[Tile], finished: Callable[[Finished], None]) -> Tally:
        structures = dict.fromkeys(structure for tile in tiles for structure in tile.structures)
        self._worker = self._hired()
        self._worker.compute(self._left(tiles, finished), finished, tuple(structures))
        return self._worker.tally

    def _left(self, tiles: Sequence[Tile], finished: Callable[[Finished], None]) -> Iterator[Tile]:
        """The tiles in order. Where another run is met in the folder: without its tiles, and from somewhere else on."""
        left, looks = collections.deque(tiles), Looks(shortest=0.02)  # five looks a second at most
        looks.looked(time.monotonic(), time.monotonic(), True)  # what is missing was found out just now
        while left:
            if looks.wait(time.monotonic(), True) == 0.0:
                started = time.monotonic()
                there = self._job.store.tiles()
                met = [tile for tile in left if tile.id in there]
                looks.looked(started, time.monotonic(), bool(met))
                for tile in met:
                    finished(Finished(tile.id, tile.rows, 0.0, tile.scenarios[-1].name, computed=False))
                left = collections.deque(tile for tile in left if tile.id not in there) if met else left
                if met and left:
                    left.rotate(random.SystemRandom().randrange(len(left)))  # two that meet do not go on side by side
                    continue
            if left:
                yield left.popleft()

    def exhibits(self) -> None:
        (self._worker or self._hired()).exhibits()

    def _hired(self) -> Worker:
        job = self._job
        return Worker(
            job.campaign, job.plan, job.programs, job.store, self.environment, job.micro_batch, self._layout, job.note
        )
