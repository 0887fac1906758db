"""Timelines: what a drift in time looks like to a model, and what monitors say of it."""

import dataclasses
import os
import re
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

import sensijax as sj
from sensijax import attack, drift, label
from sensijax.campaign import make_plan
from sensijax.campaign.results._timelines import what_counts
from sensijax.core import ArgumentError, CampaignError
from sensijax.drift import Change, Gradual, Recurring, Sudden, detect
from sensijax.perturb import image

SIZE, SEEDS, LENGTH = 20, 3, 480
CHI2 = sj.Windowed("prediction", detect.chi2, size=SIZE, alpha=0.05, permutations=200)
ERRORS = sj.Monitor("error", detect.DDM())
AWAY = sj.Timeline("prior", Sudden(240), LENGTH, monitors={"classes": CHI2, "errors": ERRORS})
CONCEPT = sj.Timeline("concept", Sudden(160) >> Sudden(320, to=0.0), LENGTH, monitors=AWAY.monitors, horizon=80)


def stages():
    return {
        "noise": sj.sweep(image.GaussianNoise, severity=[0, 5]),
        "prior": sj.sweep(drift.PriorShift, strength=[0, 0.5, 1], target=(0.8, 0.1, 0.1)),
        "concept": sj.sweep(drift.ConceptShift, strength=[0, 1]),
        "labels": sj.sweep(label.Symmetric, rate=[0, 0.3]),
    }


@pytest.fixture(scope="module")
def make(make_campaign):
    def made(timelines, **changes):
        parts = {
            "stages": stages(),
            "design": sj.design.pairs(at={"noise": 5, "prior": 1, "concept": 1, "labels": 0.3}),
        }
        return make_campaign(**{**parts, "seeds": SEEDS, "timelines": timelines, **changes})

    return made


@pytest.fixture(scope="module")
def timelines():
    null = sj.Timeline("prior", Sudden(0, to=0.0), 12_000, monitors={"classes": CHI2})
    return {
        "away": AWAY,
        "concept": CONCEPT,
        "noisy": dataclasses.replace(CONCEPT, beside={"labels": 0.3, "noise": 5}),
        "null": null,
    }


@pytest.fixture(scope="module")
def campaign(make, timelines):
    return make(timelines)


@pytest.fixture(scope="module")
def results(campaign, tmp_path_factory):
    return sj.run(campaign, tmp_path_factory.mktemp("timelines") / "run", micro_batch=64)


# --- what is watched -------------------------------------------------------------------------------------------------


def test_the_reference_is_the_scenario_of_the_stages_beside(results):
    table = results.sql(
        "select avg(confidence) as confidence, avg(loss) as loss, avg((prediction <> observed)::int) as error "
        "from responses where scenario = 'noise@5+labels@0.3'"
    )
    reference = results.timeline("noisy").reference
    assert 0.2 < reference["error"] < 0.5
    for signal in table.columns:
        assert reference[signal] == pytest.approx(table[signal][0], rel=1e-6)


def test_a_step_is_what_comes_what_it_is_and_what_is_written_on_it(campaign, results):
    away, noisy = results.timeline("away"), results.timeline("noisy")
    clean = results.sql("select example, label, prediction, confidence from responses where scenario = 'clean'")
    clean = clean.drop_duplicates("example").sort_values("example")
    for written in away.signals["label"].astype(int):
        counts = [np.bincount(written[part], minlength=3) for part in (slice(240), slice(240, None))]
        assert min(counts[0]) > 50 and counts[1][0] > 160  # a third each, then eight in ten are zeros
    # Nothing is drawn on the way, so every step shows numbers that the campaign has of some example.
    assert np.isin(away.signals["confidence"].round(5), clean.confidence.to_numpy().round(5)).all()
    assert set(zip(away.signals["label"].ravel(), away.signals["prediction"].ravel(), strict=True)) <= set(
        zip(clean.label, clean.prediction, strict=True)
    )
    # Errors are against what was written, and that is wrong all along; the model is right but for the concept.
    assert (noisy.signals["error"] == (noisy.signals["prediction"] != noisy.signals["label"])).all()
    quiet = np.r_[:160, 320:LENGTH]
    assert 0.2 < noisy.signals["error"][:, quiet].mean() < 0.45 < noisy.signals["correct"][:, quiet].mean()
    assert noisy.signals["correct"][:, 160:320].mean() < 0.1
    concept = results.timeline("concept").signals
    wrong = concept["error"] == 1  # of an example that is called otherwise at another time, too
    np.testing.assert_allclose(concept["loss"][~wrong], -np.log(concept["confidence"][~wrong]), rtol=1e-4, atol=1e-6)
    assert (concept["loss"][wrong] > np.log(2) - 1e-6).all() and wrong.any()


