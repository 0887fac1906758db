"""Laws that all drifts obey: identity, common random numbers, nesting, addresses, mean weights, numbers at the door."""

import dataclasses

import jax
import numpy as np
import pytest

from sensijax import drift
from sensijax.core import ArgumentError, Dataset

KEY = jax.random.key(7)
N = 400


def make_data(n: int = N) -> Dataset:
    rng = np.random.default_rng([n, 81])
    x = rng.normal(size=(n, 4)).astype(np.float32) * np.array([1, 2, 0.5, 3], np.float32)
    x[0] = -0.0  # a sign that adding 0 would lose
    score = x[:, 0] + 0.3 * rng.normal(size=n)
    y = np.digitize(score, [-0.4, 0.4])
    site = np.where(rng.uniform(size=n) < 0.2, "small", "large")
    ids = rng.permutation(n).astype(np.int64) * 3 + 2**33
    return Dataset(x, y, ids=ids, groups={"site": site})


DATA = make_data()
DRIFTS = {
    "prior": drift.PriorShift(0.6, target=(0.7, 0.2, 0.1)),
    "dirichlet": drift.DirichletPrior(0.6),
    "covariate": drift.CovariateShift(0.6),
    "subpopulation": drift.SubpopulationShift(0.6, value="small", group="site", share=0.9),
    "concept": drift.ConceptShift(0.6),
    "merge": drift.ClassMerge(0.6, classes=(0, 2)),
    "rotation": drift.BoundaryRotation(0.6),
    "mean": drift.MeanShift(0.6),
    "scale": drift.ScaleShift(0.6),
    "missing": drift.MissingFeatures(0.6),
    "sensor": drift.SensorDrift(0.6),
    "stuck": drift.StuckSensor(0.6, channels=(1, 2)),
}


def at(d, strength):
    return dataclasses.replace(d, strength=np.float32(strength))


@pytest.fixture(scope="module", params=DRIFTS, ids=str)
def case(request):
    """A fitted drift, and what becomes of the data at six strengths."""
    d = at(DRIFTS[request.param], 0.6)  # of one dtype, so that one program serves all
    return d, {s: raw(at(d, s), DATA) for s in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)}


def raw(d, data):
    """Weights, labels and inputs without the short cut that `shift` takes at the identity."""
    from sensijax.core.keys import words
    from sensijax.drift.simulate import _drift

    d, ids = d.fit(data), words(data.ids)
    weights, y, x = np.ones(len(data), np.float32), data.y, data.x
    if "weights" in d.changes:
        weights = np.asarray(_drift.weights_of(d, KEY, x, y, ids))
    if "labels" in d.changes:
        y = np.asarray(_drift.labels_of(d, KEY, x, y, ids))
    if "inputs" in d.changes:
        x = np.asarray(_drift.inputs_of(d, KEY, x, ids))
    return drift.Shifted(x, y, weights, data.ids)


def test_strength_0_changes_no_bit(case):
    _, at_strength = case
    nothing = at_strength[0.0]
    assert nothing.x.tobytes() == DATA.x.tobytes()
    assert nothing.y.tobytes() == DATA.y.tobytes()
    assert (nothing.weights == 1).all()


def test_it_does_something(case):
    _, at_strength = case
    full = at_strength[1.0]
    assert (full.x != DATA.x).any() or (full.y != DATA.y).any() or (full.weights != 1).any()
    assert full.x.dtype == DATA.x.dtype and full.y.dtype == DATA.y.dtype


def test_weights_have_mean_1_and_no_sign(case):
    for shifted in case[1].values():
        assert (shifted.weights >= 0).all()
        assert abs(shifted.weights.astype(np.float64).mean() - 1) < 1e-5


