"""What flows through a pipeline of programs: a batch of rows."""

from typing import Any

import jax

from sensijax.core.struct import struct


@struct
class Batch:
    """A chunk of rows on the device; a row is one example under one variant.

    Attributes:
      x: `[M, ...]` inputs, as the stages so far have left them.
      y: `[M]` labels or `[M, ...]` targets.
      ids: uint32 `[M, 2]`, the examples' ids as (high, low) words: the address of their random draws.
      clean: `[M, ...]` the model's outputs on the unperturbed examples.
      sound: bool `[M]`, whether the unperturbed input is free of NaN and infinities.
    """

    x: jax.Array
    y: jax.Array
    ids: jax.Array
    clean: Any
    sound: jax.Array