def test_timelines_of_one_stage_meet_the_same_examples(results):
    concept, noisy = results.timeline("concept"), results.timeline("noisy")
    right = noisy.signals["label"] == concept.signals["label"]
    assert 0.6 < right.mean() < 0.8  # three in ten are written wrongly, and nothing else differs
    assert (concept.signals["label"][0] != concept.signals["label"][1]).any()  # a stream a seed


def test_the_truth_is_told(results):
    concept = results.timeline("concept")
    assert concept.changes == (
        Change(160, 160, "sudden", "ConceptShift", 0.0, 1.0),
        Change(320, 320, "sudden", "ConceptShift", 1.0, 0.0),
    )
    assert concept.strength[[159, 160, 319, 320]].tolist() == [0, 1, 1, 0]
    assert concept.seeds == (0, 1, 2) and concept.about["horizon"] == 80
    assert concept.about["monitors"]["classes"]["stated"] == 1e4 * 0.05 / SIZE
    assert concept.about["monitors"]["errors"] == {
        **{"signal": "error", "kind": "DDM", "options": {"drift": 3.0, "warning": 2.0, "minimum": 30}, "size": None},
        **{"alpha": None, "ert": None, "labels": True, "stated": None},
    }


# --- who saw it ------------------------------------------------------------------------------------------------------


def test_each_change_is_seen_by_the_monitors_that_can_see_it(results):
    table = results.timelines().set_index(["timeline", "monitor"])
    assert table.rate["away", "classes"] == 1 and table.mean_delay["away", "classes"] < 2 * SIZE
    assert table.rate["concept", "errors"] == 1 and table.mean_delay["concept", "errors"] < 40
    assert table.rate["away", "errors"] == 0  # the model is as right as before
    assert results.timeline("concept").p_values["classes"].min() > 1e-3  # predictions do not move with the meaning
    assert (table.low <= table.rate).dropna().any() and (table.always_rate.dropna() == 1).all()
    assert (table.always_false_per_10k.dropna() == 10_000).all() and (table.never_rate.dropna() == 0).all()


def test_a_windowed_test_speaks_at_the_end_of_its_window(results):
    away = results.timeline("away")
    assert set(np.flatnonzero(away.alarms["classes"].any(axis=0)) % SIZE) == {SIZE - 1}
    assert (away.alarms["classes"][:, SIZE - 1 :: SIZE] == (away.p_values["classes"] <= 0.05)).all()
    assert not away.warnings["classes"].any() and results.timeline("noisy").warnings["errors"].any()


def test_without_drift_false_alarms_stay_below_what_is_stated(results):
    """1,800 windows at level 0.05: at most 126 alarms in 999 of 1,000 such tests if the level were reached."""
    null = results.timeline("null")
    p_values = null.p_values["classes"]
    assert p_values.size == SEEDS * 600
    # The reference is the population itself: a chi-squared of 60 against 20 counts 3/4 of what it would, so the level
    # becomes P(chi2_2 > 5.99 / 0.75) = 0.018, of 1,800 windows 33.
    assert 8 < (p_values <= 0.05).sum() <= 126
    row = results.timelines().set_index("timeline").loc["null"]
    assert row.false_per_10k <= row.stated_per_10k == 25 and row.changes == 0 and np.isnan(row.rate)


