"""The draws behave as their laws say: exactly where all values can be listed, else by tests with a stated error rate.

Each statistical check rejects a perfect generator with probability ALPHA, one in ten thousand (the seed is fixed), so
that all of them together do with less than one in a hundred.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sensijax_kernels import random
from sensijax_kernels.random import reference

ALPHA = 1e-4
KEYS, DRAWS = 256, 3072


def folded():
    root = jax.random.fold_in(jax.random.key(11), 3)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(jnp.arange(KEYS, dtype=jnp.uint32))
    return jax.vmap(jax.random.key_data)(keys)


def counted(word):
    keys = np.zeros((KEYS, 2), np.uint32)
    keys[:, word] = np.arange(KEYS)
    return jnp.asarray(keys)


FAMILIES = {"folded": folded, "low word counts": lambda: counted(1), "high word counts": lambda: counted(0)}


@pytest.fixture(scope="module", params=FAMILIES)
def words(request):
    """uint32 `[KEYS, DRAWS]`: the words of 256 keys that differ by one count."""
    return np.asarray(_bits(FAMILIES[request.param]()))


@jax.jit
def _bits(keys):
    return jax.vmap(lambda key: random.bits(key, (DRAWS,)))(keys)


def uniforms(words):
    return (words + 0.5) / 2.0**32


def accept(p):
    assert p > ALPHA, f"p = {p:.2g}"


def test_each_bit_is_balanced(words):
    n = words.size
    ones = np.array([np.count_nonzero(words & np.uint32(1 << b)) for b in range(32)])
    accept(stats.chi2.sf((((ones - n / 2) ** 2) / (n / 4)).sum(), 32))


def test_bytes_are_equally_frequent(words):
    for column in words.view(np.uint8).reshape(-1, 4).T:
        accept(4 * stats.chisquare(np.bincount(column, minlength=256)).pvalue)


def test_pairs_of_successive_words_fill_the_square(words):
    for shift in (26, 0):  # upper bits and lower bits
        cells = (words >> np.uint32(shift)) & np.uint32(63)
        pairs = cells[:, 0::2].astype(np.int64) * 64 + cells[:, 1::2]
        accept(2 * stats.chisquare(np.bincount(pairs.ravel(), minlength=4096)).pvalue)


def test_no_serial_correlation(words):
    u = (uniforms(words) - 0.5) * np.sqrt(12)
    lags = (1, 2, 3, 4, 32, 96, 1024)
    for lag in lags:
        product = u[:, :-lag] * u[:, lag:]
        accept(len(lags) * 2 * stats.norm.sf(abs(product.sum()) / np.sqrt(product.size)))


def test_no_correlation_between_keys(words):
    u = (uniforms(words) - 0.5) * np.sqrt(12)
    gram = (u @ u.T / np.sqrt(DRAWS))[np.triu_indices(KEYS, 1)]
    accept(2 * stats.norm.sf(abs(gram).max()) * gram.size)
    accept(2 * stats.norm.sf(abs((gram**2).mean() - 1) / np.sqrt(2 / gram.size)))


def test_neighbouring_keys_differ_in_half_of_the_bits(words):
    differing = np.bitwise_count(words[1:] ^ words[:-1]).astype(np.int64)
    n = differing.size
    accept(2 * stats.norm.sf(abs(differing.sum() - 16 * n) / np.sqrt(8 * n)))
    # and not only on average: the differing bits of a word are Binomial(32, 1/2)
    observed = np.bincount(differing.ravel(), minlength=33)
    expected = stats.binom.pmf(np.arange(33), 32, 0.5) * n
    few = expected < 10
    observed = np.r_[observed[~few], observed[few].sum()]
    accept(stats.chisquare(observed, np.r_[expected[~few], expected[few].sum()]).pvalue)


def test_birthday_spacings(words):
    # 4096 birthdays in a year of 2**32 days: repeated spacings are Poisson(m**3 / 4 n = 4) in each of the 192 years.
    years = np.sort(words.reshape(-1, 4096).astype(np.int64), axis=1)
    spacings = np.sort(np.diff(years, axis=1, append=years[:, :1] + 2**32), axis=1)
    repeated = int((np.diff(spacings, axis=1) == 0).sum())
    rate = 4096**3 / (4 * 2**32) * len(years)
    accept(2 * min(stats.poisson.sf(repeated - 1, rate), stats.poisson.cdf(repeated, rate)))


def test_words_do_repeat_as_chance_has_it(words):
    # A generator that permutes its positions never repeats a word; chance repeats n**2 / 2**33 of them.
    n = words.size
    repeats = n - len(np.unique(words))
    rate = n * (n - 1) / 2**33
    accept(2 * min(stats.poisson.sf(repeats - 1, rate), stats.poisson.cdf(repeats, rate)))


def test_avalanche():
    # Flipping any of the 64 bits of the key or the 32 bits of the position flips each output bit half of the time.
    samples = 4000
    given = np.random.default_rng(5).integers(0, 2**32, (samples, 3), dtype=np.uint32)
    given[: samples // 2, 2] %= DRAWS  # positions as they occur

    @jax.jit
    def flips(given):
        before = reference.words((given[:, 0], given[:, 1]), given[:, 2])

        def one(bit):
            flip = (jnp.arange(3) == bit // 32).astype(jnp.uint32) << (bit % 32).astype(jnp.uint32)
            after = given ^ flip[None]
            changed = before ^ reference.words((after[:, 0], after[:, 1]), after[:, 2])
            return ((changed[:, None] >> jnp.arange(32, dtype=jnp.uint32)[None]) & jnp.uint32(1)).sum(0)

        return jax.lax.map(one, jnp.arange(96))

    z = (np.asarray(flips(jnp.asarray(given))).astype(float) - samples / 2) / np.sqrt(samples / 4)
    assert z.shape == (96, 32)
    accept(2 * stats.norm.sf(abs(z).max()) * z.size)
    accept(2 * stats.norm.sf(abs((z**2).mean() - 1) / np.sqrt(2 / z.size)))


def test_uniform_and_normal_follow_their_distributions():
    keys = folded()
    uniform = np.asarray(jax.jit(jax.vmap(lambda key: random.uniform(key, (DRAWS,))))(keys)).ravel().astype(float)
    normal = np.asarray(jax.jit(jax.vmap(lambda key: random.normal(key, (DRAWS,))))(keys)).ravel().astype(float)
    n = uniform.size
    accept(stats.kstest(uniform, "uniform").pvalue)
    accept(stats.kstest(normal, "norm").pvalue)
    # mean, variance, skewness and kurtosis, each with its standard error under the law
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        accept(4 * 2 * stats.norm.sf(abs((normal**power).mean() - mean) / np.sqrt(variance / n)))


@pytest.fixture(scope="module")
def every_word():
    """One word for each of the 2**23 values that a float draw can take, in increasing order."""
    return jnp.arange(1 << 23, dtype=jnp.uint32) << jnp.uint32(9)


def test_uniform_takes_every_lattice_point_once(every_word):
    expected = np.arange(1 << 23) * 2.0**-23
    np.testing.assert_array_equal(np.asarray(jax.jit(reference.to_uniform)(every_word)), expected.astype(np.float32))
    middle = np.asarray(jax.jit(reference.to_uniform_open)(every_word))
    np.testing.assert_array_equal(middle.astype(float), expected + 2.0**-24)
    assert middle.min() > 0 and middle.max() < 1
    np.testing.assert_array_equal(middle, 1 - middle[::-1])


def test_normal_is_the_quantile_over_all_its_values(every_word):
    z = np.asarray(jax.jit(reference.to_normal)(every_word)).astype(float)
    assert (np.diff(z) >= 0).all()
    assert -5.43 < z[0] < -5.41 and 5.21 < z[-1] < 5.23
    # The sorted values cut (0, 1) into steps of 2**-23: at each the distribution function is right to one step.
    assert abs(stats.norm.cdf(z) - np.arange(1 << 23) / 2**23).max() < 1.5 * 2**-23
    for cut in (3.0, 4.0, 4.5, 5.0):
        for tail in (z < -cut, z > cut):
            assert abs(tail.mean() - stats.norm.sf(cut)) < 2 * 2**-23
    assert abs(z.mean()) < 1e-6 and abs(z.var() - 1) < 1e-5
    assert abs((z**3).mean()) < 5e-5 and abs((z**4).mean() - 3) < 5e-4


@pytest.mark.slow
def test_a_hundred_million_normals():
    draw = jax.jit(jax.vmap(lambda key: random.normal(key, (1 << 16,))))
    # Cells of 1/100 up to 4.5 on both sides, where still 16 draws are expected in each, and the two tails.
    edges = np.arange(-450, 451) / 100
    cells, extremes, total = np.zeros(902, np.int64), np.zeros(3, np.int64), 0
    sums = np.zeros(4)
    cuts = np.array([4.0, 4.5, 5.0])
    for part in range(24):
        z = np.asarray(draw(jax.random.split(jax.random.fold_in(jax.random.key(2), part), 64))).ravel().astype(float)
        cells += np.bincount((100 * np.clip(z, -4.505, 4.505) + 451).astype(np.int64), minlength=902)
        extremes += [np.count_nonzero(abs(z) > cut) for cut in cuts]
        square = z * z
        sums += [z.sum(), square.sum(), square @ z, square @ square]
        total += z.size
    assert total > 1e8
    expected = total * np.diff(stats.norm.cdf(edges), prepend=0, append=1)
    accept(stats.chisquare(cells, expected).pvalue)
    for came, cut in zip(extremes, cuts, strict=True):
        rate = 2 * stats.norm.sf(cut) * total
        accept(3 * 2 * min(stats.poisson.sf(came - 1, rate), stats.poisson.cdf(came, rate)))
    for came, mean, variance in zip(sums / total, (0, 1, 0, 3), (1, 2, 15, 96), strict=True):
        accept(4 * 2 * stats.norm.sf(abs(came - mean) / np.sqrt(variance / total)))
