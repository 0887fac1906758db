"""The micro-batch: chosen by measuring, remembered, so that the same work has the same shapes (and the same bits) again."""

import json
import logging
import os
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.campaign._campaign import Campaign
from sensijax.campaign._programs import Programs
from sensijax.campaign._engine import Engine, is_out_of_memory
from sensijax.campaign._environment import environment
from sensijax.campaign._plan import Plan, Tile
from sensijax.campaign._store import Store
from sensijax.core import cache_folder, digest

log = logging.getLogger(__name__)

CANDIDATES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
NEAR = 0.95  # the smallest micro-batch within 5 % of the best: less memory, less padding
REPEATS = 5
MEMORY_SHARE = 0.25  # of the device's memory: two tiles are in flight, and XLA under-reports on CPUs


class Tuning:
    """Remembers micro-batches: in the campaign's folder, and for this user across folders.

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
        known = self._folder().get(self.address) or self._user().get(self.address)
        return self.remember(int(known["micro_batch"]) if known else self._measure())

    def known_seconds_per_row(self) -> float | None:
        """Seconds that the model took for one row when it was measured, if it was."""
        known = self._user().get(self.address) or self._folder().get(self.address)
        return known.get("seconds_per_row") if known else None

    def remember(self, micro_batch: int) -> int:
        """Keeps a micro-batch for the next run (after an out-of-memory error: the one that fitted)."""
        entry = {"micro_batch": micro_batch, "seconds_per_row": getattr(self, "_seconds_per_row", None) or self.known_seconds_per_row()}
        if self.store is not None and self._folder().get(self.address) != entry:
            self.store.write_json("tuning.json", {**self._folder(), self.address: entry})
        if self._user().get(self.address) != entry:
            self._write_user({**self._user(), self.address: entry})
        return micro_batch

    def _measure(self) -> int:
        examples, params = self.campaign.examples, jax.tree.map(jnp.asarray, self.campaign.model.params)
        budget = _device_memory() * MEMORY_SHARE
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
            if rates[width] < 0.8 * max(rates.values()) or width >= 4 * len(examples) * max(1, len(self.campaign.seeds)):  # type: ignore[arg-type]
                break
        best = max(rates.values())
        chosen = min(width for width, rate in rates.items() if rate >= NEAR * best)
        self._seconds_per_row = 1 / rates[chosen]
        log.info("micro-batch %d (%.0f rows/s; measured %s)", chosen, rates[chosen], {w: round(r) for w, r in rates.items()})
        return chosen

    def _folder(self) -> dict[str, Any]:
        return (self.store.read_json("tuning.json") if self.store is not None else None) or {}

    @staticmethod
    def _user() -> dict[str, Any]:
        try:
            return json.loads((cache_folder() / "tuning.json").read_text())
        except (OSError, ValueError):
            return {}  # a cache: nothing is lost without it

    @staticmethod
    def _write_user(content: dict[str, Any]) -> None:
        try:
            cache_folder().mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=cache_folder(), delete=False) as file:
                json.dump(content, file)
            os.replace(file.name, cache_folder() / "tuning.json")
        except OSError as error:
            log.warning("cannot remember the micro-batch in %s: %s", cache_folder(), error)


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
    seconds = {s: _best_time(lambda tile=tile: engine.row(tile, 0)) / width for s, tile in sample.items() if len(s) <= 1}
    base = seconds.get((), 0.0)
    return sum(n * (base + sum(seconds.get((one,), base) - base for one in structures)) for structures, n in rows.items())


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
