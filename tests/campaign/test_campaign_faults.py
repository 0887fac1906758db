"""Campaigns made in Python: everything that is wrong, at once, at the door."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.campaign import Campaign, Sweep, design, sweep
from sensijax.core import CampaignError, Dataset, Model
from sensijax.perturb import Perturbation, image

MODEL = Model(lambda w, x: x.reshape(len(x), -1) @ w, np.ones((64, 3), np.float32), name="linear")
DATA = Dataset(np.full((6, 8, 8, 1), 0.5, np.float32), np.arange(6) % 3, name="grey")
NOISE = sweep(image.GaussianNoise, severity=[0, 1])


def faults(**changed):
    parts = {"model": MODEL, "data": DATA, "stages": {"noise": NOISE}, **changed}
    with pytest.raises(CampaignError) as caught:
        Campaign(**parts)
    found = [(fault.path, f"{fault.came}; {fault.right}") for fault in caught.value.faults]
    assert len(set(found)) == len(found)
    return found


def swept(*values, target=image.GaussianNoise, axis="severity", **options):
    return {"noise": Sweep(target, axis, tuple(float(v) for v in values), options)}


def test_a_sound_campaign_is_made():
    campaign = Campaign(MODEL, DATA, {"noise": NOISE}, seeds=[3, 2**64 - 1])
    assert campaign.seeds == (3, 2**64 - 1)
    assert Campaign(MODEL, DATA, {"noise": NOISE}, seeds=np.int64(2)).seeds == (0, 1)
    assert Campaign(MODEL, DATA, {"noise": NOISE}, seeds=np.arange(2)).seeds == (0, 1)


@pytest.mark.parametrize(
    ("changed", "path", "words"),
    [
        ({"model": lambda x: x}, "model", "a sensijax.Model; see sensijax.adapt"),
        ({"data": (DATA.x, DATA.y)}, "data", "tuple; a sensijax.Dataset"),
        ({"stages": {}}, "stages", "none; at least one named sweep"),
        ({"stages": [NOISE]}, "stages", "list; at least one named sweep"),
        ({"stages": {"noise": image.GaussianNoise}}, "stages.noise", "a sweep: sensijax.sweep"),
        ({"stages": {"a+b": NOISE}}, "stages.a+b", "a name of letters"),
        ({"stages": {3: NOISE}}, "stages.3", "a name of letters"),
        ({"name": ""}, "name", "a non-empty name"),
        ({"tolerance": 0}, "tolerance", "a fraction in (0, 1)"),
        ({"tolerance": True}, "tolerance", "a fraction in (0, 1)"),
        ({"seeds": 0}, "seeds", "at least 1"),
        ({"seeds": 10**6}, "seeds", "at most 100,000"),
        ({"seeds": 1.5}, "seeds", "a number of seeds"),
        ({"seeds": [2**64]}, "seeds", "[0, 2**64)"),
        ({"seeds": "12"}, "seeds", "a number of seeds"),
        ({"seeds": None}, "seeds", "a number of seeds"),
        ({"design": "pairs"}, "design", "a design, such as sensijax.design.pairs(at=3)"),
        ({"design": design.pairs(at=6)}, "design.at", "6 for noise; a severity lies in [0, 5]"),
        ({"design": design.sample(12)}, "design.n", "12; a power of two"),
        ({"stages": swept()}, "stages.noise.severity", "no value"),
        ({"stages": swept(0, 6)}, "stages.noise.severity[1]", "6; a severity lies in [0, 5]"),
        (
            {"stages": swept(0, 0.1, -0.1, target=image.GaussianNoise, axis="severity")},
            "stages.noise.severity[2]",
            "-0.1; a finite number",
        ),
        ({"stages": swept(0.1, 0.2, axis="std")}, "stages.noise.std", "no clean baseline"),
        ({"stages": swept(0, 1, 2, size=31)}, "stages.noise.size", "31; one of the published scales"),
        ({"data": dataclasses.replace(DATA, groups={"seed": DATA.y})}, "data.groups.seed", "the name of a column"),
        ({"data": dataclasses.replace(DATA, x=DATA.x * np.nan)}, "data.x", "no finite value at all"),
        (
            {"data": dataclasses.replace(DATA, x=DATA.x * 3)},
            "data.x",
            "values from 1.5 to 1.5; stage 'noise' works on image values in [0, 1]; bytes?",
        ),
        ({"data": dataclasses.replace(DATA, y=DATA.y + 1)}, "data.y", "labels from 1 to 3; in [0, 3)"),
        (
            {"data": dataclasses.replace(DATA, y=DATA.y * 1.0)},
            "model",
            "outputs [B, 3]; the shape of the targets: [B, ]",
        ),
        ({"data": dataclasses.replace(DATA, y=np.full((6, 3), np.inf))}, "data.y", "6 targets that are not finite"),
        ({"model": dataclasses.replace(MODEL, classes=("a", "b"))}, "model.classes", "2 names; 3: one for each class"),
    ],
)
def test_each_fault_is_told_once_in_words(changed, path, words):
    ((found_path, text),) = faults(**changed)
    assert found_path == path and words in text


def test_faults_come_all_at_once():
    found = faults(
        tolerance=7,
        seeds=[],
        name=None,
        design=design.pairs(at=9),
        data=dataclasses.replace(DATA, y=DATA.y + 7),
        stages={
            "noise": swept(0, np.nan, 9)["noise"],
            "fog": sweep(image.Fog, severity=[1, 2]),
            "colour": sweep(image.Saturate, severity=[0, 1]),
        },
    )
    assert [path for path, _ in found] == [
        "name",
        "tolerance",
        "seeds",
        "stages.noise.severity[1]",
        "stages.noise.severity[2]",
        "stages.fog.severity",
        "design.at",
        "stages.colour",
        "data.y",
    ]


def test_one_nan_among_the_data_is_no_fault():
    x = DATA.x.copy()
    x[2, 3] = np.nan
    Campaign(MODEL, dataclasses.replace(DATA, x=x), {"noise": NOISE})


class Grows(Perturbation):
    by: jnp.ndarray

    @classmethod
    def at(cls, severity):
        return cls(by=jnp.asarray(severity, jnp.float32))

    def is_identity(self):
        return self.by == 0

    def apply(self, key, x):
        return jnp.concatenate([x, x])


class Breaks(Grows):
    def apply(self, key, x):
        raise KeyError("absent")


@pytest.mark.parametrize(
    ("target", "words"), [(Grows, "turned float32[8, 8, 1] into float32[16, 8, 1]"), (Breaks, "KeyError: 'absent'")]
)
def test_a_users_own_perturbation_is_tried_on_the_shape_of_the_data(target, words):
    ((path, text),) = faults(stages={"own": sweep(target, severity=[0, 1])})
    assert path == "stages.own" and words in text and "keeps its shape and dtype" in text


def test_what_draws_nothing_runs_for_the_first_seed_alone():
    campaign = Campaign(
        MODEL,
        DATA,
        {"noise": NOISE, "bright": sweep(image.Brightness, severity=[0, 1])},
        design.pairs(at=1),
        seeds=[5, 6],
    )
    assert {s.name: campaign.seeds_of(s) for s in campaign.scenarios} == {
        "clean": (5,),
        "noise@1": (5, 6),
        "bright@1": (5,),
        "noise@1+bright@1": (5, 6),
    }


def test_the_settings_digest_names_what_is_done_and_under_which_name():
    def named(stages):
        campaign = Campaign(MODEL, DATA, stages)
        return campaign.settings_digest(campaign.scenarios[1])

    base = named({"noise": NOISE})
    assert named({"noise": sweep(image.GaussianNoise, severity=[0, 1, 2])}) == base
    assert (
        named({"noise": sweep(image.GaussianNoise, std=[0, 0.08])}) == base
    )  # severity 1 is std 0.08, however it is written
    others = [
        named({"other": NOISE}),
        named({"noise": sweep(image.GaussianNoise, severity=[0, 1], size=32)}),
        named({"noise": sweep(image.SpeckleNoise, std=[0, 0.08])}),
        base,
    ]
    assert len(set(others)) == 4
