"""An attack's programs compiled before they are needed, so that a run can say when it compiles and when it computes."""

from typing import TYPE_CHECKING

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
    distinct = {jax.tree.structure(part): (name, part) for name, part in attack.parts()}
    for name, part in distinct.values():
        x = np.full((1, *example.shape[1:]), part.box[0], example.dtype)
        nothing = Examples(x, np.zeros(1, np.int32), np.zeros((1, 2), np.uint32)).under(name)
        desk = Desk(part, nothing, np.zeros((1, 1), np.int32), True, lambda ended, total: None)
        next(fill_places(victim, desk, loop), None)
    return 2 * len(distinct)
