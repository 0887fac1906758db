"""Where sensijax keeps what can be computed again: compiled programs, micro-batches, the demo's model."""

import os
import pathlib

import jax


def cache_folder() -> pathlib.Path:
    """`$XDG_CACHE_HOME/sensijax`, or `~/.cache/sensijax`; deleting it loses nothing but time."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "sensijax"


def enable_compile_cache(folder: str | os.PathLike | None = None) -> None:
    """Keeps compiled programs on disk, so that the next process need not compile them again.

    The command line calls this; from Python it is yours to call, because it changes JAX's configuration. A cache that
    was configured before, with JAX's configuration or its environment variables, is left as it is. Whoever can write
    the folder can run code as you: keep it your own.

    Args:
      folder: where; `cache_folder() / "xla"` unless given.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(folder or cache_folder() / "xla"))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
