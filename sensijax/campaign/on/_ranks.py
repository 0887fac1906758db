"""Ranks: which process of how many this one is, as the scheduler that started it says in the environment."""

import dataclasses
import re
from collections.abc import Mapping

from sensijax.core import ArgumentError

SET = "set RANK and WORLD_SIZE for each process, or pass rank and size"


@dataclasses.dataclass(frozen=True)
class Rank:
    """Which process this is.

    Attributes:
      rank: 0..size - 1.
      size: how many processes there are.
      local_rank: which of those on this machine; None if nobody said so.
      local_size: how many there are on this machine; None if nobody said so.
      source: who said so, for messages.
    """

    rank: int
    size: int
    local_rank: int | None = None
    local_size: int | None = None
    source: str = ""

    def __str__(self) -> str:
        return f"{self.source} says process {self.rank} of {self.size}"


def rank_of(environment: Mapping[str, str]) -> Rank:
    """Reads rank and size from what torchrun, Slurm, Open MPI, PMI, Kubernetes or a TPU pod put into the environment.

    Args:
      environment: variables and their values.

    Returns:
      The rank. Where one scheduler runs inside another, as torchrun in a Slurm step of one task, the one of several
      processes counts.

    Raises:
      ArgumentError: if there is none, half of a pair, no number, a rank outside the size, or several that disagree.

    Example:
      >>> rank_of({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}).rank
      3
    """
    found = [rank for read in (_torchrun, _mpi, _pmi, _slurm, _kubernetes, _tpu) if (rank := read(environment))]
    found = [rank for rank in found if rank.size > 1] or found
    if not found:
        _refuse_batch_script(environment)
        raise ArgumentError("processes", "no rank and no size in the environment", f"start it with srun, or {SET}")
    if len({(rank.rank, rank.size) for rank in found}) > 1:
        right = f"unset all but one of them, or {SET}"
        raise ArgumentError("processes", "; ".join(map(str, found)), right)
    local = next((rank for rank in found if rank.local_rank is not None), found[0])
    local_size = next((rank.local_size for rank in found if rank.local_size is not None), None)
    return dataclasses.replace(found[0], local_rank=local.local_rank, local_size=local_size)


def _torchrun(environment: Mapping[str, str]) -> Rank | None:
    # Also what a person sets by hand, and what training operators on Kubernetes set.
    return _pair(environment, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def _mpi(environment: Mapping[str, str]) -> Rank | None:
    names = (f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))
    return _pair(environment, *names)


def _pmi(environment: Mapping[str, str]) -> Rank | None:
    return _pair(environment, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")


def _slurm(environment: Mapping[str, str]) -> Rank | None:
    """The task of a step, the task of an array, or a task of a step of an array's task."""
    step, array = _slurm_step(environment), _slurm_array(environment)
    if step is None or array is None:
        return step or array
    both = Rank(array.rank * step.size + step.rank, array.size * step.size, step.local_rank, step.local_size)
    return dataclasses.replace(both, source="Slurm (array and step)")


def _slurm_step(environment: Mapping[str, str]) -> Rank | None:
    # A batch script that runs without srun has SLURM_PROCID=0 and the job's SLURM_NTASKS too, but is one process.
    if not _in_a_step(environment):
        return None
    size = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
    found = _pair(environment, "SLURM_PROCID", size, "SLURM_LOCALID")
    if found is None:
        return None
    return dataclasses.replace(found, local_size=_tasks_here(environment), source="Slurm (SLURM_PROCID)")


def _in_a_step(environment: Mapping[str, str]) -> bool:
    return "SLURM_STEP_NUM_TASKS" in environment or "SLURM_STEP_NODELIST" in environment


def _tasks_here(environment: Mapping[str, str]) -> int | None:
    """How many tasks of the step run on this node: `4(x2),3` means 4, 4 and 3."""
    text = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE") or ""
    counts: list[int] = []
    for one in text.split(","):
        if match := re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", one.strip()):
            counts += [int(match[1])] * int(match[2] or 1)
    if len(set(counts)) == 1:
        return counts[0]
    node = environment.get("SLURM_NODEID", "")
    return counts[int(node)] if node.isdecimal() and int(node) < len(counts) else None


def _slurm_array(environment: Mapping[str, str]) -> Rank | None:
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return None
    names = [f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "MIN", "MAX", "COUNT")]
    if missing := [name for name in names if name not in environment]:
        raise ArgumentError("processes", f"SLURM_ARRAY_TASK_ID without {' and '.join(missing)}", SET)
    task, first, last, count = (_number(environment, name) for name in names)
    step = _number(environment, "SLURM_ARRAY_TASK_STEP") if "SLURM_ARRAY_TASK_STEP" in environment else 1
    place, rest = divmod(task - first, max(step, 1))
    if rest or not 0 <= place < count or first + (count - 1) * max(step, 1) != last:
        came = f"task {task} of a Slurm array of {count} from {first} to {last} by {step}"
        raise ArgumentError("processes", came, f"an array without gaps, such as --array=0-{count - 1}; or {SET}")
    return Rank(place, count, source="Slurm (SLURM_ARRAY_TASK_ID)")


def _kubernetes(environment: Mapping[str, str]) -> Rank | None:
    if "JOB_COMPLETION_INDEX" in environment and "JOB_COMPLETIONS" not in environment:
        if "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
            return None  # which says how many there are
        came = "JOB_COMPLETION_INDEX without JOB_COMPLETIONS"
        right = "add JOB_COMPLETIONS, with the value of spec.completions, to the container's env: Kubernetes does not"
        raise ArgumentError("processes", came, right)
    return _pair(environment, "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS")


def _tpu(environment: Mapping[str, str]) -> Rank | None:
    names = environment.get("TPU_WORKER_HOSTNAMES")
    if names is None or "TPU_WORKER_ID" not in environment:
        return None  # a TPU alone may have either
    size = len([name for name in names.split(",") if name.strip()])
    return _pair({**environment, "TPU_WORKER_HOSTNAMES": str(size)}, "TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES")


def _refuse_batch_script(environment: Mapping[str, str]) -> None:
    """Says what is wrong where Slurm is there, but started one process only."""
    if "SLURM_JOB_ID" in environment:
        tasks = environment.get("SLURM_NTASKS", "1")
        came = f"a Slurm job of {tasks} tasks, but no step: this process was not started with srun"
        raise ArgumentError("processes", came, "put srun in front of the command, or submit an array")


def _pair(
    environment: Mapping[str, str], rank: str, size: str, local_rank: str = "", local_size: str = ""
) -> Rank | None:
    there = [name for name in (rank, size) if name in environment]
    if not there:
        return None
    if len(there) == 1:
        other = size if there[0] == rank else rank
        raise ArgumentError("processes", f"{there[0]}={environment[there[0]]} without {other}", f"set {other} too")
    r, n = _number(environment, rank), _number(environment, size)
    if not 0 <= r < n:
        raise ArgumentError("processes", f"{rank}={r} and {size}={n}", f"{rank} of 0..{size} - 1")
    local = [_number(environment, name) if name in environment else None for name in (local_rank, local_size)]
    return Rank(r, n, *local, source=rank)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    if not re.fullmatch(r"\s*-?\d+\s*", text):
        raise ArgumentError("processes", f"{name}={text!r}", "a whole number")
    return int(text)
