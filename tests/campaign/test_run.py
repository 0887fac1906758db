"""The executor: what is computed, what is not computed again, and what the numbers do not depend on."""

import dataclasses
import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax.campaign import _engine
from sensijax.campaign.on import _mesh
from sensijax.campaign.store import open_store
from sensijax.perturb import image

EXACT = ["scenario", "stages", "severity", "seed", "example", "label", "prediction", "correct", "flipped", "status"]


def responses(results):
    """The responses without the columns that name the environment's choice of micro-batch."""
    return results.frame().drop(columns="micro_batch")


def test_a_run_holds_every_cell_once(finished, make_campaign):
    campaign = make_campaign()
    frame = finished.frame()
    expected = sum(len(campaign.seeds_of(s)) for s in campaign.scenarios) * len(campaign.data)
    assert len(frame) == expected
    assert not frame.duplicated(["scenario", "seed", "example"]).any()
    assert set(frame.scenario) == {s.name for s in campaign.scenarios}
    assert finished.completeness.complete


def test_a_scenario_without_draws_runs_for_one_seed(finished):
    seeds = finished.frame().groupby("scenario").seed.nunique()
    assert seeds["clean"] == seeds["dim@3"] == 1
    assert seeds["noise@3"] == seeds["noise@3+dim@3"] == 2


def test_as_many_programs_are_compiled_as_planned(finished, make_campaign):
    (statistics,) = finished.statistics()
    assert statistics["programs_compiled"] == statistics["programs_planned"] == 3 + 3
    assert statistics["rows_computed"] == len(finished.frame())
    assert 0 < statistics["device_share"] <= 1
    assert 0 < statistics["tile_latency_p50"] <= statistics["tile_latency_p99"]


def test_severities_share_one_program(make_campaign, tmp_path):
    """64 severities are one compilation of the perturbation."""
    results = sj.run(
        make_campaign(
            stages={"noise": sj.sweep(image.GaussianNoise, severity=jnp.linspace(0, 5, 64))},
            design=sj.design.isolated(),
            seeds=1,
        ),
        tmp_path / "run",
        micro_batch=64,
    )
    assert results.statistics()[0]["programs_compiled"] == 4
    assert len(results.scenario_names) == 64


def test_responses_agree_with_a_plain_loop(finished, make_campaign):
    """Example by example, eagerly, from the public contract: key_for, the perturbation, the model."""
    campaign = make_campaign()
    frame = finished.frame().set_index(["scenario", "seed", "example"])
    noise, contrast = image.GaussianNoise.at(3), image.Contrast.at(3)
    for example in (0, 17, 59):
        for seed in (0, 1):
            x = noise(sj.key_for(seed, "noise", example), jnp.asarray(campaign.data.x[example]))
            x = contrast(sj.key_for(seed, "dim", example), x)
            logits = campaign.model(x[None])[0]
            row = frame.loc["noise@3+dim@3", seed, example]
            assert row.prediction == int(jnp.argmax(logits))
            np.testing.assert_allclose(
                row.loss, float(-jax.nn.log_softmax(logits)[campaign.data.y[example]]), rtol=2e-5, atol=1e-6
            )


def test_running_again_computes_nothing(run_folder, make_campaign):
    before = {path.name: path.stat().st_mtime_ns for path in (run_folder / "parts").iterdir()}
    seen = []
    sj.run(make_campaign(), run_folder, progress=seen.append)
    assert {path.name: path.stat().st_mtime_ns for path in (run_folder / "parts").iterdir()} == before
    assert [p.phase for p in seen] == ["planning", "done"]
    assert seen[-1].computed == 0
    assert len((run_folder / "runs.jsonl").read_text().splitlines()) == 1


def test_a_missing_tile_alone_is_computed(run_folder, finished, make_campaign):
    victim = sorted((run_folder / "parts").iterdir())[3]
    victim.unlink()
    results = sj.run(make_campaign(), run_folder, micro_batch=64)
    assert results.statistics()[-1]["tiles_computed"] == 1
    assert victim.exists(), "the same tile has the same bytes, and so the same name"
    pd.testing.assert_frame_equal(responses(results), responses(finished))


