"""Labels that a crowd voted on: nested votes, rates in their bands, known majorities, aggregations, agreement."""

import jax
import numpy as np
import pytest
from scipy.stats import binom

from sensijax import label
from sensijax.core import ArgumentError, Dataset
from sensijax.label.aggregation._votes import read_votes

N, K, D = 3000, 4, 6
KEY = jax.random.key(8)
RATES = (0.1, 0.3, 0.6, 1.0)
MIXED = {"careful": 3, "spammers": 1, "adversaries": 1, "abstain": 0.3, "difficulty": 0.6}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    y = np.arange(N) % K
    x = rng.normal(size=(N, D)) + 1.5 * np.eye(K, D)[y]
    return Dataset(x.astype(np.float32), y, ids=rng.permutation(10 * N)[:N])


@pytest.fixture(scope="module")
def at(data):
    """The mixed crowd at every rate, and what its majority wrote."""
    noises = {rate: label.CrowdVote(rate=np.float32(rate), **MIXED).fit(data.x, data.y, K) for rate in (0.0, *RATES)}
    return {rate: (noise, noise(KEY, data.y, data.x, ids=data.ids)) for rate, noise in noises.items()}


def test_votes_and_their_majority_stay_wrong_as_the_rate_grows(data, at):
    noise, clean = at[0.0]
    assert noise.is_identity() and not np.asarray(clean.wrong).any() and not np.asarray(clean.probability).any()
    before, wrong = np.asarray(clean.votes), np.asarray(clean.wrong)
    for rate in RATES:
        result = at[rate][1]
        said = np.asarray(result.votes)
        was_wrong = (before >= 0) & (before != data.y[:, None])
        np.testing.assert_array_equal(said[was_wrong], before[was_wrong])  # the same wrong vote
        assert (np.asarray(result.wrong) >= wrong).all() and result.wrong.sum() > wrong.sum()
        before, wrong = said, np.asarray(result.wrong)
    np.testing.assert_array_equal(result.labels, label.majority(said, K).labels)


def test_each_annotator_errs_and_skips_as_the_own_rate_says(data, at):
    """Errors and gaps of 5 annotators in their binomial bands, 99.9 % family-wise; nobody's item has no vote."""
    noise, result = at[0.3]
    said, rates, tail = np.asarray(result.votes), np.asarray(noise.error_rates(KEY), np.float64), 0.001 / 20
    assert abs(rates[:3].mean() - 0.3) < 1e-6 and rates[3] == 1 - 1 / K and rates[4] == 1
    assert (said >= 0).any(axis=1).all()
    for a, rate in enumerate(rates):
        voted = said[:, a] >= 0
        low, high = binom.ppf([tail, 1 - tail], voted.sum(), rate)
        assert low <= (said[voted, a] != data.y[voted]).sum() <= high
        low, high = binom.ppf([tail, 1 - tail], N, 0.7 + 0.3**5 / 5)  # what nobody wants has a taker
        assert low <= voted.sum() <= high
    np.testing.assert_array_equal(said[:, 4][said[:, 4] >= 0], (data.y[said[:, 4] >= 0] + 1) % K)
    crowd = noise.crowd(KEY)
    np.testing.assert_allclose(1 - np.diagonal(crowd.confusion, axis1=1, axis2=2).mean(axis=1), rates, atol=1e-6)
    assert crowd.kinds == ("careful",) * 3 + ("spammer", "adversary")


def test_the_careful_slip_where_it_is_hard(data, at):
    noise, _ = at[0.3]
    right = np.asarray(noise.votes(KEY, data.y, data.x, ids=data.ids).accuracy, np.float64)
    hard = label.difficulty(data.x, data.y)
    rates = np.asarray(noise.error_rates(KEY), np.float64)
    expected = np.clip(rates[:3] * (1 + 0.6 * (2 * hard[:, None] - 1)), 0, 1)
    np.testing.assert_allclose(1 - right[:, :3], expected, atol=1e-5)
    np.testing.assert_allclose(1 - right[:, 3:], np.tile(rates[3:], (N, 1)), atol=1e-6)


def test_the_majority_of_equal_annotators_has_the_known_rate(data):
    noise = label.CrowdVote(rate=0.3, spread=0.0, careful=3, classes=K)
    rate = float(label.CrowdMajority(error=0.3, voters=3, classes=K).effective_rate())
    wrong = np.asarray(noise(KEY, data.y, ids=data.ids).wrong)
    # Ties go to the smallest class, so classes differ, and their mean does not.
    assert abs(wrong.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / N)
    T = noise.transition(KEY, data.y, ids=data.ids)
    np.testing.assert_allclose(T.sum(axis=1), 1)
    assert abs(1 - np.diag(T).mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / (8 * N))
    assert 1 - T[0, 0] < 1 - T[3, 3]


@pytest.mark.parametrize("options", [{}, MIXED, {"careful": 6, "per_item": 2}])
def test_a_vote_depends_on_its_id_and_annotator_alone(data, options):
    noise = label.CrowdVote(rate=0.4, **options).fit(data.x, data.y, K)
    whole = noise(KEY, data.y, data.x, ids=data.ids)
    part = np.random.default_rng(0).permutation(N)
    back = noise(KEY, data.y[part], data.x[part], ids=data.ids[part])
    np.testing.assert_array_equal(back.votes, np.asarray(whole.votes)[part])
    np.testing.assert_array_equal(back.labels, np.asarray(whole.labels)[part])
    if "per_item" in options:
        assert ((np.asarray(whole.votes) >= 0).sum(axis=1) == 2).all()


