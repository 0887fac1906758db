"""Crowds: confusions within their bands, votes that depend on (key, id, annotator), work orders, fatigue, refusals."""

import jax
import numpy as np
import pytest
from scipy.stats import binom

from sensijax.core import ArgumentError
from sensijax.label import Crowd, CrowdMajority, annotators

N, K = 3000, 3
KEY = jax.random.key(5)
Y = np.arange(N) % K
IDS = np.random.default_rng(2).permutation(5 * N)[:N]
CONFUSION = np.stack([annotators.reliable(0.8, K), annotators.spammer(K, 2), annotators.adversary(0.9, K)])


@pytest.fixture(scope="module")
def votes():
    return Crowd(CONFUSION, abstain=[0.0, 0.3, 0.1], fatigue=[0.0] * 3)(KEY, Y, ids=IDS)


def test_votes_follow_the_confusion_matrices_and_abstentions(votes):
    """27 counts and 3 abstentions against binomial bands, 99.9 % family-wise (Bonferroni)."""
    said, tail = np.asarray(votes.votes), 0.001 / 60
    for a in range(3):
        voted = said[:, a] >= 0
        low, high = binom.ppf([tail, 1 - tail], N, 1 - (0.0, 0.3, 0.1)[a])
        assert low <= voted.sum() <= high
        for k in range(K):
            counts = np.bincount(said[voted & (Y == k), a], minlength=K)
            low, high = binom.ppf([[tail], [1 - tail]], counts.sum(), CONFUSION[a, k])
            assert (counts >= low).all() and (counts <= high).all()
    np.testing.assert_allclose(votes.accuracy[:, 0], 0.8, atol=1e-6)


def test_everyone_works_through_the_own_items_in_an_order_of_the_own(votes):
    when, said = np.asarray(votes.when), np.asarray(votes.votes)
    np.testing.assert_array_equal(when >= 0, said >= 0)
    for a in range(3):
        done = when[:, a][when[:, a] >= 0]
        np.testing.assert_array_equal(np.sort(done), np.arange(len(done)))
    assert abs(np.corrcoef(when[:, 0], np.arange(N))[0, 1]) < 0.08  # 4 sigma


def test_votes_depend_on_the_id_and_the_annotator_alone(votes):
    """A subset among other items, and an annotator who takes a spammer's place: the others vote as they did."""
    part = np.random.default_rng(0).permutation(N)[:500]
    ids = np.concatenate([IDS[part], 5 * N + np.arange(N - 500)])
    crowd = Crowd(CONFUSION, abstain=[0.0, 0.3, 0.1], fatigue=[0.0] * 3)
    mixed = crowd(KEY, np.concatenate([Y[part], Y[500:]]), ids=ids)
    np.testing.assert_array_equal(mixed.votes[:500], np.asarray(votes.votes)[part])
    other = Crowd(CONFUSION[[0, 0, 2]], abstain=[0.0, 0.0, 0.1], fatigue=[0.0] * 3)(KEY, Y, ids=IDS)
    np.testing.assert_array_equal(np.asarray(other.votes)[:, [0, 2]], np.asarray(votes.votes)[:, [0, 2]])
    assert (np.asarray(other.votes)[:, 1] != np.asarray(votes.votes)[:, 0]).any()  # as good, not the same person


