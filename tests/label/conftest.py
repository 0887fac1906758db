"""Where what is tested is mathematics, programs are compiled quickly."""

import jax
import pytest

OPTIMISED = ("test_noise_batches",)


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly(request):
    """Without a compiler's costly passes; with them where bits are compared between batches of different sizes."""
    jax.config.update("jax_disable_most_optimizations", request.path.stem not in OPTIMISED)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
