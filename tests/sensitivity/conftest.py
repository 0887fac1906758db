"""Where what is tested is mathematics and computing takes no time, programs are compiled quickly."""

import jax
import pytest

QUICKLY = ("test_campaign_response", "test_components", "test_doctests")


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly(request):
    """Without a compiler's costly passes.

    The other files keep them: they compute long, compare bits, or may train the demonstration's model, which is shared
    and has to be the one that users have.
    """
    jax.config.update("jax_disable_most_optimizations", request.path.stem in QUICKLY)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
