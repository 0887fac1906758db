"""The programs of a campaign: a short pipeline, each link compiled once.

    load -> stages (one for each structure) -> forward -> measure

A pair of stages is two calls, not a program of its own: k perturbations cost k + 3 compilations, where fusing every
pair with the model would cost k (k + 1) / 2 of them. An attack is two programs for each of its parts.
"""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from sensijax import measure as measures
from sensijax.attack import Attack
from sensijax.campaign._attacking import AttackStructure
from sensijax.campaign._structure import DIGEST_WIDTH, DriftStructure, OnDevice, PerturbationStructure, Structure
from sensijax.core import Batch, Place, digest, function_digest
from sensijax.core.struct import struct
from sensijax.drift import Drift

if TYPE_CHECKING:
    from sensijax.campaign._campaign import Campaign


@struct
class Block:
    """A run of examples on the device, padded to the campaign's block size.

    Attributes:
      x, y, ids, sound: as in `Batch`, `[block, ...]`.
      clean: the model's outputs on `x`, `[block, ...]`.
    """

    x: jax.Array
    y: jax.Array
    ids: jax.Array
    clean: jax.Array
    sound: jax.Array


def structure_of(value: Any) -> Structure:
    """The structure of what a stage that moves inputs does at one setting."""
    if isinstance(value, Attack):
        return AttackStructure.of(value)
    return (DriftStructure if isinstance(value, Drift) else PerturbationStructure).of(value)


Name = str | Structure
"""`load`, `forward`, `measure`, or the structure of a stage."""


class Programs:
    """Lowers, names and compiles the programs of a campaign.

    Args:
      campaign: whose model, data and stages the programs are for.

    Attributes:
      fused: attacks of which is known whether steps between two looks of the host had better be one program.
    """

    def __init__(self, campaign: "Campaign"):
        self.campaign = campaign
        examples = campaign.examples
        self._x = (examples.x.shape[1:], examples.x.dtype)
        self._y = (examples.y.shape[1:], examples.y.dtype)
        self.params = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), campaign.model.params
        )
        self._respond = (
            measures.classification_responses if examples.is_classification else measures.regression_responses
        )
        self._digests: dict[Name, str] = {}
        self.fused: dict[Name, bool] = {}

    def digest(self, *names: Name) -> str:
        """The digest of a pipeline of these programs: their lowered StableHLO, and the names of nothing else."""
        for name in names:
            if name not in self._digests:
                self._digests[name] = name.digest(self) if isinstance(name, Structure) else self._fixed_digest(name)
        return digest([self._digests[name] for name in names])

    def prepare(self, name: Name, width: int, block: int, model: OnDevice) -> Callable[[], Any]:
        """Traces one program for micro-batches of `width` rows; what it returns compiles, in any thread."""
        if isinstance(name, Structure):
            return name.prepare(self, width, model)
        function, places, arguments = self._fixed(width, block)[name]
        return model.layout.jit(function, *places, params=model.params).lower(*arguments).compile

    def inputs(self, width: int) -> jax.ShapeDtypeStruct:
        """A batch of inputs."""
        return self._rows(width, self._x)

    def output_spec(self, width: int) -> jax.ShapeDtypeStruct:
        return self.campaign.model.output_spec(self.inputs(width))

    def _fixed_digest(self, name: str) -> str:
        function, _, arguments = self._fixed(DIGEST_WIDTH, DIGEST_WIDTH)[name]
        return function_digest(function, *arguments)

    def _fixed(self, width: int, block: int) -> Mapping[str, tuple[Callable, tuple[Place, ...], tuple]]:
        """`load`, `forward` and `measure`: each function, how its arguments lie on a mesh, and their shapes."""
        index = jax.ShapeDtypeStruct((width,), jnp.int32)
        return {
            "load": (_load, (Place.WHOLE, Place.ROWS), (self._container(Block, block), index)),
            "forward": (self.campaign.model.apply, (Place.PARAMS, Place.ROWS), (self.params, self.inputs(width))),
            "measure": (
                functools.partial(_measure, self._respond),
                (Place.ROWS, Place.ROWS),
                (self.output_spec(width), self._container(Batch, width)),
            ),
        }

    def _container(self, kind: type, rows: int) -> Any:
        return kind(
            x=self._rows(rows, self._x),
            y=self._rows(rows, self._y),
            ids=jax.ShapeDtypeStruct((rows, 2), jnp.uint32),
            clean=self.output_spec(rows),
            sound=jax.ShapeDtypeStruct((rows,), jnp.bool_),
        )

    @staticmethod
    def _rows(rows: int, example: tuple[tuple[int, ...], Any]) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, *example[0]), example[1])


def _load(block: Block, index: jax.Array) -> Batch:
    return Batch(
        x=block.x[index], y=block.y[index], ids=block.ids[index], clean=block.clean[index], sound=block.sound[index]
    )


def _measure(respond: Callable, outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    return respond(outputs, batch.y, batch.clean, batch.sound)
