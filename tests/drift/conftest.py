"""Where what is tested is mathematics and computing takes no time, programs are compiled quickly."""

import jax
import pytest

QUICKLY = ("test_detect_batch", "test_doctests", "test_simulate_mathematics")


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly(request):
    """Without a compiler's costly passes.

    The other files keep them: they compare bits between streams, groups and windows, or compute long.
    """
    jax.config.update("jax_disable_most_optimizations", request.path.stem in QUICKLY)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
