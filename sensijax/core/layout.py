"""Where rows lie: on one device, or dealt out to the devices of a mesh, each of which runs a program of its own."""

import dataclasses
import enum
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


class Place(enum.Enum):
    """How an argument of a program lies on a mesh."""

    ROWS = "rows"  # every leaf `[rows, ...]`, a share on each device
    WHOLE = "whole"  # all of it on every device
    PARAMS = "params"  # a model's parameters: whole, or as the user has split them


@dataclasses.dataclass(frozen=True)
class Layout:
    """Rows on one device, or on a mesh.

    On a mesh the rows of a batch are cut into as many shares as the mesh is long along `axes`, in order, and each
    device runs the very program that one device would run on its share: `shard_map`, no communication. So results are
    bitwise those of one device whose batches are as wide as a share. A model whose parameters are split over devices is
    the exception: where it is asked, the compiler cuts the work up, adds in another order, and results differ in the
    last bits.

    Attributes:
      mesh: of `Auto` axes; None for one device, the default one.
      axes: along which rows are cut.
      split: whether the model's parameters are split over the mesh.

    Example:
      >>> Layout().shares
      1
    """

    mesh: Mesh | None = None
    axes: tuple[str, ...] = ()
    split: bool = False

    @property
    def shares(self) -> int:
        """Into how many shares rows are cut; a batch is a multiple of it."""
        return 1 if self.mesh is None else math.prod(self.mesh.shape[axis] for axis in self.axes)

    def spread(self, function: Callable[..., Any], *places: Place) -> Callable[..., Any]:
        """A function of rows as the devices run it, to be traced under `jit`.

        Args:
          function: pure; returns a pytree of leaves `[rows, ...]`. No row may look at another.
          places: one for each of its arguments.
        """
        if self.mesh is None:
            return function
        rows = self._sharding(Place.ROWS)
        if self._is_compilers(places):
            return lambda *arguments: jax.lax.with_sharding_constraint(function(*arguments), rows)
        specs = tuple(self._sharding(place).spec for place in places)
        # Nothing is replicated in the results and nobody communicates: there is nothing for the checker to check, and
        # it refuses loops whose first value is a constant, which are sound.
        return jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=rows.spec, check_vma=False)

    def jit(self, function: Callable[..., Any], *places: Place, params: Any = None) -> Any:
        """The same, jitted: takes arguments from the host, or as its like return them.

        Args:
          function, places: as in `spread`.
          params: the model's parameters as `put` has placed them, where they are split.
        """
        if self.mesh is None:
            return jax.jit(function)
        split = jax.tree.map(lambda leaf: leaf.sharding, params) if self._is_compilers(places) else None
        shardings = tuple(
            split if split is not None and place is Place.PARAMS else self._sharding(place) for place in places
        )
        return jax.jit(self.spread(function, *places), in_shardings=shardings, out_shardings=self._sharding(Place.ROWS))

    def put(self, tree: Any, place: Place) -> Any:
        """A pytree of arrays on the devices; returns at once. Parameters that are split there stay as they are."""
        if self.mesh is None:
            return jax.tree.map(_on_one_device, tree)
        sharding = self._sharding(place)

        def placed(leaf: Any) -> jax.Array:
            there = getattr(leaf, "sharding", None)
            keeps = self.split and place is Place.PARAMS and isinstance(there, NamedSharding)
            return jax.device_put(leaf, NamedSharding(self.mesh, there.spec) if keeps else sharding)  # type: ignore[arg-type]

        return jax.tree.map(placed, tree)

    def deal(self, rows: Any) -> Any:
        """A pytree of rows from the host, each device's share on its way to it; untouched where there is one device."""
        return rows if self.mesh is None else jax.device_put(rows, self._sharding(Place.ROWS))

    def _sharding(self, place: Place) -> NamedSharding:
        assert self.mesh is not None
        return NamedSharding(self.mesh, PartitionSpec(self.axes) if place is Place.ROWS else PartitionSpec())

    def _is_compilers(self, places: tuple[Place, ...]) -> bool:
        return self.split and Place.PARAMS in places


def _on_one_device(leaf: Any) -> jax.Array:
    array = jnp.asarray(leaf)
    return array if len(array.devices()) == 1 else jax.device_put(array, jax.devices()[0])


def with_auto_axes(params: Any) -> Any:
    """Parameters whose arrays lie on meshes of `Auto` axes: the compiler cuts up what they are used in.

    `jax.make_mesh` makes `Explicit` axes unless told otherwise, and a function that does not say itself how each result
    is split cannot be traced with arrays on those. Nothing is copied.

    Args:
      params: a pytree; leaves that lie on no mesh stay as they are.
    """

    def auto(leaf: Any) -> Any:
        sharding = getattr(leaf, "sharding", None)
        if not isinstance(leaf, jax.Array) or not isinstance(sharding, NamedSharding):
            return leaf
        mesh: Any = sharding.mesh
        if all(kind == AxisType.Auto for kind in mesh.axis_types):
            return leaf
        return jax.device_put(leaf, NamedSharding(auto_mesh(mesh), sharding.spec))

    return jax.tree.map(auto, params)


def auto_mesh(mesh: Mesh) -> Mesh:
    """The mesh with axes that are all `Auto`."""
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * mesh.devices.ndim)
