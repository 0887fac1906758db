"""Costs are measured, kept and found again; a forecast from known costs is the sum that anyone can reckon by hand."""

import dataclasses

import pytest

from sensijax.campaign import make_plan
from sensijax.campaign.schedule._costs import Costs, Group, find_costs, group_name, measure_costs, padded_rows
from sensijax.campaign.schedule._forecast import cost_of, forecast
from sensijax.core import ArgumentError

WIDTH = 64
TINY = 1e-9  # a spread that is none


@pytest.fixture(scope="module")
def campaign(make_campaign):
    return make_campaign()


@pytest.fixture(scope="module")
def plan(campaign):
    return make_plan(campaign)


@pytest.fixture(scope="module")
def measured(campaign, plan):
    return measure_costs(campaign, plan, micro_batch=WIDTH, seconds=0.5)


@pytest.fixture
def known(campaign, plan):
    """Invented, exact costs: a millisecond for a row of the model alone, two more for every stage."""
    singles = {tile.structures for tile in plan.tiles if len(tile.structures) <= 1}
    return Costs(
        kind="NVIDIA H100 80GB HBM3",
        devices=1,
        cores=8,
        cores_busy=2.0,
        micro_batch=WIDTH,
        model=campaign.model.digest,
        data=campaign.data.digest,
        groups={group_name(s): Group(0.001 + 0.002 * len(s), TINY, 1) for s in singles},
        overhead=0.01,
        compile_fixed=4.0,
        compile_program=3.0,
        start=0.5,
        bytes_per_row=40.0,
        versions={"jax": "0.10.2"},
        measured_at=1.0,
    )


def sweep_seconds(campaign, plan):
    padded = [(padded_rows(campaign, tile, WIDTH), len(tile.structures)) for tile in plan.tiles]
    return sum(rows * (0.001 + 0.002 * stages) + 0.01 for rows, stages in padded)


def test_every_kind_of_tile_is_measured(campaign, plan, measured):
    assert set(measured.groups) == {group_name(tile.structures) for tile in plan.tiles}
    assert all(group.seconds > 0 and group.tiles >= 1 for group in measured.groups.values())
    assert measured.compile_fixed > 0 and measured.compile_program > 0 and measured.micro_batch == WIDTH
    assert 20 < measured.bytes_per_row < 400


def test_a_record_is_read_as_it_was_written(campaign, plan, measured, tmp_path):
    measured.write(tmp_path / "new" / "costs.json")
    assert Costs.read(tmp_path / "new" / "costs.json") == measured
    assert find_costs(campaign, plan, file=tmp_path / "new" / "costs.json") == measured


def test_a_forecast_of_what_was_measured_says_it_in_words(campaign, plan, measured):
    found = forecast(campaign, plan, measured)
    assert 0 < found.low <= found.hours <= found.high
    assert found.tiles == len(plan.tiles) and found.rows == plan.rows
    assert found.programs == plan.programs and found.files == len(plan.tiles)


def test_one_worker_takes_the_sum(campaign, plan, known):
    found = forecast(campaign, plan, known)
    compiling = 4.0 + 3.0 * sum(s.compilations for s in plan.structures)
    assert found.compile_seconds == pytest.approx(compiling)
    assert 3600 * found.hours == pytest.approx(0.5 + compiling + sweep_seconds(campaign, plan), rel=1e-6)
    assert found.bytes == 40 * plan.rows


def test_many_workers_take_no_less_than_the_longest_tile_and_no_more_than_one(campaign, plan, known):
    known = dataclasses.replace(known, compile_fixed=0.0, compile_program=0.0, start=0.0)
    one, three, many = (3600 * forecast(campaign, plan, known, devices=n).hours for n in (1, 3, 500))
    longest = max(
        padded_rows(campaign, tile, WIDTH) * (0.001 + 0.002 * len(tile.structures)) + 0.01 for tile in plan.tiles
    )
    assert many == pytest.approx(longest, rel=1e-6)
    assert max(one / 3, longest) * (1 - 1e-6) <= three < one


def test_workers_that_share_cores_slow_each_other_down(campaign, plan, known):
    known = dataclasses.replace(known, compile_fixed=0.0, compile_program=0.0, start=0.0)
    apart = forecast(campaign, plan, known, devices=3)
    together = forecast(campaign, plan, known, devices=3, shared_cores=3)  # three that keep two busy each
    assert together.hours == pytest.approx(2 * apart.hours, rel=1e-6)
    assert forecast(campaign, plan, known, devices=3, shared_cores=8).hours == pytest.approx(apart.hours, rel=1e-6)


def test_a_pair_costs_what_its_members_add(plan, known):
    pair = next(tile.structures for tile in plan.tiles if len(tile.structures) == 2)
    assert cost_of(known, pair).seconds == pytest.approx(0.005)
    together = {**known.groups, group_name(pair): Group(0.004, TINY, 1)}  # unless it was measured as one
    assert cost_of(dataclasses.replace(known, groups=together), pair).seconds == 0.004


def test_the_interval_widens_with_the_spread_of_the_costs(campaign, plan, known):
    noisy = {name: Group(group.seconds, 0.5, 1) for name, group in known.groups.items()}
    exact, doubtful = (
        forecast(campaign, plan, dataclasses.replace(known, groups=groups)) for groups in (known.groups, noisy)
    )
    assert exact.high - exact.low < 1e-6 * exact.hours
    assert doubtful.high - doubtful.low > 0.02 * doubtful.hours


def test_costs_are_found_by_a_part_of_the_devices_name(campaign, plan, known, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ArgumentError, match=r"--measure FILE.*'h100'"):
        find_costs(campaign, plan, kind="h100")
    known.remember()
    newer = dataclasses.replace(known, measured_at=2.0, kind="NVIDIA H100 PCIe")
    newer.remember()
    assert find_costs(campaign, plan, kind="H100") == newer
    assert find_costs(campaign, plan, kind="h100-80gb") == known
    with pytest.raises(ArgumentError, match="'a100'"):
        find_costs(campaign, plan, kind="a100")


def test_costs_of_something_else_are_refused(make_campaign, make_model, campaign, plan, known, tmp_path):
    file = tmp_path / "costs.json"
    known.write(file)
    other = make_campaign(model=make_model(2.0))
    with pytest.raises(ArgumentError, match="another model"):
        find_costs(other, make_plan(other), file=file)
    with pytest.raises(ArgumentError, match="kind"):
        find_costs(campaign, plan, kind="tpu", file=file)
    with pytest.raises(ArgumentError, match="multiple of 4"):
        forecast(campaign, plan, dataclasses.replace(known, devices=4), devices=6)
    file.write_text("{}")
    with pytest.raises(ArgumentError, match="costs"):
        Costs.read(file)
