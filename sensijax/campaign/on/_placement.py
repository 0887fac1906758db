"""What every placement is: a description of where tiles are computed, and the crew that it makes for one run."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._programs import Programs
from sensijax.campaign._worker import Finished, Tally
from sensijax.campaign.store._store import Store


@dataclasses.dataclass(frozen=True)
class Job:
    """What a crew is made for.

    Attributes:
      campaign, plan, programs: what is to be computed.
      store: where finished tiles go.
      micro_batch: rows at once; None: measured.
      allow_mixed: whether workers in different environments may work together.
      note: called with the phase that begins.
    """

    campaign: Campaign
    plan: Plan
    programs: Programs
    store: Store
    micro_batch: int | None
    allow_mixed: bool
    note: Callable[[str], None]


class Crew(abc.ABC):
    """Those who compute the tiles of one run. A context: leaving it lets them go.

    Attributes:
      environment: what they compute with, as `environment()` says it; recorded in the folder and on every row.
    """

    environment: dict[str, Any]

    @abc.abstractmethod
    def compute(self, tiles: Sequence[Tile], finished: Callable[[Finished], None]) -> Tally:
        """Computes tiles and commits them to the store.

        Args:
          tiles: what is missing, in the order of the plan.
          finished: called, in the calling thread, with each tile that is in the store; once for each.

        Returns:
          What was done. A tile that fails again and again may be missing from the store, and was logged.
        """

    @abc.abstractmethod
    def exhibits(self) -> None:
        """Keeps what the report shows beside the responses."""

    def close(self) -> None:  # noqa: B027 - most have nothing to let go
        """Lets the workers go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Placement(abc.ABC):
    """Where tiles are computed: what `sensijax.on` makes, and `run(..., on=)` takes."""

    leads = True
    """Whether this process speaks for the run: prints the summary, writes the report."""

    def narrow(self) -> None:  # noqa: B027 - most have no neighbours
        """Keeps JAX to this process's own devices, where several processes share a machine. Before JAX is used."""

    @abc.abstractmethod
    def crew(self, job: Job) -> Crew:
        """Gets the workers together.

        Raises:
          ArgumentError: if the placement does not fit this machine, or a package is missing.
          StoreError: if the workers cannot write where they should.
        """
