"""What runs inside a Ray actor: a worker that keeps its programs, with a queue before it and a mailbox behind it.

The driver hands tiles over and takes reports in one call, `exchange`, of which one is pending for each actor: it comes
back as soon as there is something to report. A thread of its own computes meanwhile, so that the next tile is on the
device's queue before the driver hears of the last one.
"""

import collections
import contextlib
import dataclasses
import importlib.metadata
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._environment import environment
from sensijax.campaign._mesh import devices_layout
from sensijax.campaign._plan import Plan, Tile, make_plan
from sensijax.campaign._programs import Programs
from sensijax.campaign._worker import Finished, Tally, Worker
from sensijax.campaign.on._packing import Parcel, unpack
from sensijax.campaign.store._location import open_store
from sensijax.core import ArgumentError, StoreError, digest
from sensijax.core.errors import MissingExtraError

log = logging.getLogger(__name__)


class Passport(NamedTuple):
    """What a worker says of itself before it is hired.

    Attributes:
      node: its host's name.
      address: its node's address.
      process: its process id.
      environment: as `environment()` says it.
      plan: the digest of the tiles that it plans.
      versions: of what decides the plan.
    """

    node: str
    address: str
    process: int
    environment: dict[str, Any]
    plan: str
    versions: dict[str, str]


class Settings(NamedTuple):
    """How a worker's process is set up.

    Attributes:
      jax: names of JAX's configuration to values, as they are in the driver.
      cores: how many XLA uses; None: all.
    """

    jax: Mapping[str, Any]
    cores: int | None


class Failed(NamedTuple):
    """A tile raised an error, alone on its worker."""

    tile: str
    error: str


class Refused(NamedTuple):
    """An error that ends the run, as it would end one in this process: its class and its arguments."""

    kind: str
    arguments: tuple[str, ...]

    def raised(self) -> Exception:
        return ArgumentError(*self.arguments) if self.kind == "ArgumentError" else StoreError(*self.arguments)


class Said(NamedTuple):
    """A line of a worker's log."""

    level: int
    text: str


Report = Finished | Failed | Refused | Said


def plan_digest(plan: Plan) -> str:
    """Names a plan: the same tiles, in the same order."""
    return digest([tile.id for tile in plan.tiles])


def versions() -> dict[str, str]:
    """Of the packages that decide what a campaign is planned as."""
    return {name: importlib.metadata.version(name) for name in ("sensijax", "jax", "numpy", "flax")}


