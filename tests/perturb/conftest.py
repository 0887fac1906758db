"""Where what is tested is mathematics, programs are compiled quickly; the laws are tested on what users run."""

import jax
import pytest

OPTIMISED = ("test_codecs", "test_compose", "test_golden", "test_laws", "test_noise", "test_scene")


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly(request):
    """Without a compiler's costly passes, which halves the time of these files."""
    jax.config.update("jax_disable_most_optimizations", request.path.stem not in OPTIMISED)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
