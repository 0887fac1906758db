"""The sentences' rules, on tables made by hand: no sentence claims more than the intervals do."""

import math

import pandas as pd
import pytest

from sensijax.campaign import Completeness
from sensijax.report import _numbers, _words
from sensijax.report._numbers import ACCURACY, R2


def stages(*rows):
    """Rows of (stage, mean, low, high, robust, undecided, fragile); five severities planned."""
    return pd.DataFrame(
        [
            {
                "stage": s,
                "mean_drop": mean,
                "low": low,
                "high": high,
                "robust": r,
                "undecided": u,
                "fragile": f,
                "settings": 5,
                "finished": r + u + f,
                "axis": "severity",
                "top": 5.0,
                "nonfinite": False,
                "worst_drop": 2 * mean,
                "worst_low": 2 * low,
                "worst_high": 2 * high,
                "worst_at": 5.0,
                "breaks_at": float(r + u + 1) if f else math.nan,
            }
            for s, mean, low, high, r, u, f in rows
        ]
    )


def scenarios(*verdicts):
    return pd.DataFrame(
        {
            "scenario": ["clean", *(f"fog@{i + 1}" for i in range(len(verdicts)))],
            "verdict": ["", *verdicts],
            "drop": 0.1,
            "low": 0.05,
            "high": 0.2,
            "nonfinite_outputs": 0,
        }
    )


def interactions(*rows):
    return pd.DataFrame(
        [dict(zip(("first", "second", "interaction", "low", "high", "p_holm"), row, strict=True)) for row in rows],
        columns=["first", "second", "interaction", "low", "high", "p_holm"],
    )


def said(sentence):
    return " ".join(sentence)


def test_hurts_most_needs_intervals_apart():
    apart = _words.hurts_most(stages(("fog", 0.31, 0.27, 0.35, 1, 0, 4), ("snow", 0.20, 0.15, 0.26, 1, 0, 4)), ACCURACY)
    assert said(apart) == (
        "Fog hurts most. Averaged over its settings the model loses 31.0 points of accuracy (27.0 to 35.0), and 62.0 "
        "(54.0 to 70.0) at its worst, severity 5, the highest tested."
    )
    touching = said(
        _words.hurts_most(stages(("fog", 0.31, 0.27, 0.35, 1, 0, 4), ("snow", 0.25, 0.22, 0.28, 1, 0, 4)), ACCURACY)
    )
    assert "not settled" in touching and "fog and snow" in touching and "hurts most." not in touching


def test_a_wide_interval_below_the_first_is_a_rival():
    table = stages(
        ("fog", 0.30, 0.28, 0.32, 1, 0, 4), ("snow", 0.10, 0.09, 0.11, 1, 0, 4), ("odd", 0.05, -0.3, 0.40, 1, 4, 0)
    )
    assert "fog and odd" in said(_words.hurts_most(table, ACCURACY))


@pytest.mark.parametrize("low", [0.0, -0.01])
def test_no_loss_is_claimed_where_the_interval_reaches_zero(low):
    text = said(_words.hurts_most(stages(("fog", 0.02, low, 0.05, 5, 0, 0)), ACCURACY))
    assert text.startswith("No stage alone is shown to cost anything.") and "hurts" not in text


def test_a_setting_short_of_the_top_is_not_called_the_highest():
    table = stages(("fog", 0.3, 0.2, 0.4, 1, 0, 4)).assign(worst_at=3.0)
    assert "severity 3." in said(_words.hurts_most(table, ACCURACY)) and "highest" not in said(
        _words.hurts_most(table, ACCURACY)
    )


def test_missing_numbers_make_no_claim():
    nothing = stages(("fog", math.nan, math.nan, math.nan, 0, 5, 0))
    assert "cannot be said" in said(_words.hurts_most(nothing, ACCURACY))
    assert "cannot be said" in said(_words.worst_scenario(scenarios("undecided").assign(low=math.nan), ACCURACY))


def test_withstanding_needs_every_planned_setting():
    table = stages(
        ("fog", 0.3, 0.2, 0.4, 1, 0, 4),
        ("dim", 0.0, -0.01, 0.01, 5, 0, 0),
        ("dust", 0.0, -0.01, 0.06, 4, 1, 0),
        ("late", 0.0, -0.01, 0.01, 4, 0, 0),
    )  # one of its five severities is not finished
    text = said(_words.withstands(table, 0.05, ACCURACY))
    assert "It withstands 1 of 4 stages." in text and "under dim." in text and "up to 5" in text
    assert "Neither broken nor shown to be withstood throughout: dust and late." in text


