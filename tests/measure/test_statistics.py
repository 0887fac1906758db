"""Intervals and tests: closed forms, coverage with a stated error rate, bounded memory.

Coverage is counted over 1,000 synthetic datasets with a fixed seed. At a true coverage of 95% the count has a standard
error of 0.7%, so a right procedure leaves the band [92%, 98%] in about 1 run of 50,000.
"""

import dataclasses
import itertools
import json
import pathlib
import tracemalloc

import numpy as np
import pytest
import scipy.stats

from sensijax.core import ArgumentError
from sensijax.measure import Estimate, Verdict, _bootstrap, holm, interaction, paired_bootstrap, verdict

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/statistics.json").read_text())
D = 1000
BAND = (0.92, 0.98)


def coverage(estimate, truth):
    return ((estimate.low <= truth) & (truth <= estimate.high)).mean()


def two_way(rng, seeds, n, *, seed_std, example_std=0.7, noise_std=1.0, datasets=D):
    """Datasets `[D, S, N]` with true mean 0: seed effects, example effects, noise."""
    return (
        rng.normal(0, seed_std, (datasets, seeds, 1))
        + rng.normal(0, example_std, (datasets, 1, n))
        + rng.normal(0, noise_std, (datasets, seeds, n))
    )


def drops(rng, seeds, n, *, rate, mends, seed_std=0.0, datasets=D):
    """Drops of correctness, int8 `[D, S, N]`, every example with its own odds, and their true mean."""

    def lost(effects):
        return 1 / (1 + np.exp(-(np.log(rate / (1 - rate)) + effects)))

    truth = 0.9 * lost(rng.normal(0, np.hypot(2, seed_std), 10**6)).mean() - 0.1 * mends
    effects = rng.normal(0, 2, (datasets, 1, n)) + rng.normal(0, seed_std, (datasets, seeds, 1))
    right, u = rng.random((datasets, 1, n)) < 0.9, rng.random((datasets, seeds, n))
    return np.where(right, u < lost(effects), -(u < mends).astype(int)).astype(np.int8), truth


# Closed forms


