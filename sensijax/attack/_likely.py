"""Target classes: those that an example is most likely taken for."""

import numpy as np


def likely_targets(logits: np.ndarray, y: np.ndarray, classes: int, restarts: int) -> np.ndarray:
    """The classes with the highest logits apart from the label, the highest first.

    Args:
      logits: `[N, K]` of the examples as they are.
      y: `[N]` labels.
      classes: how many; with K - 1 or fewer others, all of them. 0: no target at all, but `restarts` attempts.
      restarts: attempts towards each.

    Returns:
      int32 `[N, classes * restarts]`, the attempts towards one class side by side; -1 where there is no target.

    Example:
      >>> likely_targets(np.array([[3.0, 1.0, 2.0]]), np.array([0]), 9, 1).tolist()
      [[2, 1]]
    """
    if not classes:
        return np.full((len(y), restarts), -1, np.int32)
    others = np.array(logits, np.float64)
    others[np.arange(len(y)), y] = -np.inf
    order = np.argsort(-others, axis=1, kind="stable")[:, : min(classes, others.shape[1] - 1)]
    return np.repeat(order, restarts, axis=1).astype(np.int32)
