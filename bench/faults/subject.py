"""The campaign that is struck: small, but run by `sensijax.run` with all that belongs to it."""

import importlib.util
import logging
import os
import pathlib
import sys

import jax
import numpy as np

import sensijax as sj
from bench.faults.ledger import Ledger
from sensijax.campaign import _plan
from sensijax.campaign.store._store import Store

EXAMPLES, SIDE, CLASSES, SEEDS = 24, 6, 3, 2
TILE_ROWS = 48  # small tiles, so that there are many: a scenario's two seeds each
SETTINGS = np.linspace(0, 1, 17)

STAGE = '''"""A user's perturbation."""

import jax
import jax.numpy as jnp

from sensijax.perturb import Perturbation


class Grain(Perturbation):
    """Noise of the user's own making."""

    amount: jax.Array

    def is_identity(self):
        return self.amount == 0

    def apply(self, key, x):
        return jnp.clip(x + {factor} * self.amount * jax.random.normal(key, x.shape), 0, 1)


class Shade(Perturbation):
    """Darker, evenly."""

    amount: jax.Array

    def is_identity(self):
        return self.amount == 0

    def apply(self, key, x):
        return x * (1 - 0.9 * self.amount)
'''


def write_module(path: pathlib.Path, factor: float) -> None:
    """Writes the user's module; another factor is an edit of its code."""
    path.write_text(STAGE.format(factor=factor))


def campaign(module: pathlib.Path) -> sj.Campaign:
    """The campaign, with the stages of a module as it is now."""
    _plan.TILE_ROWS = TILE_ROWS
    spec = importlib.util.spec_from_file_location("users_stages", module)
    assert spec is not None and spec.loader is not None
    stages = importlib.util.module_from_spec(spec)
    sys.modules["users_stages"] = stages
    spec.loader.exec_module(stages)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (EXAMPLES, SIDE, SIDE, 1)).astype(np.float32)
    weights = rng.normal(size=(SIDE * SIDE, CLASSES)).astype(np.float32)
    model = sj.Model(lambda w, x: x.reshape(len(x), -1) @ w, weights, name="random")
    data = sj.Dataset(x, np.arange(EXAMPLES) % CLASSES, name="noise")
    sweeps = {
        "grain": sj.sweep(stages.Grain, amount=SETTINGS.astype(np.float32)),
        "shade": sj.sweep(stages.Shade, amount=SETTINGS.astype(np.float32)),
    }
    return sj.Campaign(model, data, sweeps, seeds=SEEDS, name="struck")


def run(folder: pathlib.Path, module: pathlib.Path, programs: pathlib.Path, ledger: Ledger) -> None:
    """One run, with a ledger of what it hands to the store and what the store acknowledges."""
    # Compiled programs are kept: faults strike runs, not a compiler.
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # The micro-batch is measured by the first run of all, and remembered there for the others, as for a user.
    os.environ["XDG_CACHE_HOME"] = str(programs.parent / "cache")
    commit = Store.commit

    def watched(self: Store, tile: str, *args):
        ledger.write("handed", tile)
        path = commit(self, tile, *args)
        ledger.write("acknowledged", tile)
        return path

    Store.commit = watched  # type: ignore[method-assign] # in this forked process
    told = _Told()
    logging.getLogger("sensijax").addHandler(told)
    logging.getLogger("sensijax").setLevel(logging.WARNING)
    results = sj.run(campaign(module), folder)
    ledger.write("told", told.lines)
    ledger.write("ranking", results.ranking().to_json(double_precision=15))


class _Told(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
