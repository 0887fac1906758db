"""Batch detectors: agreement with others, what holds for any verdict, bad input, and error rates."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, chi2, ks_2samp, ncx2, norm, permutation_test

from sensijax.core.errors import ArgumentError
from sensijax.drift import detect
from sensijax.drift.detect import _cells
from sensijax.drift.detect._detection import detectable_shift
from sensijax.drift.detect._drawn import p_value
from sensijax.drift.detect.classifier_test import _classifier, area_under_curve
from sensijax.measure import holm

KEY = jax.random.key(3)
B, B_ENDS = 199, 39
RANKED = (detect.cramer_von_mises, detect.wasserstein, detect.psi, detect.jensen_shannon)
TOGETHER = (detect.mmd, detect.energy, detect.mmd_aggregated, detect.lsdd, detect.classifier)
DRAWN = (*RANKED, *TOGETHER)


@pytest.fixture(scope="module")
def golden(request):
    return np.load(request.config.rootpath / "tests/golden/drift.npz")


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(5)
    return rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) + [[0.5, 0.0]]


@pytest.fixture(scope="module")
def unequal():
    rng = np.random.default_rng(6)
    return rng.normal(size=(50, 2)), rng.normal(size=(20, 2))


# Agreement


def test_ks_is_scipys(golden):
    x, y = golden["x"], golden["y"]
    exact, limit = detect.ks(x, y).features, detect.ks(x, y, exact=False).features
    np.testing.assert_allclose(exact.statistic, golden["ks_statistic"], atol=1e-14)
    np.testing.assert_allclose(exact.p_value, golden["ks_exact"], rtol=1e-12)
    np.testing.assert_allclose(limit.p_value, golden["ks_asymp"], rtol=1e-12)
    np.testing.assert_allclose(limit.p_value, golden["alibi_ks_p"], rtol=1e-6)


def test_ks_with_ties_is_the_permutation_distribution(golden):
    xt, yt = golden["xt"], golden["yt"]
    p = detect.ks(xt, yt).p_value
    assert p < ks_2samp(xt, yt, method="exact").pvalue / 1.2  # which is that of continuous data: too large

    def statistic(x, y, axis):
        steps = np.arange(15)
        shares = [(v[..., None] <= steps).mean(axis=-2) for v in (x, y)]
        return np.abs(shares[0] - shares[1]).max(axis=-1)

    rng = np.random.default_rng(0)
    drawn = permutation_test((xt, yt), statistic, n_resamples=4000, alternative="greater", rng=rng, vectorized=True)
    assert abs(p - drawn.pvalue) < 3.3 * np.sqrt(p * (1 - p) / 4000)  # fails by chance once in 1,000 seeds


def test_distances_are_scipys(golden):
    x, y = golden["x"], golden["y"]
    mises = detect.cramer_von_mises(x, y).features
    np.testing.assert_allclose(mises.statistic, golden["cvm_statistic"], rtol=1e-10)
    np.testing.assert_allclose(mises.p_value, golden["cvm_p"], rtol=1e-10)
    moved = detect.wasserstein(x, y, key=KEY, permutations=99).features
    np.testing.assert_allclose(moved.statistic, golden["wasserstein"], rtol=1e-12)
    for j in range(3):
        found = detect.energy(x[:, j], y[:, j], key=KEY, permutations=B).statistic
        np.testing.assert_allclose(np.sqrt(found), golden["energy"][j], atol=2e-6)
    bits = detect.jensen_shannon(golden["xt"], golden["yt"], key=KEY, bins=12).statistic
    np.testing.assert_allclose(bits, golden["jensen_shannon"], rtol=1e-12)


def test_chi_squared_is_scipys_and_alibi_detects(golden):
    found = detect.chi2(np.minimum(golden["xt"], 4), np.minimum(golden["yt"], 4))
    np.testing.assert_allclose([found.statistic, found.p_value], golden["chi2"], rtol=1e-12)
    np.testing.assert_allclose(found.p_value, golden["alibi_chi2_p"][0], rtol=1e-6)


@pytest.mark.parametrize("width", (0.5, 1.0, 3.0))
def test_mmd_is_alibi_detects(golden, width):
    found = detect.mmd(golden["x"], golden["y"], key=KEY, bandwidth=width, permutations=B)
    np.testing.assert_allclose(found.statistic, golden[f"mmd2_{width}"], atol=1e-6)


def test_mmd_at_the_width_that_alibi_detect_chooses(golden):
    # Which is the median one of the reference alone: a width that swaps of the labels would change.
    found = detect.mmd(golden["x"], golden["y"], key=KEY, bandwidth=golden["alibi_width"][()], permutations=B)
    np.testing.assert_allclose(found.statistic, golden["alibi_mmd_own"], atol=1e-6)


def test_psi_is_its_golden_number(request):
    golden = statistics(request)["psi"]
    x, y = (np.repeat(np.arange(10), np.rint(100 * np.array(golden[side])).astype(int)) for side in "pq")
    assert round(detect.psi(x, y, key=KEY).statistic, 7) == golden["value"] == 0.1098612


def statistics(request):
    return json.loads((request.config.rootpath / "tests/golden/statistics.json").read_text())


def test_the_rule_of_thumb_for_psi_fires_as_often_as_the_golden_numbers_say(request):
    # Golden: P(PSI > 0.1) = 0.87 at n = 100 and 0.36 at n = 200. 500 draws: 3.3 standard errors, once in 1,000 seeds.
    rng = np.random.default_rng(1)
    for name, rate in statistics(request)["psi_under_null_10_quantile_bins"]["P(psi>0.1)"].items():
        n = int(name.removeprefix("n="))
        index = detect.psi(rng.normal(size=(n, 500)), rng.normal(size=(n, 500)), alpha=0.5, key=KEY).features
        assert abs((index.statistic > 0.1).mean() - rate) < 3.3 * np.sqrt(rate * (1 - rate) / 500) + 0.01
    assert index.statistic.mean() == pytest.approx(2 / n * 9, rel=0.1)  # its approximate mean, at n = 500


# The machinery


def test_pairs_and_all_labels_give_the_same_mmd(pair, unequal):
    for x, y in (pair, unequal):
        n, m, w = len(x), len(y), 0.8

        def k(a, b, w=w):
            return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * w * w))

        by_hand = (k(x, x).sum() - n) / (n * (n - 1)) + (k(y, y).sum() - m) / (m * (m - 1)) - 2 * k(x, y).mean()
        found = detect.mmd(x, y, key=KEY, bandwidth=w, permutations=B)
        np.testing.assert_allclose(found.statistic, by_hand, atol=2e-7)


@pytest.mark.parametrize("n, m", ((40, 40), (50, 20), (20, 50), (3, 4)))
def test_a_labeling_gives_every_row_a_turn_and_keeps_the_sizes(n, m):
    a = np.asarray(jax.jit(_cells.labels, static_argnums=(1, 2, 3))(KEY, n, m, B))
    assert a.shape == (n + m, 1 + B) and set(np.unique(a)) <= {0.0, 1.0}
    np.testing.assert_array_equal(a.sum(axis=0), m)
    np.testing.assert_array_equal(a[:, 0], [0] * n + [1] * m)
    # Each row is the sample's with probability m / N (1/2 of cells of two, ...); 5 standard errors over all rows.
    sizes = _cells.sizes(n, m)
    share = m / (n + m) if not _cells.by_cells(n, m) else None
    for i, rate in enumerate(a[:, 1:].mean(axis=1)):
        cell = (i if i < n else i - n) % min(n, m)
        expected = share or (1 / sizes[cell] if m <= n else 1 - 1 / sizes[cell])
        assert abs(rate - expected) < 5 * np.sqrt(expected * (1 - expected) / B)


def test_more_permutations_only_add(pair):
    signs = jax.jit(_cells.signs, static_argnums=(1, 2))
    np.testing.assert_array_equal(signs(KEY, 40, 50), np.asarray(signs(KEY, 40, 90))[:, :51])


def test_the_area_under_the_curve_counts_ties_half():
    s = jnp.array([[0.0], [1.0], [1.0], [2.0]])
    y = jnp.array([[0.0], [0.0], [1.0], [1.0]])
    assert float(area_under_curve(s, y)[0]) == pytest.approx(7 / 8)
    assert float(area_under_curve(0 * s, y)[0]) == 0.5


@pytest.mark.parametrize("detector", (detect.psi, detect.jensen_shannon))
def test_the_null_of_binned_distances_without_a_key_is_that_of_permutations(detector):
    """Five features of 500 rows: p-values to within 4 standard errors of 999 permutations, and 0.02 of the limit."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 500, 5))
    limit, drawn = (detector(x, y, key=key, permutations=999).features.p_value for key in (None, KEY))
    assert (np.abs(limit - drawn) < 4 * np.sqrt(drawn * (1 - drawn) / 999) + 0.02).all()


