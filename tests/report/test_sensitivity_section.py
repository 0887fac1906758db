"""Thresholds and drivers: numbers that can be worked out by hand, words that claim no more than their intervals."""

import math
import types

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from sensijax.campaign import Campaign, design, run, sweep
from sensijax.core import Dataset, Model
from sensijax.perturb import image
from sensijax.report import _drivers, _numbers, _thresholds, write_report


class Stored:
    """Results made by hand: scores `[seeds, N]` of scenarios, whose settings are pairs of a stage and a value."""

    metric = "accuracy"

    def __init__(self, scores, stages, tolerance=0.05):
        self._scores = {name: np.atleast_2d(np.asarray(v, float)) for name, v in scores.items()}
        settings = {name: [] if name == "clean" else [p.split("@") for p in name.split("+")] for name in scores}
        self.manifest = {
            "tolerance": tolerance,
            "stages": {n: {"axis": "severity", "identity": 0.0, "values": [0.0, 3.0]} for n in stages},
            "scenarios": {
                name: {"settings": [(n, float(v)) for n, v in found], "weighted": False, "relabelled": False}
                for name, found in settings.items()
            },
        }
        self.scenario_names = tuple(scores)

    def scores(self, name):
        return self._scores[name]

    def curve(self, stage):
        rows = [("clean", 0.0)] + [
            (name, about["settings"][0][1])
            for name, about in self.manifest["scenarios"].items()
            if [n for n, _ in about["settings"]] == [stage]
        ]
        return pd.DataFrame(rows, columns=["scenario", "severity"])

    def interactions(self):
        rows = []
        for about in self.manifest["scenarios"].values():
            if len(about["settings"]) == 2:
                (first, a), (second, b) = about["settings"]
                rows.append({"first": first, "second": second, "at_first": a, "at_second": b})
        return pd.DataFrame(rows)

    def scenarios(self):
        rows = [
            {"scenario": k, "stages": "+".join(n for n, _ in about["settings"]) or "clean", "drop": self._drop(k)}
            for k, about in self.manifest["scenarios"].items()
        ]
        return pd.DataFrame(rows)

    def _drop(self, name):
        return float((self._scores["clean"] - self._scores[name]).mean())


def answers(n, wrong):
    """n answers of which the first `wrong` are wrong."""
    return (np.arange(n) >= wrong).astype(float)


def test_a_curve_crosses_the_tolerance_on_the_straight_line_between_two_settings():
    loss = 1 - np.stack([answers(1000, w) for w in (0, 20, 80, 300)])
    found = _thresholds.crossing(np.array([0.0, 1.0, 2.0, 3.0]), loss, 0.05)
    assert found.at == pytest.approx(1.5) and found.low < 1.5 < found.high and found.top == 3
    # The mean at 2 has a standard error of 0.0086 and a slope of 0.06: about 0.14 either way, and more to the right.
    assert 0.1 < found.high - found.low < 0.8


def test_the_interval_of_a_crossing_covers_as_often_as_it_says():
    # True losses 0, 0.02, 0.08, 0.3 cross 0.05 at 1.5. 95 % of 200: fewer than 180 has probability < 0.001.
    rng, truth, hits = np.random.default_rng(0), np.array([0, 0.02, 0.08, 0.3]), 0
    for _ in range(200):
        loss = (rng.random(400)[None] < truth[:, None]).astype(float)
        found = _thresholds.crossing(np.arange(4.0), loss, 0.05)
        hits += found.low <= 1.5 <= found.high
    assert hits >= 180


def test_of_many_examples_the_resamples_are_those_of_the_normal_law():
    values = (np.random.default_rng(0).random((1, 3000)) < np.array([[0.1], [0.3]])).astype(float)  # nested losses
    found = _thresholds.resampled_means(values)
    few = _thresholds._weights(3000) @ values.T
    np.testing.assert_allclose(found.mean(axis=0), values.mean(axis=1), atol=1e-3)
    np.testing.assert_allclose(np.cov(found.T), np.cov(few.T), rtol=0.25)  # five deviations of 1000 resamples


