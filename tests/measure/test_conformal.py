"""Conformal sets: exact by hand, and their coverage over 2,000 calibrations has the law that theory gives it.

Coverage given calibration is Beta(k, n + 1 - k): its mean over R = 2,000 draws is held to 4 standard errors, which a
right procedure leaves in about 1 run of 16,000.
"""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest

from sensijax.core import ArgumentError
from sensijax.measure import conformal

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "statistics.json").read_text())["split_conformal"]
KEY = jax.random.key(3)
K = 4


def examples(rng, n, prior=None):
    """Right probabilities under equal classes, and labels of a prior."""
    labels = rng.choice(K, n, p=prior)
    x = rng.normal(size=(n, K)) + 1.5 * np.eye(K)[labels]
    odds = np.exp(1.5 * x)
    return odds / odds.sum(axis=1, keepdims=True), labels


def make(method, probs, labels, alpha, key=None, ratio=None):
    if method == "lac":
        return conformal.lac(probs, labels, alpha, ratio=ratio)
    if method == "aps":
        return conformal.aps(probs, labels, alpha, key=key, ratio=ratio)
    return conformal.raps(probs, labels, alpha, penalty=0.1, k_reg=1, key=key, ratio=ratio)


def test_the_place_of_the_threshold():
    assert conformal.rank_of(GOLDEN["n"], GOLDEN["alpha"]) == GOLDEN["k"]
    low, high = GOLDEN["coverage_interval"]
    assert low <= GOLDEN["k"] / (GOLDEN["n"] + 1) <= high
    assert [conformal.rank_of(n, a) for n, a in ((9, 0.1), (99, 0.05), (9, np.float32(0.3)), (999, 0.007))] == [
        9, 95, 7, 993,
    ]  # fmt: skip


def test_scores_by_hand():
    probs, labels = np.array([[0.2, 0.5, 0.3]]), np.array([0])
    assert make("lac", probs, labels, 0.5).scores == pytest.approx([0.8])
    assert make("aps", probs, labels, 0.5).scores == pytest.approx([1.0])
    assert make("raps", probs, labels, 0.5).scores == pytest.approx([1.2])  # rank 3: two beyond k_reg
    drawn = make("aps", probs, labels, 0.5, KEY).scores
    assert 0.8 <= drawn[0] < 1.0
    assert make("raps", probs, labels, 0.5, KEY).scores == pytest.approx(drawn + 0.2)


def test_sets_by_hand():
    probs = np.tile([[0.2, 0.5, 0.3]], (9, 1))
    labels = np.repeat([1, 2], [7, 2])
    assert make("lac", probs, labels, 0.3).sets(probs[:1]).tolist() == [[False, True, False]]
    assert make("lac", probs, labels, 0.2).sets(probs[:1]).tolist() == [[False, True, True]]
    assert make("aps", probs, labels, 0.2).sets([[0.1, 0.1, 0.8]]).tolist() == [[False, False, True]]
    assert make("aps", probs, labels, 0.3).sets([[0.1, 0.1, 0.8]]).sum() == 0  # none is forced in


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_lac_is_that_of_mapie(alpha):
    golden = np.load(pathlib.Path(__file__).parents[1] / "golden" / "mapie.npz")
    probs, labels = golden["probs"], golden["labels"]
    predictor = conformal.lac(probs[:100], labels[:100], alpha)
    assert predictor.threshold == pytest.approx(golden[f"lac {alpha} threshold"].item(), abs=1e-12)
    np.testing.assert_array_equal(predictor.sets(probs[100:]), golden[f"lac {alpha}"])


