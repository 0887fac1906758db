"""Structures: what decides the code of a stage, and how that code is named, compiled and called.

A stage's program is anything that maps rows to rows. A perturbation's is one compiled program; an attack's is a loop
over several, driven from the host. The engine calls both alike.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import Batch, Layout, Place, example_key, function_digest
from sensijax.drift import Drift
from sensijax.perturb import Perturbation

if TYPE_CHECKING:
    from sensijax.campaign._programs import Programs

DIGEST_WIDTH = 8  # programs are named by their text at this width, so that a name does not depend on the micro-batch

StageProgram = Callable[[Any, np.ndarray, Batch, Any, int], Any]
"""`program(settings, stage_keys, batch, x, valid) -> x`: a micro-batch of rows, each with its own setting and raw key;
only the first `valid` rows count."""


class OnDevice(NamedTuple):
    """The model where the programs run.

    Attributes:
      params: its parameters, on the device.
      forward: outputs of one micro-batch, by the compiled forward pass.
      layout: where the rows of a micro-batch lie.
    """

    params: Any
    forward: Callable[[Any], jax.Array]
    layout: Layout


@dataclasses.dataclass(frozen=True)
class Structure:
    """What decides the code of a stage: its tree and the shapes of its leaves; its numbers do not.

    Class attributes:
      synchronous: whether the host drives the stage step by step, so that a dispatched tile is a finished one.
    """

    tree: Any
    leaves: tuple[tuple[tuple[int, ...], str], ...]

    synchronous: ClassVar[bool] = False

    @classmethod
    def of(cls, value: Any) -> Self:
        leaves, tree = jax.tree.flatten(value)
        return cls(tree, tuple((np.shape(leaf), np.asarray(leaf).dtype.str) for leaf in leaves))

    @property
    def compilations(self) -> int:
        """How many programs it takes."""
        return 1

    @property
    def passes(self) -> int:
        """Passes through the model, forwards and backwards, that a row costs at most, its judgement not counted."""
        return 0

    def digest(self, programs: "Programs") -> str:
        """The digest of the stage's code; the settings have one of their own."""
        raise NotImplementedError

    def prepare(self, programs: "Programs", width: int, model: OnDevice) -> Callable[[], StageProgram]:
        """Traces the stage for micro-batches of `width` rows; what it returns compiles, in any thread."""
        raise NotImplementedError


class PerturbationStructure(Structure):
    """A perturbation: one program, example by example, that never sees the model."""

    def digest(self, programs: "Programs") -> str:
        return function_digest(self._function, *self._arguments(programs.inputs(DIGEST_WIDTH)))

    def prepare(self, programs: "Programs", width: int, model: OnDevice) -> Callable[[], StageProgram]:
        jitted = model.layout.jit(self._function, *[Place.ROWS] * 4)
        lowered = jitted.lower(*self._arguments(programs.inputs(width)))

        def compiled() -> StageProgram:
            program = lowered.compile()
            return lambda settings, keys, batch, x, valid: program(self._taken(settings), keys, batch.ids, x)

        return compiled

    def trace(self, example: jax.ShapeDtypeStruct) -> None:
        """Traces the program by which the stage is named; JAX keeps the trace, and `digest` finds it.

        Args:
          example: one input.
        """
        x = jax.ShapeDtypeStruct((DIGEST_WIDTH, *example.shape), example.dtype)
        jax.jit(self._function).trace(*self._arguments(x))

    @property
    def _function(self) -> Callable[..., jax.Array]:
        """The program, of the settings as `_taken` or `_described` gives them, raw stage keys, ids and inputs."""
        return _perturb

    def _taken(self, settings: Any) -> Any:
        return settings

    def _described(self, leaves: list[jax.ShapeDtypeStruct]) -> Any:
        return jax.tree.unflatten(self.tree, leaves)

    def _arguments(self, x: jax.ShapeDtypeStruct) -> tuple[Any, ...]:
        width = x.shape[0]
        leaves = [jax.ShapeDtypeStruct((width, *shape), np.dtype(dtype)) for shape, dtype in self.leaves]
        words = jax.ShapeDtypeStruct((width, 2), jnp.uint32)
        return self._described(leaves), words, words, x


class DriftStructure(PerturbationStructure):
    """A drift that moves inputs: one program, example by example.

    The program takes the drift's leaves, and makes the drift inside: a class that checks its parameters meets no
    placeholders.
    """

    @property
    def _function(self) -> Callable[..., jax.Array]:
        return lambda leaves, *rows: _move(jax.tree.unflatten(self.tree, leaves), *rows)

    def _taken(self, settings: Any) -> Any:
        return jax.tree.leaves(settings)

    def _described(self, leaves: list[jax.ShapeDtypeStruct]) -> Any:
        return leaves


class Link(NamedTuple):
    """A stage that acts on rows which no tile holds.

    Attributes:
      structure: of its program.
      settings: leaves `[n, ...]`, what it is at each row.
      key: uint32 `[2]`, its raw key.
      labels: `[n]`, those that it is shown if it is an attack.
    """

    structure: Structure
    settings: Any
    key: np.ndarray
    labels: np.ndarray | None = None


def _move(drifts: Drift, stage_keys: jax.Array, ids: jax.Array, x: jax.Array) -> jax.Array:
    def one(drift: Drift, stage: jax.Array, example: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.where(drift.is_identity(), v, drift.inputs(example_key(stage, example), v))

    return jax.vmap(one)(drifts, stage_keys, ids, x)


def _perturb(perturbations: Perturbation, stage_keys: jax.Array, ids: jax.Array, x: jax.Array) -> jax.Array:
    return jax.vmap(lambda p, stage, example, v: p(example_key(stage, example), v))(perturbations, stage_keys, ids, x)
