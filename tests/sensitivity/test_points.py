"""Points: Sobol's numbers, nets that scrambling keeps nets, uniformity, and addresses."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.stats import qmc

from sensijax import sensitivity as s
from sensijax.core import ArgumentError
from sensijax.sensitivity.indices._points import direction_numbers, mix

N, D, KEYS = 256, 6, 200


@pytest.fixture(scope="module")
def many():
    """Points of KEYS independent scrambles, and of as many random blocks: [2, KEYS, N, D]."""

    def draw(points):
        table = jnp.asarray(points.tables(D))

        def one(block):
            seeds = points.seeds(jax.random.key(5), block, D)
            return points.run(table, seeds, points.aligned(table, N), jnp.uint32(0), jnp.float32).T

        return np.asarray(jax.jit(jax.vmap(one))(jnp.arange(KEYS, dtype=jnp.uint32)))

    return draw(s.ScrambledSobol()), draw(s.Random())


def test_direction_numbers_are_joe_and_kuos():
    # SciPy holds their table; its points come in Gray-code order.
    n, dimensions = 1 << 13, 1200
    expected = np.round(qmc.Sobol(dimensions, scramble=False, bits=32).random(n) * 2.0**32).astype(np.uint32)
    gray = np.arange(n) ^ (np.arange(n) >> 1)
    came = np.zeros((n, dimensions), np.uint32)
    for k, column in enumerate(direction_numbers(dimensions).T[:13]):
        came ^= np.where((gray >> k & 1)[:, None] == 1, column, np.uint32(0))
    assert np.array_equal(came, expected)
    # And far beyond the first numbers, from which the others are computed.
    engine = qmc.Sobol(40, scramble=False, bits=32).fast_forward((1 << 20) - 1)
    assert np.array_equal(np.round(engine.random(1)[0] * 2.0**32).astype(np.uint32), direction_numbers(40)[:, 19])


def test_a_scramble_keeps_the_net(many):
    sobol = many[0][:20]
    # Every dimension: one point in each of N equal intervals.
    assert np.array_equal(np.sort((sobol * N).astype(int), axis=1), np.broadcast_to(np.arange(N)[:, None], sobol.shape))
    # The first two dimensions: one point in every elementary interval of volume 1 / N.
    for a in range(9):
        cell = (sobol[..., 0] * (1 << a)).astype(int) * (N >> a) + (sobol[..., 1] * (N >> a)).astype(int)
        assert all(len(set(row)) == N for row in cell.tolist())


def test_points_are_uniform_and_scrambles_independent(many):
    for points in many:
        assert 0 < points.min() and points.max() < 1
        # Any one point over scrambles: 6 points, 6 dimensions; each at a rate of 1e-4.
        for index in (0, 1, 2, 100, 200, 255):
            assert min(stats.kstest(points[:, index, d], "uniform").pvalue for d in range(D)) > 1e-4
        correlation = np.corrcoef(points[:, 7].T) - np.eye(D)
        assert np.abs(correlation).max() < 4.5 / np.sqrt(KEYS)


def test_scrambling_is_as_good_as_scipys_and_far_better_than_random(many):
    def spread(x):  # of the mean of a smooth function with interactions, over scrambles
        return np.prod(1 + (x - 0.5) / np.arange(1, D + 1), axis=-1).mean(axis=-1).std()

    scipys = np.stack([qmc.Sobol(D, rng=i).random(N) for i in range(KEYS)])
    ours, theirs, random = spread(many[0]), spread(scipys), spread(many[1])
    assert ours < 1.4 * theirs and theirs < 1.4 * ours
    assert 20 * ours < random
    exact = np.sqrt(np.expm1(np.log1p(1 / (12 * np.arange(1, D + 1) ** 2)).sum()) / N)
    assert abs(random / exact - 1) < 4 / np.sqrt(2 * KEYS)


@pytest.mark.parametrize("points", [s.ScrambledSobol(), s.Random()])
def test_a_point_is_a_function_of_its_address(points):
    key, wide = jax.random.key(1), points.tables(8)

    @partial(jax.jit, static_argnums=(0, 2))
    def run(dimensions, start, size):
        table = jnp.asarray(wide[:, :dimensions])
        seeds = points.seeds(key, jnp.uint32(3), dimensions)
        return points.run(table, seeds, points.aligned(table, size), start, jnp.float32)

    whole = run(8, 0, 64)
    assert np.array_equal(run(8, 32, 16), whole[:, 32:48])
    assert np.array_equal(run(5, 0, 64), whole[:5])


def test_the_hash_is_a_bijection_of_any_counter():
    x = jnp.arange(1 << 16, dtype=jnp.uint32) * jnp.uint32(65537)
    assert len(np.unique(np.asarray(mix(x)))) == 1 << 16


@pytest.mark.parametrize("make", [lambda: s.ScrambledSobol(3), lambda: s.ScrambledSobol(2), lambda: s.Random(0)])
def test_blocks_are_a_power_of_two(make):
    with pytest.raises(ArgumentError, match="power of two"):
        make()


def test_too_many_dimensions_are_refused():
    with pytest.raises(ArgumentError, match="21201"):
        direction_numbers(30_000)