@pytest.mark.parametrize("alpha", [0.1, 0.2])
@pytest.mark.parametrize("method", ["aps", "raps"])
def test_adaptive_sets_are_those_of_mapie_with_its_draws(method, alpha, monkeypatch):
    """All three of its rules, exactly: it takes a share u off the last class where ours takes 1 - u."""
    golden = np.load(pathlib.Path(__file__).parents[1] / "golden" / "mapie.npz")
    probs, labels = golden["adaptive probs"] / 65536, golden["adaptive labels"].astype(np.int64)
    theirs = {
        rule: np.unpackbits(golden[f"{method} {alpha} {rule}"], count=3600).reshape(600, 6).astype(bool)
        for rule in ("randomized", "True", "False")
    }

    def fitted(key):
        if method == "aps":
            return conformal.aps(probs[:400], labels[:400], alpha, key=key)
        rows = golden["raps kept"]  # the others chose penalty and rank
        penalty, k_reg = golden[f"raps {alpha} randomized chosen"]
        return conformal.raps(probs[rows], labels[rows], alpha, penalty=penalty, k_reg=int(k_reg), key=key)

    with monkeypatch.context() as drawn:
        shares = lambda key, ids, n, purpose: None if key is None else 1 - np.random.RandomState(7).uniform(size=n)  # noqa: E731
        drawn.setattr("sensijax.measure.conformal._sets._uniforms", shares)
        predictor = fitted(KEY)
        randomised = predictor.sets(probs[400:], KEY)
    assert predictor.threshold == pytest.approx(golden[f"{method} {alpha} randomized threshold"].item(), abs=1e-12)
    np.testing.assert_array_equal(randomised, theirs["randomized"])
    # Its other rules put classes that count in full against the same threshold: up to it, and one beyond it.
    within = dataclasses.replace(predictor, randomised=False).sets(probs[400:])
    place = np.argsort(np.argsort(-probs[400:], axis=1), axis=1)
    np.testing.assert_array_equal(within | (place == 0), theirs["False"])
    np.testing.assert_array_equal(place <= within.sum(axis=1)[:, None], theirs["True"])
    # Ours, without a key, counts in full at calibration too: the threshold is higher, and the coverage what it should.
    ours = fitted(None)
    found = ours.coverage(probs[400:], labels[400:], level=0.99)
    share = {rule: sets[np.arange(600), labels[400:]].mean() for rule, sets in theirs.items()}
    assert ours.threshold > predictor.threshold + 0.04
    assert found.band[0] <= found.coverage <= found.band[1]
    assert share["False"] < found.coverage < share["True"] and share["False"] < 1 - alpha < share["True"]
    expected = {
        ("aps", 0.1): (0.955017, 0.905, 3.178),
        ("aps", 0.2): (0.906418, 0.822, 2.415),
        ("raps", 0.1): (0.954346, 0.902, 3.112),
        ("raps", 0.2): (0.894272, 0.788, 2.252),
    }[method, alpha]
    assert (ours.threshold, found.coverage, found.mean_size) == pytest.approx(expected, abs=5e-4)


def test_weighted_coverage_by_hand():
    predictor = make("aps", np.tile([[0.6, 0.3, 0.1]], (9, 1)), np.repeat([0, 1], [5, 4]), 0.3)
    assert predictor.threshold == pytest.approx(0.9)
    found = predictor.coverage([[0.6, 0.3, 0.1], [0.95, 0.03, 0.02], [0.7, 0.25, 0.05]], [1, 0, 0], weights=[2, 1, 1])
    assert (found.coverage, found.mean_size, found.empty) == pytest.approx((0.75, 1.25, 0.25))
    assert found.n_effective == pytest.approx(16 / 6) and np.isnan(found.band[0])


def test_the_last_class_has_gathered_everything_whatever_rounding_says():
    tenths = np.full((20, 10), 0.1)  # their sum is 1 - 2^-53
    predictor = make("aps", tenths, np.full(20, 9), 0.1)
    assert predictor.threshold == 1 and predictor.sets([[0.5, 0.5] + [0.0] * 8]).all()


def test_an_example_draws_apart_at_calibration_and_at_prediction():
    """With one draw for both, k of the n calibration examples would be covered, always."""
    probs, labels = examples(np.random.default_rng(11), 50)
    keys = [jax.random.key(i) for i in range(4)]
    made = [(make("aps", probs, labels, 0.2, key), key) for key in keys]
    assert any(round(p.coverage(probs, labels, key=key).coverage * 50) != p.k for p, key in made)


def test_ties_of_the_last_class_are_ties():
    """Sums are 1 up to rounding: its score is 1 in every row, so a threshold of 1 holds every class."""
    probs, _ = examples(np.random.default_rng(10), 200)
    predictor = make("aps", probs, probs.argmin(axis=1), 0.1)
    assert predictor.threshold == 1 and predictor.sets(probs).all()


def test_draws_are_addressed():
    probs, labels = examples(np.random.default_rng(0), 50)
    predictor = make("aps", probs, labels, 0.2, KEY)
    whole = predictor.sets(probs, KEY)
    np.testing.assert_array_equal(predictor.sets(probs[30:7:-1], KEY, np.arange(30, 7, -1)), whole[30:7:-1])
    assert (predictor.sets(probs, jax.random.key(4)) != whole).any()


@pytest.mark.parametrize("method, key", [("lac", None), ("aps", KEY), ("aps", None), ("raps", KEY)])
def test_coverage_of_exchangeable_examples(method, key):
    """Many calibrations out of one pool: mean coverage between 1 - alpha and that plus 1/(n + 1)."""
    rng = np.random.default_rng(1)
    runs, n, alpha = 2000, 40, 0.1
    probs, labels = examples(rng, runs * (n + 1))
    pool = make(method, probs, labels, alpha, key)
    every = np.random.default_rng(2).permutation(pool.scores).reshape(runs, n + 1)  # exchangeable by construction
    k = conformal.rank_of(n, alpha)
    held = every[:, -1] <= np.sort(every[:, :-1], axis=1)[:, k - 1]
    assert abs(held.mean() - k / (n + 1)) < 4 * np.sqrt(0.09 / runs)
    # and the sets of new examples hold their class as often as the threshold of a large pool says
    fresh, truth = examples(rng, 4000)
    found = pool.coverage(fresh, truth, key=key, level=0.999)
    assert found.low <= 1 - alpha <= found.high and found.band[0] <= found.coverage <= found.band[1]