def test_a_curve_that_never_crosses_and_an_interval_that_is_open():
    never = _thresholds.crossing(np.arange(3.0), np.zeros((3, 50)), 0.05)
    assert math.isinf(never.at) and math.isinf(never.low) and _thresholds._interval(never) == "beyond 2"
    loss = 1 - np.stack([answers(100, w) for w in (0, 2, 6)])
    edge = _thresholds.crossing(np.arange(3.0), loss, 0.05)
    assert 1 < edge.at < 2 and math.isinf(edge.high) and _thresholds._interval(edge).endswith("beyond 2")
    nothing = _thresholds.crossing(np.arange(2.0), np.full((2, 5), np.nan), 0.05)
    assert math.isnan(nothing.at) and nothing.left_out == 5 and _thresholds._said(nothing.at, 1) == "–"


def test_settings_below_the_identity_are_read_from_the_identity_on():
    loss = 1 - np.stack([answers(1000, w) for w in (0, 100)])
    found = _thresholds.crossing(np.array([1.0, 0.5]), loss, 0.05)
    assert found.at == pytest.approx(0.75) and 0.5 <= found.high < found.low < 1


def test_an_answer_once_lost_stays_lost():
    right = np.ones((3, 10))
    right[1, :4] = 0  # four are wrong at 1, of which two are right again at 2, where another one is wrong
    right[2, :2] = 0
    right[2, 9] = 0
    scores = {"clean": right[0], "fog@1": right[1], "fog@2": right[2]}
    found = _thresholds.survival(Stored(scores, ["fog"]), "fog")
    assert found.share.tolist() == [1, 0.6, 0.5] and found.back == pytest.approx(2 / 5)
    assert (found.low <= found.share).all() and (found.share <= found.high).all()


@pytest.mark.parametrize("changed", ["weighted", "relabelled"])
def test_a_stage_that_moves_no_answer_loses_none(changed):
    stored = Stored({"clean": np.ones(10), "drift@1": np.linspace(0, 1, 10)}, ["drift"])
    assert _thresholds.survival(stored, "drift") is not None
    stored.manifest["scenarios"]["drift@1"][changed] = True
    assert _thresholds.survival(stored, "drift") is None


def test_stages_on_scales_of_their_own_are_listed_and_not_ranked():
    over = _thresholds.Crossing(0.2, 0.1, 0.3, 1.0, 0)
    rows = [{"stage": "fog", "axis": ""}, {"stage": "labels", "axis": "rate"}, {"stage": "drift", "axis": "strength"}]
    said = _thresholds._sentence([], [(over, "labels")], rows, "5 points")
    assert said == "Labels at rate 0.2 uses up the tolerance of 5 points. 2 stages of 3 never do."
    said = _thresholds._sentence([(over, "fog")], [(over, "labels")], rows, "5 points")
    assert said.startswith("Fog uses up the tolerance of 5 points first, at severity 0.2 (0.1 to 0.3)")
    assert said.endswith("on a scale of its own labels at rate 0.2. 1 stage of 3 never does.")
    assert "No stage's" in _thresholds._sentence([], [], rows, "5 points")


def pairs_of(n, a, b, both):
    scores = {"clean": answers(n, 0), "x@3": answers(n, a), "y@3": answers(n, b), "x@3+y@3": answers(n, both)}
    return Stored(scores, ["x", "y"])


def test_the_four_cells_of_a_pair_split_exactly():
    # Losses 0, 0.3, 0.1, 0.4 add up: the parts are 0.15^2, 0.05^2 and 0, of 0.025.
    n = 100_000
    shares, at = _drivers.shares_of_pairs(pairs_of(n, 0.3 * n, 0.1 * n, 0.4 * n))
    np.testing.assert_allclose(shares.alone, [0.9, 0.1], atol=1e-3)
    assert shares.interactions[0] == pytest.approx(0, abs=1e-4) and at == {"x": 3.0, "y": 3.0}
    # Losses 0, 0.3, 0.1, 0.6: parts (0.8 / 4)^2, (0.4 / 4)^2, (0.2 / 4)^2 of 0.0525.
    shares, _ = _drivers.shares_of_pairs(pairs_of(n, 0.3 * n, 0.1 * n, 0.6 * n))
    np.testing.assert_allclose([*shares.alone, shares.interactions[0]], np.array([4, 1, 0.25]) / 5.25, atol=1e-3)
    assert shares.alone_interval[0, 0] < shares.alone[0] < shares.alone_interval[0, 1]
    assert shares.alone.sum() + shares.interactions[0] == pytest.approx(1)


