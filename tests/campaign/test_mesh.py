"""On eight devices as on one: bits where each runs the program of one, rounding where a model is split, words where
nothing fits.

The reference is computed here, on one device; what is compared with it, in a process with eight (`_meshed.py`).
"""

import json
import os
import pathlib
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest

import sensijax as sj
from sensijax.campaign._environment import environment

SCRIPT = pathlib.Path(__file__).with_name("_meshed.py")
MESHED = runpy.run_path(str(SCRIPT))
WIDTH = MESHED["WIDTH"]
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


@pytest.fixture(scope="module")
def campaign():
    return MESHED["campaign"](MESHED["model"](tell=MESHED["TELL"]))


@pytest.fixture(scope="module")
def one(campaign):
    return MESHED["engine_of"](campaign, WIDTH)


@pytest.fixture(scope="module")
def expected(one):
    return MESHED["columns_of"](one)


@pytest.fixture(scope="module")
def unsplit():
    """The engine of one device, and a model that is a function of each row alone: where none of it is split."""
    engine = MESHED["engine_of"](MESHED["campaign"](MESHED["model"]()), WIDTH)
    engine.compile(engine.plan.structures)
    return engine


@pytest.fixture(scope="module")
def whole(campaign, tmp_path_factory):
    """The run of one device."""
    return sj.run(campaign, tmp_path_factory.mktemp("one") / "run", on=sj.on.mesh(1), micro_batch=WIDTH)


@pytest.fixture(scope="module")
def folder(whole, tmp_path_factory):
    """What the process with eight devices left; in it a run that was begun on one."""
    folder = tmp_path_factory.mktemp("eight")
    shutil.copytree(whole.folder, folder / "run")
    parts = sorted((folder / "run" / "parts").glob("*.parquet"))
    for part in parts[::2]:
        part.unlink()
    flags = os.environ.get("XLA_FLAGS", "")
    strict = {"JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise"}
    subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)],
        env={**os.environ, **strict, "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count=8".strip()},
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def facts(folder):
    return json.loads((folder / "facts.json").read_text())


def test_eight_devices_find_what_one_finds_to_the_last_bit(folder, expected):
    """Perturbations, drift, attacks and labels; inputs and responses; tiles whose last micro-batch is padded.

    The model tells the width of its program: a share's, not the micro-batch's, in an attack's loop too.
    """
    found = np.load(folder / "eight.npz")
    assert set(found) == set(expected)
    for name, column in expected.items():
        assert found[name].dtype == column.dtype and found[name].tobytes() == column.tobytes(), name


def test_the_attacks_had_something_to_do(one, expected):
    wrong = {
        scenario.name: 1 - expected[f"{k}/correct"].reshape(tile.shape)[i].mean()
        for k, tile in enumerate(one.plan.tiles)
        for i, scenario in enumerate(tile.scenarios)
    }
    assert wrong["clean"] == 0 and 0.02 < wrong["pgd@0.24"] < wrong["pgd@0.3"], wrong


def test_an_attack_by_itself_runs_on_a_mesh_too(folder, campaign):
    found, expected = np.load(folder / "attacked.npz"), MESHED["attacked"](campaign)
    assert len(set(expected["status"].tolist())) > 1
    for name, column in expected.items():
        assert found[name].tobytes() == column.tobytes(), name


def test_rows_along_one_axis_of_a_mesh_on_chosen_devices(folder, facts, one):
    tile = next(t for t in one.plan.tiles if t.id == facts["tile"])
    x, columns = one.shown(tile)
    found = np.load(folder / "two.npz")
    for name, column in {"x": x, **columns}.items():
        assert found[name].tobytes() == column.tobytes(), name


def test_a_row_is_recomputed_alone(facts, one):
    tile = next(t for t in one.plan.tiles if t.id == facts["tile"])
    _, columns = one.row(tile, tile.rows - 1)
    assert facts["last"] == {name: value.item() for name, value in columns.items()}


def test_a_micro_batch_is_a_share_for_each_device(facts):
    assert facts["devices"] == 8
    assert facts["shares"] == [8, 2, 2]
    assert facts["micro_batches"] == [8 * WIDTH, 2 * WIDTH, 2 * WIDTH]


def test_devices_that_share_no_model_do_not_talk(facts):
    for name in ("load", "forward", "measure", "step"):
        assert not any(word in facts["programs"][name] for word in COLLECTIVES), name
    for name in ("split", "split step"):
        assert any(word in facts["programs"][name] for word in COLLECTIVES), name


def test_as_many_rows_more_are_attacked_as_there_are_devices(facts):
    assert facts["places"] == [[8 * WIDTH, WIDTH], [2 * WIDTH, WIDTH]]


