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
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    fixed = [field.name for field in dataclasses.fields(cls) if field.metadata.get("static")]  # type: ignore[arg-type]
    leaves = [name for name in names if name not in fixed]

    # The class is written into the structure. `jax.tree_util.register_dataclass` leaves it out of the comparison (seen
    # in JAX 0.10.2: structures of two classes with as many leaves are equal, only their hashes differ), so that `jit`,
    # once their hashes fall into one slot, runs the program of another class.
    def flatten(value: Any) -> tuple[tuple, tuple]:
        return tuple([getattr(value, name) for name in leaves]), (cls, tuple([getattr(value, name) for name in fixed]))

    def flatten_with_keys(value: Any) -> tuple[tuple, tuple]:
        children, structure = flatten(value)
        return tuple((jax.tree_util.GetAttrKey(n), c) for n, c in zip(leaves, children, strict=True)), structure

    def unflatten(structure: tuple, children: Any) -> Any:
        return cls(**dict(zip(leaves, children, strict=True)), **dict(zip(fixed, structure[1], strict=True)))

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
