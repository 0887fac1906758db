"""Data: examples with ids that last, labels, and groups to slice by."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from sensijax.core.digest import digest
from sensijax.core.errors import ArgumentError


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled examples, held on the host.

    Attributes:
      x: `[N, ...]`, float32 (images: [0, 1]) or integer; NaN is allowed and is counted as a status, never averaged.
      y: `[N]` integer class labels, or floating-point targets `[N]` or `[N, K]`.
      name: how reports call it.
      ids: `[N]` distinct integers in [0, 2**63); 0..N-1 unless given. Random draws are addressed by id, so a subset or
        a reordering that keeps its ids keeps every draw.
      groups: names to `[N]` integers or strings, the slices to report on.

    Raises:
      ArgumentError: if there are no examples, lengths differ, ids repeat or are negative, or a dtype cannot be used.

    Example:
      >>> data = Dataset(np.zeros((3, 8, 8, 1), np.float32), np.array([0, 1, 1]), name="tiny")
      >>> len(data), data.ids.tolist()
      (3, [0, 1, 2])
    """

    x: np.ndarray
    y: np.ndarray
    name: str = "data"
    ids: np.ndarray = None  # type: ignore[assignment]  # filled in below
    groups: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        put = functools.partial(object.__setattr__, self)
        x, y = _array("x", self.x), _array("y", self.y)
        if not isinstance(self.name, str) or not self.name:
            raise ArgumentError("name", repr(self.name), "a non-empty name")
        if x.ndim < 1 or len(x) == 0:
            raise ArgumentError("x", f"shape {list(x.shape)}", "at least one example: [N, ...]")
        if x.dtype == np.float64:
            x = x.astype(np.float32)
        if x.dtype == np.bool_ or not (np.issubdtype(x.dtype, np.floating) or np.issubdtype(x.dtype, np.integer)):
            raise ArgumentError("x", f"dtype {x.dtype}", "float32, or integers for tokens")
        if y.shape[:1] != x.shape[:1]:
            raise ArgumentError("y", f"shape {list(y.shape)}", f"one label for each of the {len(x)} examples")
        if np.issubdtype(y.dtype, np.integer):
            if y.ndim != 1:
                raise ArgumentError("y", f"integers of shape {list(y.shape)}", "class labels [N], not one-hot rows")
            if len(y) and max(abs(int(y.min())), abs(int(y.max()))) >= 1 << 31:
                raise ArgumentError("y", f"labels from {y.min()} to {y.max()}", "class labels that fit in 32 bits")
            y = y.astype(np.int32)
        elif np.issubdtype(y.dtype, np.floating):
            y = y.astype(np.float32)
        else:
            raise ArgumentError("y", f"dtype {y.dtype}", "integer class labels [N] or float targets [N] or [N, K]")
        ids = np.arange(len(x)) if self.ids is None else _array("ids", self.ids)
        if ids.shape != (len(x),) or not np.issubdtype(ids.dtype, np.integer):
            raise ArgumentError("ids", f"{ids.dtype}{list(ids.shape)}", f"{len(x)} integers")
        if ids.min() < 0 or ids.max() >= 1 << 63:
            raise ArgumentError("ids", f"{ids.min()}..{ids.max()}", "integers in [0, 2**63)")
        ids = ids.astype(np.int64)
        values, counts = np.unique(ids, return_counts=True)
        if len(values) != len(ids):
            raise ArgumentError("ids", f"{values[counts > 1][0]} more than once", "every example has its own id")
        if not isinstance(self.groups, Mapping):
            raise ArgumentError("groups", type(self.groups).__name__, "a mapping of names to [N] integers or strings")
        groups = {}
        for name, group in self.groups.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise ArgumentError("groups", repr(name), "a group's name is an identifier: it becomes a column")
            group = _array(f"groups[{name!r}]", group)
            if group.shape != (len(x),):
                raise ArgumentError(
                    f"groups[{name!r}]", f"shape {list(group.shape)}", f"one value for each of {len(x)} examples"
                )
            if not (np.issubdtype(group.dtype, np.integer) or group.dtype.kind in "U"):
                raise ArgumentError(
                    f"groups[{name!r}]", f"dtype {group.dtype}", "integers or strings: bin floats first"
                )
            groups[name] = group
        for name, value in (("x", x), ("y", y), ("ids", ids), ("groups", groups)):
            put(name, value)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def is_classification(self) -> bool:
        """True where labels are integers, False where they are floats (regression)."""
        return np.issubdtype(self.y.dtype, np.integer)

    @functools.cached_property
    def digest(self) -> str:
        """The digest of examples, labels, ids and groups, whatever the order of the examples."""
        order = np.argsort(self.ids)
        groups = {name: group[order] for name, group in self.groups.items()}
        return digest("dataset", self.x[order], self.y[order], self.ids[order], groups)

    def take(self, index: Any) -> "Dataset":
        """The examples at these positions (an index or boolean array), with their ids.

        Example:
          >>> Dataset(np.zeros((3, 2), np.float32), np.zeros(3, int)).take(slice(1, None)).ids.tolist()
          [1, 2]
        """
        groups = {name: group[index] for name, group in self.groups.items()}
        return dataclasses.replace(self, x=self.x[index], y=self.y[index], ids=self.ids[index], groups=groups)


def _array(argument: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ArgumentError(argument, f"what is no array: {error}", "rows of one shape") from error