def test_all_fragile_and_none_fragile():
    fragile = stages(("fog", 0.3, 0.2, 0.4, 0, 0, 5), ("snow", 0.2, 0.1, 0.3, 2, 0, 3))
    assert said(_words.breaks(fragile, 0.05, ACCURACY)).startswith("All 2 stages break it.")
    assert "fog (first at severity 1) and snow (first at severity 3)" in said(_words.breaks(fragile, 0.05, ACCURACY))
    assert said(_words.withstands(fragile, 0.05, ACCURACY)).startswith("No stage is withstood throughout.")
    robust = stages(("fog", 0.01, 0.0, 0.02, 5, 0, 0), ("snow", 0.01, 0.0, 0.02, 5, 0, 0))
    assert _words.breaks(robust, 0.05, ACCURACY) is None
    assert said(_words.withstands(robust, 0.05, ACCURACY)).startswith("It withstands all 2 stages.")


def test_a_stage_that_breaks_the_numbers_is_not_said_to_have_an_interval():
    table = stages(("fog", 0.3, 0.2, 0.4, 0, 0, 5), ("burn", math.nan, math.nan, math.nan, 0, 0, 5)).assign(
        nonfinite=[False, True]
    )
    assert "above the tolerance of 0.05, or outputs are not finite, under fog" in said(_words.breaks(table, 0.05, R2))
    hurts = said(_words.hurts_most(table, R2))
    assert hurts.startswith("Fog hurts.") and hurts.endswith(
        "Outputs that are not finite, under burn, have no part in this."
    )


def test_a_single_setting_is_not_called_an_average():
    text = said(_words.hurts_most(stages(("fog", 0.3, 0.2, 0.4, 0, 0, 1)).assign(settings=1, top=3.0), ACCURACY))
    assert (
        "At severity 3, the one tested, the model loses 30.0 points" in text
        and "veraged" not in text
        and "at its worst" not in text
    )


def test_an_axis_of_its_own_has_no_first():
    table = stages(("blur", 0.3, 0.2, 0.4, 0, 0, 5)).assign(axis="sigma", breaks_at=0.5)
    assert "blur (at sigma = 0.5)" in said(_words.breaks(table, 0.05, ACCURACY))
    held = stages(("blur", 0.0, -0.01, 0.01, 5, 0, 0)).assign(axis="sigma")
    assert "at every setting tested" in said(_words.withstands(held, 0.05, ACCURACY))


def test_undecided_are_counted():
    some = scenarios("robust", "undecided", "fragile", "undecided").iloc[1:]
    assert said(_words.undecided(some, 0.05, ACCURACY)).startswith(
        "2 of 4 scenarios are undecided. The tolerance of 5 points lies within"
    )
    assert said(_words.undecided(scenarios("undecided").iloc[1:], 0.05, ACCURACY)).startswith(
        "1 of 1 scenario is undecided."
    )
    assert said(_words.undecided(scenarios("robust", "fragile").iloc[1:], 0.05, ACCURACY)).startswith(
        "Every scenario has a verdict."
    )


def test_interactions_need_both_holm_and_an_interval():
    clear = ("fog", "snow", 0.05, 0.02, 0.08, 0.01)
    text = said(
        _words.together(
            interactions(clear, ("a", "b", 0.04, 0.01, 0.07, 0.2), ("c", "d", 0.03, -0.01, 0.07, 0.01)), ACCURACY
        )
    )
    assert text.startswith("1 of 3 pairs does not simply add up. fog followed by snow")
    assert "5.0 points of accuracy (2.0 to 8.0) more than the sum" in text
    assert "no proof that they add up" in said(
        _words.together(interactions(("a", "b", 0.04, 0.01, 0.07, 0.2)), ACCURACY)
    )
    assert _words.together(interactions(), ACCURACY) is None


def test_a_negative_interaction_turns_its_interval_over():
    text = said(_words.together(interactions(("fog", "snow", -0.05, -0.08, -0.02, 0.01)), ACCURACY))
    assert "5.0 points of accuracy (2.0 to 8.0) less than the sum" in text


