"""Frozen dataclasses that are pytrees: numbers are leaves, shapes are static."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")


def static(**kwargs: Any) -> Any:
    """A field that decides shapes or code: part of the tree's structure, never traced.

    Args:
      **kwargs: passed to `dataclasses.field` (`default=...`).

    Returns:
      A dataclass field that `struct` keeps out of the leaves.
    """
    return dataclasses.field(metadata={"static": True}, **kwargs)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, dataclasses.field))
def struct(cls: type[T]) -> type[T]:
    """Makes a class a frozen dataclass and a pytree.

    Fields made by `static` belong to the structure; every other field is a leaf or a subtree.
    Equality is identity, because comparing arrays has no single answer: compare digests.

    Args:
      cls: a class with annotated fields.

    Returns:
      The same class, registered with JAX.

    Example:
      >>> @struct
      ... class Line:
      ...     slope: float
      ...     points: int = static(default=8)
      >>> jax.tree.leaves(Line(slope=2.0))
      [2.0]
    """
    cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
    return jax.tree_util.register_dataclass(cls)