class Hand:
    """The actor. Made in a process of its own, whose environment variables were set before JAX was imported."""

    def __init__(self):
        self._change = threading.Condition()
        self._given: collections.deque[Tile] = collections.deque()
        self._taken: dict[str, Tile] = {}
        self._reports: list[Report] = []
        self._made = self._sent = self._answered = 0  # tiles reported on; of these told to the driver; answered by it
        self._stopped = False
        self._started = self._last = 0.0
        self._thread: threading.Thread | None = None

    # --- before ------------------------------------------------------------------------------------------------------

    def enlist(self, parcel: Parcel, location: str, token: str, settings: Settings) -> Passport | Refused:
        """Unpacks the campaign and plans it; leaves a sign in the folder, which the driver looks for."""
        import ray

        node = platform.node()
        for name, value in settings.jax.items():
            jax.config.update(name, value)
        try:
            _start_jax(settings.cores)
            self._environment = environment()
        except RuntimeError as error:
            return Refused("ArgumentError", ("workers", f"no device for JAX on {node}: {error}", "a working JAX there"))
        try:
            fields = unpack(parcel)
            campaign = object.__new__(Campaign)  # its faults were looked for before it travelled
            vars(campaign).update(fields)
            self._campaign, self._programs = campaign, Programs(campaign)
            self._plan = make_plan(campaign, self._programs)
        except Exception as error:
            right = "what the model, the data and the stages import has to be there on every node"
            return Refused("ArgumentError", ("campaign", f"{type(error).__name__} on {node}: {error}", right))
        try:
            self._store = open_store(location)
            self._store.check_writable()
            self._store.probe(token)
        except (ArgumentError, MissingExtraError, StoreError) as error:
            return Refused("StoreError", (f"the worker on {node}: {error}",))
        self._tiles = {tile.id: tile for tile in self._plan.tiles}
        address = ray.util.get_node_ip_address()
        return Passport(node, address, os.getpid(), self._environment, plan_digest(self._plan), versions())

    def begin(self, micro_batch: int | None) -> int | Refused:
        """Gets ready to compute; returns the micro-batch, which is measured unless given."""
        logging.getLogger("sensijax").addHandler(_Mailing(self._say))
        try:
            self._store.write_json(f"environments/{self._environment['id']}.json", self._environment)
            self._worker = Worker(
                self._campaign,
                self._plan,
                self._programs,
                self._store,
                self._environment,
                micro_batch,
                devices_layout(None, None, self._campaign.model.params),
            )
        except (ArgumentError, StoreError) as error:
            return _refused(error)
        self._thread = threading.Thread(target=self._labour, name="sensijax-engine", daemon=True)
        self._thread.start()
        return self._worker.tally.micro_batch

    # --- meanwhile ---------------------------------------------------------------------------------------------------

    def exchange(self, tiles: Sequence[str]) -> tuple[list[Report], Tally]:
        """Takes tiles, by their ids, as the answer to the last reports; waits for the next reports."""
        with self._change:
            self._started = self._started or time.perf_counter()
            self._answered = self._sent
            self._given.extend(self._tiles[tile] for tile in tiles)
            self._change.notify_all()
            while not self._reports:
                self._change.wait()
            reports, self._reports = self._reports, []
            self._sent += sum(not isinstance(report, Said) for report in reports)
            return reports, self._tally()

    def exhibits(self) -> Refused | None:
        """Stops, and keeps the exhibits."""
        with self._change:
            self._stopped = True
            self._change.notify_all()
        assert self._thread is not None
        self._thread.join()
        try:
            self._worker.exhibits()
        except (ArgumentError, StoreError) as error:
            return _refused(error)
        return None

    # --- how ---------------------------------------------------------------------------------------------------------

    def _tally(self) -> Tally:
        tally = self._worker.tally
        # Programs compile as their first tile comes, and the thread that sweeps is never done: what the worker says of
        # its sweep is told at its end.
        since = self._last - self._started - tally.compile_seconds
        return tally._replace(sweep_seconds=max(since, tally.busy_seconds))

    def _labour(self) -> None:
        """Computes what comes, for as long as the actor lives."""
        while not self._stopped:
            try:
                self._worker.compute(self._coming(), self._finished)
            except (ArgumentError, StoreError) as error:
                self._report(_refused(error))
                return
            except Exception:
                # Which tile it was cannot be told while several are on their way: each has its turn alone.
                for tile in list(self._taken.values()):
                    self._alone(tile)

    def _alone(self, tile: Tile) -> None:
        try:
            self._worker.compute([tile], self._finished)
        except Exception as error:
            log.debug("tile %s failed", tile.id, exc_info=True)
            with self._change:
                del self._taken[tile.id]
            self._report(Failed(tile.id, _told(error)))

    def _coming(self) -> Iterator[Tile | None]:
        while True:
            with self._change:
                while not (self._given or self._stopped):
                    if self._made == self._answered and self._taken:
                        break  # the driver knows all that there is to know here, and gave nothing
                    self._change.wait()
                if self._stopped:
                    return
                tile = self._given.popleft() if self._given else None
                if tile is not None:
                    self._taken[tile.id] = tile
            yield tile

    def _finished(self, found: Finished) -> None:
        with self._change:
            if self._taken.pop(found.tile, None) is None:
                return
        self._report(found)

    def _report(self, report: Finished | Failed | Refused) -> None:
        with self._change:
            self._last = time.perf_counter()
            self._made += 1
            self._reports.append(report)
            self._change.notify_all()

    def _say(self, level: int, text: str) -> None:
        with self._change:
            self._reports.append(Said(level, text))


class _Mailing(logging.Handler):
    """Sends warnings to the driver with the next report."""

    def __init__(self, say: Callable[[int, str], None]):
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.levelno, self.format(record))


def _refused(error: ArgumentError | StoreError) -> Refused:
    if isinstance(error, ArgumentError):
        return Refused("ArgumentError", (error.argument, str(error.came), error.right))
    return Refused("StoreError", (str(error),))


def _told(error: Exception) -> str:
    """An error in one line: its class, and where its text begins and ends; a callback's own error stands at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {' ... '.join(dict.fromkeys([lines[0][:300], lines[-1][:700]]))}"


def fields_of(campaign: Campaign) -> dict[str, Any]:
    """A campaign without what it has computed of itself: what travels."""
    return {field.name: getattr(campaign, field.name) for field in dataclasses.fields(campaign)}


def _start_jax(cores: int | None) -> None:
    """Starts JAX's backend with threads for so many cores: as many as it may run on when it starts."""
    if cores is None or not hasattr(os, "sched_setaffinity"):
        jax.devices()
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        jax.devices()
    finally:  # nobody is bound to these very cores: other workers have started theirs there
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), before)