def test_no_device_ever_holds_a_whole_layer_of_a_split_model(facts):
    whole, piece = f"f32[144,{MESHED['HIDDEN']}]", f"f32[144,{MESHED['HIDDEN'] // 4}]"
    assert whole in facts["programs"]["forward"] and whole in facts["programs"]["step"]
    for name in ("split", "split step"):
        assert piece in facts["programs"][name] and whole not in facts["programs"][name], name


def test_names_do_not_depend_on_the_mesh(facts, one, unsplit):
    assert facts["tiles"] == [tile.id for tile in one.plan.tiles]
    assert facts["split_tiles"] == [tile.id for tile in unsplit.plan.tiles]
    assert facts["digest"] == one.campaign.model.digest
    assert facts["one"], "one device, the default one, is no mesh"


def test_a_run_begun_on_one_device_goes_on_on_eight(folder, facts, whole):
    assert facts["environment"] == environment()["id"]
    after = sj.Results.open(folder / "run")
    assert after.completeness.tiles == after.completeness.tiles_total
    order = ["scenario", "seed", "example"]
    frames = [r.frame().sort_values(order).reset_index(drop=True) for r in (whole, after)]
    assert frames[0].equals(frames[1])
    assert set(frames[1].micro_batch) == {WIDTH}
    assert {p.name for p in (folder / "run" / "parts").iterdir()} == {
        p.name for p in (whole.folder / "parts").iterdir()
    }, "the same bytes"


# --- a model over several devices ------------------------------------------------------------------------------------


def test_a_model_split_over_four_devices_agrees_to_rounding(folder, facts, unsplit):
    """Two sums of the same products in other orders differ by 2 g sum |h v|, g = n u / (1 - n u), n the terms.

    Reference: Higham, "Accuracy and stability of numerical algorithms", SIAM 2002, section 3.1.
    """
    assert facts["piece"] == [144, MESHED["HIDDEN"] // 4]
    params, x = unsplit.campaign.model.params, unsplit.campaign.examples.x[: 2 * WIDTH]
    alone = np.concatenate([np.asarray(unsplit.forward(x[i : i + WIDTH])) for i in (0, WIDTH)])
    split = np.load(folder / "logits.npz")["split"]
    hidden = np.abs(np.tanh(x.reshape(len(x), -1) @ params["w"]))
    # The hidden values too: 144 terms in whatever order, and a tanh that never steepens; 4 ulp for tanh itself.
    unit = np.finfo(np.float32).eps / 2
    before = 2 * 144 * unit * np.abs(x.reshape(len(x), -1)) @ np.abs(params["w"]) + 8 * unit * hidden
    bound = 2 * (MESHED["HIDDEN"] + 1) * unit * hidden @ np.abs(params["v"]) + before @ np.abs(params["v"])
    assert (np.abs(split - alone) <= 1.01 * bound).all()
    assert np.abs(split - alone).max() <= 16 * np.spacing(np.abs(alone).max()), "in fact: some last places"


def test_what_follows_from_a_split_model_agrees(folder, unsplit):
    """The inputs that perturbations leave, bitwise; what the model says to them, to rounding; attacks' verdicts."""
    found = np.load(folder / "split.npz")
    for name, column in MESHED["columns_of"](unsplit).items():
        if column.dtype.kind == "f":
            np.testing.assert_allclose(found[name], column, rtol=1e-5, atol=5e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], column, err_msg=name)


def test_a_split_model_repeats_itself(facts):
    assert facts["again"] == []


def test_a_split_is_part_of_the_environment(facts):
    assert "2 rows x 4 model" in facts["split_environment"] and "['w']" in facts["split_environment"]
    assert "split" not in environment()


def test_explicit_axes_are_taken_as_auto(facts):
    assert facts["auto"]


# --- the door --------------------------------------------------------------------------------------------------------

REFUSED = {
    "too many": ("devices", "got 9; 1 to 8: this process has 8"),
    "none": ("devices", "got 0; 1 to 8"),
    "twice": ("devices", "each device once"),
    "no devices": ("devices", "got 'gpu'; a number of devices, a list of some of jax.devices(), or a mesh"),
    "no axis": ("axis", "got 'row'; an axis of a mesh of 2 rows x 4 model (8 devices); did you mean 'rows'?"),
    "micro-batch": ("micro_batch", "got 30; a multiple of 4, the shares that its rows are cut into on the mesh: 32"),
    "another mesh": ("mesh", "a mesh of 4 rows (4 devices), and `model.params` on another; the mesh that they"),
    "two meshes": ("model.params[1]", "one mesh for all parameters: others lie on a mesh of 4 rows (4 devices)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_words(facts, name):
    argument, words = facts["refusals"][name]
    assert argument == REFUSED[name][0]
    assert REFUSED[name][1] in words