def test_bins_hold_ties_together_and_each_feature_has_its_own_null():
    rng = np.random.default_rng(5)
    tied, free = np.round(rng.normal(size=(2, 60, 1)), 1), rng.normal(size=(2, 60, 1))
    alone = detect.psi(*tied, key=KEY, permutations=B)
    beside = detect.psi(*np.concatenate([free, tied], axis=2), key=KEY, permutations=B).features
    assert beside.p_value[1] == alone.p_value and beside.statistic[1] == alone.statistic
    assert detect.psi(tied[0][::-1], tied[1][::-1], key=KEY, permutations=B).statistic == alone.statistic
    assert float(detect.stability_index([10, 0], [5, 5])) == pytest.approx(0.5 * np.log(2) + 0.45 * np.log(10))


@pytest.mark.parametrize("d", (1, 5))
def test_the_detectable_shift_has_the_power_that_it_says(d):
    shift = detectable_shift(30, 60, 0.05, d, together=True)
    assert ncx2.sf(chi2.isf(0.05, d), d, shift**2 / (1 / 30 + 1 / 60)) == pytest.approx(0.8)
    apart = detectable_shift(30, 60, 0.05, d) / np.sqrt(1 / 30 + 1 / 60)
    assert norm.sf(norm.isf(0.025 / d) - apart) == pytest.approx(0.8)


