"""Strict JAX and a persistent compile cache for every test."""

import gc
import os
import pathlib
import re
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from xdist.scheduler import LoadScopeScheduling

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

_CACHE = pathlib.Path(
    os.environ.get("SENSIJAX_TEST_CACHE", pathlib.Path(tempfile.gettempdir()) / "sensijax-test-cache")
)
jax.config.update("jax_compilation_cache_dir", str(_CACHE / jax.__version__))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


CROWDED = 3 << 30  # bytes


@pytest.fixture(scope="module", autouse=True)
def programs_do_not_pile_up():
    """A process that has grown large forgets its compiled programs after a file: two of them share one machine."""
    yield
    statm = pathlib.Path("/proc/self/statm")
    if statm.exists() and int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > CROWDED:
        jax.clear_caches()
        gc.collect()


def pytest_collection_modifyitems(items):
    """The slow tests come last: what breaks quickly is seen quickly."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


ALONE = ("test_examples.py", "test_kill.py", "test_process.py", "test_readme.py")  # these share nothing within a file


class OneProcessForOneFixture(LoadScopeScheduling):
    """A file goes to one process; in the file of laws, all that is asked of one operation does; some tests go alone."""

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        if file.endswith(ALONE):
            return nodeid
        operation = re.search(r"\[([A-Z]\w*)", test) if file.endswith("test_laws.py") else None
        return f"{file}::{operation[1]}" if operation else file


def pytest_xdist_make_scheduler(config, log):
    return OneProcessForOneFixture(config, log)
