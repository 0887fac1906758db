"""Concept drift by name: the same inputs, called otherwise."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.core.keys import keys_of
from sensijax.core.struct import static
from sensijax.drift.simulate._drift import Drift
from sensijax.drift.simulate._validate import check_indices, check_numbers, classes_of, whole_numbers


class ConceptShift(Drift):
    """A fraction `strength` of the examples of some classes are called otherwise: p(x) stays, p(y | x) moves.

    Unlike annotation noise, which is a fault of the one who wrote the label down, this is what is true from now on.
    Which examples change is a function of (key, id); those that have changed at a strength have so at a larger one.

    Attributes:
      strength: in [0, 1].
      mapping: from classes to what they are called at strength 1: a mapping such as `{3: 5, 5: 3}`, or pairs; unless
        given, class k is called k + 1, and the last one 0.
      names: int32 `[K]`, what each class is called at strength 1; learned.

    Reference:
      Gama et al., "A survey on concept drift adaptation", ACM Computing Surveys 46 (2014): real concept drift.

    Example:
      >>> from sensijax.drift import shift
      >>> data = Dataset(np.zeros((3, 1), np.float32), np.array([0, 1, 2]))
      >>> shift(ConceptShift(strength=1.0, mapping={2: 0}), jax.random.key(0), data).y.tolist()
      [0, 1, 0]
    """

    mapping: Any = static(default=None)
    names: Int32[Array, "k"] | None = None

    changes: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self):
        check_numbers("strength", self.strength, 0, 1)
        if self.mapping is not None:
            object.__setattr__(self, "mapping", _pairs(self.mapping))

    def fit(self, data: Dataset) -> Self:
        counts = classes_of(data, "a concept is a name of a class")
        k = len(counts)
        pairs = tuple((i, (i + 1) % k) for i in range(k)) if self.mapping is None else self.mapping
        names = np.arange(k, dtype=np.int32)
        for old, new in pairs:
            check_indices("mapping", [old], k, "classes")
            check_indices("mapping", [new], k, "classes")
            if self.mapping is not None and not counts[old]:
                raise ArgumentError("mapping", f"class {old}, without an example", "classes that occur")
            names[old] = new
        if not counts[names != np.arange(k)].any():
            raise ArgumentError("mapping", f"{pairs}", "at least one class that is called otherwise")
        return dataclasses.replace(self, names=names)  # type: ignore[type-var]

    def labels(self, key: Array, x: Array, y: Array, ids: Array) -> Array:
        return _called(self.strength, key, jnp.asarray(self.names)[y], y, ids)


class ClassMerge(Drift):
    """Classes become one: a fraction `strength` of their examples are called by the name of the first.

    Attributes:
      strength: in [0, 1].
      classes: two or more; all of them are called by the first one's name at strength 1.
      names: int32 `[K]`, what each class is called at strength 1; learned.

    Example:
      >>> from sensijax.drift import shift
      >>> data = Dataset(np.zeros((4, 1), np.float32), np.array([0, 1, 2, 3]))
      >>> shift(ClassMerge(strength=1.0, classes=(1, 3)), jax.random.key(0), data).y.tolist()
      [0, 1, 2, 1]
    """

    classes: tuple[int, ...] = static(kw_only=True)
    names: Int32[Array, "k"] | None = None

    changes: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self):
        check_numbers("strength", self.strength, 0, 1)
        classes = whole_numbers("classes", self.classes)
        if classes is None or len(classes) < 2:
            raise ArgumentError("classes", repr(self.classes), "two or more that are merged")
        object.__setattr__(self, "classes", classes)

    def fit(self, data: Dataset) -> Self:
        counts = classes_of(data, "classes are merged")
        check_indices("classes", self.classes, len(counts), "classes")
        for k in self.classes:
            if not counts[k]:
                raise ArgumentError("classes", f"class {k}, without an example", "classes that occur")
        names = np.arange(len(counts), dtype=np.int32)
        names[list(self.classes)] = self.classes[0]
        return dataclasses.replace(self, names=names)  # type: ignore[type-var]

    def labels(self, key: Array, x: Array, y: Array, ids: Array) -> Array:
        return _called(self.strength, key, jnp.asarray(self.names)[y], y, ids)


def _called(strength: Array, key: Array, new: Array, y: Array, ids: Array) -> Array:
    u = jax.vmap(lambda k: jax.random.uniform(k, (), jnp.float32))(keys_of(key, jnp.asarray(ids)))
    return jnp.where(u < strength, new, jnp.asarray(y)).astype(jnp.int32)


def _pairs(mapping: Any) -> tuple[tuple[int, int], ...]:
    given = list(mapping.items() if isinstance(mapping, Mapping) else mapping)
    try:
        pairs = tuple((int(old), int(new)) for old, new in given)  # a TOML table has strings as keys
    except (TypeError, ValueError) as error:
        raise ArgumentError("mapping", repr(mapping), "pairs of classes, such as {3: 5, 5: 3}") from error
    if len({old for old, _ in pairs}) < len(pairs):
        raise ArgumentError("mapping", repr(mapping), "one new name for a class")
    return pairs
