"""Strict JAX and a persistent compile cache for every test."""

import os
import pathlib
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

_CACHE = pathlib.Path(
    os.environ.get("SENSIJAX_TEST_CACHE", pathlib.Path(tempfile.gettempdir()) / "sensijax-test-cache")
)
jax.config.update("jax_compilation_cache_dir", str(_CACHE / jax.__version__))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def pytest_collection_modifyitems(items):
    """The slow tests come last: what breaks quickly is seen quickly."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
