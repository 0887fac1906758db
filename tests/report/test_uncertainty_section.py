"""What the report says of the inside of a model and of what it is still sure of: no more than intervals allow."""

import re

import numpy as np
import pandas as pd

from sensijax.campaign import strongest_of
from sensijax.report import _inside, _numbers, _sections, _tables, _uncertainty

ALL = "noise@0.5+drift@1+labels@0.3"


def steps(**bounds):
    """A scenario's rows, by component: step, step_low, step_high."""
    table = pd.DataFrame(bounds, index=["step", "step_low", "step_high"]).T
    first = pd.DataFrame({"step": [np.nan], "step_low": [np.nan], "step_high": [np.nan]}, index=["input"])
    return pd.concat([first, table]).assign(relative_change=0.1, gain=1.5)


def test_a_component_is_named_only_if_its_interval_says_so():
    assert _inside.amplifier(steps(a=(2.0, 1.8, 2.2), b=(1.5, 1.4, 1.7))) == "a"
    assert _inside.amplifier(steps(a=(2.0, 1.6, 2.2), b=(1.5, 1.4, 1.7))) is None
    assert _inside.amplifier(steps(a=(1.1, 0.9, 1.3))) is None
    lead, what = _inside._sentence("fog@3", steps(a=(2.0, 1.6, 2.2), b=(1.5, 1.4, 1.7)), [])
    assert lead == "Which component amplifies fog@3 most is not settled." and "a and b overlap" in what
    lead, what = _inside._sentence("fog@3", steps(a=(2.0, 1.8, 2.2), b=(1.5, 1.4, 1.7)), ["x"])
    assert lead == "a amplifies fog@3 most." and "2 (1.8 to 2.2) times" in what and "the same under x" in what
    assert _inside._sentence("fog@3", steps(a=(1.1, 0.9, 1.3)), [])[0] == "No component is shown to amplify fog@3."


def test_the_section_on_the_inside_shows_what_the_run_has_kept(stressed):
    section = _inside.section(stressed)
    table = stressed.propagation()
    assert len(section["rows"]) == len(table) and section["examples"] == "60"
    assert section["still"].startswith("drift@1 and labels@0.3 move no input")
    (lead, what), *_ = section["sentences"]
    assert "noise@0.5" in lead and f"the same under {ALL}" in what
    html = stressed.report().read_text()
    assert 'href="#inside"' in html and "What is left of the classes" in html


def test_without_an_exhibit_there_is_no_such_section(classification, regression):
    assert _inside.section(classification) is None and _inside.section(regression) is None
    assert 'id="inside"' not in classification.report().read_text()


def test_coverage_is_told_by_its_band():
    assert _uncertainty.verdict(0.90, 0.85, 0.95) == "within the band"
    assert _uncertainty.verdict(0.84, 0.85, 0.95) == "below the band"
    assert _uncertainty.verdict(0.96, 0.85, 0.95) == "above the band"
    assert _uncertainty.verdict(float("nan"), 0.85, 0.95) == "not known"
    table = pd.DataFrame(
        {"scenario": ["clean", "a"], "coverage": [0.9, 0.8], "low": [0.8, 0.7], "high": [0.95, 0.95], "band_low": 0.85}
    )
    assert "none of these" in _uncertainty._promise(table)
    assert "80.0% of the time (70.0 to 85.0) under a" in _uncertainty._promise(table.assign(high=[0.95, 0.85]))


def test_numbers_are_those_of_the_results(stressed):
    section = _uncertainty.section(stressed, _numbers.ACCURACY)
    names = ["clean", "noise@0.5", "drift@1", "labels@0.3", ALL]
    assert ["clean", *strongest_of(stressed)] == names == [row["scenario"] for row in section["abstention"]["rows"]]
    coverage = stressed.coverage(0.1).set_index("scenario")
    for row in section["coverage"]["rows"]:
        assert row["coverage"] == _numbers.percent(coverage.loc[row["scenario"]].coverage)
        assert row["observed"] == _numbers.percent(coverage.loc[row["scenario"]].observed)
    sets = stressed.prediction_sets(0.1)
    cells = [cell for row in section["sets"]["rows"] for cell in row["cells"]]
    assert [size for _, size, _ in cells] == [_numbers.number(size, 2) for size in sets.mean_size]
    by_group = {gap["group"]: gap for gap in section["gaps"]}
    gaps = stressed.gaps("side").set_index("scenario")
    for row in by_group["side"]["rows"]:
        assert row["gap"] == _numbers.ACCURACY.number(gaps.loc[row["scenario"]].accuracy_gap)
    assert not by_group["one"]["rows"] and "1 values" in by_group["one"]["why"]
    part = re.sub(r"\s+", " ", stressed.report().read_text())
    for said in ("If it may abstain", "Who pays: side", "Groups by one are not compared", "classes in a set"):
        assert said in part


def test_reliability_is_drawn_for_each_family_and_for_all_together(stressed, classification):
    table = _tables.confidence_table(stressed, ["noise", "drift", "labels"])
    drawn = _sections.confidence(stressed, table, _numbers.ACCURACY)
    assert [name for name, _ in drawn["diagrams"]] == ["clean", "noise@0.5", "drift@1", "labels@0.3", ALL]
    table = _tables.confidence_table(classification, ["noise", "spread"])
    assert len(_sections.confidence(classification, table, _numbers.ACCURACY)["diagrams"]) == 2


def test_a_regression_has_no_such_section(regression):
    assert _uncertainty.section(regression, _numbers.R2) is None


def test_a_lost_exhibit_is_said_to_be_missing(stressed, copy_of):
    def spoil(folder):
        (path,) = (folder / "exhibits").glob(f"{stressed.manifest['stressed']}-*.npz")
        path.unlink()

    spoilt = copy_of(stressed, spoil)
    assert "not there" in _inside.section(spoilt)["why"]
    assert "The model was not looked into" in spoilt.report().read_text()
