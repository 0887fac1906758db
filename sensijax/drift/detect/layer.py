"""Any detector on what a model makes of its inputs."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.drift.detect._detection import Detection


def representation(
    detector: Callable[..., Detection], layer: Callable[[Any], Any], *, batch: int = 256
) -> Callable[..., Detection]:
    """A detector that looks at a layer's outputs in place of the inputs.

    The layer must not have been fitted to the very rows that are the reference: it would know them better than the
    sample, and see drift where there is none. Rows that the model was not trained on will do.

    Args:
      detector: one of this room, or what has its signature.
      layer: from a batch `[b, ...]` to outputs `[b, ...]`, say `model` itself for its logits, or a function
        that returns what one of its layers gives. More axes than two are flattened.
      batch: how many rows at a time.

    Returns:
      `(reference [n, ...], sample [m, ...], **options) -> Detection`, with the detector's own options.

    Raises:
      ArgumentError: from the detector; if the layer does not keep the batch axis first.

    Reference:
      Rabanser, Günnemann and Lipton, "Failing loudly: an empirical study of methods for detecting dataset shift",
      NeurIPS 2019.

    Example:
      >>> from sensijax.drift.detect import ks
      >>> total = representation(ks, lambda x: x.sum(axis=(1, 2)))
      >>> total(np.zeros((20, 4, 4)) + np.arange(20)[:, None, None], np.ones((20, 4, 4)) * 30).drift
      True
    """
    if not callable(detector) or not callable(layer):
        name = "layer" if callable(detector) else "detector"
        raise ArgumentError(name, repr(layer if callable(detector) else detector), "a function")
    if isinstance(batch, bool) or not isinstance(batch, (int, np.integer)) or batch < 1:
        raise ArgumentError("batch", repr(batch), "an integer >= 1")

    def outputs(rows: Any) -> np.ndarray:
        rows = np.asarray(rows)
        parts = []
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            out = np.asarray(layer(jnp.asarray(part)))
            if out.shape[:1] != (len(part),):
                raise ArgumentError("layer", f"outputs {list(out.shape)} for {len(part)} rows", "the batch axis first")
            parts.append(out.reshape(len(part), -1))
        return np.concatenate(parts) if parts else rows.reshape(0, 1)

    @functools.wraps(detector)
    def on_outputs(reference: Any, sample: Any, **options: Any) -> Detection:
        return detector(outputs(reference), outputs(sample), **options)

    return on_outputs
