"""Several processes on this machine, started by one of them: `--on processes --workers N`."""

import contextlib
import logging
import os
import subprocess
from collections.abc import Iterator, Sequence

from sensijax.campaign.on._processes import OnProcesses
from sensijax.campaign.on._ranks import Rank, rank_of
from sensijax.core import ArgumentError

log = logging.getLogger(__name__)

GRACE = 30.0  # seconds for a process to end, once there is nothing left to do


@contextlib.contextmanager
def local_processes(workers: int, command: Sequence[str]) -> Iterator[OnProcesses]:
    """Starts `workers - 1` more processes; this one is the first of them. For a machine without a scheduler.

    Each process, this one too, is bound to its part of the cores that this one may use, where the system can do that:
    otherwise every one would start as many threads as there are cores. To be entered before JAX is used.

    Args:
      workers: how many processes, this one among them.
      command: what the others run: this program's own command line, with `--on processes` and without `workers`.

    Yields:
      The placement of this process. In the end the others are through, too; if this process fails, they are ended.

    Raises:
      ArgumentError: if there are no workers, or more than cores, or a scheduler has started several processes already.
    """
    _refuse_scheduler(workers)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if not 1 <= workers <= len(cores):
        raise ArgumentError("workers", workers, f"1 to {len(cores)}: one for each core that this process may use")
    others = [_started(rank, workers, cores, command) for rank in range(1, workers)]
    try:
        with _bound(cores[0::workers]):
            here = OnProcesses(Rank(0, workers, 0, workers, source="workers"))
            here.narrow()
            yield here
        for rank, other in enumerate(others, 1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                if code := other.wait(GRACE):
                    log.warning("process %d of %d ended with exit code %d", rank, workers, code)
    finally:
        _end(others)


def _refuse_scheduler(workers: int) -> None:
    try:
        found = rank_of(os.environ)
    except ArgumentError:  # nobody says so: as it should be
        return
    if found.size > 1:
        raise ArgumentError("workers", f"{workers} where {found}", "leave it out: those are the processes")


def _started(rank: int, size: int, cores: list[int], command: Sequence[str]) -> subprocess.Popen:
    told = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
    process = subprocess.Popen(
        command, env={**os.environ, **{name: str(value) for name, value in told.items()}}, stdin=subprocess.DEVNULL
    )
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(process.pid, cores[rank::size])
    return process


@contextlib.contextmanager
def _bound(cores: list[int]) -> Iterator[None]:
    """Binds this thread, and those that it starts, to some cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
