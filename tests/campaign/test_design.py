"""Designs: which scenarios a campaign runs."""

import itertools

import numpy as np
import pytest
from scipy.stats import qmc

from sensijax.campaign import Campaign, Scenario, design, sweep
from sensijax.campaign._scenario import Setting
from sensijax.core import ArgumentError, Dataset, Model
from sensijax.perturb import chain, image

STAGES = {
    "noise": sweep(image.GaussianNoise, severity=[0, 1, 3]),
    "fog": sweep(image.Fog, severity=[0, 2]),
    "std": sweep(image.GaussianNoise, std=[0.0, 0.25]),
}


def names(made):
    return [scenario.name for scenario in made.scenarios(STAGES)]


def test_isolated_is_every_stage_alone():
    assert names(design.isolated()) == ["noise@0", "noise@1", "noise@3", "fog@0", "fog@2", "std@0", "std@0.25"]


def test_pairs_are_every_pair_once_in_the_order_of_the_stages():
    found = names(design.pairs(at={"noise": 2.5, "fog": 2, "std": 0.5}))
    assert found[:7] == names(design.isolated())
    assert found[7:] == ["noise@2.5", "fog@2", "std@0.5", "noise@2.5+fog@2", "noise@2.5+std@0.5", "fog@2+std@0.5"]
    assert names(design.pairs(at=1))[-1] == "fog@1+std@1"


def test_pairs_among_some_stages_leave_the_others_alone():
    found = names(design.pairs(at={"std": 0.5, "noise": 3}, among=["std", "noise"]))
    assert found[:7] == names(design.isolated())
    assert found[7:] == ["noise@3", "std@0.5", "noise@3+std@0.5"]


@pytest.mark.parametrize("among", [["noise", "snow"], ["noise"], ["noise", "noise"], [], "noise", ["noise", 3]])
def test_pairs_refuse_stages_that_cannot_be_paired(among):
    with pytest.raises(ArgumentError) as caught:
        names(design.pairs(at=1, among=among))
    assert caught.value.argument == "among"


@pytest.mark.parametrize(
    "at",
    [
        {"noise": 1},
        {"noise": 1, "fog": 1, "std": 0, "snow": 1},
        "3",
        None,
        [1, 2, 3],
        True,
        {"noise": "1", "fog": 1, "std": 1},
    ],
)
def test_pairs_refuse_settings_that_do_not_fit(at):
    with pytest.raises(ArgumentError) as caught:
        names(design.pairs(at=at))
    assert caught.value.argument == "at"


def test_full_factorial_is_the_whole_product():
    found = names(design.full_factorial())
    values = [sweep.values for sweep in STAGES.values()]
    assert found == [
        "+".join(f"{s}@{v:g}" for s, v in zip(STAGES, point, strict=True)) for point in itertools.product(*values)
    ]
    assert len(set(found)) == 12


def test_full_factorial_counts_before_it_makes():
    assert len(names(design.full_factorial(limit=12))) == 12
    with pytest.raises(ArgumentError, match="12 combinations"):
        names(design.full_factorial(limit=11))
    huge = {f"s{i}": STAGES["noise"] for i in range(60)}  # 3**60 overflows 64 bits
    with pytest.raises(ArgumentError, match="42,391,158,275,216,203,514,294,433,201 combinations"):
        list(design.full_factorial().scenarios(huge))


def points(n, seed=0):
    return np.array([[setting.value for setting in s.settings] for s in design.sample(n, seed).scenarios(STAGES)])


def test_a_sample_fills_the_severity_box_evenly():
    found = points(64)
    assert found.shape == (64, 3) and len(np.unique(found, axis=0)) == 64
    # A (t, m, s)-net in base 2: each half, quarter, ... of each axis holds its share of the points, exactly.
    for column, top in zip(found.T, (3, 2, 0.25), strict=True):
        for bins in (2, 4, 64):
            counts = np.histogram(column, bins=bins, range=(0, top))[0]
            assert (
                np.abs(counts - 64 / bins) <= (1 if bins == 64 else 0)
            ).all()  # rounding to 4 digits may cross an edge
    unit = found / np.array([3, 2, 0.25])
    assert qmc.discrepancy(np.clip(unit, 0, 1)) < 0.25 * qmc.discrepancy(np.random.default_rng(0).random((64, 3)))


