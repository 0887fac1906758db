"""The micro-batch: chosen by measuring and remembered, so that the same work has the same shapes, and bits, again."""

import contextlib
import json
import logging
import os
import pathlib
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._engine import Engine, is_out_of_memory
from sensijax.campaign._environment import environment
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._programs import Programs
from sensijax.campaign._store import Store
from sensijax.core import cache_folder, digest

log = logging.getLogger(__name__)

CANDIDATES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
NEAR = 0.95  # the smallest micro-batch within 5 % of the best: less memory, less padding
REPEATS = 5
MEMORY_SHARE = 0.25  # of the device's memory: two tiles are in flight, and XLA under-reports on CPUs


class Tuning:
    """Remembers micro-batches: in the campaign's folder, and for this user across folders.

    Each has a file of its own, `tuning/ADDRESS.json`, in both places.

    Args:
      campaign: whose model is timed.
      programs: its programs.
      environment: the id of the environment; another machine measures for itself.
      store: the campaign's folder, if there is one.
    """

    def __init__(self, campaign: Campaign, programs: Programs, environment: str, store: Store | None):
        self.campaign, self.programs, self.store = campaign, programs, store
        self.address = digest(environment, programs.digest("forward"), campaign.model.digest)

    def micro_batch(self) -> int:
        """The micro-batch: the folder's, else the user's, else measured now and remembered in both."""
        return self._keep(self._known() or self._measure())["micro_batch"]

    def halve(self, micro_batch: int) -> int:
        """Half of a micro-batch that did not fit into memory, remembered for the next run."""
        entry = {"micro_batch": micro_batch // 2}
        for file in self._files:
            _write_whole(file, entry)
        return entry["micro_batch"]

    @property
    def _files(self) -> list[pathlib.Path]:
        folders = ([self.store.folder] if self.store is not None else []) + [cache_folder()]
        return [folder / "tuning" / f"{self.address}.json" for folder in folders]

    def _known(self) -> dict[str, int] | None:
        for file in self._files:
            with contextlib.suppress(OSError, ValueError):  # a cache: nothing is lost without it
                return json.loads(file.read_text())
        return None

    def _keep(self, entry: dict[str, int]) -> dict[str, int]:
        # Two runs that start at once must agree, or their tiles would differ in the last bit: the first to write
        # decides.
        for file in reversed(self._files):
            entry = _write_first(file, entry)
        return entry

    def _measure(self) -> dict[str, int]:
        examples, params = self.campaign.examples, jax.tree.map(jnp.asarray, self.campaign.model.params)
        budget = _device_memory() * MEMORY_SHARE
        most = 4 * len(examples) * len(self.campaign.seeds)  # type: ignore[arg-type]  # wider would be padding
        rates: dict[int, float] = {}
        for width in CANDIDATES:
            program = self.programs.lower("forward", width, width).compile()
            if rates and _footprint(program) > budget:
                break
            x = jnp.asarray(examples.x[np.arange(width) % len(examples)])
            try:
                rates[width] = width / _best_time(lambda program=program, x=x: program(params, x))
            except jax.errors.JaxRuntimeError as error:
                if rates and is_out_of_memory(error):
                    break
                raise
            if rates[width] < 0.8 * max(rates.values()) or width >= most:
                break
        best = max(rates.values())
        chosen = min(width for width, rate in rates.items() if rate >= NEAR * best)
        log.info(
            "micro-batch %d (%.0f rows/s; measured %s)", chosen, rates[chosen], {w: round(r) for w, r in rates.items()}
        )
        return {"micro_batch": chosen}


def estimate_seconds(campaign: Campaign, plan: Plan) -> float:
    """About how long the sweep of a campaign takes on this device: a sample of its tiles is timed.

    Args:
      campaign: the campaign.
      plan: its plan.

    Returns:
      Seconds, without compilation: one micro-batch of each kind of tile is run, and scaled up.
    """
    programs = Programs(campaign)
    width = Tuning(campaign, programs, environment()["id"], None).micro_batch()
    engine = Engine(campaign, plan, programs, width)
    rows: dict[tuple, int] = {}
    sample: dict[tuple, Tile] = {}
    for tile in plan.tiles:
        rows[tile.structures] = rows.get(tile.structures, 0) + tile.rows
        sample.setdefault(tile.structures, tile)
    engine.compile(plan.structures)
    # A pair costs what its members cost, once the model is taken off: only single stages are timed.
    seconds = {
        s: _best_time(lambda tile=tile: engine.row(tile, 0)) / width for s, tile in sample.items() if len(s) <= 1
    }
    base = seconds.get((), 0.0)
    return sum(
        n * (base + sum(seconds.get((one,), base) - base for one in structures)) for structures, n in rows.items()
    )


def _write_first(file: pathlib.Path, entry: dict[str, int]) -> dict[str, int]:
    """Writes a file unless it is there already; returns what it holds in the end."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".tmp-") as temporary:
            json.dump(entry, temporary)
            temporary.flush()
            os.fsync(temporary.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(temporary.name, file)
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        log.warning("cannot remember the micro-batch in %s: %s", file, error)
        return entry


def _write_whole(file: pathlib.Path, entry: dict[str, int]) -> None:
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    _write_first(file, entry)


def _best_time(call: Any) -> float:
    jax.block_until_ready(call())
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - started)
        if sum(times) > 1.0:
            break
    return min(times)


def _footprint(program: Any) -> int:
    analysis = program.memory_analysis()
    if analysis is None:
        return 0
    return analysis.argument_size_in_bytes + analysis.output_size_in_bytes + analysis.temp_size_in_bytes


def _device_memory() -> float:
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