def test_only_quiet_steps_can_hold_a_false_alarm():
    changes = (
        Change(20, 30, "gradual", "D", 0, 1),
        Change(50, 50, "sudden", "D", 1, 0.5),
        Change(60, 64, "x", "D", 0.5, 0),
    )
    strength = (Gradual(20, 10) >> Sudden(50, to=0.5) >> Gradual(60, 4, to=0.0))(np.arange(100)).astype(np.float32)
    begins, ignored = what_counts(strength, changes, None)
    assert begins.tolist() == [20] and np.flatnonzero(~ignored).tolist() == list(range(50))
    begins, ignored = what_counts(strength, changes, 12)
    assert np.flatnonzero(~ignored).tolist() == [*range(32), *range(76, 100)]
    again = Recurring(period=40, start=10)
    events = [Change(e.at, e.until, e.kind, "D", e.before, e.after) for e in again.events(100)]
    begins, ignored = what_counts(again(np.arange(100)).astype(np.float32), tuple(events), 5)
    assert begins.tolist() == [10, 50, 90] and np.flatnonzero(~ignored).tolist() == [
        *range(15), *range(35, 55), *range(75, 95)
    ]  # fmt: skip


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_of_exhibits_only_what_is_missing_is_made_again_bit_for_bit(campaign, results, tmp_path):
    folder = shutil.copytree(results.folder, tmp_path / "run")
    known = {address for about in results.manifest["timelines"].values() for address in about["exhibits"].values()}
    files = {path.name: path for path in (folder / "exhibits").iterdir() if path.name.partition("-")[0] in known}
    assert len(files) == len(known) == 4 * SEEDS
    address = results.timeline("noisy").about["exhibits"]["1"]
    gone = next(name for name in files if name.startswith(address))
    kept = {name: os.stat(path).st_ino for name, path in files.items() if name != gone}
    files[gone].unlink()
    part = sj.Results.open(folder).timeline("noisy")
    assert part.seeds == (0, 2) and part.alarms["errors"].shape == (2, LENGTH)
    phases = []
    sj.run(campaign, folder, micro_batch=64, progress=lambda progress: phases.append(progress.phase))
    assert phases.count("exhibits") == 1
    assert {name: os.stat(folder / "exhibits" / name).st_ino for name in kept} == kept
    assert gone in os.listdir(folder / "exhibits")  # the digest of its bytes is in its name


def test_what_monitors_say_does_not_depend_on_the_micro_batch(make, timelines, results, tmp_path):
    other = sj.run(make({"alone": timelines["noisy"]}), tmp_path / "run", micro_batch=24)
    one, two = results.timeline("noisy"), other.timeline("alone")
    assert one.about["exhibits"] == two.about["exhibits"]  # nor on the other timelines, nor on its name
    for monitor in one.alarms:
        np.testing.assert_array_equal(one.alarms[monitor], two.alarms[monitor])
    for signal in one.signals:
        np.testing.assert_allclose(one.signals[signal], two.signals[signal], rtol=1e-5, atol=1e-6)


def test_a_timeline_changes_no_tile(make, campaign):
    assert [tile.id for tile in make_plan(make({})).tiles] == [tile.id for tile in make_plan(campaign).tiles]


