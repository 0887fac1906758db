"""The store: nothing finished is lost, nothing damaged is believed."""

import errno
import json
import logging
import os
import pathlib
import shutil

import duckdb
import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax.campaign import verify
from sensijax.campaign.store._columns import ColumnWriter
from sensijax.campaign.store._store import Store
from sensijax.core import file_digest
from sensijax.core.writing import machine

TILE = "0123456789abcdef" * 2


def parts(folder):
    return sorted((pathlib.Path(folder) / "parts").iterdir())


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "run")
    columns = {
        "example": np.arange(5),
        "loss": np.array([0.5, np.nan, 1.5, 2.5, 3.5], np.float32),
        "scenario": np.array(["a'b"] * 5, object),
    }
    store.commit(TILE, columns, {"model": "m'1", "micro_batch": 8})
    return store


def test_a_part_is_named_by_its_bytes(store):
    (part,) = parts(store.folder)
    assert part.name == f"{TILE}-{file_digest(part)}.parquet"


def test_what_was_written_is_read(store):
    frame = store.connect(list(store.scan().parts.values()), None).sql("select * from responses order by example").df()
    assert frame.example.tolist() == [0, 1, 2, 3, 4]
    assert frame.loss.isna().tolist() == [False, True, False, False, False], (
        "NaN is NULL: SQL leaves it out of averages"
    )
    assert frame.scenario[0] == "a'b" and frame.model[0] == "m'1" and frame.micro_batch[0] == 8


def test_the_same_rows_have_the_same_bytes(store, tmp_path):
    (part,) = parts(store.folder)
    frame = duckdb.sql(f"select * from '{part}'").df()
    again = Store(tmp_path / "again").commit(
        TILE,
        {k: frame[k].to_numpy() for k in ("example", "loss")} | {"scenario": frame.scenario.to_numpy(object)},
        {"model": "m'1", "micro_batch": 8},
    )
    assert again.name == part.name


def test_fifty_flipped_bytes_are_all_detected(run_folder, finished):
    """One random byte of one random part, fifty times: plain Parquet readers miss most of them."""
    rng = np.random.default_rng(0)
    store, detected = Store(run_folder), 0
    for _ in range(50):
        victim = parts(run_folder)[rng.integers(len(parts(run_folder)))]
        content = bytearray(victim.read_bytes())
        original = bytes(content)
        content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        victim.write_bytes(content)
        scan = store.scan()
        detected += scan.damaged == (victim.name,) and victim.name not in {p.name for p in scan.parts.values()}
        (run_folder / "quarantine" / victim.name).unlink()
        victim.write_bytes(original)
    assert detected == 50
    assert len(store.scan().parts) == finished.completeness.tiles


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b + b"\0"], ids=["truncated", "empty", "appended"]
)
def test_a_damaged_part_is_quarantined_and_computed_again(run_folder, finished, make_campaign, damage, caplog):
    victim = parts(run_folder)[2]
    victim.write_bytes(damage(victim.read_bytes()))
    findings = verify(run_folder)
    assert len(findings.faults) == 1 and victim.name in findings.faults[0] and not findings.complete
    assert [p.name for p in (run_folder / "quarantine").iterdir()] == [victim.name]
    results = sj.run(make_campaign(), run_folder, micro_batch=64)
    assert results.statistics()[-1]["tiles_computed"] == 1
    pd.testing.assert_frame_equal(results.frame(), finished.frame())
    assert not verify(run_folder).faults


def test_a_reader_tells_of_damage(run_folder, caplog):
    victim = parts(run_folder)[0]
    victim.write_bytes(b"PAR1")
    with caplog.at_level(logging.WARNING):
        results = sj.Results.open(run_folder)
    assert victim.name in caplog.text
    assert results.completeness.damaged == (victim.name,) and not results.completeness.complete


def test_a_damaged_table_of_examples_is_written_anew(run_folder, make_campaign):
    (table,) = (run_folder / "examples").iterdir()
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(sj.StoreError, match="damaged"):
        sj.Results.open(run_folder)
    sj.run(make_campaign(), run_folder)
    assert len(sj.Results.open(run_folder).example_ids) == 60


def test_verify_finds_a_part_that_lies_about_its_address(run_folder):
    """A whole part under another tile's name: the digest fits, the rows do not."""
    one, two = parts(run_folder)[:2]
    two.unlink()
    one.rename(run_folder / "parts" / f"{two.name[:32]}-{one.name[33:]}")
    assert any("hash" in fault or "other scenarios" in fault for fault in verify(run_folder).faults)


def test_two_different_parts_of_a_tile_are_a_finding(run_folder):
    part = parts(run_folder)[0]
    store = Store(run_folder)
    frame = duckdb.sql(f"select * from '{part}'").df().iloc[::-1]
    store.commit(part.name[:32], {name: frame[name].to_numpy() for name in ("example", "seed")}, {})
    assert store.scan().conflicts == (part.name[:32],)
    assert any("not deterministic" in fault for fault in verify(run_folder).faults)


