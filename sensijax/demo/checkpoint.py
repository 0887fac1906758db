"""Checkpoints: a pytree of arrays and its metadata in a folder, whole or not there at all.

The one place that knows Orbax.
"""

import logging
import os
import pathlib
import shutil
import time
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from sensijax.core.digest import digest
from sensijax.core.errors import ArgumentError, StoreError

_log = logging.getLogger(__name__)
# No save of ours takes this long: what is older was left behind by a process that was killed.
_STALE_SECONDS = 3600


class Checkpoint(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      tree: nested dicts of NumPy arrays.
      metadata: what `save` was given, after a round trip through JSON.
    """

    tree: dict[str, Any]
    metadata: dict[str, Any]


def save(
    path: str | os.PathLike, tree: Mapping[str, Any], metadata: Mapping[str, Any], *, replace: bool = False
) -> None:
    """Writes a checkpoint, through Orbax.

    The folder appears under its name in one step, complete: a process that is killed while it saves leaves nothing that
    could be taken for a checkpoint. Where two processes save at once, the first one's stays.

    Args:
      path: the checkpoint's folder; its parents are made. One that exists is left as it is, unless `replace`.
      tree: nested dicts with string keys, of arrays that are not empty (typed PRNG keys: their `key_data`).
      metadata: values that JSON can hold.
      replace: puts this checkpoint in the place of one that exists.

    Raises:
      ArgumentError: if a key of the tree is not a string: Orbax would restore it as one.
      StoreError: if it cannot be written.

    Example:
      >>> import tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "checkpoint"
      >>> save(path, {"w": np.arange(3.0)}, {"epochs": 1})
      >>> restore(path)
      Checkpoint(tree={'w': array([0., 1., 2.])}, metadata={'epochs': 1})
    """
    import orbax.checkpoint as ocp

    path = pathlib.Path(path).absolute()
    # NumPy arrays carry no device layout, so a checkpoint made on a GPU is restored anywhere.
    tree = jax.tree.map(np.asarray, dict(tree))
    _check_keys(tree)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            checkpointer.save(
                unfinished,
                args=ocp.args.Composite(
                    tree=ocp.args.StandardSave(tree),
                    metadata=ocp.args.JsonSave({"digest": digest(tree), "metadata": dict(metadata)}),
                ),
            )
        if replace and path.exists():
            path.rename(path.with_name(f".{path.name}.{uuid.uuid4().hex}.replaced"))
        unfinished.rename(path)
    except (OSError, ValueError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if path.exists() and not replace:
            return
        raise StoreError(f"cannot save a checkpoint as {path}: {error}") from error
    for replaced in path.parent.glob(f".{path.name}.*.replaced"):
        shutil.rmtree(replaced, ignore_errors=True)


def restore(path: str | os.PathLike) -> Checkpoint:
    """Reads a checkpoint, and checks its arrays against the digest that was saved with them.

    Args:
      path: the checkpoint's folder.

    Returns:
      The tree, as nested dicts of NumPy arrays, and the metadata.

    Raises:
      StoreError: if there is none, or it cannot be read, or its arrays are not those that were saved.
    """
    import orbax.checkpoint as ocp

    path = pathlib.Path(path).absolute()
    if not path.is_dir():
        raise StoreError(f"no checkpoint at {path}")
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            found = checkpointer.restore(
                path, args=ocp.args.Composite(tree=ocp.args.StandardRestore(), metadata=ocp.args.JsonRestore())
            )
        tree, saved = jax.tree.map(np.asarray, found.tree), found.metadata
        intact = digest(tree) == saved["digest"]
    except Exception as error:  # a damaged file surfaces as whatever the layer that stumbles over it raises
        raise StoreError(f"cannot read the checkpoint at {path}: {error}") from error
    if not intact:
        raise StoreError(f"the checkpoint at {path} is damaged: its arrays are not those that were saved")
    return Checkpoint(tree, saved["metadata"])


def _check_keys(tree: Mapping[str, Any]) -> None:
    for path, _ in jax.tree_util.tree_leaves_with_path(tree):
        if not all(isinstance(entry, jax.tree_util.DictKey) and isinstance(entry.key, str) for entry in path):
            raise ArgumentError("tree", jax.tree_util.keystr(path), "nested dicts with string keys, of arrays")


def _remove_stale(path: pathlib.Path) -> None:
    for leftover in path.parent.glob(f".{path.name}.*"):
        try:
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                _log.info("removing %s, left behind by a process that did not finish", leftover)
                shutil.rmtree(leftover, ignore_errors=True)
        except FileNotFoundError:
            continue  # another process was faster
