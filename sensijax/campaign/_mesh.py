"""Which devices a campaign's rows are dealt out to: what the user says and where the model lies, checked together."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from sensijax.core import ArgumentError, Layout
from sensijax.core.errors import did_you_mean
from sensijax.core.layout import auto_mesh

ROWS = "rows"
"""The axis of a mesh that is made here."""


def devices_layout(
    devices: int | Sequence[Any] | Mesh | None = None,
    axis: str | Sequence[str] | None = None,
    params: Any = None,
) -> Layout:
    """The layout on some of this process's devices.

    Args:
      devices: how many of the local devices, or which ones, or a mesh; None: the mesh that the parameters lie on, all
        local devices if they lie on none.
      axis: along which axis of a mesh (or which axes) rows are cut; None: along those that no parameter is split over.
      params: the model's parameters, where they are known.

    Returns:
      The layout. On one device, if it is the default one, it is that of a process without a mesh.

    Raises:
      ArgumentError: if there are fewer devices or none, one is named twice or belongs to another process, the mesh has
        no such axis, or the parameters are split over another mesh.

    Example:
      >>> devices_layout(1)
      Layout(mesh=None, axes=(), split=False)
    """
    theirs = _mesh_of(params)
    if devices is None and theirs is not None:
        return _layout(theirs, axis, params)
    if isinstance(devices, Mesh):
        return _layout(devices, axis, params)
    return _layout(Mesh(np.array(_chosen(devices)), (ROWS,)), axis, params)


def engine_layout(mesh: Mesh | Layout | None, params: Any) -> Layout:
    """The layout of an engine.

    Args:
      mesh: devices; None: the mesh that the parameters lie on, one device if they lie on none.
      params: the model's parameters.

    Raises:
      ArgumentError: if the parameters are split over another mesh.
    """
    if isinstance(mesh, Layout):
        return _layout(mesh.mesh or _default(), mesh.axes, params)
    return _layout(mesh or _mesh_of(params) or _default(), None, params)


def _default() -> Mesh:
    return Mesh(np.array(jax.devices()[:1]), (ROWS,))


def split_of(params: Any) -> str:
    """How parameters are split over devices, in words that are the same in every process; empty if they are not."""
    if not _split_axes(params):
        return ""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    specs = [
        f"{jax.tree_util.keystr(path)} {leaf.sharding.spec}"
        for path, leaf in leaves
        if isinstance(leaf, jax.Array) and isinstance(leaf.sharding, NamedSharding)
    ]
    return f"{_words(_mesh_of(params))}: {', '.join(specs)}"


def _chosen(devices: int | Sequence[Any] | None) -> list[Any]:
    here = jax.local_devices()
    if devices is None:
        return here
    if isinstance(devices, (int, np.integer)) and not isinstance(devices, bool):
        if not 1 <= devices <= len(here):
            kind = here[0].device_kind
            raise ArgumentError("devices", devices, f"1 to {len(here)}: this process has {len(here)} ({kind})")
        return here[: int(devices)]
    chosen = list(devices) if isinstance(devices, (Sequence, np.ndarray)) and not isinstance(devices, str) else []
    if not chosen or not all(isinstance(device, jax.Device) for device in chosen):
        raise ArgumentError("devices", repr(devices), "a number of devices, a list of some of jax.devices(), or a mesh")
    if len(set(chosen)) < len(chosen):
        raise ArgumentError("devices", f"{chosen}", "each device once")
    return chosen


def _layout(mesh: Mesh, axis: str | Sequence[str] | None, params: Any) -> Layout:
    foreign = [device for device in mesh.devices.flat if device.process_index != jax.process_index()]
    if foreign:
        right = "devices of this process: several processes take tiles each (sensijax.on.processes)"
        raise ArgumentError("mesh", f"{foreign[0]} of process {foreign[0].process_index}", right)
    theirs, split = _mesh_of(params), _split_axes(params)
    if split and not _same(mesh, theirs):  # type: ignore[arg-type]
        right = f"the mesh that they are split over, {_words(theirs)}, or none: it is found"  # type: ignore[arg-type]
        raise ArgumentError("mesh", f"{_words(mesh)}, and `model.params` on another", right)
    if axis is None or axis == ():
        axes = tuple(name for name in mesh.axis_names if name not in split)
    else:
        axes = (axis,) if isinstance(axis, str) else tuple(axis)
        for name in axes:
            if name not in mesh.axis_names:
                raise ArgumentError(
                    "axis", repr(name), f"an axis of {_words(mesh)}; {did_you_mean(name, _names(mesh))}"
                )
    if mesh.size == 1 and mesh.devices.flat[0] == jax.devices()[0]:
        return Layout()
    # The engine's programs say themselves what lies where: `Auto`, whatever kind of mesh the user has.
    return Layout(auto_mesh(mesh), axes, bool(split))


def _shardings(params: Any) -> list[NamedSharding]:
    """Of the leaves that lie on several devices."""
    found = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not isinstance(leaf, jax.Array) or len(leaf.sharding.device_set) == 1:
            continue
        if not isinstance(leaf.sharding, NamedSharding):
            raise ArgumentError(
                f"model.params{jax.tree_util.keystr(path)}", f"a {type(leaf.sharding).__name__}", "a NamedSharding"
            )
        if found and not _same(found[0].mesh, leaf.sharding.mesh):
            raise ArgumentError(
                f"model.params{jax.tree_util.keystr(path)}",
                f"an array on {_words(leaf.sharding.mesh)}",
                f"one mesh for all parameters: others lie on {_words(found[0].mesh)}",
            )
        found.append(leaf.sharding)
    return found


def _mesh_of(params: Any) -> Mesh | None:
    shardings = _shardings(params)
    return shardings[0].mesh if shardings else None  # type: ignore[return-value]


def _split_axes(params: Any) -> set[str]:
    """The axes that some parameter is split over."""
    entries = [entry for sharding in _shardings(params) for entry in sharding.spec if entry is not None]
    return {name for entry in entries for name in ((entry,) if isinstance(entry, str) else entry)}


def _same(a: Any, b: Any) -> bool:
    return a.axis_names == b.axis_names and a.devices.shape == b.devices.shape and (a.devices == b.devices).all()


def _names(mesh: Mesh) -> list[str]:
    return [str(name) for name in mesh.axis_names]


def _words(mesh: Any) -> str:
    shape = " x ".join(f"{size} {name}" for name, size in mesh.shape.items())
    return f"a mesh of {shape} ({math.prod(mesh.devices.shape)} devices)"
