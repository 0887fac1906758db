"""Spaces: every distribution against SciPy's, on the host and the device; copulas; groups; what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sensijax import sensitivity as s
from sensijax.core import ArgumentError

SCIPY = {
    "uniform": (s.Uniform(-2.0, 3.0), stats.uniform(-2, 5)),
    "uniform 2": (s.Uniform(10.0, 11.0), stats.uniform(10, 1)),
    "normal": (s.Normal(1.0, 2.0), stats.norm(1, 2)),
    "lognormal": (s.LogNormal(0.5, 0.7), stats.lognorm(0.7, scale=np.exp(0.5))),
    "triangular": (s.Triangular(-1.0, 0.5, 2.0), stats.triang(0.5, -1, 3)),
    "right triangle": (s.Triangular(0.0, 0.0, 1.0), stats.triang(0, 0, 1)),
    "truncated": (s.Truncated(s.Normal(0.0, 2.0), -1.0, 3.0), stats.truncnorm(-0.5, 1.5, scale=2)),
    "upper tail": (s.Truncated(s.Normal(0.0, 1.0), 5.0, 7.0), stats.truncnorm(5, 7)),
    "discrete": (s.Discrete((1.0, 4.0, 5.0), (1, 2, 1)), stats.rv_discrete(values=((1, 4, 5), (0.25, 0.5, 0.25)))),
}


@pytest.fixture(scope="module")
def space():
    return s.Space({name: ours for name, (ours, _) in SCIPY.items()})


def test_every_family_on_the_device_in_the_order_given(space):
    u = np.linspace(0.003, 0.997, 101)
    came = space.from_unit(np.tile(u[:, None], (1, len(SCIPY))))
    assert came.dtype == np.float32
    for column, (name, (_, theirs)) in zip(came.T, SCIPY.items(), strict=True):
        np.testing.assert_allclose(column, theirs.ppf(u), rtol=3e-5, atol=3e-6, err_msg=name)


@pytest.mark.parametrize("name", SCIPY)
def test_functions_and_moments_on_the_host(name):
    ours, theirs = SCIPY[name]
    u = np.linspace(0.01, 0.99, 33)
    x = theirs.ppf(u)
    np.testing.assert_allclose(ours.ppf(u), x, rtol=1e-7)
    np.testing.assert_allclose(ours.cdf(x), theirs.cdf(x), atol=1e-9)
    rtol = 2e-3 if name == "lognormal" else 1e-4
    np.testing.assert_allclose([ours.expectation, ours.variance], [theirs.mean(), theirs.var()], rtol=rtol)
    if ours.has_derivative:
        np.testing.assert_allclose(ours.pdf(x), theirs.pdf(x), rtol=1e-6)


def test_poincare_constants():
    assert s.Uniform(-1.0, 3.0).poincare() == pytest.approx(16 / np.pi**2)
    assert s.Normal(5.0, 3.0).poincare() == 9
    # Cut so far out that nothing is cut: the Gaussian's.
    assert s.Truncated(s.Normal(0.0, 1.0), -30.0, 30.0).poincare() == pytest.approx(1, abs=1e-3)
    # The symmetric triangle: 1 / j^2 with j = 2.404826, the first zero of the Bessel function J0.
    assert s.Triangular(-1.0, 0.0, 1.0).poincare() == pytest.approx(1 / 2.404826**2, rel=1e-3)


def test_a_copula_correlates_scores_and_keeps_marginals():
    space = s.Space(
        {"a": s.Normal(1.0, 2.0), "b": s.Uniform(0.0, 1.0), "c": s.LogNormal(0.0, 0.5)},
        correlation={("a", "b"): 0.8, ("b", "c"): -0.3},
    )
    u = np.random.default_rng(0).uniform(1e-6, 1 - 1e-6, (20_000, 3))
    x = space.from_unit(u)
    scores = np.stack([(x[:, 0] - 1) / 2, stats.norm.ppf(np.clip(x[:, 1], 1e-7, 1 - 1e-7)), np.log(x[:, 2]) / 0.5])
    np.testing.assert_allclose(np.corrcoef(scores), space.correlation, atol=0.02)
    assert stats.kstest(x[:, 1], "uniform").pvalue > 1e-3


def test_codes_of_categories_come_as_often_as_said():
    space = s.Space({"colour": s.Categorical(("red", "green", "blue"), (1, 1, 2)), "x": s.Uniform(0.0, 1.0)})
    u = (np.arange(400) + 0.5) / 400
    codes = space.from_unit(np.stack([u, u], axis=1))[:, 0]
    assert np.bincount(codes.astype(int)).tolist() == [100, 100, 200]


def test_groups_hold_what_they_name_and_the_rest_by_themselves():
    inputs = {name: s.Uniform(0.0, 1.0) for name in "abcd"}
    space = s.Space(inputs, groups={"late": ["b", "d"]})
    assert space.group_names == ("a", "late", "c") and space.membership == (0, 1, 2, 1)


U = s.Uniform(0.0, 1.0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: s.Uniform(1.0, 0.0), "swapped"),
        (lambda: s.Uniform(0.0, np.inf), "finite"),
        (lambda: s.Normal(0.0, 0.0), "above 0"),
        (lambda: s.Triangular(0.0, 2.0, 1.0), "mode"),
        (lambda: s.Truncated(s.Normal(0.0, 1.0), 40.0, 41.0), "1e-12"),
        (lambda: s.Truncated(s.Discrete((1.0, 2.0))), "base"),
        (lambda: s.Discrete((2.0, 1.0)), "increasing"),
        (lambda: s.Discrete((1.0, 2.0), (-1.0, 2.0)), "weights"),
        (lambda: s.Categorical(("a", "a")), "once"),
        (lambda: s.Space({}), "at least one"),
        (lambda: s.Space({"a": 3.0}), "a distribution"),
        (lambda: s.Space({"a": U, "b": U}, correlation=[[1, 2], [2, 1]]), "positive definite"),
        (lambda: s.Space({"a": U, "b": U}, correlation={("a", "z"): 0.5}), "a pair"),
        (lambda: s.Space({"a": U, "b": U}, groups={"g": ["z"]}), "the inputs are"),
        (lambda: s.Space({"a": U, "b": U}, groups={"g": ["a"], "h": ["a"]}), "already"),
        (lambda: s.Space({"a": U}).from_unit([[1.0]]), "open interval"),
        (lambda: s.Space({"a": U}).from_unit([[0.5, 0.5]]), r"\[n, 1\]"),
    ],
)
def test_what_is_wrong_is_refused_at_the_door(make, match):
    with pytest.raises(ArgumentError, match=match):
        make()


def test_a_thousand_inputs_of_one_family_are_one_operation():
    space = s.Space({f"x{i}": s.Uniform(float(i), float(i + 1)) for i in range(1000)})
    transform = space.transform()
    assert len(transform.families) == 1
    assert np.asarray(transform(jnp.full((1000, 1), 0.5)))[:, 0].tolist() == [i + 0.5 for i in range(1000)]
