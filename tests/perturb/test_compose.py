"""Chains, choices and regions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError, stack
from sensijax.perturb import Chain, Choice, Masked, chain, image

X = jax.random.uniform(jax.random.key(0), (16, 16, 3))
KEY = jax.random.key(1)
A, B, C = image.GaussianNoise.at(2), image.ImpulseNoise.at(2), image.SpeckleNoise.at(3)
run = jax.jit(lambda perturbation, key, x: perturbation(key, x))


def test_composition_is_associative_bit_for_bit():
    left, right, flat = (A >> B) >> C, A >> (B >> C), Chain.of(A, B, C)
    assert jax.tree.structure(left) == jax.tree.structure(right) == jax.tree.structure(flat)
    for one in (left, right):
        np.testing.assert_array_equal(run(one, KEY, X), run(flat, KEY, X))


def test_composition_has_an_order():
    assert np.any(run(A >> B, KEY, X) != run(B >> A, KEY, X))


def test_an_appended_link_changes_no_earlier_draw():
    before = run(A >> B, KEY, X)
    still = image.Brightness(shift=jnp.float32(0.0))
    np.testing.assert_array_equal(run(A >> B >> still, KEY, X), before)
    after = run(A >> B >> image.Contrast.at(1), KEY, X)
    np.testing.assert_array_equal(after, run(image.Contrast.at(1), KEY, before))


def test_links_of_one_kind_draw_apart():
    noise = image.GaussianNoise(std=jnp.float32(0.01))
    grey = jnp.full((16, 16, 3), 0.5)
    first = run(noise, jax.random.fold_in(KEY, 0), grey) - grey
    both = run(noise >> noise, KEY, grey) - grey
    assert not np.allclose(both, 2 * first, atol=1e-4)
    # The sum of 768 independent pairs: its spread is sqrt(2), +-10 % (a band of four standard errors).
    assert np.std(both) / np.std(first) == pytest.approx(2**0.5, rel=0.1)


def test_a_chain_is_the_identity_only_if_every_link_is():
    nothing = image.GaussianNoise.at(0) >> image.Contrast.at(0)
    assert bool(nothing.is_identity()) and not bool((nothing >> B).is_identity())
    np.testing.assert_array_equal(run(nothing, KEY, X), X)


def test_a_chain_is_deterministic_only_if_every_link_is():
    assert (image.Contrast.at(1) >> image.Brightness.at(1)).deterministic
    assert not (image.Contrast.at(1) >> A).deterministic


def test_a_chain_links_only_perturbations():
    with pytest.raises(ArgumentError, match="a chain links perturbations"):
        Chain.of(A, lambda key, x: x)
    with pytest.raises(ArgumentError, match="a chain links perturbations"):
        A >> 3


def test_a_choice_draws_each_option_as_often_as_its_weight_says():
    options = tuple(image.Brightness(shift=jnp.float32(s)) for s in (0.1, 0.2, 0.3))
    choice = Choice(options, weights=jnp.array([1.0, 3.0, 4.0]))
    n = 4000
    grey = jnp.full((8, 8, 1), 0.5)
    out = jax.jit(jax.vmap(choice, in_axes=(0, None)))(jax.random.split(KEY, n), grey)[:, 0, 0, 0]
    for share, value in zip((1 / 8, 3 / 8, 4 / 8), (0.6, 0.7, 0.8), strict=True):
        count = int((jnp.abs(out - value) < 1e-3).sum())
        # Four standard errors: three such tests fail by chance once in 5,000 seeds.
        assert abs(count - n * share) < 4 * (n * share * (1 - share)) ** 0.5


def test_an_option_of_no_weight_is_never_drawn():
    choice = Choice((image.Brightness.at(5), image.Contrast.at(0)), weights=jnp.array([0.0, 2.0]))
    out = jax.jit(jax.vmap(choice, in_axes=(0, None)))(jax.random.split(KEY, 500), X)
    np.testing.assert_array_equal(out, jnp.broadcast_to(X, out.shape))


def test_a_choice_has_one_weight_for_each_option():
    with pytest.raises(ArgumentError, match="one weight for each of 2 options"):
        Choice((A, B), weights=jnp.ones(3))(KEY, X)


def test_a_choice_of_one_option_is_that_option():
    choice = Choice((A,), weights=jnp.ones(1))
    np.testing.assert_array_equal(run(choice, KEY, X), run(A, jax.random.fold_in(KEY, 0), X))


def test_a_choice_among_deterministic_options_is_still_drawn():
    choice = Choice((image.Brightness.at(5), image.Contrast.at(5)), weights=jnp.ones(2))
    assert not choice.deterministic


REGIONS = {"left": np.arange(16)[None, :, None] < 4, "rows": np.arange(16)[:, None, None] % 2 == 0}


@pytest.mark.parametrize("mask", REGIONS.values(), ids=REGIONS)
def test_outside_its_region_nothing_changes(mask):
    mask = np.broadcast_to(mask, (16, 16, 1))
    out = np.asarray(run(Masked(A, jnp.asarray(mask)), KEY, X))
    whole, inside = np.asarray(run(A, KEY, X)), np.broadcast_to(mask, X.shape)
    np.testing.assert_array_equal(out[~inside], np.asarray(X)[~inside])
    np.testing.assert_array_equal(out[inside], whole[inside])


def test_a_region_keeps_what_its_perturbation_is():
    mask = jnp.ones((16, 16, 1), bool)
    assert Masked(image.Contrast.at(1), mask).deterministic and not Masked(A, mask).deterministic
    assert bool(Masked(image.GaussianNoise.at(0), mask).is_identity())


def test_a_chained_scale_is_the_chain_at_a_severity():
    scale = chain(image.GaussianNoise, image.Contrast)
    assert scale.__name__ == "GaussianNoise>>Contrast"
    expected = image.GaussianNoise.at(3, size=32) >> image.Contrast.at(3, size=32)
    np.testing.assert_array_equal(run(scale.at(3, size=32), KEY, X), run(expected, KEY, X))
    np.testing.assert_array_equal(run(scale.at(0), KEY, X), X)


def test_a_chained_scale_stacks():
    scale = chain(image.GaussianNoise, image.Contrast)
    stacked = scale.at(jnp.arange(3.0))
    out = jax.jit(jax.vmap(lambda p: p(KEY, X)))(stacked)
    np.testing.assert_allclose(out[2], run(scale.at(2), KEY, X), atol=1e-6)  # another program: the noise is shared
    again = stack([scale.at(s) for s in (0, 1, 2)])
    np.testing.assert_array_equal(jax.tree.leaves(stacked)[0], jax.tree.leaves(again)[0])


def test_one_scale_is_no_chain():
    with pytest.raises(ArgumentError, match="at least two"):
        chain(image.Contrast)
