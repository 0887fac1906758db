"""Drift, annotation noise and an adversary at once: what rows are judged by, what they weigh, and who shares them."""

import itertools

import jax
import numpy as np
import pytest

import sensijax as sj
from sensijax import attack, drift, label
from sensijax.campaign._paths import Paths
from sensijax.campaign.results._responses import linearised
from sensijax.core import stage_key_data
from sensijax.core.keys import GENERATOR

PRIOR = (0.7, 0.2, 0.1)


def stress_stages():
    return {
        "adversary": sj.sweep(attack.PGD, eps=[0, 0.25], steps=3),
        "drift": sj.sweep(drift.PriorShift, strength=[0, 0.5, 1], target=PRIOR),
        "labels": sj.sweep(label.Symmetric, rate=[0, 0.2, 0.4]),
    }


@pytest.fixture(scope="module")
def campaign(make_campaign):
    return make_campaign(stages=stress_stages(), design=sj.design.staged(), seeds=3, name="stress")


@pytest.fixture(scope="module")
def results(campaign, tmp_path_factory):
    return sj.run(campaign, tmp_path_factory.mktemp("stress") / "run", micro_batch=64)


def stage_key(seed, stage):
    return jax.random.wrap_key_data(stage_key_data(seed, stage), impl=GENERATOR)


def rows_of(results, scenario, seed):
    frame = results.frame()
    return frame[(frame.scenario == scenario) & (frame.seed == seed)].sort_values("example")


def test_staged_goes_from_alone_to_pairs_to_all(campaign):
    sizes = [len(scenario.settings) for scenario in campaign.scenarios]
    assert sizes == sorted(sizes) and len(sizes) == 2 * 3 * 3
    pairs = list(sj.design.staged(order=2).scenarios(campaign.stages))
    assert {len(scenario.settings) for scenario in pairs} == {1, 2}
    with pytest.raises(sj.ArgumentError, match="limit"):
        list(sj.design.staged(limit=5).scenarios(campaign.stages))


def test_the_observed_labels_are_those_of_the_noise_alone(campaign, results):
    examples = campaign.examples
    for seed in campaign.seeds:
        noise = label.Symmetric(rate=np.float32(0.4), classes=3)
        expected = noise(stage_key(seed, "labels"), examples.y, ids=examples.ids).labels
        for scenario in ("labels@0.4", "adversary@0.25+drift@1+labels@0.4"):
            rows = rows_of(results, scenario, seed)
            np.testing.assert_array_equal(rows.observed, expected)
            np.testing.assert_array_equal(rows.target, examples.y)
            np.testing.assert_array_equal(rows.correct, rows.prediction == rows.observed)


def test_weights_are_those_of_the_drift_and_means_are_weighted(campaign, results):
    shifted = drift.shift(drift.PriorShift(strength=np.float32(1), target=PRIOR), jax.random.key(0), campaign.examples)
    rows = rows_of(results, "adversary@0.25+drift@1", 1)
    np.testing.assert_allclose(rows.weight, shifted.weights, rtol=1e-6)
    table = results.scenarios().set_index("scenario")
    frame = results.frame()
    for name in ("drift@1", "adversary@0.25+drift@1+labels@0.2"):
        part = frame[frame.scenario == name]
        for column, source in (("accuracy", part.correct), ("nll", part.loss), ("flip_rate", part.flipped)):
            assert table.loc[name, column] == pytest.approx(np.average(source, weights=part.weight), rel=1e-6)
    accuracy = [np.average(scores) for scores in results.scores("drift@1")]
    assert accuracy == pytest.approx([table.loc["drift@1", "accuracy"]] * 3, rel=1e-6)


def test_the_interval_of_a_weighted_mean_covers_it(campaign):
    """Error rate: 400 samples of 200 examples, nominal 95 %; outside [0.92, 0.98] once in some 2,000 runs."""
    rng, inside = np.random.default_rng([7, 1]), 0
    for _ in range(400):
        y = rng.integers(0, 2, 200)
        correct = (rng.random(200) < np.where(y == 0, 0.9, 0.5)).astype(float)[None]
        weights = np.where(y == 0, 0.4, 1.6)[None]
        found = sj.measure.paired_bootstrap(linearised(correct, weights)[None], binary=False, resamples=200)
        inside += bool(found.low[0] <= 0.2 * 0.9 + 0.8 * 0.5 <= found.high[0])
    assert 0.92 <= inside / 400 <= 0.98


