"""Where and with what something was measured: device, versions, commit, load; and the memory of a process."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax

import sensijax as sj

ROOT = pathlib.Path(__file__).resolve().parent.parent


def facts() -> dict[str, Any]:
    """What a file of results begins with, of this moment and this machine."""
    device = jax.devices()[0]
    return {
        "sensijax": sj.__version__,
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "python": platform.python_version(),
        "device": device.device_kind,
        "platform": device.platform,
        "processor": processor(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def commit() -> dict[str, Any]:
    """The commit of the code that is measured, and whether files that git knows differ from it.

    Returns:
      `commit` and `dirty`; both None where this is no checkout.
    """
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git(
            "status", "--porcelain", "--untracked-files=no", "--", "sensijax", "kernels", "bench", ":!bench/results"
        )
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": head, "dirty": bool(changed)}


def processor() -> str:
    """The processor's name."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def peak_mib() -> float | None:
    """The most memory this process has had, MiB; None where the system does not say.

    (`getrusage` would begin with the memory of the parent.)
    """
    status = pathlib.Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return round(found[0], 1) if found else None


def device_peak_mib() -> float | None:
    """The most memory that was in use on the device, MiB; None for a device that keeps no count, as CPUs do not."""
    found = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return None if found is None else round(found / 2**20, 1)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()