def test_an_address_holds_whatever_decides_the_content(make):
    def with_monitor(monitor):
        return dataclasses.replace(AWAY, monitors={"classes": monitor})

    def mine(reference, sample, *, alpha):
        return detect.chi2(reference, sample, alpha=alpha)

    def other(reference, sample, *, alpha):
        return detect.chi2(sample, reference, alpha=alpha)

    other.__qualname__ = mine.__qualname__
    one = with_monitor(CHI2)
    variants = {
        "the same": with_monitor(CHI2),
        "stage": dataclasses.replace(one, stage="concept"),
        "at": dataclasses.replace(one, at=0.5),
        "schedule": dataclasses.replace(one, schedule=Sudden(241)),
        "length": dataclasses.replace(one, length=LENGTH + 1),
        "beside": dataclasses.replace(one, beside={"labels": 0.3}),
        "how much beside": dataclasses.replace(one, beside={"labels": 0.2}),
        "size": with_monitor(sj.Windowed("prediction", detect.chi2, size=21, alpha=0.05, permutations=200)),
        "alpha": with_monitor(sj.Windowed("prediction", detect.chi2, size=SIZE, alpha=0.04, permutations=200)),
        "options": with_monitor(sj.Windowed("prediction", detect.chi2, size=SIZE, alpha=0.05, permutations=201)),
        "signal": with_monitor(sj.Windowed("label", detect.chi2, size=SIZE, alpha=0.05, permutations=200)),
        "a test": with_monitor(sj.Windowed("prediction", mine, size=SIZE)),
        "its code": with_monitor(sj.Windowed("prediction", other, size=SIZE)),
        "detector": with_monitor(ERRORS),
        "its parameter": with_monitor(sj.Monitor("error", detect.DDM(drift=2.5))),
        "monitor's name": dataclasses.replace(AWAY, monitors={"other": CHI2}),
    }
    names = {key: f"t{i}" for i, key in enumerate(variants)}
    campaign = make({"one": one, **{names[key]: timeline for key, timeline in variants.items()}})
    plan = make_plan(campaign)
    addresses = {key: campaign.addresses.of(plan, names[key], 0) for key in variants}
    assert addresses["the same"] == campaign.addresses.of(plan, "one", 0)  # the timeline's name is no part of it
    assert len(set(addresses.values())) == len(variants)
    assert campaign.addresses.of(plan, "one", 1) != addresses["the same"]


def test_an_edit_of_a_drift_renames_what_is_watched(make):
    def kind(further):
        class Moved(drift.Drift):
            changes, deterministic = ("labels",), True

            def labels(self, key, x, y, ids):
                return jnp.where(self.strength > 0, (y + further) % 3, y)

        return Moved

    def address(further):
        moved = {"moved": sj.sweep(kind(further), strength=[0, 1])}
        timeline = {"t": dataclasses.replace(AWAY, stage="moved")}
        campaign = make(timeline, stages=moved, design=sj.design.isolated())
        return campaign.addresses.of(make_plan(campaign), "t", 0)

    assert address(1) == address(1) != address(2)


# --- other campaigns -------------------------------------------------------------------------------------------------


def test_an_attack_may_act_all_along(make, tmp_path):
    adversary = {"adversary": sj.sweep(attack.PGD, eps=[0, 0.3], steps=3), "concept": stages()["concept"]}
    timeline = sj.Timeline("concept", Sudden(40), 64, beside={"adversary": 0.3}, monitors={"errors": ERRORS})
    results = sj.run(make({"t": timeline}, stages=adversary, design=sj.design.isolated(), seeds=1), tmp_path / "run")
    accuracy = results.scenarios().set_index("scenario").accuracy
    found = results.timeline("t")
    assert 1 - found.reference["error"] == pytest.approx(accuracy["adversary@0.3"]) and accuracy["adversary@0.3"] < 0.9


def test_a_regression_is_watched_by_its_loss(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)).astype(np.float32)
    data = sj.Dataset(x, (x.sum(axis=1, keepdims=True) + rng.normal(size=(120, 1)) / 5).astype(np.float32))
    model = sj.Model(lambda w, x: x @ w, np.array([[1], [1], [1], [0.5]], np.float32), name="sum")
    moved = {"moved": sj.sweep(drift.MeanShift, strength=[0, 3], features=(3,))}
    made = sj.Campaign(model, data, moved, timelines={"t": sj.Timeline("moved", Sudden(160), 320)})
    found = sj.run(made, tmp_path / "run").timeline("t")
    assert list(found.signals) == ["loss"] and set(found.alarms) == {"losses", "outputs"}
    assert found.found["losses"].all() and found.found["outputs"].all()
    assert found.signals["loss"][:, 160:].mean() > 2 * found.signals["loss"][:, :160].mean()