def test_scenarios_that_share_what_the_model_is_shown_share_its_rows(campaign):
    plan = sj.make_plan(campaign)
    paths = [Paths(campaign, tile) for tile in plan.tiles]
    assert plan.rows == sum(tile.rows for tile in plan.tiles) == 60 * (3 + 6 * 3 + 9 * 3)
    assert sum(p.rows for p in paths) == 60 * (1 + 1 + 3)  # clean for one seed twice over, the adversary for three
    for p in paths:
        assert np.array_equal(np.sort(p.uses[p.uses >= 0]), np.arange(p.tile.rows))
        rows, uses = np.nonzero(p.uses >= 0)
        np.testing.assert_array_equal(p.answer[p.uses[rows, uses]], rows)


def test_a_cell_is_recomputed_bit_for_bit(campaign, results):
    for name in ("labels@0.2", "drift@0.5+labels@0.4", "adversary@0.25+drift@1+labels@0.4"):
        row = results.cell(name, 2, 17)["row"]
        _, again = sj.recompute(campaign, f"{name}:2:17", 64)
        assert {k: row[k] for k in again} == again


def test_a_second_run_computes_nothing(campaign, results):
    assert len(sj.run(campaign, results.folder, micro_batch=64).statistics()) == 1


def test_an_attack_aims_at_the_labels_that_the_stages_before_it_have_left(make_campaign, tmp_path):
    stages = stress_stages()
    stages = {name: stages[name] for name in ("labels", "adversary")}
    found = sj.run(make_campaign(stages=stages, design=sj.design.full_factorial(), seeds=1), tmp_path, micro_batch=64)
    frame = found.frame().set_index(["scenario", "example"])
    clean, noisy, both = (frame.loc[s] for s in ("clean", "labels@0.4", "labels@0.4+adversary@0.25"))
    right_by_truth_only = clean.correct & ~noisy.correct
    assert right_by_truth_only.any()
    # Already wrong for the labels that it was given: the attack leaves them alone.
    assert (both.confidence[right_by_truth_only] == clean.confidence[right_by_truth_only]).all()
    # So what it does without that noise tells nothing of the true classes here.
    coverage = found.coverage(0.2).set_index("scenario")
    assert coverage.loc["labels@0.4+adversary@0.25"].status.startswith("no true classes")
    assert coverage.loc["labels@0.4"].coverage == coverage.loc["clean"].coverage


def test_a_drift_that_moves_inputs_is_what_the_model_is_shown(make_campaign, tmp_path):
    stages = {
        "means": sj.sweep(drift.MeanShift, strength=[0, 1.5]),
        "gaps": sj.sweep(drift.MissingFeatures, strength=[0, 0.3]),
    }
    campaign = make_campaign(stages=stages, design=sj.design.isolated(), seeds=1)
    assert sj.run(campaign, tmp_path, micro_batch=64).completeness.complete
    for kind, name, value in ((drift.MeanShift, "means", 1.5), (drift.MissingFeatures, "gaps", 0.3)):
        shifted = drift.shift(kind(strength=np.float32(value)), stage_key(0, name), campaign.examples)
        shown = sj.perturbed_inputs(campaign, f"{name}@{value}")
        np.testing.assert_allclose(shown, shifted.x, atol=1e-6)
        assert not np.array_equal(shown, campaign.examples.x)


def test_a_concept_that_drifts_changes_what_is_right(make_campaign, tmp_path):
    stages = {"concept": sj.sweep(drift.ConceptShift, strength=[0, 1], mapping={0: 1, 1: 2, 2: 0})}
    found = sj.run(make_campaign(stages=stages, design=sj.design.isolated()), tmp_path, micro_batch=64)
    rows = rows_of(found, "concept@1", found.manifest["seeds"][0])
    np.testing.assert_array_equal(rows.target, (rows.label + 1) % 3)
    np.testing.assert_array_equal(rows.observed, rows.target)
    assert found.annotation().set_index("scenario").loc["concept@1", "wrong_labels"] == 0