def test_a_sample_depends_on_its_seed_alone():
    np.testing.assert_array_equal(points(16, seed=3), points(16, seed=3))
    assert not np.array_equal(points(16, seed=3), points(16, seed=4))


@pytest.mark.parametrize(
    ("n", "seed", "argument"),
    [(0, 0, "n"), (-4, 0, "n"), (6, 0, "n"), (8.0, 0, "n"), (2**30, 0, "n"), (8, -1, "seed"), (8, "0", "seed")],
)
def test_a_sample_refuses_what_is_not_balanced(n, seed, argument):
    with pytest.raises(ArgumentError) as caught:
        points(n, seed)
    assert caught.value.argument == argument


def test_an_identity_drops_out_of_a_scenario_and_no_scenario_runs_twice():
    model = Model(lambda w, x: x.reshape(len(x), -1) @ w, np.ones((64, 2), np.float32))
    data = Dataset(np.zeros((2, 8, 8, 1), np.float32), np.array([0, 1]))
    found = [s.name for s in Campaign(model, data, STAGES, design.full_factorial()).scenarios]
    assert found == [
        "clean",
        "std@0.25",
        "fog@2",
        "fog@2+std@0.25",
        "noise@1",
        "noise@1+std@0.25",
        "noise@1+fog@2",
        "noise@1+fog@2+std@0.25",
        "noise@3",
        "noise@3+std@0.25",
        "noise@3+fog@2",
        "noise@3+fog@2+std@0.25",
    ]
    assert [s.name for s in Campaign(model, data, {"noise": STAGES["noise"]}, design.pairs(at=3)).scenarios] == [
        "clean",
        "noise@1",
        "noise@3",
    ]


def test_a_scenario_has_a_name_and_a_common_severity_where_there_is_one():
    assert (Scenario().name, Scenario().severity) == ("clean", 0.0)
    both = Scenario((Setting("noise", 3.0), Setting("fog", 3.0)))
    assert (both.name, both.severity, both.stages) == ("noise@3+fog@3", 3.0, ("noise", "fog"))
    assert Scenario((Setting("noise", 3.0), Setting("fog", 0.125))).severity is None
    assert Scenario((Setting("noise", 0.3333),)).name == "noise@0.3333"


# --- sweeps ----------------------------------------------------------------------------------------------------------


def test_a_sweep_makes_its_perturbations():
    assert float(sweep(image.GaussianNoise, severity=[0, 5], size=32).at(5.0).std) == np.float32(0.1)
    assert float(STAGES["std"].at(0.25).std) == 0.25
    assert sweep(image.Fog, severity=3).values == (3.0,)
    assert sweep(image.Fog, severity=np.arange(3)).values == (0.0, 1.0, 2.0)
    both = sweep(chain(image.GaussianBlur, image.JPEG), severity=[0, 1], size=32)
    assert both.kind == "GaussianBlur>>JPEG" and len(both.at(1.0).links) == 2


@pytest.mark.parametrize(
    ("target", "settings", "argument"),
    [
        (image.Fog, {}, "settings"),
        (image.Fog, {"size": 32}, "settings"),
        (image.GaussianNoise, {"std": [0, 1], "severity": [0, 1]}, "settings"),
        (image.Fog, {"severity": ["a"]}, "severity"),
        (image.Fog, {"severity": ["0", "1"]}, "severity"),
        (image.Fog, {"severity": [[0], [1, 2]]}, "severity"),
        (image.Fog, {"severity": [0, 1], "sise": 32}, "sise"),
        (image.Fog, {"severity": [0, 1], "density": 0.5}, "density"),
        (image.Fog, {"darkness": [0, 1]}, "darkness"),
        (chain(image.Fog, image.JPEG), {"severity": [0, 1], "quality": 3}, "quality"),
        (object, {"severity": [0, 1]}, "target"),
    ],
)
def test_a_sweep_refuses_what_it_cannot_sweep(target, settings, argument):
    with pytest.raises(ArgumentError) as caught:
        sweep(target, **settings)
    assert caught.value.argument == argument
