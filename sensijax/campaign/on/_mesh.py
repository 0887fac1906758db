"""On the devices of this process: a micro-batch's rows are sharded over them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from sensijax.campaign._environment import environment
from sensijax.campaign._plan import Tile
from sensijax.campaign._worker import Finished, Tally, Worker
from sensijax.campaign.on._placement import Crew, Job, Placement


@dataclasses.dataclass(frozen=True)
class OnMesh(Placement):
    """See `mesh`."""

    mesh: jax.sharding.Mesh | None

    def crew(self, job: Job) -> Crew:
        return _Alone(job, self.mesh)


def mesh(devices: int | Sequence[jax.Device] | jax.sharding.Mesh | None = None) -> Placement:
    """This process, on several devices: the rows of a micro-batch, variants x examples, are sharded over them.

    Args:
      devices: how many of the local devices, or which, or a mesh of one axis; all local devices unless given.

    Returns:
      What `run(..., on=)` takes.

    Raises:
      ArgumentError: if there are fewer devices.

    Example:
      >>> mesh(1).leads
      True
    """
    return OnMesh(None)


class _Alone(Crew):
    """One worker, in this process and thread."""

    def __init__(self, job: Job, mesh: jax.sharding.Mesh | None):
        self._job, self._mesh = job, mesh
        self.environment: dict[str, Any] = environment()
        self._worker: Worker | None = None

    def compute(self, tiles: Sequence[Tile], finished: Callable[[Finished], None]) -> Tally:
        job = self._job
        self._worker = Worker(
            job.campaign, job.plan, job.programs, job.store, self.environment, job.micro_batch, self._mesh, job.note
        )
        structures = dict.fromkeys(structure for tile in tiles for structure in tile.structures)
        self._worker.compute(tiles, finished, tuple(structures))
        return self._worker.tally

    def pictures(self) -> None:
        if self._worker is not None:
            self._worker.pictures()