def test_nested_in_strength(case):
    d, at_strength = case
    order = [at_strength[s] for s in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    for low, high in zip(order, order[1:], strict=False):
        assert not ((low.y != DATA.y) & ((high.y == DATA.y) | (high.y != low.y))).any()
        if not d.deterministic and "inputs" in d.changes:  # what is missing stays missing
            assert not ((low.x != DATA.x) & (high.x != low.x)).any()
        assert (np.abs(low.x - DATA.x) <= np.abs(high.x - DATA.x)).all()
        if not isinstance(d, drift.CovariateShift):
            low_away, high_away = low.weights - 1, high.weights - 1
            assert (np.abs(low_away) <= np.abs(high_away) + 1e-6).all()


def test_a_reordering_keeps_every_draw(case):
    d, at_strength = case
    turned = np.random.default_rng(5).permutation(N)
    shifted, again = at_strength[0.6], raw(d, DATA.take(turned))
    np.testing.assert_array_equal(again.y, shifted.y[turned])
    np.testing.assert_allclose(again.x, shifted.x[turned], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(again.weights, shifted.weights[turned], rtol=1e-4)


def test_deterministic_drifts_do_not_look_at_the_key(case):
    d, at_strength = case
    other = drift.shift(d, jax.random.key(8), DATA)
    same = all(np.array_equal(getattr(other, name), getattr(at_strength[0.6], name)) for name in ("x", "y", "weights"))
    assert same == d.deterministic


def test_a_constructor_takes_a_stack(case):
    stack = dataclasses.replace(case[0], strength=np.array([0.0, 0.5], np.float32))
    assert stack.is_identity().tolist() == [True, False]


REFUSED = {
    "strength above 1": (lambda: drift.PriorShift(1.5), "strength"),
    "strength NaN": (lambda: drift.MeanShift(np.nan), "strength"),
    "a stack with a wrong one": (lambda: drift.ConceptShift(np.array([0.1, -0.1])), "strength"),
    "shares that miss a class": (lambda: drift.PriorShift(1.0, target=(0.5, 0.5)).fit(DATA), "target"),
    "toward no class": (lambda: drift.PriorShift(1.0, toward=3).fit(DATA), "toward"),
    "toward an empty class": (
        lambda: drift.PriorShift(1.0, toward=1).fit(DATA.take(DATA.y != 1)),
        "toward",
    ),
    "a prior of a regression": (lambda: drift.DirichletPrior(1.0).fit(Dataset(DATA.x, DATA.x[:, 0])), "data.y"),
    "no such group": (
        lambda: drift.SubpopulationShift(1.0, value="small", group="sight", share=0.5).fit(DATA),
        "group",
    ),
    "an empty group": (
        lambda: drift.SubpopulationShift(1.0, value="tiny", group="site", share=0.5).fit(DATA),
        "value",
    ),
    "a group of everybody": (
        lambda: drift.SubpopulationShift(1.0, value=1, share=0.5).fit(DATA.take(DATA.y == 1)),
        "value",
    ),
    "a constant feature": (
        lambda: drift.CovariateShift(1.0, along=0).fit(Dataset(np.ones((5, 2), np.float32), np.zeros(5, int))),
        "along",
    ),
    "no such feature": (lambda: drift.CovariateShift(1.0, along=9).fit(DATA), "index"),
    "a direction of another length": (lambda: drift.CovariateShift(1.0, along=(1.0, 2.0)).fit(DATA), "along"),
    "one class only": (lambda: drift.BoundaryRotation(1.0).fit(DATA.take(DATA.y == 1)), "data.y"),
    "a fill that is NaN": (lambda: drift.MissingFeatures(0.5, fill=np.nan), "fill"),
    "a NaN in the data": (
        lambda: drift.MeanShift(1.0).fit(Dataset(np.array([[np.nan], [1.0]], np.float32), np.zeros(2, int))),
        "data.x",
    ),
    "integers that should move": (
        lambda: drift.SensorDrift(1.0).fit(Dataset(np.ones((2, 2), int), np.zeros(2, int))),
        "data.x",
    ),
    "a mapping of nothing": (lambda: drift.ConceptShift(1.0, mapping={1: 1}).fit(DATA), "mapping"),
    "one class merged": (lambda: drift.ClassMerge(1.0, classes=(1,)), "classes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_the_door(name):
    wrong, argument = REFUSED[name]
    with pytest.raises(ArgumentError) as error:
        wrong()
    assert error.value.argument == argument


def test_no_example_left_is_refused():
    only = DATA.take(DATA.groups["site"] == "small")
    fitted = drift.SubpopulationShift(1.0, value="small", group="site", share=0.0).fit(DATA)
    left_out = dataclasses.replace(fitted)
    object.__setattr__(left_out, "fit", lambda data: left_out)
    with pytest.raises(ArgumentError, match="no example with a weight above 0"):
        drift.shift(left_out, KEY, only)


def test_an_example_that_was_not_fitted_is_refused():
    fitted = drift.SubpopulationShift(1.0, value="small", group="site", share=0.5).fit(DATA)
    object.__setattr__(fitted, "fit", lambda data: fitted)
    with pytest.raises(ArgumentError, match="no number"):
        drift.shift(fitted, KEY, dataclasses.replace(DATA, ids=DATA.ids + 1))
