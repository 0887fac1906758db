"""A checkpoint comes back bit for bit, or is not there."""

import os
import pathlib
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError, StoreError
from sensijax.demo import checkpoint

TREE = {"a": {"kernel": np.random.default_rng(0).standard_normal((3, 3), np.float32)}, "count": np.int32(3)}


@pytest.fixture()
def path(tmp_path):
    return tmp_path / "models" / "net"


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def test_what_is_saved_comes_back(path):
    checkpoint.save(path, jax.tree.map(jnp.asarray, TREE), {"epochs": 2, "widths": [1, 2]})
    tree, metadata = checkpoint.restore(path)
    assert jax.tree.structure(tree) == jax.tree.structure(TREE)
    for came, sent in zip(jax.tree.leaves(tree), jax.tree.leaves(TREE), strict=True):
        assert came.dtype == sent.dtype and np.array_equal(came, sent)
    assert metadata == {"epochs": 2, "widths": [1, 2]}
    assert names(path) == ["net"]


def test_the_first_one_stays_unless_replaced(path):
    checkpoint.save(path, {"w": np.zeros(2)}, {"n": 1})
    checkpoint.save(path, {"w": np.ones(2)}, {"n": 2})
    assert checkpoint.restore(path).metadata == {"n": 1}
    checkpoint.save(path, {"w": np.ones(2)}, {"n": 3}, replace=True)
    assert checkpoint.restore(path).metadata == {"n": 3} and checkpoint.restore(path).tree["w"].tolist() == [1, 1]
    assert names(path) == ["net"]


KILLED = """
import os, pathlib, signal, sys
import numpy as np
from sensijax.demo import checkpoint

path = pathlib.Path(sys.argv[1])
if sys.argv[2] == "while Orbax writes":
    from orbax.checkpoint import JsonCheckpointHandler
    JsonCheckpointHandler.async_save = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)
else:
    pathlib.Path.rename = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save(path, {"w": np.ones(1000)}, {})
"""


@pytest.mark.parametrize("moment", ["while Orbax writes", "before the name is given"])
def test_a_process_killed_while_saving_leaves_no_checkpoint(path, moment):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, path, moment],
        timeout=120,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    leftovers = names(path)
    assert leftovers and "net" not in leftovers
    with pytest.raises(StoreError, match="no checkpoint at"):
        checkpoint.restore(path)
    checkpoint.save(path, TREE, {})
    assert names(path) == [*leftovers, "net"]  # another process may still be writing there
    for name in leftovers:
        os.utime(path.parent / name, (0, 0))
    checkpoint.save(path, TREE, {}, replace=True)
    assert names(path) == ["net"]


def test_a_process_that_was_faster_wins(path, monkeypatch):
    rename, other = pathlib.Path.rename, {"w": np.zeros(2)}

    def late(self, target):
        monkeypatch.setattr(pathlib.Path, "rename", rename)
        checkpoint.save(target, other, {"who": "other"})
        return self.rename(target)

    monkeypatch.setattr(pathlib.Path, "rename", late)
    checkpoint.save(path, {"w": np.ones(2)}, {"who": "this"})
    assert checkpoint.restore(path).metadata == {"who": "other"} and names(path) == ["net"]


def test_damage_is_found(path):
    checkpoint.save(path, {"w": np.random.default_rng(0).random(1000)}, {})
    files = list((path / "tree" / "d").iterdir())
    for file in files:
        file.write_bytes(file.read_bytes()[:-7])
    assert files
    with pytest.raises(StoreError, match="checkpoint at"):
        checkpoint.restore(path)


def test_other_arrays_under_the_same_metadata_are_found(path, tmp_path):
    checkpoint.save(path, {"w": np.zeros(4)}, {})
    checkpoint.save(tmp_path / "other", {"w": np.ones(4)}, {})
    (path / "tree").rename(path / "gone")
    (tmp_path / "other" / "tree").rename(path / "tree")
    with pytest.raises(StoreError, match="damaged: its arrays are not those that were saved"):
        checkpoint.restore(path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot save a checkpoint as .*file"):
        checkpoint.save(tmp_path / "file" / "net", TREE, {})


@pytest.mark.parametrize("tree", [{"a": {0: np.ones(2)}}, {"a": [np.ones(2)]}])
def test_trees_that_would_come_back_different_are_refused(path, tree):
    with pytest.raises(ArgumentError, match="`tree`: .*string keys"):
        checkpoint.save(path, tree, {})