def test_one_seed_is_the_paired_t_test():
    difference = np.random.default_rng(0).normal(0.1, 1, (5, 1, 300))
    estimate = paired_bootstrap(difference, binary=False, resamples=20_000)
    reference = scipy.stats.ttest_1samp(difference[:, 0], 0, axis=1)
    np.testing.assert_allclose(estimate.p_value, reference.pvalue, rtol=1e-10)
    np.testing.assert_allclose(estimate.mean, difference.mean(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(estimate.standard_error, scipy.stats.sem(difference[:, 0], axis=1), rtol=1e-10)
    interval = reference.confidence_interval()
    np.testing.assert_allclose(estimate.low, interval.low, atol=0.06 * estimate.standard_error.max())
    np.testing.assert_allclose(estimate.high, interval.high, atol=0.06 * estimate.standard_error.max())


def test_p_values_have_resolution_for_holm():
    difference = np.random.default_rng(0).normal(1, 1, (1, 400))
    assert 0 < paired_bootstrap(difference, binary=False, resamples=100).p_value < 1e-50


def test_the_standard_error_is_that_of_the_analysis_of_variance():
    d = np.random.default_rng(1).normal(size=(3, 5)) + np.array([[0.0], [1.0], [3.0]])
    seed, example = d.mean(axis=1, keepdims=True), d.mean(axis=0, keepdims=True)
    a, b = 5 * np.var(seed, ddof=1), 3 * np.var(example, ddof=1)
    e = np.square(d - seed - example + d.mean()).sum() / (2 * 4)
    assert a > e  # so that nothing is cut off at 0
    assert paired_bootstrap(d, binary=False).standard_error == pytest.approx(np.sqrt((a + b - e) / 15), rel=1e-12)


@pytest.mark.parametrize("seed_std", [0.05, 0.3])
def test_the_variance_is_unbiased(seed_std):
    seeds, n = 3, 40
    difference = two_way(np.random.default_rng(2), seeds, n, seed_std=seed_std, datasets=4000)
    truth = seed_std**2 / seeds + 0.7**2 / n + 1 / (seeds * n)
    estimated = paired_bootstrap(difference, binary=False, resamples=100).standard_error ** 2
    # The max(., 0) biases a little upwards where seeds hardly differ.
    assert truth * 0.95 < estimated.mean() < truth * 1.15


def test_no_change_among_600_has_the_width_of_the_rule_of_three():
    for seeds in (1, 3):
        estimate = paired_bootstrap(np.zeros((seeds, 600), np.int8), binary=True)
        assert estimate.mean == 0 and estimate.p_value == 1
        assert 3 / 602 <= estimate.high <= 4 / 602 and -4 / 602 <= estimate.low <= -3 / 602
        assert estimate.standard_error == pytest.approx(np.sqrt(2 / (602 * 601)))
        assert verdict(estimate.low, estimate.high, 0.01) is Verdict.ROBUST
        assert verdict(estimate.low, estimate.high, 0.004) is Verdict.UNDECIDED
    assert paired_bootstrap(np.zeros((1, 600), np.int8), binary=False).high == 0  # a loss that is 0 has no scale to add


def test_everything_lost_stays_inside_the_range():
    estimate = paired_bootstrap(np.ones((1, 50), np.int8), binary=True)
    assert estimate.mean == 1 and estimate.high == 1
    assert 1 - 8 / 52 <= estimate.low <= 1 - 6 / 52  # three or four of the pseudo-example that was not observed


def test_pseudo_examples_never_push_the_mean_out_of_its_interval():
    changes = np.array(list(itertools.product((-1, 0, 1), repeat=5)), np.int8)[:, None]
    estimate = paired_bootstrap(changes, binary=True, level=0.5)
    assert (estimate.low <= estimate.mean).all() and (estimate.mean <= estimate.high).all()


# Coverage


@pytest.mark.parametrize("seeds, seed_std", [(1, 0.0), (3, 0.0), (3, 0.05), (3, 0.1), (5, 0.0), (5, 0.1)])
def test_coverage_with_seed_variance(seeds, seed_std):
    """Seeds carry none, a sixth and almost half of the variance of the mean."""
    difference = two_way(np.random.default_rng(10), seeds, 200, seed_std=seed_std)
    estimate = paired_bootstrap(difference, binary=False, resamples=1000)
    assert BAND[0] <= coverage(estimate, 0) <= BAND[1]
    assert 0.02 <= (estimate.p_value < 0.05).mean() <= 0.08  # and the test has its level


def test_coverage_where_seeds_are_all_that_matters():
    """Three seeds, 97% of the variance theirs: the plain pigeonhole bootstrap covers 78%."""
    difference = two_way(np.random.default_rng(11), 3, 200, seed_std=0.5)
    assert coverage(paired_bootstrap(difference, binary=False, resamples=1000), 0) >= 0.9


def test_the_price_of_seeds_that_agree_is_small():
    """The honest width: within 10% of what one who knew that seeds do not matter would need."""
    difference = two_way(np.random.default_rng(12), 3, 200, seed_std=0.0)
    estimate = paired_bootstrap(difference, binary=False, resamples=1000)
    ideal = 2 * 1.96 * np.sqrt(0.7**2 / 200 + 1 / 600)
    assert 0.95 < np.median(estimate.high - estimate.low) / ideal < 1.1


@pytest.mark.parametrize("seeds, rate, seed_std", [(1, 0.02, 0.0), (1, 0.3, 0.0), (3, 0.02, 0.0), (3, 0.1, 0.3)])
def test_coverage_of_correctness(seeds, rate, seed_std):
    difference, truth = drops(np.random.default_rng(13), seeds, 200, rate=rate, mends=0.1, seed_std=seed_std)
    estimate = paired_bootstrap(difference, binary=True, resamples=1000)
    assert BAND[0] <= coverage(estimate, truth) <= 0.99  # pseudo-examples err on the safe side where changes are rare


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.05])
def test_a_fragile_model_with_few_flips_is_rarely_called_robust(rate):
    """Upper bounds below the truth: nominal 2.5%, at most 4.5% accepted (plain percentiles: 5.7% at 1%)."""
    rng = np.random.default_rng(14)
    difference = (rng.random((2000, 1, 600)) < rate).astype(np.int8)
    estimate = paired_bootstrap(difference, binary=True, resamples=1000)
    assert (estimate.high < rate).mean() <= 0.045


# Interactions


def test_an_additive_control_covers_zero():
    rng = np.random.default_rng(20)
    a, b = (two_way(rng, 3, 100, seed_std=0.05) + 0.3 for _ in range(2))
    ab = a + b + two_way(rng, 3, 100, seed_std=0.02, example_std=0.3, noise_std=0.5)
    assert BAND[0] <= coverage(interaction(ab, a, b, binary=False, resamples=1000), 0) <= BAND[1]


