"""What has a value, among all that JAX puts into a pytree."""

from typing import Any

import jax
from jax.core import Tracer


def has_value(leaf: Any) -> bool:
    """Whether a leaf is a number, text, an array with values, or a list, which a class may check as it is made.

    JAX makes pytrees of other leaves too: tracers inside a program, descriptions of arrays when a program is only
    lowered (`jax.ShapeDtypeStruct` and its like), and objects of no meaning when it looks at a structure. They pass
    unchecked: what is traced was checked before.

    Example:
      >>> [has_value(leaf) for leaf in (0.5, jax.numpy.ones(3), jax.ShapeDtypeStruct((), "float32"), object())]
      [True, True, False, False]
    """
    if any(isinstance(entry, Tracer) for entry in jax.tree.leaves(leaf)):
        return False
    return isinstance(leaf, (str, int, float, list, tuple)) or (hasattr(leaf, "dtype") and hasattr(leaf, "__array__"))
