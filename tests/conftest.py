"""Strict JAX for every test; compiled programs and the demonstration's model are shared, not in the user's cache."""

import gc
import importlib.metadata
import os
import pathlib
import re
import tempfile

# In the environment, before JAX is imported, so that the processes which tests start share it.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("SENSIJAX_TEST_CACHE", f"{tempfile.gettempdir()}/sensijax-test-cache")
os.environ["SENSIJAX_TEST_CACHE"] = os.path.abspath(os.environ["SENSIJAX_TEST_CACHE"])
os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{os.environ['SENSIJAX_TEST_CACHE']}/{importlib.metadata.version('jax')}"
# However small: what a test has compiled, the other process, the processes that tests start, and every later jit of the
# same code read back in a tenth of the time.
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# The demonstration's model lies here, once it is trained.
os.environ["XDG_CACHE_HOME"] = f"{os.environ['SENSIJAX_TEST_CACHE']}/home"

import jax
import pytest
from xdist.scheduler import LoadScopeScheduling

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Again for this process, where a plugin has imported JAX already.
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

CROWDED = 3 << 30  # bytes


@pytest.fixture(scope="module", autouse=True)
def programs_do_not_pile_up():
    """A process that has grown large forgets its compiled programs after a file: two of them share one machine."""
    yield
    statm = pathlib.Path("/proc/self/statm")
    if statm.exists() and int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > CROWDED:
        jax.clear_caches()
        gc.collect()


# The first of the slow tests, longest first: one that began last would be awaited by an idle process.
LONGEST = ("test_twenty_kills", "test_the_demonstration_runs", "test_the_whole_ensemble", "test_whole_batches")


def pytest_collection_modifyitems(items):
    """The slow tests come last: what breaks quickly is seen quickly."""

    def place(item):
        if item.get_closest_marker("slow") is None:
            return -1
        return next((i for i, name in enumerate(LONGEST) if item.name.startswith(name)), len(LONGEST))

    items.sort(key=place)


# These share nothing within a file, or take long while the rest of it does not.
ALONE = re.compile(
    r"test_(examples|kill|process|readme)\.py::|test_autoattack\.py::test_(the_whole_ensemble|whole_batches)"
)


class OneProcessForOneFixture(LoadScopeScheduling):
    """A file goes to one process; in the file of laws, all that is asked of one operation does; some tests go alone."""

    def _split_scope(self, nodeid):
        if ALONE.search(nodeid):
            return nodeid
        file, _, test = nodeid.partition("::")
        operation = re.search(r"\[([A-Z]\w*)", test) if file.endswith("test_laws.py") else None
        return f"{file}::{operation[1]}" if operation else file


def pytest_xdist_make_scheduler(config, log):
    return OneProcessForOneFixture(config, log)
