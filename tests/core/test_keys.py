"""Addressed keys: a key is a function of (seed, stage, example id) and of nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError, example_key, key_for, stage_key_data
from sensijax.core.keys import words

IDS = np.array([0, 1, 17, 2**32 - 1, 2**32, 2**32 + 17, 2**40 + 17, 2**63, 2**64 - 1], dtype=np.uint64)


def data(keys):
    return np.asarray(jax.random.key_data(keys))


def test_a_key_alone_is_the_key_in_a_batch_in_any_order():
    together = data(key_for(3, "noise", IDS))
    backwards = data(key_for(3, "noise", IDS[::-1]))[::-1]
    alone = np.stack([data(key_for(3, "noise", int(i))) for i in IDS])
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together, alone)


def test_a_key_is_the_same_in_a_jitted_program_under_vmap():
    stage = jnp.asarray(stage_key_data(3, "noise"))
    program = jax.jit(lambda ids: jax.random.key_data(jax.vmap(example_key, in_axes=(None, 0))(stage, ids)))
    np.testing.assert_array_equal(np.asarray(program(jnp.asarray(words(IDS)))), data(key_for(3, "noise", IDS)))


def test_keys_have_the_shape_of_the_ids():
    assert key_for(0, "noise", 5).shape == ()
    assert key_for(0, "noise", np.arange(6).reshape(2, 3)).shape == (2, 3)
    assert key_for(0, "noise", []).shape == (0,)


def test_ids_beyond_32_bits_are_not_their_low_word():
    assert len(np.unique(data(key_for(0, "noise", [5, 2**32 + 5, 2**33 + 5, 2**63 + 5])), axis=0)) == 4


def test_high_and_low_word_do_not_commute():
    assert not np.array_equal(data(key_for(0, "noise", 2**32 + 2)), data(key_for(0, "noise", 2 * 2**32 + 1)))


def test_all_keys_of_many_addresses_are_distinct():
    keys = [
        data(key_for(seed, stage, np.arange(500)))
        for seed in (0, 1, 2**32, 2**64 - 1)
        for stage in ("noise", "fog", "a", "b")
    ]
    assert len(np.unique(np.concatenate(keys), axis=0)) == 4 * 4 * 500


def test_stages_and_seeds_draw_independently():
    # Correlations of 20,000 normals at four addresses; |r| > 4.5 / sqrt(n) has probability 7e-6 for each of 6 pairs.
    n = 20_000
    draws = np.stack(
        [
            np.asarray(jax.vmap(jax.random.normal)(key_for(seed, stage, np.arange(n))))
            for seed, stage in ((0, "noise"), (0, "fog"), (1, "noise"), (2**32, "noise"))
        ]
    )
    assert np.abs(np.corrcoef(draws)[np.triu_indices(4, 1)]).max() < 4.5 / np.sqrt(n)


def test_a_stage_does_not_know_of_other_stages():
    before = data(key_for(0, "fog", 7))
    for other in ("noise", "fog2", "fo", "Fog", "fog "):
        assert not np.array_equal(data(key_for(0, other, 7)), before)
    np.testing.assert_array_equal(data(key_for(0, "fog", 7)), before)


def test_severities_share_their_draws():
    from sensijax.perturb import image

    key, x = key_for(0, "noise", 17), jnp.full((8, 8, 1), 0.5)
    noise = [np.asarray((image.GaussianNoise(jnp.float32(std))(key, x) - x) / std) for std in (0.001, 0.002)]
    np.testing.assert_allclose(noise[0], noise[1], atol=1e-3)


@pytest.mark.parametrize(
    ("seed", "stage", "example", "pinned"),
    [
        (0, "noise", 0, (2223610745, 4129296528)),
        (0, "noise", 17, (2260906593, 3915758320)),
        (0, "noise", 2**40 + 17, (1622558836, 1010451536)),
        (2**64 - 1, "fog@", 7, (2771836060, 3497438492)),
    ],
)
def test_the_address_scheme_is_what_it_was(seed, stage, example, pinned):
    # Pinned from this scheme itself: whoever changes it changes every published number.
    assert tuple(data(key_for(seed, stage, example))) == pinned


def test_a_users_generator_changes_nothing():
    before = data(key_for(0, "noise", 17))
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(data(key_for(0, "noise", 17)), before)


@pytest.mark.parametrize("ids", [-1, [0, -1], 1.5, [1.0], 2**64, [0, 2**64], "7", None, True, [True], np.array([0.0])])
def test_bad_ids_are_refused(ids):
    with pytest.raises(ArgumentError, match="example_id") as caught:
        key_for(0, "noise", ids)
    assert caught.value.argument == "example_id"


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, "0", None, True])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ArgumentError, match="`seed`"):
        key_for(seed, "noise", 0)


@pytest.mark.parametrize("stage", ["", None, 3, b"noise"])
def test_bad_stages_are_refused(stage):
    with pytest.raises(ArgumentError, match="`stage`"):
        key_for(0, stage, 0)


def test_words_of_small_and_large_integers_in_one_list():
    assert words([1, 2**63, 2**64 - 1]).tolist() == [[0, 1], [2**31, 0], [2**32 - 1, 2**32 - 1]]
    assert words(np.int8(3)).tolist() == [0, 3]
