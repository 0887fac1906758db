"""What is stored can be checked by anybody: a byte that flips, a verdict that does not hold, another model."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.attack.archive import MANIFEST, is_archive, load, save, verify
from sensijax.core import ArgumentError, Model, StoreError
from sensijax.data import digits

NORM_OF_EPS = {"linf": 0.1, "l2": 0.6, "l1": 4.0}


@pytest.fixture(scope="module")
def data():
    data = digits(8)
    return data.x[:40], data.y[:40]


@pytest.fixture(scope="module")
def model():
    """The digits' class means as a linear classifier: honest, and quick to make."""
    data = digits(8)
    flat = data.x.reshape(len(data), -1)
    means = np.stack([flat[data.y == k].mean(axis=0) for k in range(10)])
    w = {"w": jnp.asarray(means.T), "b": jnp.asarray(-0.5 * (means**2).sum(axis=1))}
    return Model(lambda p, x: x.reshape(len(x), -1) @ p["w"] + p["b"][None], w, name="means")


@pytest.fixture(scope="module")
def results(data, model):
    """One result in every norm."""
    return {
        norm: attack.PGD(eps=eps, norm=norm, steps=5)(
            jax.random.key(0), model, *data, loop=attack.Loop(40, 1, False), diagnose=False
        )
        for norm, eps in NORM_OF_EPS.items()
    }


@pytest.fixture
def result(results):
    return results["linf"]


@pytest.mark.parametrize("norm", NORM_OF_EPS)
def test_what_an_attack_found_holds(results, norm, data, model, tmp_path):
    result = results[norm]
    assert 0 < (result.status == 1).sum() < len(result)
    findings = verify(save(result, tmp_path / "set"), model, *data)
    assert findings.faults == () and findings.notes == ()
    assert findings.examples == findings.rejudged == 40
    assert findings.robust_accuracy == result.robust_accuracy


def test_what_is_loaded_is_what_was_saved(result, tmp_path):
    back = load(result.save(tmp_path))
    for field in dataclasses.fields(result):
        if isinstance(getattr(result, field.name), np.ndarray):
            np.testing.assert_array_equal(getattr(back, field.name), getattr(result, field.name))
    assert back.attacks == result.attacks and back.summary() == result.summary()
    assert dataclasses.asdict(back.setting) == dataclasses.asdict(result.setting)


def test_flags_are_kept(result, tmp_path):
    flag = attack.Flag("random", "distrust", "saw", "why", "remedy", {"share": 0.5})
    back = load(dataclasses.replace(result, flags=(flag,), diagnosed=True).save(tmp_path))
    assert back.flags == (flag,) and back.diagnosed


def test_the_files_name_is_its_digest_and_one_result_replaces_another(results, model, tmp_path):
    for norm in ("linf", "l2"):
        results[norm].save(tmp_path)
        names = [path.name for path in tmp_path.iterdir()]
        assert len(names) == 2 and MANIFEST in names
    assert verify(tmp_path, model).faults == ()
    assert load(tmp_path).setting.norm == "l2"


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_every_flipped_byte_is_found(result, model, tmp_path, suffix):
    folder = result.save(tmp_path)
    (path,) = folder.glob(f"*.{suffix}")
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, len(content) - 1, *rng.integers(0, len(content), 60).tolist()]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        findings = verify(folder, model)
        assert findings.faults and findings.rejudged == 0, place
        with pytest.raises(StoreError):
            load(folder)
    path.write_bytes(content)
    assert load(folder).setting.norm == "linf"


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda r, i: (r.x_adv, i, r.x[i]), "is classified correctly"),
        (lambda r, i: (r.x_adv, i, np.clip(r.x[i] + np.where(r.x_adv[i] > r.x[i], 0.2, -0.2), 0, 1)), "the budget"),
        (lambda r, i: (r.x_adv, i, r.x_adv[i] - np.float32(0.2)), "leaves the box"),
        (lambda r, i: (r.distance, i, r.distance[i] / 2), "is stored"),
        (lambda r, i: (r.broken_by, i, -1), "no attack is named"),
        (lambda r, i: (r.y, i, (r.y[i] + 1) % 10), "is not the data's"),
        (lambda r, i: (r.x, i, r.x[i] * np.float32(0.5)), "is not the data's"),
        (lambda r, i: (r.status, i, 0), "another input than its own"),
        (lambda r, i: (r.status, i, 3), "its logits are finite"),
    ],
)
def test_a_claim_that_does_not_hold_is_found(result, data, model, tmp_path, change, said):
    """Digests are those of the forged arrays: only judging again can tell."""
    forged = dataclasses.replace(
        result,
        **{
            f.name: v.copy() for f in dataclasses.fields(result) if isinstance(v := getattr(result, f.name), np.ndarray)
        },
    )
    i = int(np.flatnonzero(result.status == 1)[0])
    array, place, value = change(forged, i)
    array[place] = value
    faults = verify(forged.save(tmp_path), model, *data).faults
    assert any(said in fault and f"example {i}" in fault for fault in faults), faults


def test_a_verdict_of_another_model_does_not_hold(result, model, data, tmp_path):
    other = dataclasses.replace(model, params=jax.tree.map(lambda leaf: -leaf, model.params))
    faults = verify(result.save(tmp_path), other, *data).faults
    assert "digest" in faults[0]
    assert sum("(robust)" in fault for fault in faults) == result.robust.sum()


def test_rows_of_a_larger_data_set_are_found_by_id(model, tmp_path):
    data = digits(8)
    ids = np.array([7, 3, 900])
    result = attack.PGD(eps=0.1, steps=5)(
        jax.random.key(0), model, data.x[ids], data.y[ids], ids=ids, loop=attack.Loop(40, 1, False), diagnose=False
    )
    folder = result.save(tmp_path)
    assert verify(folder, model, data.x, data.y).faults == ()
    assert verify(folder, model, data.x[::-1], data.y).faults


def test_a_budget_for_each_example_is_its_own(results, model, tmp_path):
    result = results["linf"]
    eps = np.where(result.status == 1, 0.1, 0.01).astype(np.float32)
    own = dataclasses.replace(result, setting=dataclasses.replace(result.setting, eps=eps))
    assert verify(own.save(tmp_path), model).faults == ()
    less = dataclasses.replace(own, setting=dataclasses.replace(own.setting, eps=eps * np.float32(0.1)))
    assert any("the budget" in fault for fault in verify(less.save(tmp_path), model).faults)


def test_a_folder_without_a_set_is_refused(model, tmp_path):
    assert not is_archive(tmp_path)
    with pytest.raises(StoreError, match=MANIFEST):
        verify(tmp_path, model)


def test_a_result_without_a_setting_is_not_saved(result, tmp_path):
    with pytest.raises(ArgumentError, match="setting"):
        dataclasses.replace(result, setting=None).save(tmp_path)


def test_the_manifest_says_under_what(result, model, tmp_path):
    about = json.loads((result.save(tmp_path) / MANIFEST).read_text())
    assert about["setting"]["attack"].startswith("PGD(eps=0.1, norm=linf, box=(0, 1)")
    assert about["setting"]["model_digest"] == model.digest
    assert about["setting"]["key"] == [0, 0]
    assert about["accuracy"]["robust"] == result.robust_accuracy
