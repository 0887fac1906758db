"""Values that are not finite: counted and located, never silent."""

import dataclasses
import logging
from typing import Any

import jax
import numpy as np

_log = logging.getLogger(__name__)
_LISTED = 5


@dataclasses.dataclass(frozen=True)
class NonFinite:
    """How many values of a result are NaN or infinite, and where the first of them are.

    Attributes:
      count: values that are not finite.
      total: values in all.
      where: the first five places, as an index into the result: `"[3, 0]"`, `"['logits'][3, 0]"`.

    Example:
      >>> import numpy as np
      >>> located({"a": np.array([1.0, np.nan])}, "f(x)")
      NonFinite(count=1, total=2, where=("['a'][1]",))
    """

    count: int
    total: int
    where: tuple[str, ...]


def located(tree: Any, what: str) -> NonFinite:
    """Counts what is not finite in a pytree of arrays; logs a warning if there is any."""
    count, total, where = 0, 0, []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        leaf = np.asarray(leaf)
        total += leaf.size
        wrong = ~np.isfinite(leaf)
        if n := int(np.count_nonzero(wrong)):
            count += n
            for flat in np.flatnonzero(wrong)[: _LISTED - len(where)]:
                index = [int(i) for i in np.unravel_index(flat, leaf.shape)]
                where.append(f"{jax.tree_util.keystr(path)}{index if index else ''}")
    if count:
        _log.warning("%s: %d of %d values are not finite, the first at %s", what, count, total, ", ".join(where))
    return NonFinite(count, total, tuple(where))
