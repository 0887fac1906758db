"""Aggregation: golden numbers, crowd-kit's posteriors, laws, and votes that say nothing."""

import json
import pathlib

import jax
import numpy as np
import pytest

from sensijax import label
from sensijax.core import ArgumentError

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
CROWDKIT = np.load(GOLDEN / "crowdkit.npz")
CROWDS = ("dense", "sparse", "two")
MODELS = {
    "dawid_skene": label.dawid_skene,
    "glad": label.glad,
    "mace": lambda votes, classes: label.mace(votes, classes, key=jax.random.key(0)),
    "majority": label.majority,
    "one_coin": label.one_coin,
}


def difference(a, b):
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())


def test_dawid_skene_repairs_what_the_majority_gets_wrong():
    golden = json.loads((GOLDEN / "statistics.json").read_text())["dawid_skene"]
    truth = np.array([int(c) for c in golden["truth"]])
    votes = np.array([[int(c) for c in worker] for worker in golden["workers"]]).T
    assert (label.majority(votes, 2).labels == truth).sum() == golden["majority_correct"] == 6
    found = label.dawid_skene(votes, 2)
    assert (found.labels == truth).sum() == golden["dawid_skene_correct"] == 8
    assert bool(found.converged)


@pytest.mark.parametrize("crowd", CROWDS)
@pytest.mark.parametrize("model", ["dawid_skene", "one_coin"])
def test_posteriors_are_those_of_crowd_kit(crowd, model):
    votes = CROWDKIT[f"{crowd}.votes"]
    after_7 = MODELS[model](votes, 3, iterations=7, tolerance=0.0)
    assert int(after_7.iterations) == 7 and not bool(after_7.converged)
    assert difference(after_7.posterior, CROWDKIT[f"{crowd}.{model}.7"]) < 1e-5
    if model == "dawid_skene":
        assert difference(after_7.confusion, CROWDKIT[f"{crowd}.confusion.7"]) < 1e-5
    iterations = {"dawid_skene": (15, 36, 20), "one_coin": (3, 4, 3)}[model][CROWDS.index(crowd)]
    at_its_end = MODELS[model](votes, 3, iterations=iterations, tolerance=0.0)
    assert difference(at_its_end.posterior, CROWDKIT[f"{crowd}.{model}.default"]) < 1e-4


def test_glad_finds_the_maximum_that_crowd_kit_finds():
    found = label.glad(CROWDKIT["dense.votes"], 3, iterations=500, tolerance=1e-8)
    assert difference(found.posterior, CROWDKIT["dense.glad.end"]) < 1e-3
    assert difference(found.ability, CROWDKIT["dense.ability.end"]) < 1e-3
    assert difference(-np.log(found.difficulty), CROWDKIT["dense.beta.end"]) < 1e-3


@pytest.mark.parametrize("crowd", CROWDS)
def test_mace_from_one_start_is_crowd_kits(crowd):
    start = CROWDKIT[f"{crowd}.knows"], CROWDKIT[f"{crowd}.strategy"]
    found = label.mace(CROWDKIT[f"{crowd}.votes"], 3, start=start)
    assert difference(found.posterior, CROWDKIT[f"{crowd}.mace"]) < 1e-5


def test_mace_keeps_the_likeliest_of_different_starts():
    found = label.mace(CROWDKIT["sparse.votes"], 3, key=jax.random.key(0))
    assert found.log_likelihoods.shape == (10,) and len(np.unique(found.log_likelihoods)) > 1
    assert float(found.log_likelihood) == float(found.log_likelihoods.max())


def test_objects_say_what_the_functions_say():
    votes, few = CROWDKIT["dense.votes"], {"iterations": 4}
    pairs = [
        (label.Majority(), label.majority(votes, 3)),
        (label.DawidSkene(**few), label.dawid_skene(votes, 3, **few)),
        (label.OneCoin(**few), label.one_coin(votes, 3, **few)),
        (label.GLAD(**few), label.glad(votes, 3, **few)),
        (label.MACE(seed=2, restarts=1, **few), label.mace(votes, 3, key=jax.random.key(2), restarts=1, **few)),
    ]
    for aggregate, found in pairs:
        np.testing.assert_array_equal(aggregate(votes, 3).posterior, found.posterior)
        default = type(aggregate)()(votes, 3).posterior
        assert type(aggregate) is label.Majority or (np.asarray(default) != np.asarray(found.posterior)).any()


def test_the_likelihood_never_falls():
    run = [label.dawid_skene(CROWDKIT["sparse.votes"], 3, iterations=i, tolerance=0.0) for i in range(1, 30)]
    likelihood = np.array([float(r.log_likelihood) for r in run])
    assert (np.diff(likelihood) > -1e-3).all() and likelihood[-1] > likelihood[0] + 1