# What holds for any verdict


@pytest.mark.parametrize("detector", DRAWN)
def test_drift_is_a_statistic_above_the_threshold_and_the_key_decides(detector, pair):
    x, y = pair
    found, again = (detector(x, y, key=KEY, permutations=B) for _ in range(2))
    assert (found.statistic, found.p_value, found.threshold) == (again.statistic, again.p_value, again.threshold)
    assert found.drift == (found.statistic > found.threshold) == (found.p_value <= 0.05)
    assert 1 / (B + 1) <= found.p_value <= 1
    assert found.null == f"{B} permutations" and (found.n, found.m) == (40, 40)


@pytest.mark.parametrize("detector", DRAWN)
def test_a_large_shift_has_the_smallest_p_value_and_never_zero(detector, pair):
    x, _ = pair
    d = 2 if detector in RANKED else 1
    found = detector(x, x + 5, key=KEY, permutations=B)
    assert found.drift and found.p_value == pytest.approx(d / (B + 1))


@pytest.mark.parametrize("detector", (detect.ks, detect.chi2, detect.cramer_von_mises))
def test_thresholds_without_permutations(detector):
    rng = np.random.default_rng(2)
    for shift in np.linspace(0, 1.2, 7):
        x, y = rng.normal(size=60), rng.normal(shift, size=60)
        if detector is detect.chi2:
            x, y = x > 0.3, y > 0.3
        found = detector(x, y)
        assert found.drift == (found.statistic > found.threshold)


def test_constant_data_are_no_drift_and_say_so():
    one = np.ones((40, 2))  # the shape of `pair`, for which programs are compiled already
    for detector in (*DRAWN, detect.chi2):
        given = one.astype(int) if detector is detect.chi2 else one
        found = detector(given, given, key=KEY, permutations=B)
        assert not found.drift and found.p_value == 1 and "constant" in found.status, detector


def test_too_few_rows_are_said():
    assert "too few rows" in detect.ks([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]).status
    assert "too few rows" in detect.mmd([1.0, 2.0], [4.0, 5.0], key=KEY, permutations=B).status
    assert "too few rows" in detect.mmd([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], key=KEY, permutations=B).status  # 10 splits
    four = np.arange(8.0).reshape(2, 4, 1)  # the smallest p is 2/70: enough for one feature, not for two
    assert detect.ks(*four).status == "ok" and "too few rows" in detect.ks(*four.repeat(2, axis=2)).status
    assert "0.4 standard deviations" in detect.ks(np.arange(100.0), np.arange(100.0)).power_note


def test_features_are_corrected(pair):
    x, y = pair
    found = detect.ks(x, y)
    np.testing.assert_array_equal(found.features.adjusted, holm(found.features.p_value))
    assert found.p_value == found.features.adjusted.min()
    assert found.statistic == found.features.statistic[found.features.p_value.argmin()]
    less = detect.ks(x, y, correction=detect.benjamini_hochberg).features
    assert (less.adjusted <= found.features.adjusted).all()


def test_representation_sees_the_layer_only(pair):
    x, y = pair
    second = detect.representation(detect.ks, lambda rows: rows[:, 1:], batch=7)
    assert second(x, y).p_value == detect.ks(x[:, 1].astype(np.float32), y[:, 1].astype(np.float32)).p_value
    assert (second(x, y[:20]).n, second(x, y[:20]).m) == (40, 20)


# Bad input


