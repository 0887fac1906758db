"""The programs of a campaign: a short pipeline, each link compiled once.

    load -> perturb (one for each structure of stage) -> forward -> measure

A pair of stages is two `perturb` calls, not a program of its own: k stages cost k + 3 compilations, where fusing every
pair with the model would cost k (k + 1) / 2 of them.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax import measure as measures
from sensijax.campaign._campaign import Campaign
from sensijax.core import Batch, digest, example_key, program_digest
from sensijax.core.struct import struct
from sensijax.perturb import Perturbation

DIGEST_WIDTH = 8  # programs are named by their text at this width, so that a name does not depend on the micro-batch


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


@dataclasses.dataclass(frozen=True)
class Structure:
    """What decides the code of a stage: the perturbation's tree and the shapes of its leaves; its numbers do not."""

    tree: Any
    leaves: tuple[tuple[tuple[int, ...], str], ...]

    @classmethod
    def of(cls, perturbation: Perturbation) -> "Structure":
        leaves, tree = jax.tree.flatten(perturbation)
        return cls(tree, tuple((np.shape(leaf), np.asarray(leaf).dtype.str) for leaf in leaves))

    def spec(self, width: int) -> Any:
        """Shapes of a stack of `width` of them."""
        leaves = [jax.ShapeDtypeStruct((width, *shape), np.dtype(dtype)) for shape, dtype in self.leaves]
        return jax.tree.unflatten(self.tree, leaves)


Name = str | Structure
"""`load`, `forward`, `measure`, or the structure of a stage."""


class Programs:
    """Lowers, names and compiles the programs of a campaign.

    Args:
      campaign: whose model, data and stages the programs are for.
    """

    def __init__(self, campaign: Campaign):
        self.campaign = campaign
        examples = campaign.examples
        self._x = (examples.x.shape[1:], examples.x.dtype)
        self._y = (examples.y.shape[1:], examples.y.dtype)
        self._params = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), campaign.model.params
        )
        self._respond = (
            measures.classification_responses if examples.is_classification else measures.regression_responses
        )
        self._digests: dict[Name, str] = {}

    def digest(self, *names: Name) -> str:
        """The digest of a pipeline of these programs: their lowered StableHLO, and the names of nothing else."""
        for name in names:
            if name not in self._digests:
                self._digests[name] = program_digest(self.lower(name, DIGEST_WIDTH, DIGEST_WIDTH))
        return digest([self._digests[name] for name in names])

    def lower(self, name: Name, width: int, block: int) -> jax.stages.Lowered:
        """Traces one program for micro-batches of `width` rows out of blocks of `block` examples."""
        function, arguments = self._definition(name, width, block)
        return jax.jit(function).lower(*arguments)

    def output_spec(self, width: int) -> jax.ShapeDtypeStruct:
        return self.campaign.model.output_spec(self._rows(width, self._x))

    def _definition(self, name: Name, width: int, block: int) -> tuple[Callable, tuple]:
        if isinstance(name, Structure):
            key_words = jax.ShapeDtypeStruct((width, 2), jnp.uint32)
            return _perturb, (name.spec(width), key_words, key_words, self._rows(width, self._x))
        return self._fixed(width, block)[name]

    def _fixed(self, width: int, block: int) -> Mapping[str, tuple[Callable, tuple]]:
        index = jax.ShapeDtypeStruct((width,), jnp.int32)
        return {
            "load": (_load, (self._container(Block, block), index)),
            "forward": (self.campaign.model.apply, (self._params, self._rows(width, self._x))),
            "measure": (
                functools.partial(_measure, self._respond),
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


def _perturb(perturbations: Perturbation, stage_keys: jax.Array, ids: jax.Array, x: jax.Array) -> jax.Array:
    return jax.vmap(lambda p, stage, example, v: p(example_key(stage, example), v))(perturbations, stage_keys, ids, x)


def _measure(respond: Callable, outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    return respond(outputs, batch.y, batch.clean, batch.sound)