@pytest.mark.parametrize("name", MODELS)
def test_triples_in_any_order_are_the_dense_table(name):
    votes = CROWDKIT["sparse.votes"].astype(np.int64)
    item, worker = np.nonzero(votes >= 0)
    order = np.random.default_rng(0).permutation(len(item))
    triples = item[order], worker[order], votes[item, worker][order]
    dense, long = MODELS[name](votes, 3), MODELS[name](triples, 3)
    assert difference(dense.posterior, long.posterior) < 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_posteriors_are_distributions_and_an_item_without_votes_has_no_label(name):
    votes = CROWDKIT["two.votes"].astype(np.int64).copy()
    votes[5], votes[:, 3] = -1, -1  # nobody voted on item 5, annotator 3 never did
    found = MODELS[name](votes, 3)
    posterior = np.asarray(found.posterior)
    assert np.isfinite(posterior).all() and np.abs(posterior.sum(axis=1) - 1).max() < 1e-5
    assert int(found.labels[5]) == -1 and (np.delete(np.asarray(found.labels), 5) >= 0).all()
    expected = found.prior if hasattr(found, "prior") else np.full(3, 1 / 3)
    if name in ("majority", "glad", "mace"):
        assert difference(posterior[5], expected) < 1e-6
    else:
        assert difference(posterior[5], expected) < 1e-2  # the prior before the last M-step
    leaves = jax.tree.leaves(found)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in leaves)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"majority"}))
def test_better_than_the_majority_where_annotators_differ_in_skill(name):
    # 3 annotators are right 19 times of 20, 5 guess; the seed is fixed.
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60)
    right = rng.random((60, 8)) < np.array([0.95] * 3 + [1 / 3] * 5)
    votes = np.where(right, truth[:, None], (truth[:, None] + rng.integers(1, 3, (60, 8))) % 3)
    score = {m: int((np.asarray(MODELS[m](votes, 3).labels) == truth).sum()) for m in (name, "majority")}
    assert score["majority"] < 54 and score[name] >= 57


def test_abilities_and_competences_tell_guessers_from_the_rest():
    votes = CROWDKIT["dense.votes"]  # annotators 0 and 4 guess
    worth = {
        "glad": label.glad(votes, 3).ability,
        "mace": label.mace(votes, 3, key=jax.random.key(1)).competence,
        "one_coin": label.one_coin(votes, 3).accuracy,
    }
    for name, of in worth.items():
        assert {int(i) for i in np.argsort(of)[:2]} == {0, 4}, name


def test_ties_are_told():
    found = label.majority([[0, 1, 2], [2, 2, 1], [1, 2, -1], [-1, -1, -1]], 3)
    assert found.labels.tolist() == [0, 2, 1, -1]
    assert found.tie.tolist() == [True, False, True, False]
    assert found.votes.tolist() == [3, 3, 2, 0]


def test_one_class_only_and_one_vote_each():
    same = label.dawid_skene(np.zeros((60, 8), np.int64), 3)
    assert same.labels.tolist() == [0] * 60 and np.isfinite(np.asarray(same.confusion)).all()
    alone = label.dawid_skene((np.arange(4), np.arange(4), np.array([0, 1, 2, 0])), 3)
    assert difference(alone.posterior, [[0.5, 0.25, 0.25]] * 4) < 1e-6 and alone.votes.tolist() == [1] * 4


def test_what_a_crowd_returns_can_be_aggregated():
    table = CROWDKIT["dense.votes"]
    votes = label.Votes(table, table, np.ones(table.shape, np.float32), CROWDKIT["dense.truth"])  # type: ignore[arg-type]
    assert (label.majority(votes, 3).labels == label.majority(table, 3).labels).all()


@pytest.mark.parametrize(
    "votes, right",
    [
        ([[-1, -1]], "at least one label"),
        ([[0, 3]], "a class in 0..2"),
        ([[0, -2]], "no vote"),
        ([[0.5, 1.0]], "integers"),
        ((np.array([0, 0]), np.array([1, 1]), np.array([0, 1])), "one for each worker and item"),
        ((np.array([-1]), np.array([0]), np.array([0])), "an index from 0"),
        ((np.array([0]), np.array([0, 1]), np.array([0])), "as many of each"),
        ((np.array([], int), np.array([], int), np.array([], int)), "at least one"),
    ],
)
def test_votes_that_are_none(votes, right):
    with pytest.raises(ArgumentError, match=right) as caught:
        label.dawid_skene(votes, 3)
    assert caught.value.argument == "votes"


def test_options_that_are_none():
    for argument, call in {
        "classes": lambda: label.majority([[0, 1]], 1),
        "iterations": lambda: label.one_coin([[0, 1]], 2, iterations=0),
        "tolerance": lambda: label.glad([[0, 1]], 2, tolerance=float("nan")),
        "key": lambda: label.mace([[0, 1]], 2),
        "tolerance ": lambda: label.dawid_skene([[0, 1]], 2, tolerance="small"),
        "key ": lambda: label.mace([[0, 1]], 2, key=3),  # type: ignore[arg-type]
        "start": lambda: label.mace([[0, 1]], 2, start=(np.ones((3, 2)) / 2, np.ones((2, 2)) / 2)),
        "restarts": lambda: label.mace([[0, 1]], 2, key=jax.random.key(0), restarts=0),
        "strategy_prior": lambda: label.mace([[0, 1]], 2, key=jax.random.key(0), strategy_prior=0.0),
    }.items():
        with pytest.raises(ArgumentError) as caught:
            call()
        assert caught.value.argument == argument.strip()
