"""Reading in bounded memory: however few rows, or bytes, at a time, the results are the same."""

import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax.campaign.results import _bounded, _reading
from sensijax.campaign.results._reading import Arrays


@pytest.mark.parametrize(("dtype", "ids"), [(np.int8, [3, 4, 5, 6]), (np.float32, [2, 7, 8, 40]), (float, [9])])
def test_arrays_give_back_what_was_entered_row_by_row(dtype, ids):
    rng, ids = np.random.default_rng(0), np.array(ids)
    arrays = Arrays(3, ids, {"drawn": 3, "fixed": 1, "empty": 3}, dtype)
    starts, own = arrays.starts_of(["other", "fixed", "drawn"])
    assert own.tolist() == [0, 1, 3]
    values = {"drawn": rng.integers(0, 2, (3, len(ids))), "fixed": rng.integers(0, 2, (1, len(ids)))}
    for i, name in ((2, "drawn"), (1, "fixed")):
        seed, example = np.indices(values[name].shape).reshape(2, -1)
        order = rng.permutation(len(seed))[1:]  # one row is not there
        entered = values[name].ravel()[order].astype(dtype)
        arrays.put(np.full(len(order), starts[i]), seed[order], ids[example[order]], entered)
        expected = values[name].astype(np.float64)
        lost = np.setdiff1d(np.arange(expected.size), order)
        expected.ravel()[lost] = np.nan
        assert arrays[name].dtype == np.float64
        np.testing.assert_array_equal(arrays[name], np.broadcast_to(expected, (3, len(ids))))
    assert np.isnan(arrays["empty"]).all() and list(arrays) == ["drawn", "fixed", "empty"] and len(arrays) == 3


def tables(folder):
    results = sj.Results.open(folder)
    return {
        "scenarios": results.scenarios(),
        "ranking": results.ranking(),
        "interactions": results.interactions(),
        "effects": results.effects(2, "overconfidence", averaged=True),
        "profile": results.profile(),
        "groups": results.groups("noise@3"),
        "modes": results.error_modes("noise@3"),
    }


@pytest.fixture(scope="module")
def whole(finished):
    return tables(finished.folder)


@pytest.mark.parametrize("most_rows", [1, 500])
def test_the_rows_in_memory_at_once_change_no_bit_of_the_results(finished, whole, most_rows, monkeypatch):
    monkeypatch.setattr(_reading, "MOST_ROWS", most_rows)
    for name, table in tables(finished.folder).items():
        pd.testing.assert_frame_equal(table, whole[name], check_exact=True)


def test_the_scenarios_in_memory_at_once_change_no_digit_that_counts(finished, whole, monkeypatch):
    monkeypatch.setattr(_bounded, "MOST_BYTES", 2000)  # one seed of one scenario is 480 bytes
    for name, table in tables(finished.folder).items():
        pd.testing.assert_frame_equal(table, whole[name], rtol=1e-9, atol=1e-12)


def test_one_response_beside_the_score_is_held(finished):
    results = sj.Results.open(finished.folder)
    confidence = results.values("confidence", "noise@3")
    score, loss = results.values("score", "noise@3"), results.values("loss", "noise@3")
    assert set(results._read) == {"score", "loss"}
    rows = results.frame()
    rows = rows[rows.scenario == "noise@3"].sort_values(["seed", "example"])
    for found, column in ((confidence, "confidence"), (score, "correct"), (loss, "loss")):
        np.testing.assert_array_equal(found.ravel(), rows[column].to_numpy(np.float64))


def test_a_scenario_is_complete_when_all_of_its_tiles_are_there(run_folder):
    results = sj.Results.open(run_folder)
    tile = next(t for t in results.manifest["tiles"] if "noise@3" in t["scenarios"])
    for part in (run_folder / "parts").glob(f"{tile['id']}-*"):
        part.unlink()
    assert set(results.scenario_names) - set(sj.Results.open(run_folder).scenario_names) == set(tile["scenarios"])