@pytest.mark.parametrize("micro_batch", [1, 7, 256])
def test_the_micro_batch_changes_no_prediction(finished, make_campaign, tmp_path, micro_batch):
    results = sj.run(make_campaign(), tmp_path / "run", micro_batch=micro_batch)
    pd.testing.assert_frame_equal(results.frame()[EXACT], finished.frame()[EXACT])
    np.testing.assert_allclose(results.frame().loss, finished.frame().loss, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scenario", ["noise@3", "noise@3+impulse@3", "impulse@2.5"])
def test_the_micro_batch_changes_no_bit_of_the_inputs(make_campaign, scenario):
    campaign = make_campaign()
    reference = sj.perturbed_inputs(campaign, scenario, 1, micro_batch=64)
    for micro_batch in (1, 7, 256):
        np.testing.assert_array_equal(sj.perturbed_inputs(campaign, scenario, 1, micro_batch=micro_batch), reference)


def test_the_order_of_the_examples_changes_nothing(finished, make_campaign, make_data, run_folder):
    shuffled = make_data().take(np.random.default_rng(1).permutation(60))
    results = sj.run(make_campaign(data=shuffled), run_folder)
    assert len(results.statistics()) == 1, "the shuffled data are the same data: nothing was computed again"
    pd.testing.assert_frame_equal(results.frame(), finished.frame())


def test_a_subset_of_the_examples_keeps_its_draws(make_campaign, make_data):
    some = np.array([3, 41, 7])
    whole = sj.perturbed_inputs(make_campaign(), "noise@3+impulse@3", 1)
    part = sj.perturbed_inputs(make_campaign(data=make_data().take(some)), "noise@3+impulse@3", 1)
    np.testing.assert_array_equal(part, whole[np.sort(some)])


def test_another_stage_changes_no_draw(make_campaign):
    alone = make_campaign(stages={"impulse": sj.sweep(image.ImpulseNoise, severity=[0, 3])})
    np.testing.assert_array_equal(
        sj.perturbed_inputs(alone, "impulse@3", 1), sj.perturbed_inputs(make_campaign(), "impulse@3", 1)
    )


def test_severities_share_their_random_numbers(make_campaign):
    campaign = make_campaign(
        stages={"noise": sj.sweep(image.GaussianNoise, std=[0.0, 0.001, 0.002])}, design=sj.design.isolated()
    )
    x = sj.perturbed_inputs(campaign, "clean")
    one, two = (sj.perturbed_inputs(campaign, f"noise@{std}") - x for std in (0.001, 0.002))
    inside = (x > 0.05) & (x < 0.95)
    np.testing.assert_allclose(two[inside], 2 * one[inside], atol=3e-7)


def test_a_cell_is_recomputed_bit_for_bit(finished, make_campaign):
    for cell in ("noise@3+impulse@3:1:41", "clean:0:0", "dim@1:0:59"):
        address = sj.Cell.parse(cell)
        stored = finished.cell(address.scenario, address.seed, address.example)["row"]
        x, computed = sj.recompute(make_campaign(), cell, stored["micro_batch"])
        np.testing.assert_array_equal(
            x, sj.perturbed_inputs(make_campaign(), address.scenario, address.seed)[address.example]
        )
        assert {name: stored[name] for name in computed} == computed


def test_blocks_of_examples_change_nothing(make_campaign, finished, tmp_path, monkeypatch):
    """Data larger than the device holds go through it in blocks, the last one padded."""
    from sensijax.campaign import _plan

    monkeypatch.setattr(_plan, "BLOCK_EXAMPLES", 25)
    results = sj.run(make_campaign(), tmp_path / "run", micro_batch=64)
    assert len({(t["start"], t["stop"]) for t in results.manifest["tiles"]}) == 3
    own = ["tile", "micro_batch"]
    pd.testing.assert_frame_equal(results.frame().drop(columns=own)[EXACT], finished.frame().drop(columns=own)[EXACT])


def test_out_of_memory_halves_the_micro_batch_and_goes_on(make_campaign, finished, tmp_path, monkeypatch, caplog):
    real = _engine.Engine.dispatch
    tiles = []

    def dispatch(self, tile):
        if self.micro_batch > 32 and len(tiles) >= 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1234 bytes.")
        tiles.append(tile.id)
        return real(self, tile)

    monkeypatch.setattr(_engine.Engine, "dispatch", dispatch)
    with caplog.at_level(logging.WARNING):
        results = sj.run(make_campaign(), tmp_path / "run", micro_batch=128)
    assert "micro-batches of 32" in caplog.text
    assert results.completeness.complete
    assert set(results.frame().micro_batch) == {128, 32}
    pd.testing.assert_frame_equal(results.frame()[EXACT], finished.frame()[EXACT])
    (remembered,) = (tmp_path / "run/tuning").iterdir()
    assert json.loads(remembered.read_text())["micro_batch"] == 32


def test_the_measured_micro_batch_is_remembered(make_campaign, tmp_path, monkeypatch):
    """In the folder and for the user: another run of the same work has the same shapes, and so the same bits."""
    from sensijax.campaign import _tuning

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one = sj.run(make_campaign(), tmp_path / "one")
    monkeypatch.setattr(_tuning.Tuning, "_measure", lambda self: pytest.fail("measured again"))
    two = sj.run(make_campaign(), tmp_path / "two")
    pd.testing.assert_frame_equal(one.frame(), two.frame())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another-cache"))
    next((tmp_path / "one/parts").iterdir()).unlink()
    sj.run(make_campaign(), tmp_path / "one")


def test_other_device_errors_are_not_swallowed(make_campaign, tmp_path, monkeypatch):
    def dispatch(self, tile):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(_engine.Engine, "dispatch", dispatch)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        sj.run(make_campaign(), tmp_path / "run", micro_batch=64)


def test_a_changed_model_never_mixes_with_old_parts(run_folder, finished, make_campaign, make_model, caplog):
    with caplog.at_level(logging.WARNING):
        results = sj.run(make_campaign(model=make_model(scale=2.0)), run_folder, micro_batch=64)
    assert "another campaign" in caplog.text
    assert set(results.frame().model) == {results.manifest["model"]["digest"]} != set(finished.frame().model)
    assert results.completeness.stale == finished.completeness.tiles
    back = sj.run(make_campaign(), run_folder, micro_batch=64)
    assert len(back.statistics()) == 2, "the old campaign's tiles are still there: nothing is computed"
    pd.testing.assert_frame_equal(back.frame(), finished.frame())


def test_a_changed_program_has_other_tiles(make_campaign, make_model):
    plain, edited = make_model(), make_model()
    edited = dataclasses.replace(edited, apply=lambda w, x, apply=plain.apply: apply(w, x) * 1.0 + 1e-9)
    one, two = (sj.make_plan(make_campaign(model=m)) for m in (plain, edited))
    assert not {t.id for t in one.tiles} & {t.id for t in two.tiles}


def test_more_severities_reuse_the_old_tiles_of_other_stages(run_folder, make_campaign):
    stages = {**make_campaign().stages, "fog": sj.sweep(image.Fog, severity=[0, 3])}
    results = sj.run(make_campaign(stages=stages), run_folder, micro_batch=64)
    # fog alone, and its pairs with the three others
    assert results.statistics()[-1]["tiles_computed"] == 4


def test_another_environment_is_refused_until_allowed(run_folder, make_campaign, monkeypatch):
    real = _mesh.environment()
    monkeypatch.setattr(_mesh, "environment", lambda params=None: {**real, "id": "f" * 32, "device": "another"})
    next((run_folder / "parts").iterdir()).unlink()
    with pytest.raises(sj.StoreError, match="device: 'cpu' then, 'another' now"):
        sj.run(make_campaign(), run_folder, micro_batch=64)
    results = sj.run(make_campaign(), run_folder, micro_batch=64, allow_mixed=True)
    assert results.frame().environment.nunique() == 2


def test_an_environment_that_finished_nothing_refuses_nobody(run_folder, make_campaign):
    """A run that is killed elsewhere before its first tile leaves its environment's file, and no more."""
    real = _mesh.environment()
    open_store(run_folder).write_json(f"environments/{'e' * 32}.json", {**real, "id": "e" * 32, "device": "another"})
    next((run_folder / "parts").iterdir()).unlink()
    assert sj.run(make_campaign(), run_folder, micro_batch=64).completeness.complete


def test_a_run_skips_what_another_has_finished_meanwhile(run_folder, finished, make_campaign, tmp_path, monkeypatch):
    """As a run that is stopped for a while, and finds when it goes on that somebody else was there."""
    monkeypatch.setattr(_mesh.Looks, "wait", lambda self, now, working: 0.0)
    real, folder = _mesh.OnMesh.crew, tmp_path / "other"

    def crew(self, job):
        crew = real(self, job)
        compute = crew.compute

        def meanwhile(tiles, finished):
            few = sorted((run_folder / "parts").iterdir())[:4]
            for part in few:
                shutil.copy(part, folder / "parts")
            return compute(tiles, finished)

        crew.compute = meanwhile
        (folder / "parts").mkdir(parents=True, exist_ok=True)
        return crew

    monkeypatch.setattr(_mesh.OnMesh, "crew", crew)
    last = []
    results = sj.run(make_campaign(), folder, micro_batch=64, progress=last.append)
    assert results.statistics()[-1]["tiles_computed"] == results.completeness.tiles_total - 4
    assert last[-1].tiles == results.completeness.tiles_total and last[-1].computed < last[-1].rows
    pd.testing.assert_frame_equal(results.frame(), finished.frame())


def test_inputs_and_outputs_that_are_not_finite(make_campaign, make_data, make_model, tmp_path):
    data = make_data()
    x = data.x.copy()
    x[5, 0, 0, 0] = np.nan
    plain = make_model()

    def apply(w, x):  # breaks down where one pixel is saturated
        return jnp.where(x[:, 11, 0, 0, None] > 0.95, jnp.nan, plain.apply(w, x))

    campaign = make_campaign(
        model=dataclasses.replace(plain, apply=apply),
        data=dataclasses.replace(data, x=x),
        stages={"bright": sj.sweep(image.Brightness, severity=[0, 1, 5])},
        design=sj.design.isolated(),
    )
    results = sj.run(campaign, tmp_path / "run", micro_batch=64)
    frame = results.frame()
    assert set(frame[frame.example == 5].status) == {"nonfinite_input"}
    blown = frame[(frame.scenario == "bright@5") & (frame.example != 5)]
    inputs = sj.perturbed_inputs(campaign, "bright@5")
    too_bright = np.delete(inputs[:, 11, 0, 0] > 0.95, 5)
    assert 0 < too_bright.sum() < 59
    np.testing.assert_array_equal(blown.status == "nonfinite_output", too_bright)
    assert not blown.correct[blown.status != "ok"].any()
    assert blown.loss.isna().to_numpy()[too_bright].all()
    table = results.scenarios().set_index("scenario")
    assert table.loc["bright@5", "nonfinite_outputs"] == too_bright.sum()
    assert (table.nonfinite_inputs == 1).all()
    assert table.loc["bright@5", "n"] == 59
    assert np.isfinite(table.nll).all()


def test_probabilities_are_refused(make_campaign, make_model, tmp_path):
    plain = make_model()
    model = dataclasses.replace(plain, apply=lambda w, x: jax.nn.softmax(plain.apply(w, x)))
    with pytest.raises(sj.ArgumentError, match="leave out the softmax"):
        sj.run(make_campaign(model=model), tmp_path / "run", micro_batch=64)


def test_regression(make_campaign, make_data, tmp_path):
    data = make_data()
    target = data.x.mean(axis=(1, 2, 3))
    data = sj.Dataset(data.x, target, name="brightness")
    model = sj.Model(lambda w, x: (x * w).mean(axis=(1, 2, 3)), np.ones((), np.float32), name="mean")
    campaign = make_campaign(
        model=model,
        data=data,
        stages={"dim": sj.sweep(image.Brightness, severity=[0, 1, 5])},
        design=sj.design.isolated(),
    )
    results = sj.run(campaign, tmp_path / "run", micro_batch=64)
    table = results.scenarios().set_index("scenario")
    assert table.loc["clean", "r2"] == pytest.approx(1.0, abs=1e-6)
    shift = sj.perturbed_inputs(campaign, "dim@5").mean(axis=(1, 2, 3)) - target
    assert table.loc["dim@5", "drop"] == pytest.approx((shift**2).mean() / target.var(), rel=1e-3)
    assert table.loc["dim@5", "shift"] == pytest.approx(np.abs(shift).mean(), rel=1e-3)
    assert table.loc["dim@5", "verdict"] == "fragile"
    assert results.ranking().stage.tolist() == ["dim"]


def test_a_regression_that_breaks_down_is_fragile(make_campaign, make_data, tmp_path):
    data = make_data()
    data = sj.Dataset(data.x, data.x.mean(axis=(1, 2, 3)), name="brightness")
    model = sj.Model(lambda w, x: jnp.log(w - x.max(axis=(1, 2, 3))), np.ones((), np.float32), name="breaks-at-white")
    stages = {"bright": sj.sweep(image.Brightness, severity=[0, 5]), "dim": sj.sweep(image.Contrast, severity=[0, 1])}
    results = sj.run(
        make_campaign(model=model, data=data, stages=stages, design=sj.design.isolated()),
        tmp_path / "run",
        micro_batch=64,
    )
    table = results.scenarios().set_index("scenario")
    assert table.loc["bright@5", "nonfinite_outputs"] == 60 and np.isnan(table.loc["bright@5", "r2"])
    assert table.loc["bright@5", "verdict"] == "fragile"
    assert results.ranking().stage.tolist() == ["bright", "dim"]


def test_an_axis_that_is_no_severity(make_campaign, tmp_path):
    """JPEG quality: nothing happens above 100, and 10 is stronger than 50."""
    stages = {"jpeg": sj.sweep(image.JPEG, quality=[101, 10, 50])}
    results = sj.run(
        make_campaign(stages=stages, design=sj.design.isolated(), tolerance=0.01), tmp_path / "run", micro_batch=64
    )
    assert results.curve("jpeg").scenario.tolist() == ["clean", "jpeg@50", "jpeg@10"]
    assert results.curve("jpeg").severity.tolist() == [101, 50, 10]


def test_wrong_micro_batch(make_campaign, tmp_path):
    with pytest.raises(sj.ArgumentError, match="micro_batch"):
        sj.run(make_campaign(), tmp_path / "run", micro_batch=0)