def test_the_drop_under_all_is_the_sum_of_all_effects(results):
    effects = results.interactions(order=3)
    assert set(effects.order) == {1, 2, 3} and len(effects) == len(results.scenario_names) - 1
    whole = effects[effects.scenario == "adversary@0.25+drift@1+labels@0.4"].iloc[0]
    parts = {"adversary": 0.25, "drift": 1.0, "labels": 0.4}
    names = [
        "+".join(f"{stage}@{parts[stage]:g}" for stage in some)
        for size in (1, 2, 3)
        for some in itertools.combinations(parts, size)
    ]
    assert effects[effects.scenario.isin(names)].effect.sum() == pytest.approx(whole["drop"], abs=1e-9)
    assert (effects.low <= effects.effect + 1e-12).all() and (effects.effect <= effects.high + 1e-12).all()


def test_pairs_have_the_same_interactions_in_both_tables(results):
    pairs = results.interactions()
    table = results.effects(2)
    table = table[table.order == 2].set_index("scenario").effect
    for pair in pairs.itertuples():
        name = f"{pair.first}@{pair.at_first:.7g}+{pair.second}@{pair.at_second:.7g}"
        assert table[name] == pytest.approx(pair.interaction, abs=1e-9)


def test_effects_over_settings_are_the_mean_effects(results):
    means, each = results.effects(averaged=True), results.effects()
    assert len(means) == 7
    for row in means.itertuples():
        assert row.effect == pytest.approx(each[each.stages == row.stages].effect.mean(), abs=1e-9)


@pytest.mark.parametrize("response", ["confidence", "loss", "overconfidence"])
def test_effects_of_other_responses(results, response):
    frame, table = results.frame(), results.effects(1, response).set_index("scenario")
    frame["overconfidence"] = frame.confidence - frame.correct
    mean = {
        name: np.average(part[response].astype(float), weights=part.weight) for name, part in frame.groupby("scenario")
    }
    for name in ("adversary@0.25", "drift@1", "labels@0.4"):
        assert table.loc[name, "effect"] == pytest.approx(mean["clean"] - mean[name], abs=1e-5)


def test_the_measured_accuracy_beside_the_true_one(results):
    table = results.annotation().set_index("scenario")
    assert len(table) == 2 * 2 * 3
    for name in ("labels@0.4", "drift@1+labels@0.4"):
        assert table.loc[name, "measured"] < table.loc[name, "true"]
    assert table.loc["labels@0.4", "wrong_labels"] == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / 180))
    assert table.loc["labels@0.4", "true"] == pytest.approx(results.baseline()[0])
    for name, rate in (("labels@0.2", 0.2), ("labels@0.4", 0.4), ("adversary@0.25+labels@0.4", 0.4)):
        row, spread = table.loc[name], np.sqrt(rate * (1 - rate) / 180) / (1 - 1.5 * rate)  # K / (K - 1) = 1.5
        assert row.corrected == pytest.approx(row.true, abs=4 * spread)  # symmetric noise keeps the assumption
        assert row.low < row.corrected < row.high and abs(row.corrected - row.true) < abs(row.gap)
    assert np.isnan(table.loc["drift@1+labels@0.4", "corrected"])  # weighted: nothing is concluded


def test_the_profile_has_an_axis_for_each_set_of_stages(results):
    profile = results.profile()
    assert profile.axis.tolist()[:3] == ["adversary", "drift", "labels"] and "calibration" in set(profile.axis)
    assert len(profile) == 7 + 1
    scores = profile[profile.order > 0]
    assert (scores.low <= scores.retained).all() and (scores.retained <= scores.high).all()
    assert (scores.worst <= scores.retained + 1e-9).all()


def test_groups_are_weighted_within(results):
    table = results.groups("adversary@0.25+drift@1")
    assert set(table.value) == {"0", "1", "2"} and table.accuracy.between(0, 1).all()


def test_a_fraction_tells_pairs_apart_at_resolution_five(make_campaign, tmp_path):
    stages = {
        name: sj.sweep(label.Symmetric if k < 4 else label.PairFlip, rate=[0, 0.1]) for k, name in enumerate("abcde")
    }
    campaign = make_campaign(stages=stages, design=sj.design.fractional(at=0.1), seeds=1)
    assert len(campaign.scenarios) == 16
    found = sj.run(campaign, tmp_path, micro_batch=64).contrasts(order=2)
    assert len(found.estimates) == 5 + 10
    assert not any(len(other) <= 2 for others in found.aliases.values() for other, _ in others)


