"""Attacks as stages of a campaign: what they are shown, what they leave, and what that does not depend on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax import attack
from sensijax.attack import losses
from sensijax.perturb import image

EPS = 0.25
STAGES = {
    "dim": sj.sweep(image.Contrast, severity=[0, 2]),
    "pgd": sj.sweep(attack.PGD, eps=[0, 0.08, 0.15, EPS], steps=5),
    "fgsm": sj.sweep(attack.FGSM, eps=[0, EPS]),
}
AT = {"dim": 2, "pgd": 0.08, "fgsm": EPS}


def mlp(seed=0):
    """Enough of a model to have something to attack: 144 -> 16 -> 3, its first layer in bands like the data's."""
    rng = np.random.default_rng(seed)
    bands = np.kron(np.eye(3), np.ones((48, 1))) / 24
    w = np.concatenate([bands, rng.normal(size=(144, 13)) / 24], axis=1).astype(np.float32)
    v = np.concatenate([4 * np.eye(3), rng.normal(size=(13, 3)) / 4]).astype(np.float32)

    def apply(params, x):
        return jnp.tanh(x.reshape(len(x), -1) @ params["w"]) @ params["v"]

    return sj.Model(apply, {"w": w, "v": v}, name="mlp")


@pytest.fixture(scope="module")
def model():
    return mlp()


@pytest.fixture(scope="module")
def data(make_data):
    """Every tenth label is wrong: those examples are misclassified before any attack."""
    data = make_data(40)
    data.y[::10] = (data.y[::10] + 1) % 3
    return data


@pytest.fixture(scope="module")
def campaign(model, data):
    return sj.Campaign(model, data, STAGES, design=sj.design.pairs(at=AT), seeds=2, name="attacked")


@pytest.fixture(scope="module")
def results(campaign, tmp_path_factory):
    return sj.run(campaign, tmp_path_factory.mktemp("attacked") / "run", micro_batch=32)


def test_budgets_of_an_attack_make_a_curve(results):
    curve = results.curve("pgd")
    assert curve.severity.tolist() == [0.0, 0.08, 0.15, EPS]
    accuracy = curve.accuracy.to_numpy()
    assert accuracy[0] == 0.9 and accuracy[-1] < accuracy[0] - 0.3 and (np.diff(accuracy) <= 0).all()
    assert {"pgd", "fgsm", "dim"} == set(results.ranking().stage)
    assert {("dim", "pgd"), ("dim", "fgsm"), ("pgd", "fgsm")} == set(
        results.interactions()[["first", "second"]].itertuples(index=False, name=None)
    )


def test_what_draws_nothing_runs_once(results):
    seeds = results.frame().groupby("scenario").seed.nunique()
    assert seeds["fgsm@0.25"] == seeds["dim@2+fgsm@0.25"] == 1 and seeds["pgd@0.25"] == 2


def test_as_many_programs_are_compiled_as_planned(results, campaign):
    (statistics,) = results.statistics()
    # load, forward, measure; one perturbation; two attacks of two programs
    assert statistics["programs_compiled"] == statistics["programs_planned"] == 3 + 1 + 2 + 2
    assert statistics["rows_computed"] == len(results.frame()) and 0 < statistics["device_share"] <= 1


def test_a_stage_finds_what_the_attack_itself_finds(campaign, model):
    """The same examples, keys and budget, from `Attack.carry_out`, in batches of another width."""
    data, seed = campaign.examples, 1
    shown = sj.perturbed_inputs(campaign, "dim@2+pgd@0.08", seed)
    before = sj.perturbed_inputs(campaign, "dim@2")
    logits = np.asarray(model(jnp.asarray(before)))
    correct = np.flatnonzero(logits.argmax(axis=1) == data.y)
    keys = np.asarray(jax.random.key_data(sj.key_for(seed, "pgd", data.ids)))
    examples = attack.Examples(before[correct], data.y[correct], keys[correct])
    pgd = campaign.perturbation("pgd", 0.08)
    loop = attack.Loop(16, 2, True)
    (found,) = pgd.carry_out(attack.Victim.of(model), examples, logits[correct], loop)
    assert 0 < found.broken.sum() < len(correct)
    np.testing.assert_allclose(shown[correct], found.found, atol=1e-6)
    wrong = np.setdiff1d(np.arange(len(data)), correct)
    assert len(wrong) >= 4
    assert np.array_equal(shown[wrong], before[wrong]), "what is wrong already stays as it is"


