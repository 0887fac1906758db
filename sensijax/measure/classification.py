"""Per-example responses of a classifier."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from sensijax.core.errors import ArgumentError
from sensijax.measure._status import OK, row_status

_LARGEST = float(np.finfo(np.float32).max)


def classification_responses(
    outputs: Float[Array, "m k"], y: Int[Array, "m"], clean: Float[Array, "m k"], sound: Bool[Array, "m"]
) -> dict[str, Array]:
    """What a classifier answers, row by row: pure, for use inside programs.

    Computed in float32 through `log_softmax`, so logits of any size are exact to rounding; what would leave float32's
    range stops at its end, so no finite logits give NaN or an infinity.

    A row whose output is not finite is counted, never averaged: its prediction is -1, it is wrong and flipped, and its
    measured numbers are NaN, as are those of a row whose unperturbed input was not finite. `kl` alone is NaN also where
    the clean outputs are not finite.

    Args:
      outputs: `[M, K]` logits of the perturbed examples, K >= 2, any floating dtype.
      y: integer `[M]` labels in [0, K). Checked when they are not traced.
      clean: `[M, K]` logits of the unperturbed examples, the rows of `outputs`.
      sound: bool `[M]`, False where the unperturbed input held NaN or an infinity.

    Returns:
      A column `[M]` by name. With p the softmax of the outputs and q that of the clean ones:

      - `prediction`, int32: the class of the largest logit, the first of equals.
      - `confidence`, float32 in [1/K, 1]: max_k p_k.
      - `entropy`, float32 in [0, log K], nats: -sum_k p_k log p_k.
      - `margin`, float32, units of the logits: the label's logit minus the largest other; positive where correct.
      - `loss`, float32 >= 0, nats: the cross-entropy -log p_y.
      - `brier`, float32 in [0, 2]: sum_k (p_k - [k = y])^2.
      - `correct`, bool: the prediction is the label.
      - `flipped`, bool: the prediction is not the clean prediction.
      - `kl`, float32 >= 0, nats: sum_k q_k log(q_k / p_k), the divergence of the perturbed answer from the clean.
      - `status`, int8: a place in `STATUSES`.

    Raises:
      ArgumentError: if shapes or dtypes do not fit, or known labels lie outside [0, K).

    Reference:
      Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78 (1950): the sum
      over classes, which for two classes is twice the one-sided score.

    Example:
      >>> logits = jnp.log(jnp.array([[0.7, 0.2, 0.1]]))
      >>> rows = jax.jit(classification_responses)(logits, jnp.array([1]), logits, jnp.array([True]))
      >>> int(rows["prediction"][0]), bool(rows["correct"][0]), round(float(rows["loss"][0]), 4)
      (0, False, 1.6094)
    """
    _check(outputs, y, clean, sound)
    finite, clean_finite = (jnp.isfinite(logits).all(axis=1) for logits in (outputs, clean))
    status = row_status(sound, finite)
    ok = status == OK
    logits = jnp.where(finite[:, None], outputs, 0).astype(jnp.float32)
    clean_logits = jnp.where(clean_finite[:, None], clean, 0).astype(jnp.float32)
    # A float64 logit may be finite and yet too large for float32.
    logits, clean_logits = (jnp.clip(v, -_LARGEST, _LARGEST) for v in (logits, clean_logits))

    # Differences of huge logits overflow to -inf, and 0 * -inf is NaN: the smallest float32 stands for it.
    log_p = jnp.maximum(jax.nn.log_softmax(logits), -_LARGEST)
    log_q = jnp.maximum(jax.nn.log_softmax(clean_logits), -_LARGEST)
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    is_label = y.astype(jnp.int32)[:, None] == jnp.arange(outputs.shape[1], dtype=jnp.int32)[None, :]

    def of_label(values: Array) -> Array:
        return jnp.where(is_label, values, 0).sum(axis=1)

    margin = of_label(logits) - jnp.where(is_label, -jnp.inf, logits).max(axis=1)
    numbers = {
        "confidence": p.max(axis=1),
        "entropy": jnp.maximum(-(p * log_p).sum(axis=1), 0),
        "margin": jnp.clip(margin, -_LARGEST, _LARGEST),
        "loss": jnp.maximum(-of_label(log_p), 0),
        "brier": jnp.square(p - is_label.astype(jnp.float32)).sum(axis=1),
        "kl": jnp.where(clean_finite, jnp.clip((q * (log_q - log_p)).sum(axis=1), 0, _LARGEST), jnp.nan),
    }
    prediction = jnp.where(ok, logits.argmax(axis=1).astype(jnp.int32), -1)
    clean_prediction = jnp.where(clean_finite, clean_logits.argmax(axis=1).astype(jnp.int32), -1)
    return {
        "prediction": prediction,
        **{name: jnp.where(ok, value, jnp.nan) for name, value in numbers.items()},
        "correct": prediction == y.astype(jnp.int32),
        "flipped": ~ok | (prediction != clean_prediction),
        "status": status,
    }


def _check(outputs: Array, y: Array, clean: Array, sound: Array) -> None:
    if outputs.ndim != 2 or outputs.shape[1] < 2 or not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise ArgumentError("outputs", f"{outputs.dtype}{list(outputs.shape)}", "logits [M, K], floating, K >= 2")
    rows, classes = outputs.shape
    if clean.shape != outputs.shape or not jnp.issubdtype(clean.dtype, jnp.floating):
        raise ArgumentError(
            "clean", f"{clean.dtype}{list(clean.shape)}", f"logits of the shape of `outputs`: {[rows, classes]}"
        )
    if y.shape != (rows,) or not jnp.issubdtype(y.dtype, jnp.integer):
        raise ArgumentError("y", f"{y.dtype}{list(y.shape)}", f"one integer label for each of {rows} rows")
    if sound.shape != (rows,) or sound.dtype != jnp.bool_:
        raise ArgumentError("sound", f"{sound.dtype}{list(sound.shape)}", f"one boolean for each of {rows} rows")
    if not isinstance(y, Tracer):
        wrong = np.asarray(y)[(np.asarray(y) < 0) | (np.asarray(y) >= classes)]
        if wrong.size:
            raise ArgumentError("y", int(wrong[0]), f"a class in 0..{classes - 1}")
