"""What became of a row."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int8

STATUSES = ("ok", "nonfinite_input", "nonfinite_output")
"""What the int8 code in a row's `status` stands for: the place in this tuple."""

OK, NONFINITE_INPUT, NONFINITE_OUTPUT = range(len(STATUSES))


def row_status(sound: Bool[Array, "m"], finite: Bool[Array, "m"]) -> Int8[Array, "m"]:
    """The status of each row: a bad input is named before the bad output that follows from it.

    Args:
      sound: bool `[M]`, whether the unperturbed input is free of NaN and infinities.
      finite: bool `[M]`, whether every output of the row is finite.

    Returns:
      int8 `[M]`, places in `STATUSES`.
    """
    return jnp.where(sound, jnp.where(finite, jnp.int8(OK), jnp.int8(NONFINITE_OUTPUT)), jnp.int8(NONFINITE_INPUT))
