"""Strict JAX and a persistent compile cache for every test."""

import os
import pathlib
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

_CACHE = pathlib.Path(
    os.environ.get("SENSIJAX_TEST_CACHE", pathlib.Path(tempfile.gettempdir()) / "sensijax-test-cache")
)
jax.config.update("jax_compilation_cache_dir", str(_CACHE / jax.__version__))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The slow tests come last: what breaks quickly is seen quickly.

    What shares a fixture goes to one process: a file, or in a file of laws all that is asked of one operation.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        kinds = [p.__name__ for p in parameters if isinstance(p, type)]
        item.add_marker(pytest.mark.xdist_group("-".join([item.path.name, *kinds])))
