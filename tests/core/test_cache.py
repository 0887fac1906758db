"""The compile cache: one that a user configured stays, in this process and in those that it starts."""

import os
import pathlib

import jax
import pytest

from sensijax.core import enable_compile_cache

NAMES = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


def configured():
    return [jax.config.values[name] for name in NAMES]


@pytest.fixture
def unset():
    """No folder and JAX's own threshold, until the test has ended."""
    before = configured()
    for name, value in zip(NAMES, (None, 1.0), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in zip(NAMES, before, strict=True):
        jax.config.update(name, value)


def test_a_configured_cache_stays_and_processes_that_are_started_have_it(tmp_path):
    before = configured()
    enable_compile_cache(tmp_path)
    assert configured() == before == [os.environ["JAX_COMPILATION_CACHE_DIR"], 0.0]


def test_the_folder_is_in_the_users_cache_unless_given(unset, tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    enable_compile_cache()
    assert pathlib.Path(configured()[0]) == tmp_path / "sensijax" / "xla" and configured()[1] == 0.1
    jax.config.update("jax_compilation_cache_dir", None)
    enable_compile_cache(tmp_path / "here")
    assert pathlib.Path(configured()[0]) == tmp_path / "here"


def test_a_threshold_in_the_environment_stays(unset, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1.0")
    enable_compile_cache(tmp_path)
    assert configured() == [str(tmp_path), 1.0]
