"""An attack's programs compiled before they are needed, so that a run can say when it compiles and when it computes."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from sensijax.attack._pursuit import Desk, Examples, Loop, fill_places
from sensijax.attack._victim import Victim

if TYPE_CHECKING:
    from sensijax.attack._attack import Attack


def compile_ahead(attack: "Attack", victim: Victim, example: jax.ShapeDtypeStruct, loop: Loop) -> int:
    """Runs every program of an attack once, on nothing in particular.

    Args:
      attack: its leaves scalars, or `[1]`.
      victim: the model.
      example: shape and dtype of a batch of examples `[B, ...]`; B does not matter.
      loop: how the attack will run.

    Returns:
      How many programs there are: two for each part of a structure of its own.
    """
    return 2 * len(first_look(attack, victim, _nothing(attack, example), loop))


def first_look(attack: "Attack", victim: Victim, examples: Examples, loop: Loop) -> list[Any]:
    """Carries out an attack up to the first look of the host: all of its programs run once.

    Args:
      attack: its leaves scalars, or `[N]`.
      victim: the model.
      examples: N of them.
      loop: how.

    Returns:
      The state of the places, on the host, for each part of a structure of its own.
    """
    distinct = {jax.tree.structure(part): (name, part) for name, part in attack.parts()}
    states = []
    for name, part in distinct.values():
        targets = np.zeros((len(examples), 1), np.int32)
        desk = Desk(part, examples.under(name), targets, True, lambda ended, total: None)
        states.append(jax.tree.map(np.asarray, next(fill_places(victim, desk, loop), None)))
    return states


def _nothing(attack: "Attack", example: jax.ShapeDtypeStruct) -> Examples:
    low = next(part for _, part in attack.parts()).box[0]
    x = np.full((1, *example.shape[1:]), low, example.dtype)
    return Examples(x, np.zeros(1, np.int32), np.zeros((1, 2), np.uint32))