def test_shares_have_no_bias_from_few_examples_and_intervals_that_cover():
    # Additive truth: x costs 0.4, y 0.2, so shares are 0.8 and 0.2 and the interaction 0.
    rng, found, hits = np.random.default_rng(0), [], 0
    for _ in range(200):
        u = rng.random((3, 60))
        x, y = u[0] < 0.4, u[1] < 0.2
        # The two together cost the sum: y's part is moved to examples that x spares.
        both = x | ((u[2] < 1 / 3) & ~x)
        scores = {"clean": np.ones(60), "x@3": ~x, "y@3": ~y, "x@3+y@3": ~both}
        shares, _ = _drivers.shares_of_pairs(Stored(scores, ["x", "y"]))
        found.append(shares.interactions[0])
        hits += shares.alone_interval[0, 0] <= 0.8 <= shares.alone_interval[0, 1]
    # The mean of 200 interactions, each of a spread of about 0.05, lies within 0.02 of 0; a square with its bias, not.
    assert abs(np.mean(found)) < 0.02 and hits >= 175


def test_words_claim_a_leader_only_if_its_interval_lies_above_the_others():
    def shares(low):
        return _drivers.Shares(
            ("fog", "noise"), np.array([0.6, 0.3]), np.array([[low, 0.7], [0.2, 0.45]]), np.zeros(2),
            (("fog", "noise", 0.1, -0.02, 0.22),), (0.1, -0.02, 0.22), 1, None,
        )  # fmt: skip

    clear, open_ = _drivers.sentences(shares(0.5)), _drivers.sentences(shares(0.4))
    assert clear[0].startswith("Fog drives the damage most") and "60.0%" in clear[0]
    assert open_[0].startswith("No stage leads for certain") and "noise may matter as much" in open_[0]
    assert not any("interaction counts most" in sentence for sentence in clear)


def test_which_stage_or_how_strong():
    scores = {"clean": answers(100, 0), "a@1": answers(100, 10), "a@2": answers(100, 30)}
    scores |= {"b@1": answers(100, 50), "b@2": answers(100, 70)}
    which, stages = _drivers.which_or_how_much(Stored(scores, ["a", "b"]))
    assert which == pytest.approx(0.04 / (0.04 + 0.01)) and stages == 2


def test_without_pairs_or_a_sample_nothing_is_shared_out():
    scores = {"clean": answers(10, 0), "a@1": answers(10, 3)}
    assert _drivers.section(Stored(scores, ["a"]), _numbers.ACCURACY) is None
    assert (
        _drivers.shares_of_sample(types.SimpleNamespace(**vars(Stored(scores, ["a"])), scores=lambda n: scores[n]))
        is None
    )


def test_a_sample_of_the_box_gives_sobol_indices_of_what_it_measured(tmp_path):
    # The outputs are logits (m, 0.35) with m the mean of the image, lifted by brightness; contrast leaves it alone.
    x = np.random.default_rng(0).uniform(0.0, 0.4, (200, 8, 8, 1)).astype(np.float32)
    x = x - x.mean(axis=(1, 2, 3), keepdims=True) + np.linspace(0.2, 0.55, 200, dtype=np.float32)[:, None, None, None]
    data = Dataset(np.clip(x, 0, 1), np.ones(200, int))

    def apply(params, x):
        mean = x.mean(axis=(1, 2, 3))
        return jnp.stack([mean, jnp.full_like(mean, 0.65)], axis=1)

    stages = {"light": sweep(image.Brightness, severity=[0, 3]), "contrast": sweep(image.Contrast, severity=[0, 3])}
    results = run(Campaign(Model(apply, np.zeros(1)), data, stages, design=design.sample(64)), tmp_path)
    shares = _drivers.shares_of_sample(results)
    assert shares.measured >= 60 and shares.error < 0.1
    assert shares.alone[0] > 0.9 and shares.alone_interval[0, 0] < shares.alone[0] < shares.alone_interval[0, 1]
    text = write_report(results, tmp_path / "r.html").read_text()
    assert "Light drives the damage most" in text and "Sobol indices" in text and "toss a coin" not in text


def test_the_sections_stand_in_the_report(classification, regression, tmp_path):
    text = write_report(classification, tmp_path / "c.html").read_text()
    assert 'id="thresholds"' in text and 'id="drivers"' in text and "toss a coin" in text
    assert "Lost at least once" in text and "survival" in text
    text = write_report(regression, tmp_path / "r.html").read_text()
    assert 'id="thresholds"' in text and "Lost at least once" not in text
    assert "cannot be shared out" in text
