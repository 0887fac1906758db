"""Streaming: memory that does not know n, sums that keep their digits, blocks on several devices."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import sensitivity as s
from sensijax.sensitivity.indices._saltelli import SaltelliDesign
from sensijax.sensitivity.indices._stream import _plan, _program, add

GIGABYTE = 1 << 30


def test_sums_carry_what_rounding_takes():
    @jax.jit
    def total(count):
        zero = jnp.float32(0)
        return jax.lax.fori_loop(0, count, lambda i, s: add(*s, jnp.float32(0.1)), (zero, zero))

    hi, lo = map(np.float64, total(3_000_000))
    exact = 3_000_000 * np.float64(np.float32(0.1))
    assert abs(hi + lo - exact) < 1e-10 * exact
    plain = jax.lax.fori_loop(0, 3_000_000, lambda i, s: s + jnp.float32(0.1), jnp.float32(0))
    assert abs(float(plain) - exact) > 1e-3 * exact  # what it is for


@pytest.mark.parametrize("dimension", [8, 1000])
def test_four_million_points_fit_in_a_gigabyte(dimension):
    # The compiler's own account, of the program that `sobol` runs at n = 2^22: the number of chunks is data to it.
    points, n = s.ScrambledSobol(), 2**22
    space = s.Space({f"x{i}": s.Uniform(0.0, 1.0) for i in range(dimension)})
    design = SaltelliDesign(space.membership, False)
    chunk, at_once = _plan(n // points.blocks, design.rows, dimension, None)
    lowered = _program.lower(
        space.transform(),
        jnp.asarray(points.tables(design.draws)),
        jax.random.key(0),
        np.arange(points.blocks, dtype=np.uint32),
        np.int32(n // points.blocks // chunk),
        function=lambda x: jnp.sum(x * x),
        design=design,
        points=points,
        chunk=chunk,
        at_once=at_once,
        devices=(jax.devices()[0],),
    )
    memory = lowered.compile().memory_analysis()
    used = memory.temp_size_in_bytes + memory.output_size_in_bytes + memory.argument_size_in_bytes
    assert used < GIGABYTE / 16


def test_a_thousand_inputs_are_ranked():
    weight = np.zeros(1000, np.float32)
    weight[[3, 500, 999]] = 1, 2, 3

    result = s.sobol(
        lambda x: jnp.sum(jnp.asarray(weight) * x),
        {f"x{i}": s.Uniform(0.0, 1.0) for i in range(1000)},
        key=jax.random.key(0),
        n=64,
    )
    assert np.argsort(-result.ST)[:3].tolist() == [999, 500, 3]
    assert np.delete(result.ST, [3, 500, 999]).max() < 1e-9


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from sensijax import sensitivity as s
space = {"a": s.Uniform(0.0, 1.0), "b": s.Uniform(0.0, 1.0)}
f = lambda x: x[0] + 2 * x[1] * x[0]
alone, shared = (
    s.sobol(f, space, key=jax.random.key(0), n=2**12, devices=jax.devices()[:k]) for k in (1, 4)
)
assert len(jax.devices()) == 4
np.testing.assert_allclose(alone.S1, shared.S1, atol=1e-6)
np.testing.assert_allclose(alone.ST_interval, shared.ST_interval, atol=1e-6)
"""


@pytest.mark.slow
def test_blocks_are_shared_among_devices():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"},
        cwd=pathlib.Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
