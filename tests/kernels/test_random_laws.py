"""Addressing: what is drawn depends on key and position only, and the bits are the published generator's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sensijax_kernels import random
from sensijax_kernels.random import reference
from sensijax_kernels.random.specs import SPECS

SHAPE = (31, 33, 3)
KEYS = jax.random.split(jax.random.key(20), 256)


def draws(key):
    rate = jnp.linspace(0.0, 40.0, 31 * 33 * 3).reshape(SHAPE)
    return {
        "bits": random.bits(key, SHAPE),
        "uniform": random.uniform(key, SHAPE),
        "uniform_open": random.uniform_open(key, SHAPE),
        "normal": random.normal(key, SHAPE),
        "poisson": random.poisson(key, rate),
    }


@pytest.fixture(scope="module")
def batch():
    """The draws of all 256 keys, and the compiled function."""
    mapped = jax.jit(jax.vmap(draws))
    return jax.tree.map(np.asarray, mapped(KEYS)), mapped


def same(a, b):
    def check(x, y):
        np.testing.assert_array_equal(np.asarray(x).view(np.uint32), np.asarray(y).view(np.uint32))

    jax.tree.map(check, a, b)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_known_answers(counter, key, expected):
    # `threefry2x32 20` in the file `kat_vectors` of Random123, the authors' own implementation.
    word = [jnp.uint32(w) for w in (*key, *counter)]
    out = reference.threefry2x32((word[0], word[1]), (word[2], word[3]))
    assert tuple(int(w) for w in out) == expected


def test_thirteen_rounds_give_the_known_answer():
    # `threefry2x32 13` in the same file.
    word = [jnp.uint32(w) for w in (0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3)]
    out = reference.threefry2x32((word[0], word[1]), (word[2], word[3]), rounds=13)
    assert tuple(int(w) for w in out) == (0xBA3E4725, 0xF27D669E)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_agrees_with_jax_random(spec):
    keys = KEYS[np.arange(spec.keys) % 256]

    @jax.jit
    @jax.vmap
    def both(key):
        mine = random.bits(key, spec.shape), random.uniform(key, spec.shape), random.normal(key, spec.shape)
        theirs = tuple(draw(key, spec.shape) for draw in (jax.random.bits, jax.random.uniform, jax.random.normal))
        return mine, theirs

    (bits, uniform, normal), (their_bits, their_uniform, their_normal) = both(keys)
    np.testing.assert_array_equal(bits, their_bits)
    np.testing.assert_array_equal(uniform, their_uniform)
    np.testing.assert_array_max_ulp(np.asarray(normal), np.asarray(their_normal), maxulp=4)


def test_the_users_settings_change_nothing(batch):
    with jax.threefry_partitionable(False), jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(random.bits(KEYS[0], SHAPE), batch[0]["bits"][0])


@pytest.mark.parametrize("size", [1, 7, 64])
def test_same_bits_in_any_batch_and_any_place_in_it(batch, size):
    whole, mapped = batch
    chosen = np.random.default_rng(size).permutation(256)[:size]
    same(mapped(KEYS[chosen]), jax.tree.map(lambda leaf: leaf[chosen], whole))


def test_same_bits_in_a_shuffled_batch(batch):
    whole, mapped = batch
    order = np.random.default_rng(0).permutation(256)
    same(mapped(KEYS[order]), jax.tree.map(lambda leaf: leaf[order], whole))


def test_eager_jit_and_vmap_agree(batch):
    expected = jax.tree.map(lambda leaf: leaf[3], batch[0])
    same(draws(KEYS[3]), expected)
    same(jax.jit(draws)(KEYS[3]), expected)


def test_a_nested_vmap_agrees(batch):
    nested = jax.jit(jax.vmap(jax.vmap(draws)))(KEYS[:8].reshape(2, 4))
    same(jax.tree.map(lambda leaf: leaf.reshape(8, *SHAPE), nested), jax.tree.map(lambda leaf: leaf[:8], batch[0]))


def test_a_draw_does_not_know_the_shape_around_it(batch):
    for name, draw in (("bits", random.bits), ("normal", random.normal), ("uniform_open", random.uniform_open)):
        flat = batch[0][name][5].reshape(-1)
        same(draw(KEYS[5], (len(flat),)), flat)
        same(draw(KEYS[5], (101,)), flat[:101])
        same(draw(KEYS[5], ()), flat[0])


def test_the_two_words_of_a_key_are_the_key(batch):
    words = jax.random.key_data(KEYS[9])
    same(random.normal(words, SHAPE), batch[0]["normal"][9])
    same(random.bits(np.asarray(words), SHAPE), batch[0]["bits"][9])


def test_an_empty_shape_is_empty():
    assert random.normal(KEYS[0], (0, 3)).shape == (0, 3)
    assert random.poisson(KEYS[0], jnp.zeros((0,))).shape == (0,)


def test_derivatives_pass_beside_a_draw():
    x = jnp.full((4,), 0.5)
    _, slope = jax.jvp(lambda std: x + std * random.normal(KEYS[0], (4,)), (0.1,), (1.0,))
    np.testing.assert_allclose(slope, random.normal(KEYS[0], (4,)))
    slope = jax.grad(lambda rate: random.poisson(KEYS[0], rate).astype(jnp.float32) * rate)(5.0)
    assert float(slope) == int(random.poisson(KEYS[0], 5.0)) > 0


def test_on_a_cpu_a_draw_is_a_kernel_of_its_own():
    # Fused into an image-shaped consumer the loop may not vectorise: eight times slower, with the same numbers.
    def noisy(key, x, std):
        return jnp.clip(x + std * random.normal(key, (32, 32, 3)), 0.0, 1.0)

    traced = jax.jit(jax.vmap(noisy)).trace(KEYS[:8], jnp.ones((8, 32, 32, 3)), jnp.ones(8))
    assert 'inlineable = "false"' in traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "inlineable" not in traced.lower(lowering_platforms=("cuda",)).as_text()
    program = traced.lower().compile().as_text()
    assert program.count(" call(") == 1, "the compiler has inlined the draw into its consumer, or torn it apart"


@pytest.mark.parametrize(
    ("key", "error", "says"),
    [
        (KEYS[:2], ValueError, "keys of shape \\[2\\]"),
        (jnp.zeros((2, 2), jnp.uint32), ValueError, "uint32\\[2, 2\\]"),
        (jax.random.key(0, impl="rbg"), TypeError, "a key of rbg"),
        (jnp.zeros(2, jnp.int32), TypeError, "int32\\[2\\]"),
        (0, TypeError, "got int"),
    ],
)
def test_a_wrong_key_is_named(key, error, says):
    with pytest.raises(error, match=f"`key`: .*{says}"):
        random.normal(key, (3,))


def test_a_wrong_shape_or_rate_is_named():
    with pytest.raises(ValueError, match="`shape`: got \\(-1, 2\\)"):
        random.bits(KEYS[0], (-1, 2))
    with pytest.raises(ValueError, match="fewer than 2\\*\\*32"):
        random.bits(KEYS[0], (1 << 16, 1 << 16))
    with pytest.raises(TypeError, match="`rate`: got int32"):
        random.poisson(KEYS[0], jnp.ones(3, jnp.int32))