def test_dawid_skene_finds_out_whom_to_trust(data):
    """Three careful annotators against two spammers and two adversaries: the majority is misled, the model is not."""
    crowd = {"careful": 4, "spammers": 2, "adversaries": 2, "classes": K}
    wrong = {}
    for aggregate in (label.Majority(), label.DawidSkene(), label.OneCoin(), "dawid_skene"):
        noise = label.CrowdVote(rate=0.2, aggregate=aggregate, **crowd)
        result = noise(KEY, data.y, ids=data.ids)
        wrong[aggregate] = float(result.wrong.mean())
        assert 0 <= float(result.probability.min()) and float(result.probability.max()) <= 1
    assert wrong["dawid_skene"] == wrong[label.DawidSkene()] < wrong[label.Majority()] / 2
    found = label.DawidSkene()(result.votes, K)
    np.testing.assert_array_equal(result.labels, found.labels)
    np.testing.assert_allclose(result.probability, 1 - found.posterior[np.arange(N), data.y], atol=1e-6)


def test_tables_with_gaps_in_other_places_share_a_program():
    shapes = set()
    for seed in range(6):
        votes = np.asarray(
            label.Crowd.of_accuracy([0.8] * 4, 3, abstain=0.1)(jax.random.key(seed), np.arange(400) % 3).votes
        )
        read = read_votes(votes, 3)
        shapes.add(read.item.shape)
        assert float(read.count) == (votes >= 0).sum() <= len(read.item) <= votes.size
        if seed > 1:  # each length of triples is a program of its own
            continue
        triple = (*np.nonzero(votes >= 0), votes[votes >= 0])
        np.testing.assert_array_equal(label.majority(votes, 3).posterior, label.majority(triple, 3).posterior)
        assert (
            label.krippendorff_alpha(votes, 3, resamples=1).value
            == label.krippendorff_alpha(triple, 3, resamples=1).value
        )
    assert len(shapes) == 1


def test_annotators_who_err_alike_agree_as_theory_says(data):
    """Alpha of symmetric errors is (1 - e K / (K - 1))^2 with balanced classes; of majorities' voters that of one."""
    for rate in (0.1, 0.4):
        theory = (1 - rate * K / (K - 1)) ** 2
        for noise in (label.Symmetric(rate=rate, classes=K), label.CrowdMajority(error=rate, voters=3, classes=K)):
            votes = noise.votes(KEY, data.y, ids=data.ids)
            found = label.krippendorff_alpha(votes, K, resamples=50)
            assert votes.votes.shape == (N, 5) and abs(found.value - theory) < 0.03
            assert noise.crowd(KEY) is None
    same = label.Symmetric(rate=0.0, classes=K).votes(KEY, data.y, ids=data.ids)
    assert label.krippendorff_alpha(same, K, resamples=1).value == 1


def test_what_one_of_several_annotators_wrote_is_among_their_votes(data):
    noise = label.OneAnnotator(rate=0.3, annotators=4, classes=K)
    result, votes = noise(KEY, data.y, ids=data.ids), noise.votes(KEY, data.y, ids=data.ids)
    said = np.asarray(votes.votes)
    np.testing.assert_array_equal(said[np.arange(N), np.asarray(result.annotator)], result.labels)
    rates = np.asarray(noise.error_rates(KEY), np.float64)
    crowd = noise.crowd(KEY)
    np.testing.assert_allclose(1 - np.asarray(crowd.confusion)[:, 0, 0], rates, atol=1e-6)
    for a, rate in enumerate(rates):
        low, high = binom.ppf([0.001 / 8, 1 - 0.001 / 8], N, rate)
        assert low <= (said[:, a] != data.y).sum() <= high
    slips = said != data.y[:, None]
    together = (slips[:, 0] & slips[:, 1]).mean()  # apart from each other: the product of the rates, 5 sigma
    assert abs(together - slips[:, 0].mean() * slips[:, 1].mean()) < 5 * np.sqrt(0.25 / N)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: label.CrowdVote(rate=1.1), "`rate`: got 1.1"),
        (lambda: label.CrowdVote(rate=0.1, careful=0), "`careful`: got 0"),
        (lambda: label.CrowdVote(rate=0.1, spammers=-1), "`spammers`: got -1"),
        (lambda: label.CrowdVote(rate=0.1, abstain=1.0), "`abstain`: got 1"),
        (lambda: label.CrowdVote(rate=0.1, per_item=6), "`per_item`: got 6"),
        (lambda: label.CrowdVote(rate=0.1, aggregate="dawid_skeen"), "dawid_skene"),
        (lambda: label.CrowdVote(rate=0.1, aggregate=label.Majority), "an aggregation, such as"),
        (lambda: label.CrowdVote(rate=0.1, classes=2, difficulty=0.5)(KEY, [0, 1], [[0.0], [1.0]]), "before fit"),
        (lambda: label.CrowdVote(rate=0.1, classes=2).transition(KEY), "`y`: got None"),
        (lambda: label.CrowdVote(rate=0.1, classes=2).transition(None, [0, 1]), "`key`: got None"),
        (lambda: label.CrowdVote(rate=0.1, classes=3).transition(KEY, [0, 1]), "no example of class 2"),
    ],
)
def test_bad_input_is_refused_in_words(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
