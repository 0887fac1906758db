"""The section on everything at once: what it claims, and when it is there."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax import label
from sensijax.campaign import read_exhibit
from sensijax.core import stage_key_data
from sensijax.report import _numbers, _stress


@pytest.fixture(scope="module")
def results(stressed):
    return stressed


def test_the_report_tells_the_story(results):
    html = results.report().read_text()
    part = re.sub(r"\s+", " ", html[html.index('<section id="stress"') :])
    for said in ("1. Alone", "2. In pairs", "3. All 3 together", "What adds up and what does not", "The whole cube"):
        assert said in part
    assert "labels@0.3" in part and 'href="#stress"' in html
    assert "All 3 together cost" in html


def test_marks_only_what_survives(results):
    section = _stress.section(results, _numbers.ACCURACY)
    effects = results.effects(3, averaged=True)
    for row, shown in zip(effects.itertuples(), section["effects"], strict=True):
        assert shown["significant"] == bool(row.p_holm <= 0.05 and (row.low > 0 or row.high < 0))
    assert len(section["stages"]) == 7 and section["annotation"]["rows"][0]["wrong"].endswith("%")


def test_measured_and_true_accuracy_are_those_of_the_table(results):
    row = _stress.section(results, _numbers.ACCURACY)["annotation"]["rows"][0]
    table = results.annotation().set_index("scenario").loc["labels@0.3"]
    assert row["measured"] == _numbers.ACCURACY.score(table.measured)
    assert row["true"] == _numbers.ACCURACY.score(table.true)


def test_a_campaign_of_perturbations_alone_has_no_such_section(classification):
    assert _stress.section(classification, _numbers.ACCURACY) is None


def test_a_step_claims_an_interaction_only_if_it_is_clear():
    table = pd.DataFrame({"order": [2], "stages": ["a x b"], "drop": [0.3], "effect": [0.1], "clear": [False]})
    assert "Nothing is shown" in _stress._story(table, 2, _numbers.ACCURACY)["text"]
    assert "a × b (+10.0)" in _stress._story(table.assign(clear=True), 2, _numbers.ACCURACY)["text"]


@pytest.fixture(scope="module")
def annotated(make_digits, tmp_path_factory):
    """Two noises with people behind them: a crowd that votes, and one annotator for each example."""
    data, w = make_digits(60)
    model = sj.Model(lambda w, x: 4 * x.reshape(len(x), -1) @ w, w, name="two-sided")
    stages = {
        "crowd": sj.sweep(label.CrowdVote, rate=[0, 0.2, 0.4], careful=3, adversaries=1, aggregate="dawid_skene"),
        "one": sj.sweep(label.OneAnnotator, rate=[0, 0.4], annotators=2),
    }
    campaign = sj.Campaign(model, data, stages, seeds=2, name="annotated")
    return sj.run(campaign, tmp_path_factory.mktemp("annotated") / "run", micro_batch=60)


def test_agreement_stands_beside_every_noise(results, annotated):
    """Alpha of symmetric errors e of two classes that are as many is (1 - 2 e)^2; here of 60 examples."""
    kept = read_exhibit(results.store, results.manifest["stages"]["labels"]["annotators"])
    assert kept["counts"].shape[1] == 5 and (kept["counts"].sum(axis=(2, 3)) == 60).all()
    alpha, low, high = kept["alpha"][0]
    assert low < alpha < high and abs(alpha - 0.4**2) < 0.15
    row = _stress.section(results, _numbers.ACCURACY)["annotation"]["rows"][0]
    assert row["alpha"] == f"{alpha:.2f}"
    # Of people who share the items, the agreement is of what they would have said about all: here of two, at 0.4.
    one = read_exhibit(annotated.store, annotated.manifest["stages"]["one"]["annotators"])
    noise, data = label.OneAnnotator(rate=0.4, annotators=2, classes=2), annotated._examples
    key = jax.random.wrap_key_data(jnp.asarray(stage_key_data(0, "one")), impl="threefry2x32")
    votes = noise.votes(key, data.label.to_numpy(), ids=data.example.to_numpy())
    assert one["counts"].sum() == 60 and one["alpha"][0, 0] == label.krippendorff_alpha(votes, 2, resamples=200).value


def test_annotators_are_shown_one_by_one(annotated):
    crowd, one = _stress.section(annotated, _numbers.ACCURACY)["annotation"]["panels"]
    assert [row["name"] for row in crowd["annotators"]] == ["Careful 1", "Careful 2", "Careful 3", "Adversary 1"]
    assert crowd["annotators"][3]["right"] == "0.0%" and crowd["aggregate"] == "Dawid and Skene’s model"
    kept = read_exhibit(annotated.store, annotated.manifest["stages"]["crowd"]["annotators"])
    frame = annotated.frame()
    wrote = frame[(frame.scenario == "crowd@0.4") & (frame.seed == 0)]
    used, _, model, best = kept["accuracy"][-1]
    assert used == model == (wrote.observed == wrote.target).mean()
    share = np.trace(kept["counts"][-1], axis1=1, axis2=2) / kept["counts"][-1].sum(axis=(1, 2))
    assert best == share.max() and (kept["counts"].sum(axis=(2, 3)) == 60).all()
    assert not one["votes"] and sum(int(row["labels"]) for row in one["annotators"]) == 60
    assert "nothing in the labels says whom to trust" in one["sentence"] and one["settings"] == []
    html = annotated.report().read_text()
    assert "The annotators of “crowd”" in html and "The annotators of “one”" in html


def test_who_errs_like_a_noise_without_people_is_shown_too(results):
    """Five of them: what the majority would be worth."""
    (panel,) = _stress.section(results, _numbers.ACCURACY)["annotation"]["panels"]
    kept = read_exhibit(results.store, results.manifest["stages"]["labels"]["annotators"])
    assert not panel["behind"] and len(panel["annotators"]) == 5 and panel["sentence"].startswith("Had 5 people")
    wrong = 1 - kept["accuracy"][0, 1]
    rate = float(label.CrowdMajority(error=0.3, voters=5, classes=2).effective_rate())
    assert abs(wrong - rate) < 4 * np.sqrt(rate * (1 - rate) / 60)


def test_a_folder_without_these_facts_still_has_its_report(annotated, copy_of):
    older = copy_of(annotated)
    for about in older.manifest["stages"].values():
        del about["annotators"]
    section = _stress.section(older, _numbers.ACCURACY)["annotation"]
    assert section["panels"] == [] and not section["agreed"] and section["rows"][0]["alpha"] == "–"
