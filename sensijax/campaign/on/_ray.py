"""On a Ray cluster, or on Ray workers of this machine: one actor for each accelerator. Needs the extra `ray`."""

import dataclasses
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax

from sensijax.campaign._campaign import Campaign
from sensijax.campaign.on._packing import pack
from sensijax.campaign.on._placement import Crew, Job, Placement
from sensijax.campaign.on._ray_actor import Hand, Settings, fields_of
from sensijax.campaign.on._ray_crew import RayCrew
from sensijax.core import ArgumentError
from sensijax.core.errors import MissingExtraError

ACCELERATORS = ("GPU", "TPU")
CONNECT_SECONDS = 10.0
STORE_BYTES = 128 << 20  # of shared memory for a Ray of our own, beside what the campaign takes
CONFIGURATION = (
    "jax_compilation_cache_dir",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_disable_most_optimizations",
    "jax_enable_x64",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_threefry_partitionable",
)
"""What workers take over from this process."""
OWN = ("JAX_PLATFORMS", "JAX_COORDINATOR_ADDRESS", "JAX_PROCESS_ID", "JAX_NUM_PROCESSES", "JAX_LOCAL_DEVICE_IDS")
"""Environment variables that are this process's alone."""


@dataclasses.dataclass(frozen=True)
class OnRay(Placement):
    """See `ray`."""

    address: str = "local"
    workers: int | None = None
    accelerators: str | None = None
    devices: int = 1
    runtime_env: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def crew(self, job: Job) -> Crew:
        let_go = self._connect(_size(job.campaign))
        try:
            return self._engaged(job, let_go)
        except BaseException:
            let_go()  # harmless a second time
            raise

    # --- a cluster ---------------------------------------------------------------------------------------------------

    def _connect(self, size: int) -> Callable[[], None]:
        """Connects this process to Ray, which is to carry so many bytes; returns what disconnects it again."""
        package = _package()
        if package.is_initialized():
            if self.address not in ("local", "auto"):
                raise ArgumentError("address", repr(self.address), "left out: this process is connected to Ray already")
            return lambda: None
        if self.address == "local":
            return self._start(package, size)
        _knock(self.address)
        try:
            package.init(address=self.address, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, ImportError, OSError, AssertionError) as error:
            raise ArgumentError(
                "address",
                f"{self.address!r}, and no connection: {_first_line(error)}",
                "a running cluster (`ray start --head`, `ray status`), with this process on one of its nodes; from "
                "elsewhere ray://HOST:10001 (pip install 'ray[client]')",
            ) from error
        return package.shutdown

    def _start(self, package: Any, size: int) -> Callable[[], None]:
        """Starts a Ray of our own, in a folder of its own: it meets no other, and leaves nothing behind."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        short = tempfile.gettempdir() if len(tempfile.gettempdir()) < 24 else "/tmp"  # names of sockets are short
        folder = tempfile.mkdtemp(prefix="sensijax-ray-", dir=short)
        try:
            with warnings.catch_warnings():
                # Ray forks, and starts a program at once: the threads that JAX has are no danger to that.
                warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
                package.init(
                    address="local",
                    num_cpus=self.workers,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                    object_store_memory=STORE_BYTES + 2 * size,
                    _temp_dir=folder,
                )
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise ArgumentError(
                "address", f"'local', and Ray does not start: {_first_line(error)}", "a machine that Ray runs on"
            ) from error

        def stop() -> None:
            package.shutdown()
            shutil.rmtree(folder, ignore_errors=True)

        return stop

    # --- workers -----------------------------------------------------------------------------------------------------

    def _engaged(self, job: Job, let_go: Callable[[], None]) -> RayCrew:
        import ray as package

        there = package.cluster_resources()
        accelerator = self._accelerator(there)
        most = int(there.get(accelerator or "CPU", 0)) // (self.devices if accelerator else 1)
        workers = most if self.workers is None else self.workers
        if not 1 <= workers <= most:
            kind = accelerator or "CPU"
            came = f"{workers}, and the cluster has {there.get(kind, 0):g} {kind}"
            raise ArgumentError("workers", came, f"1 to {most}: one for each" if most else "a cluster with some")
        demand: dict[str, Any] = {"num_cpus": 1, "scheduling_strategy": "SPREAD", "max_restarts": 0}
        if accelerator == "GPU":
            demand["num_gpus"] = self.devices
        elif accelerator is not None:
            demand["resources"] = {accelerator: self.devices}
        given = dict(self.runtime_env)
        given["env_vars"] = {**_variables(accelerator), **given.get("env_vars", {})}
        hand = package.remote(Hand).options(runtime_env=given, **demand)
        settings = Settings(
            {name: value for name, value in jax.config.values.items() if name in CONFIGURATION},
            None if accelerator else self._cores(workers, there),
        )
        location = job.store.location if job.store.is_remote else os.path.abspath(job.store.folder)
        try:
            parcel = pack(fields_of(job.campaign))
        except Exception as error:
            raise ArgumentError(
                "campaign",
                f"what cannot be sent to other processes: {type(error).__name__}: {_first_line(error)}",
                "a model, data and stages that can be pickled (no locks, open files, or generators in a closure)",
            ) from error
        sent = package.put(parcel)
        return RayCrew(
            job,
            engaged=hand.remote,
            enlisted=lambda actor, token: actor.enlist.remote(sent, location, token, settings),
            workers=workers,
            accelerated=accelerator,
            let_go=let_go,
        )

    def _cores(self, workers: int, there: Mapping[str, float]) -> int:
        """Of one worker: its share of this machine's, or of the cluster's."""
        ours = os.cpu_count() if self.address == "local" else None
        return max(1, (ours or int(there["CPU"])) // workers)

    def _accelerator(self, there: Mapping[str, float]) -> str | None:
        if self.accelerators is None:
            return next((name for name in ACCELERATORS if there.get(name)), None)
        if self.accelerators.upper() == "CPU":
            return None
        known = [name for name in there if name.lower() == self.accelerators.lower()]
        if not known:
            kinds = ", ".join(name for name in ACCELERATORS if there.get(name)) or "none"
            raise ArgumentError(
                "accelerators",
                repr(self.accelerators),
                f"what the cluster's nodes say they have: {kinds} (`ray status`)",
            )
        return known[0]


def ray(
    address: str = "local",
    workers: int | None = None,
    *,
    accelerators: str | None = None,
    devices: int = 1,
    runtime_env: Mapping[str, Any] | None = None,
) -> Placement:
    """Ray workers: one process for each accelerator, which compiles once and keeps its programs.

    The campaign travels to them with all that is not installed: lambdas, modules beside a spec, classes of a script.
    They write into the store themselves, so that it has to be a folder which all nodes share, or a bucket. A worker
    that dies is replaced; a tile that fails three times, or three times takes its worker down, is left out and recorded
    in `failures.jsonl`. Whatever dies, this process included, what is finished stays, and the next run goes on.

    Args:
      address: "local" starts Ray on this machine for this run alone; "auto" finds a cluster that runs here;
        "HOST:PORT" is a cluster that this machine belongs to; "ray://HOST:PORT" one that it does not. A process that is
        connected to Ray already stays so.
      workers: how many; unless given, one for each accelerator of the cluster, or, where it has none, for each of its
        CPUs: XLA in such a worker uses its share of them.
      accelerators: "GPU", "TPU" or another resource that the nodes have; "CPU" for none. Unless given, GPUs, else TPUs,
        else CPUs. A worker whose JAX does not see what it was promised is refused.
      devices: accelerators for each worker; the rows of a micro-batch are sharded over them.
      runtime_env: Ray's description of what workers need beside it (`pip`, `env_vars`, ...).

    Returns:
      What `run(..., on=)` takes.

    Raises:
      ArgumentError: if `workers` or `devices` is less than one. The run raises it where the cluster cannot be reached,
        does not have what is asked for, or has nodes that would compute something else.

    Example:
      >>> ray("local", workers=2)
      OnRay(address='local', workers=2, accelerators=None, devices=1, runtime_env={})
    """
    for name, value in (("workers", workers), ("devices", devices)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ArgumentError(name, repr(value), "at least one")
    if not isinstance(address, str) or not address:
        raise ArgumentError("address", repr(address), '"local", "auto", "HOST:PORT" or "ray://HOST:PORT"')
    return OnRay(address, workers, accelerators, devices, dict(runtime_env or {}))


def _package() -> Any:
    try:
        import ray as package
    except ImportError:
        raise MissingExtraError("ray", "ray", "running on Ray") from None
    return package


def _knock(address: str) -> None:
    """Finds out whether anybody listens: Ray itself would try for a minute, and then end the process."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ArgumentError("address", repr(address), '"local", "auto", "HOST:PORT" or "ray://HOST:PORT"')
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ArgumentError(
            "address",
            f"{address!r}, where nobody answers ({error})",
            "the address that `ray start --head` printed there; is the cluster up, and the port open?",
        ) from error


def _variables(accelerator: str | None) -> dict[str, str]:
    """What decides how XLA works, as it is here."""
    passed = {k: v for k, v in os.environ.items() if k.startswith(("JAX_", "XLA_", "LIBTPU_")) and k not in OWN}
    return {**passed, "JAX_PLATFORMS": "" if accelerator else "cpu"}


def _size(campaign: Campaign) -> int:
    """Bytes of a campaign's arrays, about."""
    leaves = [campaign.data.x, campaign.data.y, campaign.data.ids, *jax.tree.leaves(campaign.model.params)]
    return sum(getattr(leaf, "nbytes", 0) for leaf in leaves)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