def test_inputs_stay_in_the_ball_and_the_box(campaign):
    x, before = sj.perturbed_inputs(campaign, "dim@2+pgd@0.08"), sj.perturbed_inputs(campaign, "dim@2")
    assert 0.07 < np.abs(x - before).max() <= 0.08 + 1e-6
    assert x.min() >= 0 and x.max() <= 1


def test_where_nothing_is_found_the_strongest_attempt_goes_on(results, campaign, model):
    frame = results.frame().set_index(["scenario", "seed", "example"]).sort_index()
    survivors = frame.loc["pgd@0.08", 0].query("correct").index
    clean = frame.loc["clean", 0]
    assert len(survivors) > 10
    assert (frame.loc["pgd@0.08", 0].loss[survivors] > clean.loss[survivors]).all()


@pytest.mark.parametrize("micro_batch", [7, 64])
def test_the_micro_batch_changes_no_bit_of_the_inputs(campaign, micro_batch):
    reference = sj.perturbed_inputs(campaign, "dim@2+pgd@0.08", 1, micro_batch=32)
    assert np.array_equal(sj.perturbed_inputs(campaign, "dim@2+pgd@0.08", 1, micro_batch=micro_batch), reference)


def test_a_subset_of_the_data_changes_no_verdict(results, campaign):
    some = dataclasses.replace(campaign, data=campaign.data.take(np.arange(3, 40, 4)), seeds=2)
    x = sj.perturbed_inputs(some, "pgd@0.25", 1)
    assert np.array_equal(x, sj.perturbed_inputs(campaign, "pgd@0.25", 1)[3::4])


def test_any_cell_is_recomputed_bit_for_bit(results, campaign):
    frame = results.frame()
    for scenario, seed in (("pgd@0.15", 1), ("dim@2+pgd@0.08", 0), ("pgd@0.08+fgsm@0.25", 1)):
        row = frame[(frame.scenario == scenario) & (frame.seed == seed)].iloc[17]
        _, found = sj.recompute(campaign, f"{scenario}:{seed}:{row.example}", 32)
        assert all(found[name] == row[name] for name in ("prediction", "confidence", "loss", "margin", "entropy"))


def test_a_missing_tile_alone_is_computed_again(results, campaign, tmp_path):
    import shutil

    from sensijax.campaign import verify

    folder = shutil.copytree(results.folder, tmp_path / "run")
    attacked = {t["id"] for t in results.manifest["tiles"] if "pgd@0.25" in t["scenarios"]}
    (lost,) = [path for path in (folder / "parts").iterdir() if path.name[:32] in attacked]
    lost.unlink()
    again = sj.run(campaign, folder, micro_batch=32)
    assert lost.exists() and again.statistics()[-1]["tiles_computed"] == 1
    pd.testing.assert_frame_equal(again.frame(), results.frame())
    assert not verify(folder).faults


def test_inputs_that_are_no_numbers_are_left_alone(campaign, model, data, tmp_path):
    x = data.x.copy()
    x[5, 0, 0, 0] = np.nan
    spoilt = sj.Campaign(model, sj.Dataset(x, data.y), {"pgd": STAGES["pgd"]}, seeds=2)
    results = sj.run(spoilt, tmp_path / "run", micro_batch=32)
    frame = results.frame()
    assert set(frame[frame.example == 5].status) == {"nonfinite_input"}
    shown = sj.perturbed_inputs(spoilt, "pgd@0.25")
    assert np.array_equal(shown[5], x[5], equal_nan=True)
    assert np.array_equal(np.delete(shown, 5, 0), np.delete(sj.perturbed_inputs(campaign, "pgd@0.25"), 5, 0))


def test_tiles_are_named_by_the_attacks_code_and_settings(campaign):
    def tile(**options):
        changed = dataclasses.replace(
            campaign,
            stages={"pgd": sj.sweep(attack.PGD, eps=[0, EPS], **options)},
            seeds=2,
            design=sj.design.isolated(),
        )
        return next(t.id for t in sj.make_plan(changed).tiles if t.structures)

    names = [tile(), tile(steps=5), tile(norm="l2"), tile(loss=losses.margin), tile(restarts=2), tile(step_size=0.01)]
    assert len(set(names)) == len(names) and tile() == names[0]


def test_costly_attacks_have_smaller_tiles(campaign, model, make_data):
    plan = sj.make_plan(
        sj.Campaign(model, make_data(600), {"pgd": sj.sweep(attack.PGD, eps=[0, EPS], steps=100, restarts=20)})
    )
    attacked = [t for t in plan.tiles if t.structures]
    assert [(t.start, t.stop) for t in attacked] == [(0, 256), (256, 512), (512, 600)]
    assert [(t.start, t.stop) for t in plan.tiles if not t.structures] == [(0, 600)]


