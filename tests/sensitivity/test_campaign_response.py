"""A campaign's response to severities: the numbers that a campaign stores, as a function that can be differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sensijax as sj
from sensijax import sensitivity as s
from sensijax.perturb import image

STAGES = {
    "noise": sj.sweep(image.GaussianNoise, severity=[0, 1, 3], size=32),
    "light": sj.sweep(image.Brightness, severity=[0, 2], size=32),
}


@pytest.fixture(scope="module")
def parts():
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 1, (21, 8, 8, 1)).astype(np.float32)
    weights = generator.normal(size=(64, 3)).astype(np.float32)
    model = sj.Model(lambda w, x: x.reshape(len(x), -1) @ w, weights, name="linear")
    ids = generator.permutation(21)
    return model, sj.Dataset(x, np.argmax(np.asarray(model(x)), axis=1), ids=ids)


@pytest.fixture(scope="module")
def response(parts):
    return sj.campaign_response(*parts, STAGES, seed=1, chunk=8)


@pytest.fixture(scope="module")
def program(response):
    return jax.jit(jax.vmap(response))


def test_it_is_the_mean_of_what_a_campaign_stores(parts, program, tmp_path):
    results = sj.run(sj.Campaign(*parts, STAGES, design=sj.design.pairs(at=2), seeds=[1]), tmp_path)
    table = results.scenarios().set_index("scenario")
    settings = {"clean": (0, 0), "noise@3": (3, 0), "light@2": (0, 2), "noise@2+light@2": (2, 2)}
    found = program(jnp.asarray(list(settings.values()), jnp.float32))
    np.testing.assert_allclose(found, table.loc[list(settings), "nll"], rtol=1e-5)


def test_the_name_of_a_response_or_a_function_of_outputs(parts, program):
    at = jnp.asarray([5.0, 4.0], jnp.float32)
    right = jax.jit(sj.campaign_response(*parts, STAGES, response="correct"))
    assert 0 < float(right(at)) < 1 and float(right(jnp.zeros(2))) == 1.0

    def error(outputs, y, clean):
        return (jnp.argmax(outputs, axis=1) != y).astype(jnp.float32)

    wrong = jax.jit(sj.campaign_response(*parts, STAGES, response=error, chunk=5))
    assert float(right(at)) + float(wrong(at)) == pytest.approx(1)
    assert wrong is not None and sj.campaign_response(*parts, STAGES, response=error).measured == "error"


def test_its_derivative_is_that_of_differences(response):
    # Noise clips, so that no difference is exact; a step well inside a piece of the table.
    slope = jax.jit(jax.grad(response))(jnp.asarray([2.5, 1.5], jnp.float32))
    for i in range(2):
        step = 0.05 * jnp.eye(2)[i]
        at = jnp.asarray([2.5, 1.5], jnp.float32)
        assert float(slope[i]) == pytest.approx(float(response(at + step) - response(at - step)) / 0.1, rel=0.05)


def test_derivatives_go_both_ways_through_the_batching(response):
    at = jnp.asarray([[2.5, 1.5], [1.5, 0.5]], jnp.float32)
    backward = jax.jit(jax.vmap(jax.grad(response)))(at)
    np.testing.assert_allclose(backward, jax.jit(jax.vmap(jax.jacfwd(response)))(at), rtol=1e-5, atol=1e-7)


def test_memory_does_not_grow_with_the_points(response):
    def held(points):
        lowered = jax.jit(jax.vmap(response)).lower(jnp.zeros((points, 2), jnp.float32))
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert held(1 << 14) < 1.5 * held(1 << 10) + (1 << 20)  # the points themselves take 128 kB


def test_sobol_says_which_stage_drives_the_damage(response):
    assert response.space.names == ("noise", "light") and response.space.inputs["noise"].support == (0, 5)
    found = s.sobol(response, response.space, key=jax.random.key(0), n=2**6, chunk=4, second_order=True)
    chaos = s.pce(response, response.space, key=jax.random.key(0), n=64)
    assert abs(found.ST - chaos.ST).max() < 0.25 and chaos.cross_validated < 0.05
    assert found.ST.argmax() == chaos.ST.argmax()


def test_a_parameter_is_swept_over_its_own_range_in_a_regression(parts):
    _, data = parts
    model = sj.Model(lambda w, x: x.mean(axis=(1, 2, 3)), np.zeros(1, np.float32))
    targets = sj.Dataset(data.x, np.asarray(data.x.mean(axis=(1, 2, 3))))
    stages = {"std": sj.sweep(image.GaussianNoise, std=[0.0, 0.2])}
    found = sj.campaign_response(model, targets, stages, response="shift")
    assert found.space.inputs["std"].support == (0, 0.2)
    assert float(found(jnp.zeros(1))) == 0 < float(found(jnp.full(1, 0.2)))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"response": "los"}, "did you mean 'loss'"),
        ({"chunk": 0}, "at least one"),
        ({"stages": [1]}, "name to a sweep"),
        ({"stages": {"n": 3}}, "fault"),
        ({"seed": -1}, "fault"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(parts, change, match):
    given = {"stages": STAGES, **change}
    with pytest.raises(sj.SensijaxError, match=match):
        sj.campaign_response(*parts, given.pop("stages"), **given)


def test_a_point_of_another_length_and_examples_that_are_not_finite_are_refused(parts, response):
    with pytest.raises(sj.ArgumentError, match=r"\[2\]"):
        response(jnp.zeros(3))
    model, data = parts
    broken = np.array(data.x)
    broken[3] = np.nan
    with pytest.raises(sj.ArgumentError, match="1 examples"):
        sj.campaign_response(model, sj.Dataset(broken, data.y), STAGES)