def test_a_threshold_can_be_calibrated_on_the_reference(make, tmp_path):
    watch = {"confidence": sj.Monitor("confidence", detect.CUSUM(), ert=200)}
    timeline = sj.Timeline("prior", Sudden(0, to=0.0), 6000, monitors=watch)
    found = sj.run(make({"t": timeline}, seeds=1, design=sj.design.isolated()), tmp_path / "run").timeline("t")
    assert found.about["monitors"]["confidence"]["stated"] == 50
    # About 30 alarms: outside of 14..50 once in some thousand streams, and the run length is known to 5 % or so.
    assert 14 <= found.evaluation["confidence"].false_alarms <= 50


def test_outputs_that_are_no_numbers_end_a_run_whose_tiles_stay(make, make_model, tmp_path):
    model = make_model()
    fragile = sj.Model(lambda w, x: model.apply(w, jnp.where(x < 1.1, x, jnp.nan)), model.params)
    moved = {"moved": sj.sweep(drift.ScaleShift, strength=[0, 0.2, 3.0])}
    made = make(
        {"t": sj.Timeline("moved", Sudden(20), 40, monitors={"errors": ERRORS})},
        model=fragile, stages=moved, design=sj.design.isolated(), seeds=1,
    )  # fmt: skip
    with pytest.raises(ArgumentError, match=r"timelines.t.*no finite numbers in \d+ of 40 rows under seed 0"):
        sj.run(made, tmp_path / "run")
    assert sj.Results.open(tmp_path / "run").completeness.complete
    with pytest.raises(sj.StoreError, match="holds no stream"):
        sj.Results.open(tmp_path / "run").timeline("t")


# --- the door --------------------------------------------------------------------------------------------------------


def replaced(**changes):
    return dataclasses.replace(AWAY, **changes)


def watching(monitor):
    return replaced(monitors={"m": monitor})


WRONG = {
    "unknown_stage": (replaced(stage="prio"), "stage: 'prio'; did you mean 'prior'"),
    "no_drift": (replaced(stage="noise"), "stage: 'noise', GaussianNoise; a stage that is a drift"),
    "no_setting": (replaced(at=2.0), r"at: 2; a number in \[0, 1\]"),
    "identity": (replaced(at=0.0), "at: 0, which is no drift"),
    "too_strong": (replaced(schedule=Sudden(9, to=1.5)), r"schedule: level 1.5: strength is 1.5; a number in \[0, 1\]"),
    "too_late": (
        replaced(schedule=Sudden(9) >> Sudden(480)),
        r"schedule: Sudden\(at=480, to=1.0\); changes that begin",
    ),
    "no_length": (replaced(length=0), "length: 0; a number of steps"),
    "no_shape": (replaced(schedule=5), "schedule: int; a shape in time"),
    "short": (replaced(length=10, schedule=Sudden(3), monitors=None), "length: 10; 20 steps or more"),
    "patience": (replaced(horizon=SIZE - 1), "horizon: 19; a number of steps of at least 20"),
    "beside_itself": (replaced(beside={"prior": 1.0}), "beside.prior: the timeline's own drift"),
    "beside_unknown": (replaced(beside={"label": 0.1}), "beside.label: stage 'label'; did you mean 'labels'"),
    "beside_drift": (replaced(beside={"concept": 1.0}), "beside.concept: a second drift, ConceptShift"),
    "beside_rate": (replaced(beside={"labels": 1.5}), "beside.labels: 1.5"),
    "no_monitor": (replaced(monitors={}), "monitors: none"),
    "no_signal": (watching(sj.Monitor("eror", detect.ADWIN())), "m.signal: 'eror'; did you mean 'error'"),
    "domain": (watching(sj.Monitor("confidence", detect.DDM())), "m.signal: 'confidence' for DDM; 0 and 1: error"),
    "unit": (watching(sj.Monitor("loss", detect.HDDM_A())), r"m.signal: 'loss' for HDDM_A; numbers in \[0, 1\]"),
    "vector": (watching(sj.Monitor("outputs", detect.ADWIN())), "m.signal: 'outputs' for ADWIN; one that is a number"),
    "number": (watching(sj.Monitor("loss", detect.OnlineMMD(threshold=1.0))), "m.signal: 'loss' for OnlineMMD"),
    "classes": (watching(sj.Monitor("prediction", detect.ADWIN())), "m.signal: 'prediction', classes, for ADWIN"),
    "no_detector": (watching(sj.Monitor("error", detect.ks)), "m.detector: <function ks"),
    "never": (watching(sj.Monitor("outputs", detect.OnlineMMD())), "m.detector: a threshold of infinity"),
    "no_ert": (watching(sj.Monitor("error", detect.ADWIN(), ert=99)), "m.ert: 99 for ADWIN"),
    "small_ert": (watching(sj.Monitor("error", detect.CUSUM(), ert=9)), "m.ert: 9; a number of steps above 10"),
    "too_wide": (watching(sj.Monitor("error", detect.KSWIN(size=500))), "m: KSWIN: stream is 480 values"),
    "size": (watching(sj.Windowed("loss", detect.ks, size=481)), "m.size: 481; steps in a window, from 2 to the 480"),
    "alpha": (watching(sj.Windowed("loss", detect.ks, size=9, alpha=0)), "m.alpha: 0"),
    "test": (watching(sj.Windowed("loss", detect.ADWIN, size=9)), "m.test: <class"),
    "option": (watching(sj.Windowed("loss", detect.ks, size=9, bins=3)), "m: ks: .*'bins'"),
    "permutations": (
        watching(sj.Windowed("outputs", detect.mmd, size=9, permutations=50)),
        "m: mmd on 'outputs': perm",
    ),
    "kind": (watching(sj.Windowed("loss", detect.chi2, size=9)), "m: chi2 on 'loss'"),
    "returns": (watching(sj.Windowed("loss", lambda a, b, alpha: 0.5, size=9)), "m: <lambda> returns a float"),
    "monitor": (watching(detect.ADWIN()), "m: ADWIN; a sensijax.Monitor or a sensijax.Windowed"),
    "timeline": ("soon", "timeline: str; a sensijax.Timeline"),
    "2": (AWAY, "2: '2'; a name of letters"),
}