def test_overconfidence_needs_the_whole_interval_above_the_tolerance():
    row = {"where": "fog@5", "accuracy": 0.3, "confidence": 0.9, "gap": 0.6, "low": 0.55, "high": 0.65}
    assert "60.0 points too sure of itself (55.0 to 65.0)" in said(
        _words.overconfident(pd.DataFrame([row]), 0.05, ACCURACY)
    )
    assert _words.overconfident(pd.DataFrame([row | {"low": 0.05}]), 0.05, ACCURACY) is None
    # The least accurate row decides: being too sure where nothing is lost is another matter.
    worse = row | {"where": "snow@5", "accuracy": 0.2, "low": 0.0}
    assert _words.overconfident(pd.DataFrame([row, worse]), 0.05, ACCURACY) is None


def test_the_lowest_group_may_be_chance():
    group = pd.Series({"accuracy": 0.6, "low": 0.5, "high": 0.7})
    assert "whole interval lies below" in _words.lowest_group("the class 3", group, 0.71, ACCURACY)
    assert "may be chance" in _words.lowest_group("the class 3", group, 0.70, ACCURACY)


def test_nothing_perturbed():
    none = pd.DataFrame()
    assert said(*_words.headline(scenarios(), none, interactions(), none, 0.05, ACCURACY)).startswith(
        "Nothing was perturbed."
    )


def test_a_regression_speaks_of_r2():
    text = said(_words.hurts_most(stages(("drift", 0.31, 0.27, 0.35, 1, 0, 4)), R2))
    assert "Drift hurts. " in text and "0.310 of R² (0.270 to 0.350)" in text and "points" not in text
    assert "tolerance of 0.05 " in said(_words.breaks(stages(("drift", 0.31, 0.27, 0.35, 1, 0, 4)), 0.05, R2))


def test_banners_name_what_is_wrong():
    sound = Completeness(tiles=4, tiles_total=4, rows=40, rows_total=40, damaged=(), conflicts=(), stale=0)
    assert _words.banners(sound, 5, 5, 0, 10) == []
    torn = Completeness(tiles=3, tiles_total=4, rows=30, rows_total=40, damaged=("a", "b"), conflicts=("c",), stale=2)
    kinds, sentences = zip(*_words.banners(torn, 4, 5, 3, 10), strict=True)
    assert kinds == ("alarm", "alarm", "alarm", "note", "note")
    assert (
        "4 of 5 scenarios and 3 of 4 tiles" in sentences[0]
        and "2 parts" in sentences[1]
        and "1 tile was" in sentences[2]
    )
    assert "3 examples of 10 hold" in sentences[3]


def test_limitations_speak_of_this_run():
    manifest = {"data": {"examples": 599, "name": "digits"}, "seeds": [0, 1, 2], "stages": {"fog": {}, "snow": {}}}
    three = " ".join(_words.limitations(manifest, scenarios=11, pairs=1, drawn=4))
    assert (
        "599 examples" in three
        and "4 of 11 scenarios draw at random and ran for 3 seeds" in three
        and "all 11 scenarios" in three
    )
    assert "all 1 pair" in three and "ceiling" in three and "fog and snow" in three
    one = " ".join(_words.limitations(manifest | {"seeds": [7]}, scenarios=10, pairs=0, drawn=0))
    assert "One seed" in one and "ceiling" not in one


@pytest.mark.parametrize(
    ("value", "text"), [(0.314, "31.4"), (-0.0004, "0.0"), (-0.012, "−1.2"), (math.nan, "–"), (12.5, "1,250.0")]
)
def test_numbers(value, text):
    assert ACCURACY.number(value) == text


def test_signs_units_and_p_values():
    assert [ACCURACY.signed(v) for v in (0.02, -0.02, 0.0, math.nan)] == ["+2.0", "−2.0", "0.0", "–"]
    assert (
        ACCURACY.loss(0.314) == "31.4 pts"
        and ACCURACY.score(0.988) == "98.8%"
        and ACCURACY.interval(0.27, math.nan) == "–"
    )
    assert [_numbers.p_value(p) for p in (1e-9, 0.04, math.nan)] == ["< 0.001", "0.040", "–"]
