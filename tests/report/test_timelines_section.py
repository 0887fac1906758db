"""The section on drift in time: what its sentences may claim, what its figure marks, and when it is there."""

import dataclasses
import re
import shutil

import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax import drift, label
from sensijax.campaign import Monitor, Timeline, Windowed
from sensijax.campaign.results._timelines import Watched, _row, what_counts
from sensijax.drift import Change, detect
from sensijax.report import _timeline_figures, _timeline_words, _timelines

T, BEGIN, END, HORIZON = 1000, 400, 700, 200


def watched(streams=8, *, fire=(), fall=0.0, beside=None, name="outbreak", labels=True):
    """A timeline by hand: a drift from 400 to 700; `fire` are (stream, step) of alarms of the only monitor."""
    rng, strength = np.random.default_rng(0), np.zeros(T, np.float32)
    strength[BEGIN:END] = 1
    changes = (
        Change(BEGIN, BEGIN, "sudden", "PriorShift", 0.0, 1.0),
        Change(END, END, "sudden", "PriorShift", 1.0, 0.0),
    )
    correct = (rng.uniform(size=(streams, T)) < 0.9 - fall * strength).astype(np.float32)
    alarms = np.zeros((streams, T), bool)
    for stream, step in fire:
        alarms[stream, step] = True
    begins, ignored = what_counts(strength, changes, HORIZON)
    found = np.array([[alarms[s, BEGIN : BEGIN + HORIZON].any()] for s in range(streams)])
    facts = {"signal": "error", "kind": "ADWIN", "labels": labels, "stated": 10.0, "size": None, "alpha": None}
    return Watched(
        name=name,
        seeds=tuple(range(streams)),
        changes=changes,
        strength=strength,
        signals={"correct": correct, "error": 1 - correct, "confidence": np.full_like(correct, 0.9)},
        reference={"correct": 0.9, "error": 0.1, "confidence": 0.9},
        alarms={"errors": alarms},
        warnings={"errors": np.zeros_like(alarms)},
        p_values={},
        evaluation={"errors": detect.evaluate(alarms, begins, horizon=HORIZON, ignore=ignored)},
        found={"errors": found},
        about={
            "stage": "drift",
            "kind": "PriorShift",
            "at": 1.0,
            "schedule": "Sudden(400)",
            "length": T,
            "horizon": HORIZON,
            "beside": beside or {},
            "seeds": list(range(streams)),
            "monitors": {"errors": facts},
        },
    )


def table(*every):
    return pd.DataFrame([_row(one, "errors") for one in every])


def test_a_drift_that_all_streams_show_is_seen():
    one = watched(fire=[(s, BEGIN + 50) for s in range(8)])
    said = _timeline_words.monitors(one, table(one))
    assert said.startswith("With labels at hand, errors (ADWIN on errors) saw 8 of 8 drifts, after 50 steps on average")
    assert said.endswith("on average, without a false alarm.")
    # The first alarm in the episode, in 8 of 8 streams; the episode is 200 of the 700 steps that count.
    assert abs(_timeline_words.beyond_chance(one, "errors") - (200 / 700) ** 8) < 1e-9


def test_alarms_at_any_time_are_not_told_from_chance():
    fire = [(s, 50 * k) for s in range(8) for k in range(1, 19)]
    one = watched(fire=fire)
    assert one.evaluation["errors"].recall == 1
    said = _timeline_words.monitors(one, table(one))
    assert "saw 8 of 8 drifts" in said and ": 8 streams do not tell that from chance" in said
    assert "false alarms in 10,000 quiet steps" in said
    assert _timeline_words.beyond_chance(one, "errors") == 1


def test_few_streams_are_said_to_be_few_and_silence_is_silence():
    one = watched(3, fire=[(s, BEGIN + 9) for s in range(3)])
    assert _timeline_words.monitors(one, table(one)).endswith("These are only 3 streams.")
    silent = watched(labels=False)
    assert (
        _timeline_words.monitors(silent, table(silent))
        == "Without labels, errors never spoke up while the drift was on."
    )


def test_accuracy_moves_only_where_the_streams_agree():
    assert "Accuracy fell from 89.9% to 70.5%" in _timeline_words.model(watched(fall=0.2))
    still = _timeline_words.model(watched())
    assert still.startswith("Accuracy is not shown to move (") and "confidence is not shown to move" in still
    assert "in 2 streams" in _timeline_words.model(watched(2, fall=0.2))


def test_every_alarm_is_what_the_evaluation_counts():
    fire = [(0, 100), (0, 450), (0, 460), (0, 650), (0, 800), (0, 950), (1, 620), (2, 400), (2, 599)]
    one = watched(3, fire=fire)
    kinds, counted = _timeline_figures.verdicts(one, "errors"), one.evaluation["errors"]
    assert {kind: int((kinds == kind).sum()) for kind in (1, 2, 3)} == {
        1: counted.found,
        2: counted.repeats,
        3: counted.false_alarms,
    }
    assert kinds[0, 100] == kinds[0, 950] == 3 and kinds[0, 450] == 1 and kinds[0, 460] == 2
    assert kinds[0, 650] == kinds[0, 800] == kinds[1, 620] == 4 and (kinds > 0).sum() == len(fire)
    assert _timeline_figures.episodes(one) == [(BEGIN, END)]