def test_every_fault_is_found_at_the_door_and_all_at_once(make):
    with pytest.raises(CampaignError) as caught:
        make({name: timeline for name, (timeline, _) in WRONG.items()})
    told = "\n".join(map(str, caught.value.faults))
    for name, (_, fault) in WRONG.items():
        assert re.search(rf"timelines\.{name}[.:].*", told), name
        tail = fault if fault.startswith(f"{name}:") else rf"{name}\.(monitors\.)?{fault}"
        assert re.search(rf"timelines\.{tail}", told), (name, [line for line in told.splitlines() if name in line])
    assert len(caught.value.faults) == len(WRONG)


def test_a_change_beyond_the_end_hides_no_fault_of_a_monitor(make):
    monitors = {"sure": sj.Monitor("confidence", detect.DDM())}
    with pytest.raises(CampaignError) as caught:
        make({"late": sj.Timeline("prior", Sudden(LENGTH), LENGTH, monitors=monitors)})
    told = sorted(fault.path for fault in caught.value.faults)
    assert told == ["timelines.late.monitors.sure.signal", "timelines.late.schedule"]


def test_data_that_a_stream_cannot_draw_from_are_refused(make, make_data):
    data = make_data()
    x = data.x.copy()
    x[7, 0, 0] = np.nan
    prior = {"stages": {"prior": stages()["prior"]}, "design": sj.design.isolated()}
    with pytest.raises(CampaignError, match="timelines: 1 examples with NaN or infinity, the first with id 7"):
        make({"t": AWAY}, data=sj.Dataset(x, data.y), **prior)
    with pytest.raises(CampaignError, match="timelines.t.stage: PriorShift: target is 3 shares; 2: one for each class"):
        make({"t": AWAY}, data=data.take(data.y < 2), **prior)
    with pytest.raises(CampaignError, match="timelines: list; timelines by name"):
        make([AWAY], **prior)