def test_inputs_outside_the_attacks_box_are_refused_in_words(campaign, model, make_data, tmp_path):
    stages = {
        "noise": sj.sweep(image.GaussianNoise, severity=[0, 2]),
        "pgd": sj.sweep(attack.PGD, eps=[0, EPS], steps=5, box=(0.4, 1.0)),
    }
    data = make_data(40)
    x = np.clip(data.x, 0.4, 1)
    spoilt = sj.Campaign(model, sj.Dataset(x, data.y), stages, design=sj.design.pairs(at={"noise": 2, "pgd": EPS}))
    with pytest.raises(sj.ArgumentError, match=r"PGD.box.*as the stages before it have left them.*\[0.4, 1\]"):
        sj.run(spoilt, tmp_path / "run", micro_batch=32)


def faults(campaign, **changes):
    with pytest.raises(sj.CampaignError) as caught:
        dataclasses.replace(campaign, seeds=1, **changes)
    return "\n".join(map(str, caught.value.faults))


@pytest.mark.parametrize(
    ("eps", "said"),
    [
        ([0, 1.5], r"stages.pgd.eps\[1\]: 1.5; a budget in \[0, 1\] in the linf norm"),
        ([0, -0.1], r"stages.pgd.eps\[1\]: -0.1; a budget in"),
        ([0, np.nan], r"stages.pgd.eps\[1\]: nan; a finite number"),
        ([0.1, 0.2], "stages.pgd.eps: no clean baseline"),
    ],
)
def test_a_wrong_budget_is_a_fault(campaign, eps, said):
    import re

    assert re.search(said, faults(campaign, stages={"pgd": sj.sweep(attack.PGD, eps=eps)}, design=sj.design.isolated()))


def test_an_attack_needs_a_classifier_and_enough_classes(campaign, model, make_data):
    data = make_data(40)
    regression = sj.Dataset(data.x, data.y.astype(np.float32))
    assert "an attack needs a classifier (stages pgd, fgsm)" in faults(campaign, data=regression)
    stages = {"pgd": sj.sweep(attack.PGD, eps=[0, 0.1], loss=losses.targeted_dlr)}
    said = faults(campaign, stages=stages, design=sj.design.isolated())
    assert "with 3 classes" in said and "targeted_dlr: 4" in said


def test_data_outside_the_box_is_a_fault(campaign, make_data):
    data = make_data(40)
    said = faults(
        campaign, data=sj.Dataset(data.x * 200, data.y), stages={"pgd": STAGES["pgd"]}, design=sj.design.isolated()
    )
    assert "stage 'pgd' works in the box [0, 1]; bytes? divide by 255" in said


def test_a_spec_names_attacks(tmp_path):
    (tmp_path / "model.py").write_text(
        "import numpy as np, sensijax as sj\n"
        "def load(): return sj.Model(lambda w, x: x.reshape(len(x), -1) @ w, np.ones((16, 3), np.float32))\n"
        "def data(): return sj.Dataset(np.full((6, 4, 4, 1), 0.5, np.float32), np.arange(6) % 3)\n"
    )
    head = 'schema = 1\n[model]\nload = "model:load"\n[data]\nload = "model:data"\n'
    stage = '[[stage]]\nname = "a"\nkind = "{}"\neps = {}\nnorm = "{}"\nbox = [0, 1]\n'
    spec = tmp_path / "campaign.toml"
    spec.write_text(head + stage.format("pgd", '[0, "8/255", 0.1]', "l2") + "steps = 7\nrestarts = 2\n")
    campaign = sj.load_spec(spec).campaign
    pgd = campaign.perturbation("a", 8 / 255)
    assert (type(pgd), pgd.steps, pgd.restarts, str(pgd.norm), pgd.box) == (attack.PGD, 7, 2, "l2", (0, 1))
    assert campaign.stages["a"].values == (0.0, 8 / 255, 0.1)
    spec.write_text(head + stage.format("fgsm", '{linspace = [0, "8/255", 3]}', "l3"))
    with pytest.raises(sj.CampaignError, match="stage.a.norm: 'l3'"):
        sj.load_spec(spec)
    spec.write_text(head + stage.format("pdg", "[0, 0.1]", "l2"))
    with pytest.raises(sj.CampaignError, match="did you mean 'pgd'"):
        sj.load_spec(spec)
