"""What compilation took: JAX's own account of it, and the memory of the programs that are loaded."""

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"  # a program that comes from the cache counts with its reading
HIT = "/jax/compilation_cache/cache_hits"


class Compilations:
    """Counts compilations from when it is made, for as long as the process lives.

    Attributes:
      seconds: in XLA, or reading its cache; of programs compiled side by side, all of them.
      programs: how many.
      hits: how many of these were in the persistent cache.
    """

    def __init__(self) -> None:
        self.seconds, self.programs, self.hits = 0.0, 0, 0
        jax.monitoring.register_event_duration_secs_listener(self._passed)
        jax.monitoring.register_event_listener(self._happened)

    def _passed(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == COMPILED:
            self.seconds += duration_secs
            self.programs += 1

    def _happened(self, event: str, **kwargs: str | int) -> None:
        self.hits += event == HIT


def largest_program_mib() -> float | None:
    """The memory of the largest loaded program by the compiler's account, MiB: arguments, results and temporaries."""
    most = 0
    for program in jax.devices()[0].client.live_executables():
        found = program.get_compiled_memory_stats()
        most = max(most, found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes)
    return round(most / 2**20, 2) if most else None


def account(program: jax.stages.Compiled) -> tuple[float | None, float | None]:
    """Operations and bytes moved of one run of a program, by the compiler's account; None where it keeps none."""
    found = program.cost_analysis() or {}
    return found.get("flops"), found.get("bytes accessed")
