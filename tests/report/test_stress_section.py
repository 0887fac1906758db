"""The section on everything at once: what it claims, and when it is there."""

import re

import pandas as pd
import pytest

import sensijax as sj
from sensijax import drift, label
from sensijax.perturb import image
from sensijax.report import _numbers, _stress


@pytest.fixture(scope="module")
def results(make_digits, tmp_path_factory):
    data, w = make_digits(60)
    model = sj.Model(lambda w, x: 4 * x.reshape(len(x), -1) @ w, w, name="two-sided")
    stages = {
        "noise": sj.sweep(image.GaussianNoise, std=[0.0, 0.5]),
        "drift": sj.sweep(drift.PriorShift, strength=[0, 1], target=(0.8, 0.2)),
        "labels": sj.sweep(label.Symmetric, rate=[0, 0.3]),
    }
    campaign = sj.Campaign(model, data, stages, design=sj.design.staged(), seeds=2, name="all")
    return sj.run(campaign, tmp_path_factory.mktemp("stress") / "run", micro_batch=60)


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
    assert "a x b (+10.0)" in _stress._story(table.assign(clear=True), 2, _numbers.ACCURACY)["text"]
