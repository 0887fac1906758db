"""`sensijax sensitivity`: what it prints and leaves behind, that it computes nothing twice, and what it refuses."""

import json

import numpy as np
import pytest

from sensijax import cli
from sensijax.campaign import campaign_sensitivity, load_spec, open_sensitivity
from sensijax.core import StoreError
from sensijax.report import write_sensitivity_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_spec):
    return make_spec(tmp_path_factory.mktemp("sensitivity")).parent


@pytest.fixture(scope="module")
def asked(folder):
    return ["sensitivity", str(folder / "campaign.toml"), "--n", "64", "--examples", "8", "--second-order"]


def test_it_prints_indices_and_pairs_and_leaves_numbers_and_a_page(command, asked, folder):
    code, out, err = command(*asked)
    assert code == cli.OK and "384 severity vectors, 3,072 judged inputs" in err
    assert "in all" in out and "noise" in out and "bright" in out and "Strongest pairs" in out
    found = open_sensitivity(folder / "runs" / "tiny")
    assert found.result.names == ("noise", "bright") and found.result.n_evaluations == 384
    assert f"{found.result.ST[0]:.3f}" in out and found.about["data"]["examples"] == 8
    page = (folder / "runs" / "tiny" / "sensitivity.html").read_text()
    assert "drives the damage" in page or "No stage leads" in page
    assert "384" in page and found.about["id"] in page and "<script" not in page


def test_asked_again_it_computes_nothing_and_says_the_same(command, asked, folder, monkeypatch):
    before = (folder / "runs" / "tiny" / "sensitivity.json").read_bytes()
    monkeypatch.setattr("sensijax.campaign._sensitivity.sobol", None)
    code, out, _ = command(*asked)
    assert code == cli.OK and "nothing was computed" in out
    assert (folder / "runs" / "tiny" / "sensitivity.json").read_bytes() == before


def test_a_file_that_was_changed_is_not_believed(asked, folder):
    path = folder / "runs" / "tiny" / "sensitivity.json"
    whole = path.read_text()
    document = json.loads(whole)
    document["result"]["ST"][0] = 0.123
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match="no sound"):
        open_sensitivity(path.parent)
    campaign = load_spec(str(folder / "campaign.toml")).campaign
    again = campaign_sensitivity(campaign, path.parent, n=64, examples=8, second_order=True)
    assert again.computed and path.read_text() == whole  # the same numbers, to the last bit
    np.testing.assert_array_equal(again.result.S2, open_sensitivity(path.parent).result.S2)


def test_another_question_has_another_id(folder, tmp_path):
    campaign = load_spec(str(folder / "campaign.toml")).campaign
    one = campaign_sensitivity(campaign, tmp_path, n=32, examples=4, stages=["noise", "bright"], response="margin")
    assert one.computed and one.result.S2 is None and len(one.about["stages"]) == 2
    page = write_sensitivity_report(one, tmp_path / "page.html").read_text()
    assert "Pairs were not asked for" in page
    assert one.about["id"] != open_sensitivity(folder / "runs" / "tiny").about["id"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--n", "100"], "power of two"),
        (["--stages", "nois"], "did you mean 'noise'"),
        (["--response", "los"], "did you mean 'loss'"),
        (["--examples", "0"], "at least one"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(command, folder, tmp_path, more, said):
    code, _, err = command("sensitivity", folder / "campaign.toml", "--out", tmp_path / "new", *more)
    assert code == cli.BAD_INPUT and said in " ".join(err.split()) and not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_an_io_error(command, asked, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = command(*asked[:-1], "--n", "32", "--examples", "2", "--out", tmp_path / "file" / "x")
    assert code == cli.IO_ERROR and "file" in err