def test_a_planted_interaction_of_correctness_is_recovered():
    rng = np.random.default_rng(21)
    u = rng.random((D, 3, 200))
    a, b = u < 0.1, u > 0.9  # each loses a tenth, never the same examples
    together = a | b | ((u > 0.4) & (u < 0.5))  # and together a tenth more
    a, b, together = (v.astype(np.int8) for v in (a, b, together))
    planted = interaction(together, a, b, binary=True, resamples=1000)
    assert BAND[0] <= coverage(planted, 0.1) <= 0.99
    assert (planted.low > 0).mean() > 0.95 and abs(planted.mean.mean() - 0.1) < 0.002
    additive = interaction(a + b, a, b, binary=True, resamples=1000)
    assert (additive.mean == 0).all() and (additive.low < 0).all() and (additive.high > 0).all()


def test_interaction_is_the_bootstrap_of_the_triple_difference_and_drops_what_is_excluded():
    rng = np.random.default_rng(22)
    ab, a, b = rng.normal(size=(3, 2, 50))
    a[1, 7] = np.nan
    one, other = interaction(ab, a, b, binary=False), paired_bootstrap(ab - a - b, binary=False)
    assert dataclasses.astuple(one) == dataclasses.astuple(other) and one.n_excluded == 1
    masked = interaction(ab, np.ma.masked_invalid(a), b, binary=False)
    assert dataclasses.astuple(masked) == dataclasses.astuple(one)


def test_small_integers_do_not_overflow():
    drop = np.full((1, 10), 100, np.int8)
    assert interaction(-drop, drop, drop, binary=False).mean == -300


# Exclusion, shapes, memory


def test_excluded_examples_are_as_if_they_had_never_been():
    rng = np.random.default_rng(30)
    difference = rng.normal(0.2, 1, (3, 2, 80))
    holed = np.concatenate([difference, rng.normal(9, 9, (3, 2, 20))], axis=2)
    holed[:, 1, 80:] = np.nan  # one seed is enough
    holed[0, :, 70:80], whole = np.nan, difference[0, :, :70]  # and scenarios may differ
    out = paired_bootstrap(holed, binary=False, resamples=20_000)
    assert out.n_examples.tolist() == [70, 80, 80] and out.n_excluded.tolist() == [30, 20, 20]
    for i, data in enumerate((whole, difference[1], difference[2])):
        alone = paired_bootstrap(data, binary=False, resamples=20_000)
        for name in ("mean", "standard_error", "p_value"):
            assert getattr(out, name)[i] == pytest.approx(getattr(alone, name), rel=1e-10), name
        for name in ("low", "high"):  # from other resamples
            tolerance = 0.03 * (alone.high - alone.low)
            assert getattr(out, name)[i] == pytest.approx(getattr(alone, name), abs=tolerance), name


@pytest.mark.parametrize("binary", [True, False])
def test_too_few_examples_give_no_interval_and_no_verdict(binary):
    difference = np.full((3, 1, 4), np.nan)
    difference[1, 0, 0] = 1
    difference[2, 0] = [1, 0, 1, 1]
    out = paired_bootstrap(difference, binary=binary)
    assert out.n_examples.tolist() == [0, 1, 4]
    np.testing.assert_array_equal(out.mean, [np.nan, 1, 0.75])
    for name in ("low", "high", "standard_error", "p_value"):
        assert np.isnan(getattr(out, name)).tolist() == [True, True, False], name
    assert verdict(out.low[1], out.high[1], 0.5) is Verdict.UNDECIDED


def test_few_of_many_examples_still_have_an_interval():
    """Some resamples draw none of the three examples that are left."""
    difference = np.full((1, 400), np.nan)
    difference[0, :3] = [0.1, 0.2, 0.4]
    out = paired_bootstrap(difference, binary=False)
    assert out.low < out.mean < out.high


def test_leading_axes_and_a_scenario_alone():
    difference = np.random.default_rng(31).normal(size=(2, 3, 4, 50)).astype(np.float32)
    out = paired_bootstrap(difference, binary=False, resamples=200)
    assert out.mean.shape == out.low.shape == out.p_value.shape == out.n_examples.shape == (2, 3) and out.n_seeds == 4
    alone = paired_bootstrap(difference[1, 2], binary=False, resamples=200)
    assert isinstance(alone, Estimate) and np.ndim(alone.mean) == 0
    for name in ("mean", "low", "high", "standard_error", "p_value"):
        assert getattr(alone, name) == pytest.approx(getattr(out, name)[1, 2], rel=1e-9), name


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_seed_decides(seeds):
    difference = np.random.default_rng(32).normal(size=(seeds, 50))
    bounds = [(e.low, e.high) for e in (paired_bootstrap(difference, binary=False, seed=s) for s in (0, 0, 1))]
    assert bounds[0] == bounds[1] != bounds[2]