def test_a_change_of_accuracy_or_difficulty_and_one_who_joins_keep_every_other_draw():
    """With abstention and fatigue: who votes on what, when, and what the others say stays as it was."""
    rates = {"abstain": [0.0, 0.3, 0.1], "fatigue": [0.001] * 3}
    before = Crowd(CONFUSION, **rates)(KEY, Y, ids=IDS)
    said = np.asarray(before.votes)
    sharper = np.concatenate([annotators.reliable(0.9, K)[None], CONFUSION[1:]])
    better = Crowd(sharper, **rates)(KEY, Y, ids=IDS)
    np.testing.assert_array_equal(better.when, before.when)
    np.testing.assert_array_equal(np.asarray(better.votes)[:, 1:], said[:, 1:])
    right, were = np.asarray(better.votes)[:, 0] == Y, said[:, 0] == Y
    assert right[were].all() and right.sum() > were.sum()
    hard = np.where(np.arange(N) < N // 2, 0.0, 0.5)
    harder = Crowd(CONFUSION, **rates)(KEY, Y, hard, ids=IDS)
    np.testing.assert_array_equal(harder.when, before.when)
    np.testing.assert_array_equal(np.asarray(harder.votes)[hard == 0], said[hard == 0])
    assert (np.asarray(harder.votes)[hard > 0] != said[hard > 0]).any()
    joined = Crowd(CONFUSION[[0, 1, 2, 0]], abstain=[0.0, 0.3, 0.1, 0.2], fatigue=[0.001] * 4)(KEY, Y, ids=IDS)
    np.testing.assert_array_equal(np.asarray(joined.votes)[:, :3], said)
    np.testing.assert_array_equal(np.asarray(joined.when)[:, :3], before.when)


def test_a_change_of_accuracy_keeps_who_gets_what():
    rates = {"abstain": [0.0, 0.3, 0.1], "fatigue": [0.0] * 3}
    before, after = (Crowd(C, per_item=2, **rates)(KEY, Y, ids=IDS) for C in (CONFUSION, CONFUSION[[1, 1, 2]]))
    np.testing.assert_array_equal(after.when, before.when)
    np.testing.assert_array_equal(np.asarray(after.votes)[:, 1:], np.asarray(before.votes)[:, 1:])


def test_the_majority_of_a_crowd_is_symmetric_noise_at_the_exact_rate():
    """Votes of three annotators against `CrowdMajority`: 5 binomial standard errors, of both wrong classes too."""
    for error in (0.2, 0.5):
        crowd = Crowd.of_accuracy([1 - error] * 3, K, abstain=[0.0, 0.0, 0.0], fatigue=[0.0, 0.0, 0.0])
        said = np.asarray(crowd(KEY, Y, ids=IDS).votes)
        counts = (said[:, :, None] == np.arange(K)).sum(axis=1)
        noise = np.random.default_rng(0).uniform(0, 0.5, counts.shape)  # breaks ties at random
        turned = ((counts + noise).argmax(axis=1) - Y) % K
        rate = float(CrowdMajority(error=error, voters=3, classes=K).effective_rate())
        for k in (1, 2):
            assert abs((turned == k).mean() - rate / 2) < 5 * np.sqrt(rate / 2 * (1 - rate / 2) / N)


def test_difficulty_and_fatigue_take_skill_away_but_not_from_a_spammer():
    hard = np.where(np.arange(N) < N // 2, 0.0, 1.0)
    crowd = Crowd(CONFUSION, abstain=[0.0] * 3, fatigue=[0.001, 0.001, 0.0])
    tired = crowd(KEY, Y, hard, ids=IDS)
    accuracy, when = np.asarray(tired.accuracy, np.float64), np.asarray(tired.when)
    skill = np.where(hard > 0, 0, np.exp(-0.001 * when[:, 0]))
    np.testing.assert_allclose(accuracy[:, 0], 0.8 * skill + (1 - skill) / K, atol=1e-5)
    np.testing.assert_allclose(accuracy[:, 1], Y == 2, atol=1e-6)
    fresh = Crowd(CONFUSION, abstain=[0.0] * 3, fatigue=[0.0] * 3)(KEY, Y, ids=IDS)
    right = np.asarray(fresh.votes)[:, 0] == Y
    assert (right | (np.asarray(tired.votes)[:, 0] != Y)).all()  # common draws: skill lost makes no vote right
    assert (np.asarray(tired.votes)[:, 0] != Y).sum() > (~right).sum()
    np.testing.assert_array_equal(tired.votes, np.asarray(crowd(KEY, Y[::-1], hard[::-1], ids=IDS[::-1]).votes)[::-1])


def test_each_item_goes_to_so_many_annotators():
    said = np.asarray(Crowd(CONFUSION, per_item=2)(KEY, Y, ids=IDS).votes) >= 0
    assert (said.sum(axis=1) == 2).all()
    low, high = binom.ppf([0.0005 / 3, 1 - 0.0005 / 3], N, 2 / 3)
    assert ((said.sum(axis=0) >= low) & (said.sum(axis=0) <= high)).all()


def test_mixtures_say_who_is_what():
    crowd = Crowd.mixture(KEY, K, careful=2, spammers=1, constants=1, adversaries=1, accuracy=(0.7, 0.9))
    C = np.asarray(crowd.confusion)
    assert crowd.kinds == ("careful", "careful", "spammer", "constant", "adversary")
    assert ((C[:2, 0, 0] >= 0.7) & (C[:2, 0, 0] <= 0.9)).all() and C[0, 0, 0] != C[1, 0, 0]
    assert (C[3] == C[3, 0]).all() and C[3].max() == 1
    assert (np.argmax(C[4], axis=1) == (np.arange(K) + 1) % K).all()
    more = Crowd.mixture(KEY, K, careful=3, adversaries=1, accuracy=(0.7, 0.9))
    np.testing.assert_array_equal(np.asarray(more.confusion)[[0, 1, 3]], C[[0, 1, 4]])
    nobody = Crowd.of_accuracy([0.9] * 3, K, abstain=[1.0] * 3, fatigue=[0.0] * 3)(KEY, Y, ids=IDS)
    assert len(nobody.silent) == N and np.isnan(nobody.right).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crowd(CONFUSION * 0.9), "sums to 0.9"),
        (lambda: Crowd(CONFUSION[0]), "one matrix for each"),
        (lambda: Crowd(CONFUSION, abstain=[0.1, 0.2]), "`abstain`"),
        (lambda: Crowd(CONFUSION, fatigue=-1.0), "`fatigue`: got -1"),
        (lambda: Crowd(CONFUSION, per_item=4), "`per_item`: got 4"),
        (lambda: Crowd(CONFUSION)(KEY, Y[:2], [0.5, 1.5]), "`difficulty`: got 1.5"),
        (lambda: Crowd(CONFUSION)(KEY, Y[:2], ids=[1, 1]), "more than once"),
        (lambda: Crowd(CONFUSION)(KEY, [3]), "a class in 0..2"),
        (lambda: Crowd.of_accuracy([], K), "no annotator"),
        (lambda: annotators.adversary(0.9, K, towards=[0, 2, 1]), "no adversary"),
    ],
)
def test_bad_input_is_refused_in_words(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