@pytest.mark.parametrize("factors, resolution, runs", [(3, 3, 4), (5, 5, 16), (7, 3, 8), (7, 4, 16), (4, 5, 16)])
def test_fractions_are_as_small_as_they_can_be(factors, resolution, runs):
    stages = {f"s{k}": sj.sweep(label.Symmetric, rate=[0, 0.1]) for k in range(factors)}
    assert len(list(sj.design.fractional(at=0.1, resolution=resolution).scenarios(stages))) == runs


def test_faults_are_found_at_the_door(make_campaign, make_data):
    stages = {
        "prior": sj.sweep(drift.PriorShift, strength=[0, 1], target=(0.5, 0.5)),
        "labels": sj.sweep(label.Symmetric, rate=[0.0, 1.5]),
    }
    with pytest.raises(sj.CampaignError) as caught:
        make_campaign(stages=stages)
    said = str(caught.value)
    assert "3: one for each class" in said and "fraction in [0, 1]" in said
    data = make_data()
    regression = sj.Dataset(data.x, data.y.astype(np.float32))
    with pytest.raises(sj.CampaignError, match="a regression"):
        make_campaign(data=regression, stages={"labels": sj.sweep(label.Symmetric, rate=[0.0, 0.5])})


def test_more_noise_has_other_tiles_and_the_same_noise_the_same(make_campaign):
    def tiles(rate):
        stages = {"labels": sj.sweep(label.Symmetric, rate=[0, rate])}
        return {t.id for t in sj.make_plan(make_campaign(stages=stages, design=sj.design.isolated())).tiles}

    assert tiles(0.2) == tiles(0.2) and len(tiles(0.2) & tiles(0.3)) == 1  # the clean one


STRESS_SPEC = """schema = 1
[model]
load = "sensijax.demo:Recipe"
[data]
load = "sensijax.data:digits"
limit = 40
[[stage]]
name = "concept"
kind = "concept_shift"
strength = [0, 0.5]
mapping = { 3 = 5, 5 = 3 }
[[stage]]
name = "few"
kind = "subpopulation_shift"
strength = [0, 1]
value = 3
"""


def test_a_spec_takes_tables_and_says_what_is_missing(tmp_path):
    (tmp_path / "spec.toml").write_text(STRESS_SPEC)
    with pytest.raises(sj.CampaignError) as caught:
        sj.load_spec(tmp_path / "spec.toml")
    faults = {fault.path: fault for fault in caught.value.faults}
    assert set(faults) == {"model.load", "stage.few.share"}  # the table of the concept is no fault
    assert faults["stage.few.share"].came == "missing" and faults["stage.few.share"].location.endswith(":12")


def test_what_is_timed_is_the_clean_baseline_and_what_the_model_sees(campaign):
    from sensijax.campaign._programs import Programs
    from sensijax.campaign._tuning import Tuning

    programs = Programs(campaign)
    tuning = Tuning(campaign, sj.make_plan(campaign, programs), programs, "here", None)
    assert tuning.clean.rows == 60 and sum(tuning.tile_rows) == 60 * (1 + 1 + 3)


def test_what_is_shown_of_a_tile_is_computed_once(campaign, monkeypatch):
    from sensijax.campaign._engine import Engine
    from sensijax.campaign._programs import Programs

    programs = Programs(campaign)
    plan = sj.make_plan(campaign, programs)
    engine, calls, rows = Engine(campaign, plan, programs, 64), [], Engine._rows
    monkeypatch.setattr(Engine, "_rows", lambda *given: calls.append(given) or rows(*given))
    tile = plan.tiles[0]
    x, columns = engine.shown(tile)
    assert len(calls) == 1 and len(x) == tile.rows == len(columns["correct"])
    np.testing.assert_array_equal(x, engine.inputs(tile).reshape(x.shape))


def test_kinds_of_a_spec():
    from sensijax.campaign import drift_kinds, label_kinds

    assert {"prior_shift", "covariate_shift", "concept_shift"} <= set(drift_kinds())
    assert {"symmetric", "instance_dependent", "pair_flip", "crowd_vote"} <= set(label_kinds())