def test_prior_shift_breaks_the_promise_and_ratios_keep_it():
    rng = np.random.default_rng(5)
    prior = np.array([0.05, 0.05, 0.1, 0.8])
    probs, labels = examples(rng, 6000)
    probs = probs * np.array([4.0, 2.0, 1.0, 0.3])  # a model that shuns the class which becomes frequent
    probs /= probs.sum(axis=1, keepdims=True)
    fresh, truth = examples(rng, 6000, prior)
    fresh = fresh * np.array([4.0, 2.0, 1.0, 0.3])
    fresh /= fresh.sum(axis=1, keepdims=True)
    plain = conformal.lac(probs, labels, 0.1).coverage(fresh, truth)
    weighted = conformal.lac(probs, labels, 0.1, ratio=K * prior[labels])
    found = weighted.coverage(fresh, truth, ratio=np.tile(K * prior, (6000, 1)))
    assert plain.coverage < 0.85 and abs(found.coverage - 0.9) < 4 * np.sqrt(2 * 0.09 / 2000)
    # importance weights of the old examples see the same loss
    counted = conformal.lac(probs, labels, 0.1).coverage(probs, labels, weights=prior[labels])
    assert abs(counted.coverage - plain.coverage) < 0.03 and counted.n_effective < 3000


def test_ratios_of_one_change_nothing():
    probs, labels = examples(np.random.default_rng(6), 99)
    for alpha in (0.05, 0.1, 0.3, 0.5):
        plain, weighted = conformal.lac(probs, labels, alpha), conformal.lac(probs, labels, alpha, ratio=np.ones(99))
        assert plain.threshold == weighted.threshold
        np.testing.assert_array_equal(weighted.sets(probs, ratio=np.ones(99)), plain.sets(probs))


def test_too_few_examples_say_so():
    probs, labels = examples(np.random.default_rng(7), 8)
    predictor = conformal.lac(probs, labels, 0.1)
    assert predictor.status == "too few examples" and predictor.sets(probs).all()
    assert predictor.coverage(probs, labels).band == (1.0, 1.0)
    assert conformal.lac(probs, labels, 0.2).status == "ok"


def test_regression_intervals_hold_the_target():
    rng = np.random.default_rng(8)
    y, new = rng.normal(size=(2, 4000))
    low, high = conformal.absolute(np.zeros(4000), y, 0.1).intervals(np.zeros(4000))
    assert abs(((low <= new) & (new <= high)).mean() - 0.9) < 4 * np.sqrt(2 * 0.09 / 4000)
    wide = conformal.cqr(np.full(4000, -3.0), np.full(4000, 3.0), y, 0.1)
    assert wide.margin == pytest.approx(1.645 - 3, abs=0.1)
    assert conformal.absolute(np.zeros(8), y[:8], 0.1).status == "too few examples"


P, Y = examples(np.random.default_rng(9), 20)


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: conformal.lac(P, Y, 0), "alpha"),
        (lambda: conformal.lac(P, Y[1:], 0.1), "labels"),
        (lambda: conformal.lac(P, Y + K, 0.1), "labels"),
        (lambda: conformal.lac(2 * P, Y, 0.1), "probs"),
        (lambda: conformal.lac(P / 2, Y, 0.1), "probs"),
        (lambda: conformal.lac(P, Y, 0.1, ratio=np.zeros(20)), "ratio"),
        (lambda: conformal.lac(P, Y, 0.1, ratio=np.ones(20)).sets(P), "ratio"),
        (lambda: conformal.lac(P, Y, 0.1).sets(P, ratio=np.ones(20)), "ratio"),
        (lambda: conformal.lac(P, Y, 0.1).sets(P, KEY), "key"),
        (lambda: conformal.aps(P, Y, 0.1, key=KEY).sets(P), "key"),
        (lambda: conformal.aps(P, Y, 0.1, key=KEY, ids=[1]), "ids"),
        (lambda: conformal.raps(P, Y, 0.1, penalty=-1, k_reg=1), "penalty"),
        (lambda: conformal.lac(P, Y, 0.1).coverage(P, Y, np.zeros(20)), "weights"),
        (lambda: conformal.lac(P, Y, 0.1).sets(P[:, :2]), "probs"),
        (lambda: conformal.cqr([1.0], [0.0], [0.0], 0.1), "low"),
        (lambda: conformal.absolute([np.nan], [0.0], 0.1), "prediction"),
    ],
)
def test_refuses(call, argument):
    with pytest.raises(ArgumentError) as error:
        call()
    assert error.value.argument == argument