def test_verify_finds_a_part_that_is_no_tile(run_folder):
    """Its bytes match its name, but its columns are not those of responses."""
    part = parts(run_folder)[0]
    part.unlink()
    Store(run_folder).commit(part.name[:32], {"example": np.arange(3)}, {})
    (fault,) = verify(run_folder).faults
    assert "cannot be read as a tile" in fault


def test_a_full_disk_loses_nothing_acknowledged(make_campaign, finished, tmp_path, monkeypatch):
    real, written = ColumnWriter.write, []

    def copy(self, path, columns, constants):
        real(self, path, columns, constants)
        if "tile" in constants and len(written) >= 5:
            path.write_bytes(path.read_bytes()[:100])  # what a full disk leaves behind
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(ColumnWriter, "write", copy)
        with pytest.raises(sj.StoreError, match="disk is full.*every finished tile is kept"):
            sj.run(make_campaign(), tmp_path / "run", micro_batch=64)
    kept = {p.name for p in parts(tmp_path / "run")}
    assert len(kept) == 4, "the table of examples was the fifth thing written"
    assert not verify(tmp_path / "run").faults
    results = sj.run(make_campaign(), tmp_path / "run", micro_batch=64)
    assert kept < {p.name for p in parts(tmp_path / "run")}
    assert results.statistics()[-1]["tiles_computed"] == finished.completeness.tiles - 4
    pd.testing.assert_frame_equal(results.frame(), finished.frame())


@pytest.mark.skipif(
    os.getuid() != 0 or not pathlib.Path("/proc/mounts").exists(), reason="needs root to mount a small tmpfs"
)
def test_a_really_full_disk(make_campaign, tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    if os.system(f"mount -t tmpfs -o size=256k tmpfs {mount} 2>/dev/null"):
        pytest.skip("this machine mounts no tmpfs")
    try:
        (mount / "ballast").write_bytes(b"\0" * 190_000)
        with pytest.raises(sj.StoreError, match="disk is full"):
            sj.run(make_campaign(), mount / "run", micro_batch=64)
        for part in parts(mount / "run"):
            assert file_digest(part) == part.stem[33:]
    finally:
        os.system(f"umount {mount}")


def test_too_little_room_is_told_before_anything_runs(make_campaign, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(sj.StoreError, match="10 bytes free"):
        sj.run(make_campaign(), tmp_path / "run", micro_batch=64)


def test_a_folder_that_cannot_be_made(make_campaign, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(sj.StoreError, match="cannot write to the folder"):
        sj.run(make_campaign(), tmp_path / "file" / "run", micro_batch=64)


def test_strays_of_dead_writers_are_removed(run_folder, make_campaign):
    import platform

    dead = run_folder / "parts" / f".tmp {machine()} 999999999 abc"
    living = run_folder / "parts" / f".tmp {machine()} {os.getpid()} abc"
    elsewhere = run_folder / "parts" / f".tmp {platform.node()}+1 999999999 abc"
    for stray in (dead, living, elsewhere):
        stray.write_bytes(b"half a part")
    assert Store(run_folder).clear_strays() == 1
    assert not dead.exists() and living.exists() and elsewhere.exists()


def test_small_files_are_replaced_whole(tmp_path):
    store = Store(tmp_path)
    store.write_json("a/b.json", {"x": 1})
    store.write_json("a/b.json", {"x": 2})
    assert store.read_json("a/b.json") == {"x": 2}
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.json"]
    assert store.read_json("missing.json") is None
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(sj.StoreError, match="broken.json"):
        store.read_json("broken.json")


def test_a_torn_last_line_does_not_count(tmp_path):
    store = Store(tmp_path)
    store.append_line("runs.jsonl", {"a": 1})
    with open(tmp_path / "runs.jsonl", "a") as file:
        file.write('{"a": 2')
    assert store.read_lines("runs.jsonl") == [{"a": 1}]


def test_no_campaign_no_results(tmp_path):
    with pytest.raises(sj.StoreError, match="no campaign"):
        sj.Results.open(tmp_path)
    with pytest.raises(sj.StoreError, match="no campaign"):
        verify(tmp_path)


def test_the_manifest_says_what_ran(finished):
    manifest = json.loads((finished.folder / "campaign.json").read_text())
    assert manifest["model"]["name"] == "bands-model" and manifest["data"]["examples"] == 60
    assert manifest["stages"]["noise"]["kind"] == "GaussianNoise" and manifest["stages"]["noise"]["values"] == [
        0,
        1,
        3,
        5,
    ]
    (environment,) = (finished.folder / "environments").iterdir()
    assert json.loads(environment.read_text())["jax"]
    assert set(finished.frame().environment) == {environment.stem}
