"""Per-example responses of a regression model."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sensijax.core.errors import ArgumentError
from sensijax.measure._status import OK, row_status


def regression_responses(
    outputs: Float[Array, "m ..."], y: Float[Array, "m ..."], clean: Float[Array, "m ..."], sound: Bool[Array, "m"]
) -> dict[str, Array]:
    """What a regression model answers, row by row: pure, for use inside programs.

    Computed in float32. A row whose output, or whose unperturbed input, is not finite has NaN in every number: it is
    counted by its status, never averaged. `shift` is NaN also where the clean output is not finite, `loss` where the
    target is.

    Args:
      outputs: `[M]`, `[M, 1]` or `[M, K]` outputs for the perturbed examples, any floating dtype.
      y: `[M]` or `[M, K]` targets; `[M]` and `[M, 1]` are the same thing, for all three arrays.
      clean: outputs for the unperturbed examples, the rows of `outputs`.
      sound: bool `[M]`, False where the unperturbed input held NaN or an infinity.

    Returns:
      A column `[M]` by name:

      - `prediction`, float32, the target's unit: the output; NaN where K > 1, as one number cannot hold it.
      - `loss`, float32 >= 0, the target's unit squared: the mean over K of (output - y)^2.
      - `shift`, float32 >= 0, the target's unit: the Euclidean norm of (output - clean output).
      - `status`, int8: a place in `STATUSES`.

    Raises:
      ArgumentError: if shapes or dtypes do not fit.

    Example:
      >>> rows = regression_responses(jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2)), jnp.zeros((1, 2)), jnp.array([True]))
      >>> float(rows["loss"][0]), float(rows["shift"][0])
      (12.5, 5.0)
    """
    if outputs.ndim not in (1, 2) or outputs.size == 0 or not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise ArgumentError("outputs", f"{outputs.dtype}{list(outputs.shape)}", "floating outputs [M] or [M, K]")
    rows = outputs.shape[0]
    outputs = _columns(outputs)
    y, clean = _like(outputs, "y", y), _like(outputs, "clean", clean)
    if sound.shape != (rows,) or sound.dtype != jnp.bool_:
        raise ArgumentError("sound", f"{sound.dtype}{list(sound.shape)}", f"one boolean for each of {rows} rows")

    status = row_status(sound, jnp.isfinite(outputs).all(axis=1))
    clean_finite = jnp.isfinite(clean).all(axis=1)
    outputs, y, clean = (v.astype(jnp.float32) for v in (outputs, y, clean))
    shift = jnp.sqrt(jnp.square(outputs - clean).sum(axis=1))
    numbers = {
        "prediction": outputs[:, 0] if outputs.shape[1] == 1 else jnp.full(rows, jnp.nan, jnp.float32),
        "loss": jnp.square(outputs - y).mean(axis=1),
        "shift": jnp.where(clean_finite, shift, jnp.nan),
    }
    return {**{name: jnp.where(status == OK, value, jnp.nan) for name, value in numbers.items()}, "status": status}


def _columns(values: Array) -> Array:
    return values[:, None] if values.ndim == 1 else values


def _like(outputs: Array, argument: str, values: Array) -> Array:
    if values.ndim not in (1, 2) or _columns(values).shape != outputs.shape:
        raise ArgumentError(argument, f"shape {list(values.shape)}", f"the shape of `outputs`: {list(outputs.shape)}")
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ArgumentError(argument, f"dtype {values.dtype}", "floating-point numbers")
    return _columns(values)