def test_lines_are_means_of_the_steps_before():
    values = np.arange(12.0).reshape(2, 6)
    expected = [[np.mean(row[max(0, t - 2) : t + 1]) for t in range(6)] for row in values]
    np.testing.assert_allclose(_timeline_figures.smoothed(values, 3), expected)


def test_what_acts_beside_is_compared_with_the_barer_twin():
    bare = watched(fire=[(s, BEGIN + 50) for s in range(8)])
    noisy = watched(fire=[(s, BEGIN + 90) for s in range(6)] + [(0, 100)], beside={"labels": 0.2}, name="noisy")
    other = dataclasses.replace(
        watched(name="other"), about={**bare.about, "stage": "another", "beside": {"labels": 0.2}}
    )
    assert {name: one.name for name, one in _timeline_words.partners([noisy, bare, other]).items()} == {
        "noisy": "outbreak"
    }
    said = _timeline_words.beside(bare, noisy, table(bare, noisy))
    assert said.startswith("With labels at 0.2 beside it, on the same examples as “outbreak”, errors ")
    assert "saw 6 of 8 drifts instead of 8" in said and "took 90 steps instead of 50" in said
    assert "errors saw the same, as soon" in _timeline_words.beside(
        bare, dataclasses.replace(bare, name="n"), table(bare, dataclasses.replace(bare, name="n"))
    )


def without_drift(one):
    strength, alarms = np.zeros_like(one.strength), one.alarms["errors"]
    nothing = {"errors": detect.evaluate(alarms, np.zeros(0, int), horizon=HORIZON)}
    found = {"errors": np.zeros((len(alarms), 0), bool)}
    return dataclasses.replace(one, strength=strength, changes=(), evaluation=nothing, found=found)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: watched(1, fire=[(0, 450)]), "With labels at hand, errors (ADWIN on errors) saw 1 of 1 drift"),
        (lambda: watched(40, fire=[(s, 440 + s) for s in range(40)]), "saw 40 of 40 drifts, after 60 steps"),
        (lambda: without_drift(watched(fire=[(0, 100)])), ""),
        (lambda: dataclasses.replace(watched(), signals={"loss": watched().signals["correct"]}), "never spoke up"),
    ],
)
def test_any_timeline_can_be_shown(make, said):
    """One stream, more than have rows, no drift at all, a regression: a figure, and no number that is none."""
    one = make()
    shown = _timelines._timeline(0, one, table(one), {})
    assert said in shown["sentence"] and bool(said) == bool(shown["sentence"])
    assert "errors" in shown["svg"] and "nan" not in shown["svg"].lower()
    assert not any("nan" in str(value) for row in shown["rows"] for value in row.values())
    if not one.changes:
        assert "every alarm is false" in shown["about"] and shown["rows"][0]["found"] == "–" and not shown["model"]


def test_more_than_promised_is_marked_only_where_it_is_clear():
    (few, *_), (many, *_) = (
        _timelines._timeline(0, one, table(one), {})["rows"]
        for one in (
            watched(fire=[(0, 100), (1, 100)]),
            watched(fire=[(s, 99 + 9 * k) for s in range(8) for k in range(5)]),
        )
    )
    assert many["over"] and not few["over"]


@pytest.fixture(scope="module")
def results(make_digits, tmp_path_factory):
    data, w = make_digits(60)
    model = sj.Model(lambda w, x: 4 * x.reshape(len(x), -1) @ w, w, name="two-sided")
    stages = {
        "drift": sj.sweep(drift.ConceptShift, strength=[0, 1], mapping={0: 1, 1: 0}),
        "labels": sj.sweep(label.Symmetric, rate=[0, 0.2]),
    }
    monitors = {
        "errors": Monitor("error", detect.ADWIN()),
        "classes": Windowed("prediction", detect.chi2, size=40),
    }
    plain = Timeline("drift", drift.Sudden(200), length=400, monitors=monitors)
    timelines = {"swap": plain, "swap-noisy": dataclasses.replace(plain, beside={"labels": 0.2})}
    campaign = sj.Campaign(model, data, stages, seeds=3, name="timed", timelines=timelines)
    return sj.run(campaign, tmp_path_factory.mktemp("timed") / "run", micro_batch=60)


def test_the_report_shows_who_noticed(results):
    html = results.report().read_text()
    part = html[html.index('<section id="timelines"') :]
    part = re.sub(r"\s+", " ", part[: part.index("</section>")])
    assert 'href="#timelines"' in html and part.count('<figure class="time">') == 2
    assert "Accuracy fell from" in part and "on the same examples as “swap”" in part
    rows = results.timelines().set_index(["timeline", "monitor"])
    assert rows.loc[("swap", "errors")].rate == 1 and "errors (ADWIN on errors) saw 3 of 3 drifts" in part
    assert rows.loc[("swap", "classes")].rate == 0 and "classes never spoke up" in part


def test_a_campaign_without_timelines_has_no_such_section(classification, results, copy_of):
    assert _timelines.section(classification) is None
    older = copy_of(results)
    del older.manifest["timelines"]
    assert _timelines.section(older) is None


def test_a_timeline_that_has_not_run_is_left_out(results, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(results.folder, folder)
    for path in (folder / "exhibits").iterdir():
        path.unlink()
    assert _timelines.section(sj.Results.open(folder)) is None