@pytest.mark.parametrize("detector", (detect.ks, *DRAWN))
def test_bad_samples_are_refused(detector, pair):
    x, y = pair
    options = {} if detector is detect.ks else {"key": KEY}
    bad = x.copy()
    bad[3, 1] = np.nan
    for arguments, words in (
        ((bad, y), "`reference`: got 1 of 40 rows with NaN"),
        ((x, y[:, :1]), "`sample`: got shape"),
        ((x, np.zeros((0, 2))), "rows"),
        ((x, y.astype(str)), "dtype"),
        ((x[:, :, None], y), "shape"),
    ):
        with pytest.raises(ArgumentError, match=words):
            detector(*arguments, **options)
    with pytest.raises(ArgumentError, match="alpha"):
        detector(x, y, alpha=0.0, **options)
    with pytest.raises(ArgumentError, match="`sample`: got rows of different lengths"):
        detector(x, [[1.0, 2.0], [3.0]], **options)
    if detector in TOGETHER:  # which see distances: an overflow would look like no drift
        with pytest.raises(ArgumentError, match="squares are finite"):
            detector(x * 1e200, y * 1e200, **options)


@pytest.mark.parametrize(
    "p, q, argument",
    [
        ([0, 0], [1, 1], "p_counts"),
        ([1, 1], [-1, 2], "q_counts"),
        ([np.nan, 1], [1, 1], "p_counts"),
        ([1, 1], [1, 1, 1], "q_counts"),
    ],
)
def test_histograms_that_are_none_are_refused(p, q, argument):
    with pytest.raises(ArgumentError) as error:
        detect.stability_index(p, q)
    assert error.value.argument == argument


@pytest.mark.parametrize("p_values", ([[0.1, 0.2]], ["a"], [np.nan]))
def test_p_values_that_are_none_are_refused(p_values):
    with pytest.raises(ArgumentError, match="`p_values`"):
        detect.benjamini_hochberg(p_values)


@pytest.mark.parametrize("detector", DRAWN)
def test_permutations_that_could_never_reject_are_refused(detector, pair):
    with pytest.raises(ArgumentError, match="`permutations`: got 18"):
        detector(*pair, key=KEY, permutations=18)
    with pytest.raises(ArgumentError, match="`key`"):
        detector(*pair, key=0)
    if detector in RANKED:  # two features are corrected together
        with pytest.raises(ArgumentError, match="`permutations`: got 38"):
            detector(*pair, key=KEY, permutations=38)


def test_a_key_is_asked_for_where_the_limit_is_off():
    tied = [1.0] * 10 + [2.0] * 10
    for detector, x, y in (
        (detect.cramer_von_mises, tied, tied),
        (detect.psi, np.arange(20.0), np.arange(20.0)),
        (detect.chi2, [0, 1, 2], [0, 1, 1]),
    ):
        with pytest.raises(ArgumentError, match="`key`: got None"):
            detector(x, y)
    with pytest.raises(ArgumentError, match="categories"):
        detect.chi2([0.5, 1.5], [0.5, 0.5])


# Error rates


@pytest.mark.parametrize("discrete", (False, True))
@pytest.mark.parametrize("detector", (detect.ks, *DRAWN))
def test_false_positives_stay_in_the_binomial_band(detector, discrete):
    """150 pairs without drift. A right test fails here once in 1,000 seeds."""
    rng, fired, runs = np.random.default_rng(7), 0, 150
    for i in range(runs):
        x, y = rng.normal(size=(2, 40, 2))
        if discrete:
            x, y = np.round(x), np.round(y)
        options = {} if detector is detect.ks else {"key": jax.random.key(i), "permutations": B}
        fired += detector(x, y, **options).drift
    low, high = binom.ppf([0.0005, 0.9995], runs, 0.05)
    assert fired <= high
    # Holm over two features, and discrete statistics, may fire less often than alpha: the lower edge is for the rest.
    assert fired >= low or discrete or detector in (detect.ks, *RANKED)


def test_every_permutation_of_the_classifier_test_trains_anew():
    """300 pairs without drift, two folds, 8 features: 4 of 40 p-values lie at the ends. Fails once in 1,000 seeds.

    Each fold scores the other with what it has itself: under the real labels the areas of both folds go together, and
    permuted labels that are judged by a classifier trained on the real ones do not show it (ends twice as full).
    """

    def p(key):
        x, y = jax.random.normal(jax.random.fold_in(key, 1), (2, 40, 8))
        statistics, slack, _ = _classifier(key, x, y, B_ENDS, detect.Logistic(), 2, True)
        return p_value(statistics, slack)

    found = np.asarray(jax.jit(jax.vmap(p))(jax.random.split(jax.random.key(11), 300)))
    low, high = binom.ppf([0.0005, 0.9995], 300, 0.1)
    assert low <= ((found < 2.5 / 40) | (found > 38.5 / 40)).sum() <= high