def test_blocks_change_nothing_and_bound_the_memory(monkeypatch):
    difference = np.random.default_rng(33).integers(-1, 2, (400, 3, 5000), dtype=np.int8)  # 16 MB as float64 `[L, N]`
    whole = paired_bootstrap(difference[:20], binary=True, resamples=100)
    monkeypatch.setattr(_bootstrap, "_BYTES", 1 << 18)
    tracemalloc.start()
    cut = paired_bootstrap(difference, binary=True, resamples=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * _bootstrap._BYTES
    for name in ("mean", "low", "high", "standard_error", "p_value"):
        np.testing.assert_allclose(getattr(cut, name)[:20], getattr(whole, name), rtol=1e-9, err_msg=name)


# Families of tests


def test_golden_holm():
    np.testing.assert_allclose(holm(GOLDEN["holm"]["p"]), GOLDEN["holm"]["adjusted"], rtol=1e-12)


def test_holm_is_the_closure_of_bonferroni():
    """The adjusted p-value of a test is the largest Bonferroni p-value of any subfamily that holds it."""
    for p in np.random.default_rng(40).random((20, 5)) ** 3:
        families = [f for size in range(1, 6) for f in itertools.combinations(range(5), size)]
        closed = [max(min(1, len(f) * min(p[list(f)])) for f in families if i in f) for i in range(5)]
        adjusted = holm(p)
        np.testing.assert_allclose(adjusted, closed, rtol=1e-12)
        assert (np.diff(adjusted[np.argsort(p)]) >= 0).all() and (adjusted >= p).all()


def test_holm_keeps_what_was_not_tested_out_of_the_family():
    np.testing.assert_allclose(holm([[0.01, np.nan], [0.04, 0.03]]), [[0.03, np.nan], [0.06, 0.06]])
    assert holm([]).size == 0


# Verdicts


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (-0.02, 0.05, "robust"),
        (0.0, 0.0501, "undecided"),
        (0.05, 0.2, "undecided"),
        (0.0501, 0.2, "fragile"),
        (float("nan"), float("nan"), "undecided"),
        (0.05, 0.05, "robust"),
    ],
)
def test_the_interval_decides(low, high, expected):
    assert verdict(low, high, 0.05) == expected and verdict(low, high, 0.05) is Verdict(expected)


# The door


def test_a_mean_over_scenarios_without_a_change_has_a_width_too():
    """The mean of a stage's settings is no whole number; its interval needs the pseudo-examples all the same."""
    unchanged = paired_bootstrap(np.zeros((3, 600)), binary=True)
    some = np.zeros((3, 600))
    some[:, :30] = 0.2
    changed = paired_bootstrap(some, binary=True)
    assert unchanged.low < 0 < unchanged.high < 0.006
    assert float(changed.mean) == pytest.approx(0.01) and changed.low < 0.01 < changed.high


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: verdict(0, 1, 0), "tolerance"),
        (lambda: verdict(0, 1, 1), "tolerance"),
        (lambda: verdict(0, 1, float("nan")), "tolerance"),
        (lambda: verdict(1, 0, 0.5), "interval_low"),
        (lambda: holm([0.5, 1.5]), "p_values"),
        (lambda: paired_bootstrap(np.zeros(5), binary=False), "difference"),
        (lambda: paired_bootstrap(np.zeros((1, 0)), binary=False), "difference"),
        (lambda: paired_bootstrap(np.zeros((1, 5), bool), binary=True), "difference"),
        (lambda: paired_bootstrap(np.zeros((1, 5), np.uint8), binary=True), "difference"),
        (lambda: paired_bootstrap([[0.0, np.inf]], binary=False), "difference"),
        (lambda: paired_bootstrap([[0.0, -np.inf]], binary=True), "difference"),
        (lambda: paired_bootstrap([[0.0, 2.0]], binary=True), "difference"),
        (lambda: paired_bootstrap([[0.0, 1.0]], binary=True, level=95), "level"),
        (lambda: paired_bootstrap([[0.0, 1.0]], binary=True, resamples=10), "resamples"),
        (lambda: paired_bootstrap([[0.0, 1.0]], binary=True, seed=-1), "seed"),
        (lambda: interaction(np.zeros((1, 5)), np.zeros((1, 4)), np.zeros((1, 5)), binary=False), "a"),
        (lambda: interaction(np.zeros((1, 5)), np.zeros((1, 5)), np.full((1, 5), 2), binary=True), "b"),
        (lambda: interaction(np.ones((1, 5)), np.full((1, 5), -1), np.full((1, 5), -1), binary=True), "interaction"),
    ],
)
def test_refuses(call, argument):
    with pytest.raises(ArgumentError) as error:
        call()
    assert error.value.argument == argument
